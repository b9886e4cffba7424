"""Trainings in several processes, on the CPU: they equal one, and end together."""

import csv
import multiprocessing
from functools import partial

import pytest
import torch
from cases import (
    Diverging,
    Dying,
    Failing,
    PixelMean,
    four_patches,
    plain,
    seeded,
    small_iic,
    three_and_a_bit,
)

from geoseg.core.errors import TrainingError
from geoseg.core.run_files import METRICS_NAME
from geoseg.methods import METHODS, method_class
from geoseg.training.engine import fit
from geoseg.training.limits import Limits
from geoseg.training.processes import fit_on_devices

pytestmark = pytest.mark.slow

#: Methods that several processes share: one that is added is here too.
SHARED = [name for name in METHODS if method_class(name).gradient]


def train(method, run, devices, *, loaders=four_patches, **options):
    run.mkdir(exist_ok=True)
    options = {"limits": Limits(max_steps=7), "seed": 3, **options}
    if devices == 1:
        fit(method, loaders(0, 1), run=run, **options)
    else:
        fit_on_devices(method, loaders, devices=devices, run=run, **options)
    return method.state_dict()


def rows(run) -> list[dict[str, str]]:
    with (run / METRICS_NAME).open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("make", [PixelMean, *(partial(plain, n) for n in SHARED)])
def test_two_processes_learn_what_one_learns_from_the_union(make, tmp_path):
    # seven steps are an epoch of one head and the start of an epoch of the other
    before = seeded(make).state_dict()
    options = {"loaders": three_and_a_bit, "stop_on_collapse": False}
    one = train(seeded(make), tmp_path / "one", devices=1, **options)
    two = train(seeded(make), tmp_path / "two", devices=2, **options)
    moved = [name for name in one if not torch.allclose(one[name], before[name])]
    assert moved
    for name in one:
        torch.testing.assert_close(two[name], one[name], rtol=1e-3, atol=1e-5)
    for found, expected in zip(rows(tmp_path / "two"), rows(tmp_path / "one")):
        for name in ("step", "epoch", "loss", "lr"):
            # rounding alone, in values of the order of one
            assert float(found[name]) == pytest.approx(float(expected[name]), abs=1e-5)


def test_two_processes_repeat_bit_for_bit_and_so_does_their_resume(tmp_path):
    whole = train(small_iic(), tmp_path / "whole", devices=2)
    limits = Limits(max_steps=3)
    train(small_iic(), tmp_path / "parts", devices=2, limits=limits)
    parts = train(small_iic(), tmp_path / "parts", devices=2, resume=True)
    assert all(torch.equal(parts[name], whole[name]) for name in whole)
    assert rows(tmp_path / "parts") == rows(tmp_path / "whole")
    with pytest.raises(TrainingError, match="with devices 2, found 1: resume with"):
        train(small_iic(), tmp_path / "parts", devices=1, resume=True)


@pytest.mark.parametrize(
    "method, said",
    [
        (Dying, r"the process of device 1 died \(SIGKILL\), .*train --resume"),
        (Diverging, "the loss is nan at step 0"),
        (Failing, "device 0 failed with ZeroDivisionError: of all things; geoseg -v"),
    ],
)
def test_what_ends_one_process_ends_all_with_a_line(method, said, tmp_path):
    with pytest.raises(TrainingError, match=said):
        train(seeded(method), tmp_path, devices=2)
    assert not multiprocessing.active_children()
