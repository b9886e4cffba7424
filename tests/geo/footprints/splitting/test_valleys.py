"""Valleys of scores: found where two buildings are, whatever is around them."""

import numpy as np
import pytest

from geoseg.geo.footprints.pixel_runs import PixelRuns, ScoredRuns, levels_of, runs_of
from geoseg.geo.footprints.splitting.valleys import (
    find_valleys,
    may_have_valley,
    relief_of,
)
from geoseg.geo.rasters.strips import ClassStrip


def pixels(score: np.ndarray) -> ScoredRuns:
    """Make an object of the pixels that have a score."""
    score = np.asarray(score, dtype=np.float32)
    strip = ClassStrip(0, (score > 0).astype(np.uint8), score)
    return ScoredRuns(*runs_of(strip), levels_of(strip))


def valleys(
    found: ScoredRuns, pixel_m: float, *, min_area_m2: float
) -> list[np.ndarray]:
    return find_valleys(relief_of(found, pixel_m), min_area_m2 / pixel_m**2)


def hills(shape: tuple[int, int], *peaks: tuple[float, float]) -> np.ndarray:
    """Scores that fall from 1 at peaks (row, column) by .05 a pixel, to .5."""
    row, column = np.indices(shape)
    away = [np.hypot(row - r, column - c) for r, c in peaks]
    return np.maximum(1 - 0.05 * np.min(away, axis=0), 0.5)


def test_the_valley_between_two_peaks_lies_halfway() -> None:
    (points,) = valleys(pixels(hills((11, 31), (5, 5), (5, 25))), 1, min_area_m2=9)
    assert {it + 0.5 for it in range(11)} <= set(points[:, 1].tolist())
    assert points[:, 0] == pytest.approx(15.5, abs=1)


def test_three_peaks_have_two_valleys_that_of_the_lowest_pass_first() -> None:
    score = hills((9, 51), (4, 4), (4, 21), (4, 46))
    lines = valleys(pixels(score), 1, min_area_m2=9)
    assert [line[:, 0].mean() for line in lines] == pytest.approx([34, 13], abs=1)


def test_scores_that_are_the_same_everywhere_or_rise_to_one_peak_have_no_valley() -> (
    None
):
    flat = pixels(np.full((20, 40), 0.7))
    assert not may_have_valley(flat) and valleys(flat, 1, min_area_m2=9) == []
    hill = pixels(hills((20, 40), (9, 9)))
    assert may_have_valley(hill) and valleys(hill, 1, min_area_m2=9) == []


def test_noise_has_no_valley() -> None:
    rng = np.random.default_rng(0)
    score = np.clip(rng.normal(0.75, 0.1, (60, 60)), 0.5, 1)
    assert valleys(pixels(score), 0.3, min_area_m2=9) == []


def test_what_is_too_small_is_no_building() -> None:
    score = hills((11, 45), (5, 3), (5, 15))  # 99 and 396 pixels
    assert len(valleys(pixels(score), 1, min_area_m2=85)) == 1
    assert valleys(pixels(score), 1, min_area_m2=115) == []


def test_the_place_of_an_object_does_not_matter_but_by_cells() -> None:
    found = pixels(hills((20, 60), (10, 10), (10, 48)))
    runs = found.runs
    moved = PixelRuns(runs.row + 40, runs.start + 80, runs.stop + 80, runs.class_id)
    (here,) = valleys(found, 0.3, min_area_m2=2)
    (there,) = valleys(found._replace(runs=moved), 0.3, min_area_m2=2)
    np.testing.assert_allclose(there, here + [80, 40])


def test_the_relief_is_the_smoothed_score_on_the_object_and_nothing_beside_it() -> None:
    score = np.zeros((6, 10))
    score[2:4, 3:9] = 0.8
    relief = relief_of(pixels(score), 1)
    points = np.array([(3.5, 2.5), (8.9, 3.9), (2.9, 2.5), (5, 5)], dtype=np.float64)
    assert relief.at(points) == pytest.approx([0.8, 0.8, 0, 0], abs=1 / 255)
