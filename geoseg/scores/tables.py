"""Tables of scores: several predictions, and the classes of one."""

import math
from collections.abc import Sequence
from dataclasses import replace

from geoseg.core.words import counted, one_line
from geoseg.scores.documents import Cell, Column, Document, Row, Table, score_cell
from geoseg.scores.metrics import PIXEL_METRICS, Interval, class_iou, target_first
from geoseg.scores.scores import Scores

#: Columns with two classes: heading, score, whether the interval is shown.
TABLE_COLUMNS = (
    ("IoU", "iou", True),
    ("F1", "f1", True),
    ("precision", "precision", False),
    ("recall", "recall", False),
    ("accuracy", "accuracy", False),
    ("balanced", "balanced_accuracy", False),
    ("κ", "kappa", False),
    ("footprint F1", "polygon_f1", True),
)
#: Why sparse labels have no score of footprints.
SPARSE_NOTE = (
    " Footprints are not counted: sparse labels do not say where a building ends."
)
#: Columns with more than two classes: scores over all classes.
OVERALL_COLUMNS = (
    ("mean IoU", "mean_iou", True),
    ("accuracy", "accuracy", True),
    ("balanced", "balanced_accuracy", False),
    ("κ", "kappa", False),
)
#: Columns with more than two classes: scores of each class.
CLASS_COLUMNS = (
    ("IoU", "iou", True),
    ("F1", "f1", False),
    ("precision", "precision", False),
    ("recall", "recall", False),
    ("share", "building_share", False),
    ("footprint F1", "polygon_f1", True),
)


def score_document(entries: Sequence[Scores], *, seed: int = 0) -> Document:
    """Return the tables of predictions, with 95 % intervals over tiles.

    A note below gives the number of tiles and the accuracy of the commonest class.
    """
    first, *others = score_tables(entries, seed=seed)
    parts: list[str | Table] = [first]
    if others:
        of_classes, ious = others
        name = one_line(entries[0].name)
        parts += ["", f"{name}, class by class:", "", of_classes]
        parts += ["", "IoU of every class:", "", ious]
    return Document([*parts, "", _note(entries[0])])


def score_tables(entries: Sequence[Scores], *, seed: int = 0) -> list[Table]:
    """Return tables of predictions, the most important one first.

    With two classes there is one table, of building. With more there are the scores
    over all classes, those of every class of the first prediction, and the IoU of every
    class of all.
    """
    names = entries[0].class_names
    rows = [(entry.name, entry) for entry in entries]
    if len(names) == 2:
        return [_table(TABLE_COLUMNS, rows, "Scores on the test tiles", seed)]
    classes = [(name, entries[0].of_class(k)) for k, name in enumerate(names)]
    of_classes = _table(CLASS_COLUMNS, classes, "Scores of each class", seed)
    colours = [replace(row, class_id=k) for k, row in enumerate(of_classes.rows)]
    return [
        _table(OVERALL_COLUMNS, rows, "Scores over all classes", seed),
        replace(of_classes, rows=colours),
        _iou_table(entries),
    ]


def _table(
    columns: Sequence[tuple[str, str, bool]],
    entries: Sequence[tuple[str, Scores]],
    caption: str,
    seed: int,
) -> Table:
    rows = []
    for name, entry in entries:
        scores = entry.metrics(seed=seed)
        cells = [_cell(scores.get(key), shown) for _, key, shown in columns]
        bar = scores[columns[0][1]]
        rows.append(Row(name, cells, role=entry.role, bar=bar))
    heads = [Column("", number=False), *(Column(head) for head, _, _ in columns)]
    return Table(heads, rows, caption, bars=f"{columns[0][0]}, 0 to 1")


def _iou_table(entries: Sequence[Scores]) -> Table:
    """Return a table of IoU with classes in rows, as there may be many classes."""
    ious = [class_iou(entry.confusions.sum(0)) for entry in entries]
    rows = [
        Row(name, [score_cell(float(iou[k])) for iou in ious], class_id=k)
        for k, name in enumerate(entries[0].class_names)
    ]
    heads = [Column("", number=False), *(Column(entry.name) for entry in entries)]
    return Table(heads, rows, "IoU of every class of every row above")


def _cell(score: Interval | None, interval: bool) -> Cell:
    if score is None or not interval:
        return score_cell(math.nan if score is None else score.value)
    return score_cell(score.value, low=score.low, high=score.high)


def _note(entry: Scores) -> str:
    total = entry.confusions.sum(0)
    shares = PIXEL_METRICS["building_share"](target_first(total, entry.target))
    majority = float(PIXEL_METRICS["majority_accuracy"](total))
    return (
        f"{counted(len(entry.tiles), 'tile')}, {100 * float(shares):.1f} % of the labelled pixels "
        f"are {entry.class_names[entry.target]}; calling every pixel the commonest class "
        f"scores {majority:.3f} accuracy. In brackets: 95 % interval over resampled "
        f"tiles.{SPARSE_NOTE if entry.sparse else ''}\n"
    )
