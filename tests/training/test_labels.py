"""Trainings that learn from labels: they resume, and in several processes equal one."""

import pytest
import torch
from cases import (
    LabelledLoader,
    PlainSemiSupervised,
    PlainSupervised,
    four_labelled_patches,
    seeded,
)

from geoseg.methods import build_method
from geoseg.training import Limits, fit, fit_on_devices

SMALL = {"width": 2, "over_clusters": 5, "half_width": 2, "decay": 0.8}


def train(run, steps: int, resume: bool = False):
    run.mkdir(exist_ok=True)
    parameters = {**SMALL, "balance": "inverse"}
    method = build_method("semisup", 3, parameters, seed=2)
    limits = Limits(max_steps=steps)
    fit(method, LabelledLoader(), run=run, limits=limits, seed=3, resume=resume)
    return method.state_dict()


def test_a_resume_within_an_epoch_goes_on_with_the_same_teacher(tmp_path):
    whole = train(tmp_path / "whole", steps=8)
    half = train(tmp_path / "parts", steps=3)
    parts = train(tmp_path / "parts", steps=8, resume=True)
    assert all(torch.equal(parts[name], whole[name]) for name in whole)
    assert int(half["steps"]) == 3 and int(parts["steps"]) == 8
    assert not all(torch.equal(half[name], whole[name]) for name in whole)


def test_a_resume_with_no_step_left_changes_nothing(tmp_path):
    once = train(tmp_path, steps=3)
    again = train(tmp_path, steps=3, resume=True)
    assert all(torch.equal(again[name], once[name]) for name in once)


@pytest.mark.slow
@pytest.mark.parametrize("make", [PlainSupervised, PlainSemiSupervised])
def test_two_processes_learn_what_one_learns_from_the_union(make, tmp_path):
    options = {"limits": Limits(max_steps=7), "seed": 3}
    one, two = seeded(make), seeded(make)
    before = {name: tensor.clone() for name, tensor in one.state_dict().items()}
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    fit(one, four_labelled_patches(0, 1), run=tmp_path / "one", **options)
    fit_on_devices(
        two, four_labelled_patches, devices=2, run=tmp_path / "two", **options
    )
    found, expected = two.state_dict(), one.state_dict()
    assert [n for n in expected if not torch.allclose(expected[n], before[n])]
    for name in expected:
        torch.testing.assert_close(found[name], expected[name], rtol=1e-4, atol=1e-6)
