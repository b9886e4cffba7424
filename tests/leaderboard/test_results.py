import csv
import io
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from geoseg.leaderboard.page import Gallery, write_page
from geoseg.leaderboard.plan import Job, Row
from geoseg.leaderboard.results import MAJORITY, Line, compared, majority_trials
from geoseg.leaderboard.tables import Board, csv_text, row_name, summary
from geoseg.leaderboard.trial_files import Trial
from geoseg.leaderboard.verdict import sentence, winners
from geoseg.scores.documents import WIDTH
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


def board_of(text):
    """Return a board with two runs of iic, whose free texts are all the same."""
    runs = [trial(split, (60, 40), hits=70 - split) for split in range(2)]
    both = [Line(Row("iic"), runs), Line(MAJORITY, majority_trials(runs))]
    return Board(
        title=text,
        budget={text: text},
        lines=compared(both),
        command=text,
        notes=[text],
        failures={text: text},
        left=1,
    )


class Elements(HTMLParser):
    """The elements of a page with their attributes, and its text."""

    def __init__(self, path):
        super().__init__()
        self.elements, self.text = [], ""
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, attrs))

    def handle_data(self, data):
        self.text += data


@pytest.mark.parametrize("name", ["<script>x</script>", '"><img src=x>', "{{ 1 }}"])
def test_no_text_changes_what_the_leaderboards_page_is_made_of(tmp_path, name):
    pages = []
    for text in ("tame", name):
        path = tmp_path / "leaderboard.html"
        write_page(path, board_of(text), Gallery([], "none"))
        pages.append(Elements(path))
    tame, wild = pages
    assert wild.elements == tame.elements
    assert wild.text.count(name) == tame.text.count("tame") >= 8


def test_the_leaderboards_page_has_scores_with_spread_and_star(tmp_path):
    write_page(tmp_path / "a.html", board_of("a"), Gallery([], "none"))
    text = (tmp_path / "a.html").read_text(encoding="utf-8")
    row = text[text.index('<th scope="row">iic ★</th>') :]
    score = board_of("a").lines[0].summaries["iou"]
    assert row.index(f"{score.mean:.3f}<small>± {score.spread:.3f}</small>") < 1000
    assert "nan" not in row


def test_csv_has_the_bare_numbers_of_every_row():
    board = board_of("a")
    for line, row in zip(
        board.lines, csv.DictReader(io.StringIO(csv_text(board))), strict=True
    ):
        assert row["name"] == line.row.name and row["runs"] == str(len(line.trials))
        assert float(row["iou"]) == line.summaries["iou"].mean
        assert row["training_seconds"] == ""  # not known


def test_the_summary_fits_the_terminal_and_says_what_failed():
    text = summary(board_of("a")).to_terminal()
    assert max(map(len, text.splitlines())) <= WIDTH
    assert "No run of a: a" in text and "**" not in text
