"""Calibration, thresholds and smoothing radii."""

import numpy as np
import pytest

from geoseg.core.errors import ParameterError, ShapeError
from geoseg.model.decisions import (
    BINS,
    Decision,
    Smoothing,
    calibrated,
    fit_decision,
    histogram,
)


def drawn(slope: float, offset: float, pixels: int = 400_000, seed: int = 0):
    """Scores, and classes drawn from the probabilities of a known calibration."""
    rng = np.random.default_rng(seed)
    scores = rng.beta(1.2, 4, pixels)
    classes = rng.random(pixels) < calibrated(scores, slope, offset)
    return scores.astype(np.float32), classes.astype(np.uint8)


@pytest.mark.parametrize(("slope", "offset"), [(1.0, 0.0), (1.7, 0.9), (0.4, -1.0)])
def test_a_known_calibration_is_found(slope: float, offset: float) -> None:
    found = fit_decision(histogram(*drawn(slope, offset)), "accuracy")
    assert found.slope == pytest.approx(slope, abs=0.03)
    assert found.offset == pytest.approx(offset, abs=0.05)
    assert found.threshold == 0.5


def test_probabilities_are_the_shares_of_building() -> None:
    scores, classes = drawn(2.0, 1.0)
    decision = fit_decision(histogram(scores, classes), "f1")
    planes = np.stack((1 - scores, scores))
    building = decision.probabilities(planes, (0.8, 0.2))[1]
    for low in np.arange(0, 1, 0.1):
        here = (building >= low) & (building < low + 0.1)
        assert classes[here].mean() == pytest.approx(building[here].mean(), abs=0.02)


def test_the_threshold_has_the_best_f1_of_all() -> None:
    scores, classes = drawn(1.5, 0.5, pixels=20_000)
    decision = fit_decision(histogram(scores, classes), "f1")
    building = decision.probabilities(np.stack((1 - scores, scores)), (0.8, 0.2))[1]

    def f1(above: np.ndarray) -> float:
        return float(2 * (above & (classes == 1)).sum() / (above.sum() + classes.sum()))

    found = f1(building > np.float32(decision.threshold))
    others = [f1(scores >= (b - 0.5) / BINS) for b in range(BINS + 1)]
    assert found >= max(others) - 2e-3


def test_scores_that_tell_nothing_stay_in_order_and_have_the_mean() -> None:
    rng = np.random.default_rng(0)
    scores = rng.random(50_000).astype(np.float32)
    classes = (rng.random(50_000) < 0.1 + 0.1 * (1 - scores)).astype(np.uint8)
    decision = fit_decision(histogram(scores, classes), "accuracy")
    building = decision.probabilities(np.stack((1 - scores, scores)), (0.9, 0.1))[1]
    assert building.mean() == pytest.approx(classes.mean(), abs=0.01)
    order = np.argsort(scores)
    assert (np.diff(building[order]) >= 0).all()


def test_scores_that_separate_the_classes_stay_finite() -> None:
    counts = np.zeros((BINS, 2), np.int64)
    counts[100, 0], counts[900, 1] = 10**9, 10**7
    decision = fit_decision(counts, "f1")
    assert np.isfinite([decision.slope, decision.offset, decision.threshold]).all()
    planes = np.array([[0.9, 0.1], [0.1, 0.9]], np.float32)
    building = decision.probabilities(planes, (0.99, 0.01))[1]
    assert (building > decision.threshold).tolist() == [False, True]


def test_0_and_1_stay_and_no_data_stays_0() -> None:
    planes = np.array([[0, 1, 0], [1, 0, 0]], np.float32)
    found = Decision(1.7, 0.9, 0.3).probabilities(planes, (0.7, 0.3))
    assert found.tolist() == [[0, 1, 0], [1, 0, 0]]


def test_rare_classes_are_lifted_by_their_prior() -> None:
    planes = np.array([0.6, 0.3, 0.1], np.float32)[:, None]
    found = Decision(prior_power=1.0).probabilities(planes, (0.9, 0.09, 0.01))
    np.testing.assert_allclose(found[:, 0], np.array([2, 10, 30]) / 42, rtol=1e-5)
    same = Decision().probabilities(planes, (0.9, 0.09, 0.01))
    np.testing.assert_allclose(same, planes, rtol=1e-6)
    absent = Decision(prior_power=1.0).probabilities(planes, (1.0, 0.0, 0.0))
    np.testing.assert_allclose(absent, planes, rtol=1e-6)


def test_a_histogram_counts_every_pixel_once() -> None:
    scores = np.array([0, 0.00049, 0.5, 0.99999, 1], np.float32)
    counts = histogram(scores, np.array([0, 1, 1, 0, 1]))
    assert counts.sum() == 5
    assert np.argwhere(counts).tolist() == [
        [0, 0],
        [0, 1],
        [500, 1],
        [999, 0],
        [999, 1],
    ]


def test_wrong_counts_are_refused() -> None:
    with pytest.raises(ShapeError, match="expected"):
        fit_decision(np.zeros((10, 2), np.int64), "f1")
    with pytest.raises(ParameterError, match="one class"):
        fit_decision(np.ones((BINS, 1), np.int64) * [[1, 0]], "f1")


@pytest.mark.parametrize(
    ("gsd_m", "radius"), [(0.3, 6), (0.13, 14), (None, 6), (30.0, 1), (0.001, 64)]
)
def test_the_radius_follows_the_ground_sampling_distance(gsd_m, radius) -> None:
    assert Smoothing.of_gsd(gsd_m).radius == radius


def test_the_radius_is_rescaled_for_other_images() -> None:
    assert Smoothing(6).rescaled(0.3 / 0.13).radius == 14
    assert Smoothing(6).rescaled(0.01).radius == 1
