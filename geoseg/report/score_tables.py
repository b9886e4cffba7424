"""The scores of a page: one table for two classes; for more, all classes and each."""

from typing import NamedTuple

from geoseg.core.words import counted
from geoseg.report.contents import Contents
from geoseg.scores.documents import Table
from geoseg.scores.scores import Scores
from geoseg.scores.tables import SPARSE_NOTE, score_tables

#: When a footprint counts as found.
FOUND_NOTE = (
    "A footprint counts as found when its IoU with one of the reference is at least one "
    "half."
)


class ScoreBlock(NamedTuple):
    """A table with the heading above and the note below, either of which may be empty."""

    heading: str
    table: Table
    note: str


def score_blocks(contents: Contents) -> list[ScoreBlock]:
    """Return the tables of scores; the numbers are those of scores.json."""
    first = contents.entries[0]
    table, *others = score_tables(contents.entries, seed=contents.seed)
    if not others:
        return [ScoreBlock("", table, _note(first, "IoU and F1"))]
    headings = (f"{first.name}, class by class", "IoU of every class")
    overall = f"Over all {len(first.class_names)} classes"
    return [
        ScoreBlock(overall, table, _note(first, "the mean IoU")),
        *(ScoreBlock(*pair, "") for pair in zip(headings, others, strict=True)),
    ]


def _note(entry: Scores, read: str) -> str:
    """Say what a constant scores, without which no accuracy can be read."""
    shares = entry.confusions.sum((0, 2)) / max(1, entry.confusions.sum())
    winner = int(shares.argmax())
    said = winner if len(shares) > 2 else entry.target
    text = (
        f"{counted(len(entry.tiles), 'tile')}; {100 * shares[said]:.1f} % of the labelled pixels "
        f"are {entry.class_names[said]}. Calling every pixel "
        f"{entry.class_names[winner]} scores {shares[winner]:.3f} accuracy: read {read}. "
        "Intervals come from resampling tiles. "
    )
    return text + (SPARSE_NOTE.strip() if entry.sparse else FOUND_NOTE)
