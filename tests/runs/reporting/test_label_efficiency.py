"""Tests of geoseg.runs.reporting.label_efficiency."""

import math

import numpy as np
import pytest
import torch

from geoseg.core.errors import ParameterError
from geoseg.model.matching import match_clusters
from geoseg.runs.reporting.label_efficiency import label_efficiency
from geoseg.scores.metrics import iou


def tables(count, seed=0):
    """Cluster 0 is building on most tiles, cluster 1 never, cluster 2 on some."""
    random = np.random.default_rng(seed)
    found = np.zeros((count, 3, 2), dtype=np.int64)
    found[:, 0, 1] = random.integers(50, 100, count)
    found[:, 0, 0] = random.integers(0, 60, count)
    found[:, 1, 0] = 400
    found[:, 2] = random.integers(0, 80, (count, 2))
    return found


def test_all_tiles_score_as_the_matching_itself_does():
    matching, test = tables(8), tables(5, seed=1)
    last = label_efficiency(matching, test, objective="f1")[-1]
    fitted = match_clusters(matching, objective="f1")
    expected = float(iou(fitted.confusion(torch.from_numpy(test)).sum(0)))
    assert (last.tiles, last.draws, last.blind) == (8, 1, 0.0)
    assert last.mean == last.low == last.high == pytest.approx(expected)


def test_sizes_give_way_to_the_tiles_that_there_are():
    found = label_efficiency(tables(7), tables(3), objective="f1", draws=5)
    assert [point.tiles for point in found] == [1, 5, 7]
    assert [point.draws for point in found] == [5, 5, 1]


def test_more_labelled_tiles_score_better_and_spread_less():
    first, *_, last = label_efficiency(tables(60), tables(20, 1), objective="f1")
    assert first.mean < last.mean
    assert first.high - first.low > 0
    assert all(p.low <= p.mean <= p.high for p in (first, last))


def test_draws_without_a_building_count_as_empty_maps():
    matching = tables(4)
    matching[:3, :, 1] = 0
    found = label_efficiency(matching, tables(3), objective="f1", draws=400)[0]
    assert found.blind == pytest.approx(0.75, abs=0.1)
    assert found.low == 0.0


def test_equal_seeds_draw_equal_tiles():
    options = {"objective": "accuracy", "draws": 20}
    first, second, other = (
        label_efficiency(tables(20), tables(3, 1), seed=seed, **options)
        for seed in (1, 1, 2)
    )
    assert first == second != other


def test_no_tile_is_refused():
    with pytest.raises(ParameterError, match="0 matching tiles, 3 test tiles"):
        label_efficiency(tables(0), tables(3), objective="f1")


def test_without_a_building_on_the_test_tiles_a_point_can_be_undefined():
    matching = np.array([[[90, 0], [0, 10]]])
    test = np.array([[[100, 0], [0, 0]]])  # and the map finds none
    (point,) = label_efficiency(matching, test, objective="f1")
    assert math.isnan(point.mean) and math.isnan(point.low) and math.isnan(point.high)
    invented = label_efficiency(
        matching, np.array([[[90, 0], [10, 0]]]), objective="f1"
    )
    assert invented[0].mean == 0.0
