from pathlib import Path

import numpy as np

from geoseg.leaderboard.plan import Job, Row
from geoseg.leaderboard.results import MAJORITY, Line, compared, majority_trials
from geoseg.leaderboard.tables import row_name
from geoseg.leaderboard.trial_files import Trial
from geoseg.leaderboard.verdict import sentence, winners
from geoseg.scores.metrics import PolygonCounts
from geoseg.scores.scores import Scores, TileCounts

#: Clusters × classes of the one test tile: 20 pixels of background, 80 of building.
TEST = np.array([[[15, 10], [5, 70]]])


def trial(split, matched, method="iic", hits=70):
    confusion = np.array([[15, 5], [80 - hits, hits]])
    tile = TileCounts("a", confusion, PolygonCounts(3, 1, 2))
    return Trial(
        Job(Row(method), split, 0),
        Path(),
        Scores("iic", ("background", "building"), (tile,)),
        TEST,
        np.array(matched),
        {"learns_from_labels": False, "steps": 3},
        {},
    )


def test_a_row_that_misses_runs_of_the_others_does_not_win():
    """Its one split may be the easy one."""
    whole = [trial(split, (60, 40), hits=hits) for split, hits in enumerate((75, 30))]
    easy = trial(0, (60, 40), "picie", 79)
    both = [Line(Row("iic"), whole), Line(Row("picie"), [easy])]
    first, second = compared(both)
    assert (first.missing, second.missing) == (0, 1)
    assert second.summaries["iou"].mean > first.summaries["iou"].mean
    assert winners([first, second]) == [first]
    assert "iic alone was run" in sentence([first, second])
    assert row_name(second) == "picie (misses 1 run of the others)"
    assert not any(line.missing for line in compared(both[:1]))


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
