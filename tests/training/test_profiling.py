import gzip
import json
import logging
import re

import pytest
import torch
from cases import NoiseLoader, PixelMean, seeded, small_iic

from geoseg.core.run_files import TRACE_NAME
from geoseg.training.engine import fit
from geoseg.training.limits import Limits
from geoseg.training.profiling import PROFILE_STEPS, StepCosts, matrix_rate


@pytest.fixture
def said(caplog):
    caplog.set_level(logging.INFO, logger="geoseg")
    return caplog


def test_a_profile_says_where_the_time_goes_and_leaves_a_trace(said, tmp_path):
    limits = Limits(max_steps=PROFILE_STEPS + 1)
    fit(small_iic(), NoiseLoader(), run=tmp_path, limits=limits, profile=True)
    shares = dict(re.findall(r"(\w+) +[\d.]+ ms +(-?\d+)%", said.text))
    assert list(shares) == [
        *("loading", "views", "forward", "backward", "optimiser", "rest")
    ]
    assert all(int(share) >= 0 for share in shares.values())
    assert sum(map(int, shares.values())) == pytest.approx(100, abs=4)  # rounded
    assert "bottleneck: " in said.text
    with gzip.open(tmp_path / TRACE_NAME) as file:
        names = {event.get("name") for event in json.load(file)["traceEvents"]}
    assert {"forward", "views"} <= names


def test_the_operations_are_those_of_the_layers(said, tmp_path):
    limits = Limits(max_steps=PROFILE_STEPS)
    fit(seeded(PixelMean), NoiseLoader(), run=tmp_path, limits=limits, profile=True)
    # forward and the gradient of the weights; the image needs none
    pixels = 2 * 22 * 22
    operations = 2 * (2 * pixels * 4 * 3 * 3 * 3)
    assert f"{operations / 1e9:.2f} GFLOP a step" in said.text


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


def test_too_short_a_training_says_how_long_it_has_to_be(said, tmp_path):
    limits = Limits(max_steps=12)  # ends while a trace is open
    fit(small_iic(), NoiseLoader(), run=tmp_path, limits=limits, profile=True)
    assert f"give --max-steps {PROFILE_STEPS} or more" in said.text
    assert not (tmp_path / TRACE_NAME).exists()


def costs(**seconds: float) -> StepCosts:
    parts = dict.fromkeys(("loading", "views", "forward", "backward"), 0.1) | seconds
    return StepCosts(8, sum(parts.values()), parts, 1e9, 2e9, 2**30)


def test_the_bottleneck_is_what_takes_longest():
    assert "--loader-workers" in costs(loading=3.0).bottleneck()
    assert costs(backward=0.3).bottleneck().startswith("backward; the network keeps")
    assert costs(forward=3.0).bottleneck().startswith("forward; the device computes b")


def test_a_matrix_product_has_a_rate():
    assert 1e8 < matrix_rate(torch.device("cpu"), torch.float32) < 1e14
