import csv
import math

import pytest
import torch
from cases import NoiseLoader, PixelMean, seeded

from geoseg.core.errors import ParameterError
from geoseg.core.run_files import METRICS_NAME
from geoseg.training.engine import fit
from geoseg.training.limits import Limits
from geoseg.training.schedules import Schedule


def rates(run) -> list[float]:
    with (run / METRICS_NAME).open(newline="") as file:
        return [float(row["lr"]) for row in csv.DictReader(file)]


@pytest.mark.parametrize(
    "name, expected",
    [
        ("constant", [1, 1, 1, 1]),
        ("linear", [1, 0.75, 0.5, 0.25]),
        ("cosine", [0.5 * (1 + math.cos(math.pi * k / 4)) for k in range(4)]),
        ("step", [1, 1, 0.1, 0.01]),
    ],
)
def test_the_rate_rises_in_the_warm_up_and_then_follows_its_name(name, expected):
    schedule = Schedule(name, warmup_steps=4)
    found = [schedule.factor(step, 8) for step in range(8)]
    assert found == pytest.approx([0.25, 0.5, 0.75, 1, *expected])


def test_the_logged_rate_is_the_one_of_the_step_and_a_resume_goes_on_with_it(tmp_path):
    options = {"limits": Limits(max_steps=8), "schedule": Schedule("linear", 2)}
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    states = []
    for run in (whole, parts):
        run.mkdir()
    method = seeded(PixelMean)
    fit(method, NoiseLoader(), run=whole, **options)
    states.append(method.state_dict())

    class Enough(Exception):
        pass

    def stop(step: int) -> None:
        if step == 5:
            raise Enough

    with pytest.raises(Enough):
        method = seeded(PixelMean)
        options["checkpoint_steps"] = 2
        fit(method, NoiseLoader(), run=parts, on_step=stop, **options)
    method = seeded(PixelMean, seed=1)  # what counts is in the checkpoint
    fit(method, NoiseLoader(), run=parts, resume=True, **options)
    states.append(method.state_dict())
    expected = [0.25, 0.5, *(0.5 * k / 6 for k in range(6, 0, -1))]
    assert rates(whole) == pytest.approx(expected)
    assert rates(parts) == rates(whole)
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


def test_a_schedule_over_a_time_alone_is_refused():
    with pytest.raises(ParameterError, match="--lr-schedule cosine needs the number"):
        Schedule("cosine").check(None)
    Schedule("constant", warmup_steps=10).check(None)


def test_a_warm_up_without_end_is_refused():
    with pytest.raises(ParameterError, match="less than the 10 steps"):
        Schedule("constant", warmup_steps=10).check(10)
