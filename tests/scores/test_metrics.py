"""Tests of geoseg.scores.metrics."""

import math

import numpy as np
import pytest

from geoseg.core.errors import ParameterError, ShapeError
from geoseg.scores import metrics

# 100 pixels, 30 of them building; 20 of those found, 10 invented
EXAMPLE = np.array([[60, 10], [10, 20]])


def test_scores_of_an_example_done_by_hand():
    assert metrics.accuracy(EXAMPLE) == pytest.approx(0.8)
    assert metrics.majority_accuracy(EXAMPLE) == pytest.approx(0.7)
    assert metrics.building_share(EXAMPLE) == pytest.approx(0.3)
    assert metrics.predicted_share(EXAMPLE) == pytest.approx(0.3)
    assert metrics.class_iou(EXAMPLE) == pytest.approx([60 / 80, 20 / 40])
    assert metrics.iou(EXAMPLE) == pytest.approx(0.5)
    assert metrics.mean_iou(EXAMPLE) == pytest.approx(0.625)
    assert metrics.precision(EXAMPLE) == pytest.approx(2 / 3)
    assert metrics.recall(EXAMPLE) == pytest.approx(2 / 3)
    assert metrics.f1(EXAMPLE) == pytest.approx(2 / 3)
    assert metrics.balanced_accuracy(EXAMPLE) == pytest.approx((6 / 7 + 2 / 3) / 2)
    # chance agreement .7² + .3² = .58
    assert metrics.kappa(EXAMPLE) == pytest.approx((0.8 - 0.58) / 0.42)


def test_rows_are_the_reference():
    missed = np.array([[5, 0], [3, 2]])  # three building pixels called background
    assert metrics.precision(missed) == 1.0
    assert metrics.recall(missed) == pytest.approx(0.4)
    assert metrics.building_share(missed) == pytest.approx(0.5)
    assert metrics.predicted_share(missed) == pytest.approx(0.2)


@pytest.mark.parametrize("name", metrics.PIXEL_METRICS)
def test_scores_of_a_stack_are_those_of_its_matrices(name):
    metric = metrics.PIXEL_METRICS[name]
    stack = np.random.default_rng(0).integers(1, 30, (2, 4, 3, 3))
    scores = metric(stack)
    assert scores.shape == (2, 4)
    for index in np.ndindex(2, 4):
        assert scores[index] == pytest.approx(float(metric(stack[index])))


def test_f1_and_iou_of_a_class_are_bound_to_each_other():
    confusion = np.random.default_rng(1).integers(1, 99, (5, 2, 2))
    iou = metrics.iou(confusion)
    assert metrics.f1(confusion) == pytest.approx(2 * iou / (1 + iou))


def test_a_class_never_predicted_scores_zero_and_has_no_precision():
    confusion = np.array([[70, 0], [30, 0]])
    assert metrics.iou(confusion) == 0.0
    assert metrics.f1(confusion) == 0.0
    assert metrics.recall(confusion) == 0.0
    assert math.isnan(metrics.precision(confusion))
    assert metrics.kappa(confusion) == pytest.approx(0.0)
    assert metrics.balanced_accuracy(confusion) == pytest.approx(0.5)


def test_a_class_that_is_nowhere_has_no_score_and_does_not_weigh_in_means():
    confusion = np.array([[10, 0], [0, 0]])
    assert math.isnan(metrics.iou(confusion))
    assert math.isnan(metrics.f1(confusion))
    assert math.isnan(metrics.recall(confusion))
    assert math.isnan(metrics.kappa(confusion))
    assert metrics.mean_iou(confusion) == 1.0
    assert metrics.balanced_accuracy(confusion) == 1.0


@pytest.mark.parametrize("name", metrics.PIXEL_METRICS)
def test_no_pixel_means_no_score(name):
    assert math.isnan(metrics.PIXEL_METRICS[name](np.zeros((2, 2), dtype=int)))


@pytest.mark.parametrize("name", metrics.PIXEL_METRICS)
def test_matrices_that_are_not_square_are_refused(name):
    with pytest.raises(ShapeError, match=r"expected \(\.\.\., C, C\)"):
        metrics.PIXEL_METRICS[name](np.ones((2, 3)))


def test_polygon_scores_of_an_example_done_by_hand():
    counts = np.array([6, 2, 4])
    assert metrics.polygon_precision(counts) == pytest.approx(6 / 8)
    assert metrics.polygon_recall(counts) == pytest.approx(6 / 10)
    assert metrics.polygon_f1(counts) == pytest.approx(12 / 18)


def test_polygon_scores_without_polygons_are_undefined():
    assert math.isnan(metrics.polygon_f1(np.array([0, 0, 0])))
    assert metrics.polygon_f1(np.array([0, 0, 3])) == 0.0
    assert math.isnan(metrics.polygon_precision(np.array([0, 0, 3])))


def test_interval_of_equal_tiles_is_a_point():
    tiles = np.stack([EXAMPLE] * 5)
    interval = metrics.bootstrap_interval(tiles, metrics.iou)
    assert interval == pytest.approx((0.5, 0.5, 0.5))


def test_interval_is_that_of_an_explicit_loop_over_resamples():
    tiles = np.random.default_rng(2).integers(1, 50, (6, 2, 2))
    found = metrics.bootstrap_interval(tiles, metrics.f1, samples=4000, seed=1)
    rng = np.random.default_rng(99)
    scores = []
    for _ in range(4000):
        total = sum(tiles[i] for i in rng.integers(0, 6, 6))
        scores.append(2 * total[1, 1] / (total[1].sum() + total[:, 1].sum()))
    low, high = np.quantile(scores, [0.025, 0.975])
    assert found.value == pytest.approx(float(metrics.f1(tiles.sum(0))))
    # other draws, so equal up to the noise of 4000 resamples
    assert found.low == pytest.approx(low, abs=0.01)
    assert found.high == pytest.approx(high, abs=0.01)


def test_interval_repeats_with_its_seed_and_grows_with_its_level():
    tiles = np.random.default_rng(3).integers(1, 50, (9, 2, 2))
    narrow = metrics.bootstrap_interval(tiles, metrics.iou, seed=4, level=0.5)
    wide = metrics.bootstrap_interval(tiles, metrics.iou, seed=4, level=0.95)
    assert narrow == metrics.bootstrap_interval(tiles, metrics.iou, seed=4, level=0.5)
    assert wide.low < narrow.low < narrow.value < narrow.high < wide.high


def test_one_tile_has_no_interval():
    value, low, high = metrics.bootstrap_interval(EXAMPLE[None], metrics.iou)
    assert value == 0.5 and math.isnan(low) and math.isnan(high)


def test_resamples_without_a_score_are_left_out():
    empty = np.array([[10, 0], [0, 0]])
    interval = metrics.bootstrap_interval(np.stack([empty, EXAMPLE]), metrics.iou)
    assert interval == pytest.approx((0.5, 0.5, 0.5))


def test_an_undefined_score_has_an_undefined_interval():
    empty = np.array([[10, 0], [0, 0]])
    interval = metrics.bootstrap_interval(np.stack([empty, empty]), metrics.iou)
    assert all(math.isnan(number) for number in interval)


def test_options_and_shapes_without_meaning_are_refused():
    tiles = EXAMPLE[None]
    with pytest.raises(ParameterError, match="samples is 0"):
        metrics.bootstrap_interval(tiles, metrics.iou, samples=0)
    with pytest.raises(ParameterError, match="level is 95"):
        metrics.bootstrap_interval(tiles, metrics.iou, level=95)
    with pytest.raises(ShapeError, match="one tile at least"):
        metrics.bootstrap_interval(np.empty((0, 2, 2)), metrics.iou)


def test_json_has_no_nan():
    assert metrics.to_json(math.nan) is None
    assert metrics.to_json(np.float64(0.5)) == 0.5
