"""Tests of geoseg.report.verdict: what a page and the end of a command say."""

from dataclasses import replace

import numpy as np
import pytest

from geoseg.leaderboard.plan import Job, Row
from geoseg.leaderboard.results import Line, compared
from geoseg.leaderboard.trial_files import Trial
from geoseg.leaderboard.verdict import sentences
from geoseg.report.contents import Contents
from geoseg.report.page import report_text
from geoseg.report.verdict import Maker, verdict
from geoseg.scores.metrics import PolygonCounts
from geoseg.scores.scores import (
    EVERYTHING_NAME,
    Scores,
    TileCounts,
    constant_controls,
    majority_scores,
)


def scores(hits, name="iic (over, K=24)", outlines=None, **changes) -> Scores:
    """Return scores of tiles of 100 building pixels and 100 houses, some of them found."""
    outlines = hits if outlines is None else outlines
    tiles = tuple(
        TileCounts(
            f"tile{n}",
            np.array([[880, 20], [100 - h, h]]),
            PolygonCounts(o, 20, 100 - o),
        )
        for n, (h, o) in enumerate(zip(hits, outlines, strict=True))
    )
    return Scores(name, ("background", "building"), tiles, **changes)


def control(hits, name="k", outlines=None) -> Scores:
    return scores(hits, name, outlines, role="control")


GOOD, BAD = (60, 70, 65, 62), (30, 45, 35, 33)


def test_better_is_said_with_both_scores_and_their_differences():
    judged = verdict([scores(GOOD), control(BAD)], Maker("iic"))
    assert judged.standing == "better"
    assert "mapped with IoU 0.54 (95 % interval" in judged.sentence
    assert "and footprint F1 0.70 (95 % interval" in judged.sentence
    assert judged.comparison.startswith(
        "That is better than k by IoU (0.30; difference"
    )
    assert "and is better than k by footprint F1 (0.46; difference" in judged.comparison


def test_nothing_is_better_while_the_other_score_says_the_opposite():
    one = [scores(GOOD, outlines=BAD), control(BAD, outlines=GOOD)]
    other = [scores(BAD, outlines=GOOD), control(GOOD, outlines=BAD)]
    for entries in (one, other):
        judged = verdict(entries, Maker("iic"))
        assert judged.standing == "mixed"
        assert ", but is " in judged.comparison
        assert "better than" in judged.comparison and "worse than" in judged.comparison
        assert judged.advice == ""


def test_an_undecided_score_does_not_stop_the_other():
    judged = verdict(
        [scores(GOOD, outlines=GOOD), control(BAD, outlines=(20, 99, 60, 80))]
    )
    assert judged.standing == "better"
    assert "may be chance" in judged.comparison


def test_each_score_stands_against_the_control_that_is_best_in_it():
    pixels = control((50, 60, 55, 50), "matched for F1", outlines=(5, 5, 5, 5))
    houses = control(
        (20, 25, 22, 20), "matched for accuracy", outlines=(80, 85, 82, 80)
    )
    judged = verdict([scores(GOOD), pixels, houses])
    assert "matched for F1, the best of 2 controls, by IoU" in judged.comparison
    assert "worse than matched for accuracy by footprint F1" in judged.comparison
    assert judged.standing == "mixed"


def test_open_and_worse_follow_the_paired_interval():
    worse = verdict([scores(BAD), control(GOOD)])
    assert worse.standing == "worse" and "That is worse than" in worse.comparison
    unclear = verdict([scores(GOOD), control((30, 90, 65, 70))])
    assert unclear.standing == "open" and "may be chance" in unclear.comparison


def test_what_is_worse_than_its_control_is_advised_the_same_on_every_page():
    worse = [scores(BAD), control(GOOD)]
    iic = Maker("iic")
    said = str(verdict(worse, iic))
    assert "That is worse than" in said and "\n" not in said
    advice = "Try --preset colors, or train longer (--max-steps)."
    assert said.endswith(f" {advice}")
    page = report_text(Contents(title="t", subtitle="s", entries=worse, maker=iic))
    assert f"<p>{advice}</p>" in page
    learned = verdict(worse, Maker("probe", learned=True, steps=False))
    assert learned.advice == "Label more tiles (--match-tiles)."
    better = [scores(GOOD), control(BAD)]
    for entries, maker in (
        (worse, None),
        (worse, Maker("color_kmeans")),
        (better, iic),
    ):
        assert verdict(entries, maker).advice == ""


def test_advice_on_a_model_knows_its_head(bright_model):
    assert Maker.of(bright_model()) == Maker("color_kmeans", False, False)


def test_the_verdict_calls_equal_what_is_equal():
    own = scores(BAD)
    same = verdict([own, replace(own, name="k", role="control")])
    assert same.comparison == (
        "That equals k by IoU (0.30), and equals k by footprint F1 (0.46)."
    )
    assert same.standing == "open"
    near = verdict([own, control((29, 45, 35, 33))])
    assert "That is about equal to k by IoU (0.30; difference" in near.comparison


def test_the_verdict_knows_one_tile_and_no_building():
    one, other = scores((60,)), control((30,))
    said = verdict([one, other]).comparison
    assert "That cannot be told from k by IoU by one tile (0.25; difference" in said
    empty = Scores("x", ("a", "b"), (TileCounts("t", np.diag([9, 0])),))
    assert "no building" in verdict([empty, *constant_controls(empty)]).sentence


def test_constant_maps_are_no_controls_to_speak_of():
    own = scores(BAD)
    constants = constant_controls(own)
    assert [entry.name for entry in constants] == ["majority", EVERYTHING_NAME]
    everything = constants[1]
    assert everything.confusions.sum(0).tolist() == [[0, 3600], [0, 400]]
    assert everything.metrics()["iou"].value == pytest.approx(0.1)
    assert everything.polygons is None  # one footprint: the tile
    built = Scores("x", ("a", "b"), (TileCounts("t", np.diag([1, 9])),))
    assert [entry.name for entry in constant_controls(built)] == ["majority"]

    alone = "Only constant maps were scored beside it, so the number says little"
    colours = verdict([own, *constants], Maker("color_kmeans"))
    assert colours.comparison == f"{alone}." and colours.standing == "alone"
    network = verdict([own, *constants], Maker("iic")).comparison
    assert network.startswith(f"{alone}: what colour")


def test_tiles_that_may_have_been_trained_on_are_not_called_test_tiles():
    entries = [scores(GOOD), control(BAD)]
    assert str(verdict(entries, Maker("iic"))).startswith(
        "On 4 test tiles the buildings"
    )
    assert str(verdict(entries)).startswith("On 4 tiles the buildings")


def several(roads=0, name="iic (over)", role="model") -> Scores:
    """Return scores of three tiles with background, building and road."""
    table = np.array([[500, 20, 5], [40, 60, 0], [60 - roads, 0, roads]])
    tiles = tuple(TileCounts(f"tile{n}", table) for n in range(3))
    return Scores(name, ("background", "building", "road"), tiles, role=role)


def test_the_verdict_of_several_classes_is_of_all_and_names_those_not_found():
    own = several()
    sentence = verdict([own, majority_scores(own)]).sentence
    mean = own.metrics()["mean_iou"].value
    assert f"the 3 classes are mapped with mean IoU {mean:.2f}" in sentence
    assert sentence.endswith("Not found: road (IoU 0.00).")
    better = several(roads=30)
    assert "Not found" not in verdict([better]).sentence
    gain = better.metrics()["mean_iou"].value - mean
    rival = several(name="k", role="control")
    said = verdict([better, rival]).comparison
    assert said.startswith(f"That is better than k ({mean:.2f}; difference +{gain:.2f}")
    assert "footprint" not in said


def line(entries: Scores, method: str, *more: Scores) -> Line:
    """Return a row of the leaderboard whose seeds have the scores."""
    trials = [
        Trial(
            Job(Row(method), 0, seed),
            None,
            run,
            np.array([[[15, 10], [5, 70]]] * len(run.tiles)),
            np.array((60, 40)),
            {"learns_from_labels": method == "supervised", "steps": 3},
            {},
        )
        for seed, run in enumerate((entries, *more))
    ]
    return Line(Row(method), trials)


def test_the_leaderboard_says_of_the_same_numbers_what_a_page_says():
    own, rival = scores(GOOD), control(BAD, "color_kmeans")
    free, controls = sentences(
        compared([line(own, "iic"), line(rival, "color_kmeans")])
    )
    assert free.endswith(verdict([own, rival]).comparison)
    assert "of the controls, color_kmeans alone was run" in controls.lower()


def test_the_leaderboard_weighs_both_scores_and_the_spread_over_runs():
    own = [scores(GOOD), scores(GOOD)]
    rivals = [control(BAD, "r"), control((59, 69, 64, 61), "r")]
    said = sentences([line(own[0], "iic", own[1]), line(rivals[0], "picie", rivals[1])])
    assert len(said) == 1
    assert "iic won with IoU" in said[0] and "spread over 2 runs" in said[0]
    # by +0.24 and +0.01: less than their spread apart
    assert "it is higher than picie by IoU" in said[0] and "may be chance" in said[0]
    steady = sentences(
        [line(own[0], "iic", own[1]), line(rivals[0], "picie", rivals[0])]
    )
    assert "it is better than picie by IoU" in steady[0]


def test_methods_that_learn_from_labels_do_not_compete_with_others():
    taught = line(scores((90, 91, 92, 93)), "supervised")
    rows = [line(scores(GOOD), "iic"), taught, line(control(BAD), "color_kmeans")]
    free, reference, controls = sentences(rows)
    assert "supervised" not in free
    assert reference.startswith(
        "Of the references, which learn from labels, supervised"
    )
    assert "better than color_kmeans by IoU" in reference
