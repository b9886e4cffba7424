import gzip
import json
import logging

import pytest
import torch
from cases import NoiseLoader, small_iic

from geoseg.core.run_files import TRACE_NAME
from geoseg.training.engine import fit
from geoseg.training.limits import Limits
from geoseg.training.profiling import PROFILE_STEPS


@pytest.fixture
def said(caplog):
    caplog.set_level(logging.INFO, logger="geoseg")
    return caplog


def test_a_profile_says_where_the_time_goes_and_leaves_a_trace(said, tmp_path, capfd):
    limits = Limits(max_steps=PROFILE_STEPS + 1)
    fit(small_iic(), NoiseLoader(), run=tmp_path, limits=limits, profile=True)
    for part in ("forward", "backward", "Adam.step"):
        assert part in said.text
    assert not any("\n" in record.message for record in said.records)
    assert f"trace: {tmp_path / TRACE_NAME}" in said.text
    with gzip.open(tmp_path / TRACE_NAME) as file:
        names = [event.get("name") for event in json.load(file)["traceEvents"]]
    # the steps that warm up are not in it
    assert {"views", "forward"} <= set(names)
    assert any("train_dataloader_next" in name for name in names)
    assert names.count("forward") == 4
    assert "failed" not in capfd.readouterr().err  # of GPUs that are not there


def test_a_profile_trains_with_the_same_bits(tmp_path):
    states = []
    for profile in (False, True):
        run = tmp_path / str(profile)
        run.mkdir()
        method = small_iic()
        limits = Limits(max_steps=PROFILE_STEPS)
        fit(method, NoiseLoader(), run=run, limits=limits, profile=profile)
        states.append(method.state_dict())
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


def test_a_resumed_training_is_measured_and_ends_with_the_same_bits(tmp_path):
    states = []
    for parts in ((PROFILE_STEPS,), (2, PROFILE_STEPS)):
        run = tmp_path / str(len(parts))
        run.mkdir()
        for steps in parts:
            fit(
                method := small_iic(),
                NoiseLoader(),
                run=run,
                limits=Limits(max_steps=steps),
                profile=len(parts) > 1,
                resume=True,
            )
        states.append(method.state_dict())
    assert (tmp_path / "2" / TRACE_NAME).exists()
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


def test_too_short_a_training_says_how_long_it_has_to_be(said, tmp_path):
    (tmp_path / TRACE_NAME).touch()  # of an earlier part
    fit(
        small_iic(),
        NoiseLoader(),
        run=tmp_path,
        limits=Limits(max_steps=3),
        profile=True,
    )
    assert f"give --max-steps {PROFILE_STEPS} or more" in said.text
    assert not (tmp_path / TRACE_NAME).exists()


def test_a_training_that_fails_leaves_no_profiler_behind(tmp_path):
    def fail(step: int) -> None:
        raise RuntimeError("stop here")

    options = {"limits": Limits(max_steps=PROFILE_STEPS), "profile": True}
    with pytest.raises(RuntimeError, match="stop here"):
        fit(small_iic(), NoiseLoader(), run=tmp_path, on_step=fail, **options)
    assert not torch.autograd._profiler_enabled()
    fit(small_iic(), NoiseLoader(), run=tmp_path, **options)
    assert (tmp_path / TRACE_NAME).exists()
