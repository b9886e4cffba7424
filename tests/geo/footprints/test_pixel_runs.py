"""Runs: all pixels of all classes, and which of them are near each other."""

import itertools

import hypothesis.extra.numpy as hnp
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from geoseg.geo.footprints.pixel_runs import SCORE_UNITS, meeting, near, runs_of
from geoseg.geo.rasters.strips import ClassStrip

masks = hnp.arrays(
    np.uint8,
    st.tuples(st.integers(1, 9), st.integers(1, 9)),
    elements=st.sampled_from([0, 0, 1, 1, 2, 255]),
)


def strip(classes: np.ndarray, row: int = 0) -> ClassStrip:
    score = np.random.default_rng(0).random(classes.shape, dtype=np.float32)
    return ClassStrip(row, classes, score)


@settings(deadline=None)
@given(masks)
def test_runs_hold_every_pixel_of_a_class_once_and_its_score(
    classes: np.ndarray,
) -> None:
    given_strip = strip(classes, row=7)
    runs, sums = runs_of(given_strip)
    drawn = np.zeros_like(classes)
    for row, start, stop, class_id, total in zip(*runs, sums, strict=True):
        assert not drawn[row - 7, start:stop].any()
        drawn[row - 7, start:stop] = class_id
        scores = given_strip.score[row - 7, start:stop].astype(np.float64)
        assert total == np.rint(scores * SCORE_UNITS).sum()
    np.testing.assert_array_equal(drawn, np.where(classes == 255, 0, classes))


def test_nothing_but_background_and_nodata_has_no_run() -> None:
    runs, sums = runs_of(strip(np.array([[0, 255], [0, 0]], dtype=np.uint8)))
    assert len(runs.row) == len(sums) == 0
    assert [len(it) for it in meeting(runs)] == [0, 0]


@settings(deadline=None)
@given(masks, st.integers(1, 4))
def test_all_pairs_that_are_near_are_found_with_their_distance(
    classes: np.ndarray, reach: int
) -> None:
    runs, _ = runs_of(strip(classes))
    numbers = np.arange(len(runs.row))
    expected = set()
    for a, b in itertools.combinations(numbers, 2):
        down = runs.row[b] - runs.row[a]
        across = min(
            abs(i - j)
            for i in range(runs.start[a], runs.stop[a])
            for j in range(runs.start[b], runs.stop[b])
        )
        if max(down, across) <= reach:
            apart = 0 if down + across == 1 else max(down, across)
            expected.add((a, b, apart))
    found = [tuple(it) for pairs in near(runs, numbers, reach) for it in zip(*pairs)]
    assert len(found) == len(set(found))
    assert set(found) == expected


def test_runs_of_one_owner_are_no_pair() -> None:
    runs, _ = runs_of(strip(np.array([[1, 0, 1], [1, 1, 1]], dtype=np.uint8)))
    assert not any(len(it[0]) for it in near(runs, np.zeros(3, dtype=np.int64), 2))
    assert np.stack(meeting(runs)).tolist() == [[0, 1], [2, 2]]
