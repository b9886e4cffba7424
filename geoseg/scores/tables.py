"""Tables of scores in Markdown: several predictions, and the classes of one."""

from collections.abc import Sequence

import numpy as np

from geoseg.core.words import counted, one_line
from geoseg.scores.metrics import PIXEL_METRICS, Interval, class_iou, target_first
from geoseg.scores.scores import Scores

#: Columns of the table: heading, score, whether its interval is shown.
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
#: With more than two classes: the scores over all of them …
OVERALL_COLUMNS = (
    ("mean IoU", "mean_iou", True),
    ("accuracy", "accuracy", True),
    ("balanced", "balanced_accuracy", False),
    ("κ", "kappa", False),
)
#: … and those of each class.
CLASS_COLUMNS = (
    ("IoU", "iou", True),
    ("F1", "f1", False),
    ("precision", "precision", False),
    ("recall", "recall", False),
    ("share", "building_share", False),
    ("footprint F1", "polygon_f1", True),
)


def markdown_table(entries: Sequence[Scores], *, seed: int = 0) -> str:
    """Tabulate entries, with 95 % intervals over tiles.

    Two classes: scores of building. More: scores over all classes, then a table of every
    class of the first entry, then the IoU of every class of the others. Below: tiles,
    and the accuracy of the commonest class, without which no accuracy can be read.
    """
    if len(entries[0].class_names) == 2:
        text = _table(TABLE_COLUMNS, entries, [entry.name for entry in entries], seed)
        return text + _note(entries[0])
    first = entries[0]
    classes = [first.of_class(k) for k in range(len(first.class_names))]
    parts = [
        _table(OVERALL_COLUMNS, entries, [entry.name for entry in entries], seed),
        f"{one_line(first.name)}, class by class:\n",
        _table(CLASS_COLUMNS, classes, first.class_names, seed),
        "IoU of every class:\n",
        _iou_table(entries),
    ]
    return "\n".join(parts) + _note(first)


def _table(
    columns: Sequence[tuple[str, str, bool]],
    rows: Sequence[Scores],
    names: Sequence[str],
    seed: int,
) -> str:
    heads = [head for head, _, _ in columns]
    lines = [f"| | {' | '.join(heads)} |", f"|---|{'---:|' * len(heads)}"]
    for name, row in zip(names, rows, strict=True):
        scores = row.metrics(seed=seed)
        cells = [_cell(scores.get(key), shown) for _, key, shown in columns]
        lines.append(f"| {one_line(name)} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _iou_table(entries: Sequence[Scores]) -> str:
    """Tabulate classes in rows and entries in columns: classes may be many."""
    lines = [
        f"| | {' | '.join(one_line(entry.name) for entry in entries)} |",
        f"|---|{'---:|' * len(entries)}",
    ]
    ious = [class_iou(entry.confusions.sum(0)) for entry in entries]
    for class_id, name in enumerate(entries[0].class_names):
        values = [float(iou[class_id]) for iou in ious]
        cells = ["–" if np.isnan(value) else f"{value:.3f}" for value in values]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _note(entry: Scores) -> str:
    total = entry.confusions.sum(0)
    shares = PIXEL_METRICS["building_share"](target_first(total, entry.target))
    majority = float(PIXEL_METRICS["majority_accuracy"](total))
    return (
        f"\n{counted(len(entry.tiles), 'tile')}, {100 * float(shares):.1f} % of the labelled pixels "
        f"are {entry.class_names[entry.target]}; calling every pixel the commonest class "
        f"scores {majority:.3f} accuracy. In brackets: 95 % interval over resampled "
        f"tiles.{SPARSE_NOTE if entry.sparse else ''}\n"
    )


def _cell(score: Interval | None, interval: bool) -> str:
    if score is None or np.isnan(score.value):
        return "–"
    ends = f" [{score.low:.2f}, {score.high:.2f}]"
    return f"{score.value:.3f}{ends if interval and not np.isnan(score.low) else ''}"
