"""Trainings that learn from labels resume."""

import torch
from cases import LabelledLoader

from geoseg.methods import build_method
from geoseg.training.engine import fit
from geoseg.training.limits import Limits

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
