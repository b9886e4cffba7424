import csv

import pytest
import torch
from cases import NoiseLoader, small_iic

from geoseg.core.run_files import METRICS_NAME
from geoseg.methods import build_method
from geoseg.methods.bases.method import StepOutput
from geoseg.training.collapse import (
    GRACE_STEPS,
    SMALL_STEPS,
    UNSURE_STEPS,
    CollapseWatch,
)
from geoseg.training.engine import fit
from geoseg.training.limits import Limits


def steps_until_alarm(entropy: float, confidence: float, clusters: int = 24) -> int:
    watch = CollapseWatch(clusters)
    for step in range(1, 1001):
        if watch.see(entropy, confidence) is not None:
            return step
    return 0


def test_one_cluster_for_all_is_noticed_when_it_lasts():
    assert steps_until_alarm(entropy=0.1, confidence=1.0) == GRACE_STEPS + SMALL_STEPS


def test_probabilities_that_stay_even_are_noticed_later():
    found = steps_until_alarm(entropy=1.0, confidence=1 / 24)
    assert found == GRACE_STEPS + UNSURE_STEPS


def test_a_healthy_head_is_left_alone():
    # entropy and confidence of runs on real tiles, at their lowest
    assert steps_until_alarm(entropy=0.8, confidence=0.1) == 0


def test_a_bad_phase_that_ends_is_forgotten():
    watch = CollapseWatch(24)
    for _ in range(3):
        for entropy in (0.0, 0.9):
            for _ in range(SMALL_STEPS):
                assert watch.see(entropy, 0.9) is None


def rows(run) -> list[dict[str, str]]:
    with (run / METRICS_NAME).open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture
def collapsing():
    """Without λ, the information is largest where all pixels share a cluster."""
    return small_iic(lam_main=0.0, lam_over=0.0, learning_rate=0.1, schedule="joint")


@pytest.mark.slow
def test_a_training_that_collapses_ends_with_advice(collapsing, tmp_path):
    limits = Limits(max_steps=500)
    result = fit(collapsing, NoiseLoader(), run=tmp_path, limits=limits)
    assert result.steps < 300
    assert not result.interrupted
    assert f"stopped at step {result.steps}, for head over has c" in result.collapse
    assert "-p lam_over=1.5, -p learning_rate=0.03" in result.collapse
    assert "-p over_clusters=10" in result.collapse
    assert float(rows(tmp_path)[-1]["entropy"]) < 0.2
    # resumed, it ends again at once, unless that is switched off
    options = {"run": tmp_path, "limits": Limits(max_steps=result.steps + 5)}
    again = fit(collapsing, NoiseLoader(), resume=True, **options)
    assert again.collapse and again.steps == result.steps + 1
    on = fit(collapsing, NoiseLoader(), resume=True, stop_on_collapse=False, **options)
    assert on.collapse is None
    assert on.steps == result.steps + 5


@pytest.mark.slow
def test_a_training_that_goes_well_is_not_stopped(tmp_path):
    result = fit(
        small_iic(learning_rate=0.01),
        NoiseLoader(),
        run=tmp_path,
        limits=Limits(max_steps=220),
    )
    assert result.collapse is None
    assert result.steps == 220


def test_the_collapse_of_another_head_does_not_end_the_training(tmp_path):
    method = small_iic()

    def step(batch, context):
        weight = next(method.parameters())
        logs = {"entropy": torch.tensor(0.0), "confidence": torch.tensor(1.0)}
        return StepOutput(weight.sum(), logs, {"main": torch.tensor([1.0, 0.0, 0.0])})

    method.training_step = step
    limits = Limits(max_steps=GRACE_STEPS + SMALL_STEPS + 10)
    result = fit(method, NoiseLoader(), run=tmp_path, limits=limits)
    assert result.collapse is None
    assert result.steps == limits.max_steps


def test_a_head_of_classes_may_give_nearly_all_pixels_to_one(tmp_path):
    method = build_method("supervised", 3, {"width": 2})

    def step(batch, context):
        weight = next(method.parameters())
        logs = {"entropy": torch.tensor(0.0), "confidence": torch.tensor(1.0)}
        return StepOutput(weight.sum(), logs, {"classes": torch.tensor([1.0, 0.0])})

    method.training_step = step
    limits = Limits(max_steps=GRACE_STEPS + SMALL_STEPS + 10)
    result = fit(method, NoiseLoader(), run=tmp_path, limits=limits)
    assert result.collapse is None
    assert result.steps == limits.max_steps
