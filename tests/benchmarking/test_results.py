from pathlib import Path

import numpy as np

from geoseg.benchmarking.plan import Job, Row
from geoseg.benchmarking.results import MAJORITY, Line, Trial, majority_trials
from geoseg.geo.scores import Scores, TileCounts
from geoseg.metrics import PolygonCounts

#: Clusters × classes of the one test tile: 20 pixels of background, 80 of building.
TEST = np.array([[[15, 10], [5, 70]]])


def trial(split, matched):
    tile = TileCounts("a", np.array([[15, 5], [10, 70]]), PolygonCounts(3, 1, 2))
    return Trial(
        Job(Row("iic"), split, 0),
        Path(),
        Scores("iic", ("background", "building"), (tile,)),
        TEST,
        np.array(matched),
        {},
        {},
    )


def test_the_majority_is_that_of_the_matching_tiles_of_each_split():
    empty, full = majority_trials([trial(0, (60, 40)), trial(1, (40, 60))])
    assert empty.scores.confusions.tolist() == [[[20, 0], [80, 0]]]
    assert empty.scores.tiles[0].polygons == PolygonCounts(0, 0, 5)
    assert full.scores.confusions.tolist() == [[[0, 20], [0, 80]]]
    assert full.scores.tiles[0].polygons is None
    assert [one.job for one in (empty, full)] == [
        *(Job(MAJORITY, 0, 0), Job(MAJORITY, 1, 0)),
    ]
    accuracy = Line(MAJORITY, [empty, full]).summaries["accuracy"]
    assert accuracy.values == (0.2, 0.8)


def test_the_majority_is_one_cluster_and_tells_nothing_of_the_classes():
    (found,) = majority_trials([trial(0, (60, 40))])
    assert found.tables.tolist() == [[[20, 80]]]
    assert Line(MAJORITY, [found]).summaries["ami"].mean == 0
