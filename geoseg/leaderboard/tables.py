"""The leaderboard as Markdown, CSV and JSON."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import geoseg
from geoseg.core.words import counted
from geoseg.leaderboard.results import Line, Summary
from geoseg.leaderboard.verdict import sentence, sentences, winners
from geoseg.runs.reporting.card import clock
from geoseg.scores.documents import Cell, Column, Document, Row, Table, score_cell
from geoseg.scores.metrics import Floats, to_json

#: What the families are that the rows are marked with.
FAMILIES = (
    "unsupervised: trained without labels, clusters named by labels; reference: trained "
    "with the labels of the matching tiles; control: what is to be had for little."
)
#: Heading, score, whether its interval is shown.
COLUMNS = (
    ("F1", "f1"),
    ("precision", "precision"),
    ("recall", "recall"),
    ("accuracy", "accuracy"),
    ("balanced", "balanced_accuracy"),
    ("footprint F1", "polygon_f1"),
    ("AMI", "ami"),
)
#: Headings of what else is known of a row.
FACTS = (
    "trunk",
    "K",
    "weights",
    "labelled tiles",
    "runs",
    "training",
    "scoring",
    "memory",
)
#: Of those, what the terminal has room for.
SHORT_COLUMNS = tuple(
    column for column in COLUMNS if column[0] in ("F1", "footprint F1")
)
SHORT_FACTS = ("K", "runs", "training")
#: Family → role, which chooses the colour on pages.
ROLES: dict[str, Literal["model", "control", "other"]] = {
    "unsupervised": "model",
    "reference": "other",
    "control": "control",
}
#: Heading of the score that rows are ordered by.
MAIN = {"iou": "IoU", "mean_iou": "mean IoU"}


@dataclass(frozen=True, kw_only=True)
class Board:
    """All that the leaderboard shows.

    Attributes:
        title: Of the page and the table.
        budget: Label → value: what every row was given.
        lines: The rows that have a finished run, the best first.
        command: The command line that makes it, or adds to it.
        notes: Sentences below the table.
        failures: Run → why there is none.
        left: Runs that are not finished yet.
        transductive: Whether training saw the test images.
    """

    title: str
    budget: Mapping[str, str]
    lines: Sequence[Line]
    command: str
    notes: Sequence[str] = ()
    failures: Mapping[str, str] = field(default_factory=dict)
    left: int = 0
    transductive: bool = False


def markdown(board: Board) -> str:
    """Return the leaderboard in Markdown."""
    parts: list[str | Table] = [f"# {board.title}", ""]
    parts += [f"- {label}: {value}" for label, value in board.budget.items()]
    parts += ["", "```", board.command, "```", ""]
    if board.left:
        parts += [f"**{board.left} runs are not finished yet.**", ""]
    parts += [f"- {said}" for said in sentences(board.lines)]
    if board.lines:
        table = score_table(board.lines, winners(board.lines), COLUMNS, FACTS)
        parts += ["", table, ""]
    parts += _points("Score and labelled tiles", "labelled tiles", board, "by_labels")
    parts += _points("Score and number of clusters", "K", board, "by_clusters")
    parts += [f"- {note}" for note in board.notes]
    parts += [f"- No run of {job}: {why}" for job, why in board.failures.items()]
    return str(Document(parts)).rstrip() + "\n"


def summary(board: Board) -> Document:
    """Return what the terminal shows of a leaderboard: fewer columns."""
    parts: list[str | Table] = [*sentences(board.lines), ""]
    if board.lines:
        best = winners(board.lines)
        parts.append(score_table(board.lines, best, SHORT_COLUMNS, SHORT_FACTS))
    if board.failures:
        parts.append("")
    parts += [f"- No run of {job}: {why}" for job, why in board.failures.items()]
    return Document([*parts, ""])


def score_table(
    lines: Sequence[Line],
    best: Sequence[Line],
    columns: Sequence[tuple[str, str]] = COLUMNS,
    known: Sequence[str] = (),
) -> Table:
    """Tabulate scores, and those of the :data:`FACTS` that are named."""
    main = lines[0].main
    rows = []
    for line in lines:
        score = line.summaries[main]
        cells = [Cell(line.row.family), shown(score, interval=True)]
        cells += [shown(line.summaries.get(key)) for _, key in columns]
        values = dict(zip(FACTS, facts(line), strict=True))
        cells += [Cell(values[fact]) for fact in known]
        rows.append(
            Row(
                row_name(line),
                cells,
                best=line in best,
                role=ROLES[line.row.family],
                bar=(score.mean, score.low, score.high),
            )
        )
    heads = [MAIN[main], *(head for head, _ in columns), *known]
    words = [Column("method", number=False), Column("family", number=False)]
    table_columns = [*words, *map(Column, heads)]
    return Table(table_columns, rows, "Scores of all rows", f"{MAIN[main]}, 0 to 1")


def cost_table(lines: Sequence[Line]) -> Table:
    """Tabulate what was run has and needs, beside its scores."""
    rows = [
        Row(row_name(line), [*map(Cell, facts(line))], role=ROLES[line.row.family])
        for line in lines
        if line.is_run
    ]
    columns = [Column("", number=False), *map(Column, FACTS)]
    return Table(columns, rows, "What each row took")


def row_name(line: Line) -> str:
    """Return a row's name; a control that learns from labels, or missing runs, are said."""
    words = []
    if line.learns_from_labels and line.row.family != "reference":
        words.append("learns from labels")
    if line.missing:
        words.append(f"misses {counted(line.missing, 'run')} of the others")
    return f"{line.row.name} ({'; '.join(words)})" if words else line.row.name


def facts(line: Line) -> list[str]:
    """Return trunk, clusters, weights, labelled tiles, runs, times and memory in words."""
    memory = line.mean_of("memory")
    first = line.trials[0].numbers
    trunk, width = first.get("trunk"), first.get("width")
    return [
        "–" if trunk is None else f"{trunk}, width {width}",
        _number(line.mean_of("clusters")),
        _number(line.mean_of("weights")),
        _number(line.mean_of("labelled")),
        str(len(line.trials)),
        _clock(line.seconds("training")),
        _clock(line.seconds("matching", "scoring")),
        "–" if math.isnan(memory) else f"{memory / 2**30:.2f} GiB",
    ]


def _number(value: float) -> str:
    return "–" if math.isnan(value) else f"{value:.0f}"


def _clock(seconds: float) -> str:
    return "–" if math.isnan(seconds) else clock(seconds)


def shown(score: Summary | None, *, interval: bool = False) -> Cell:
    """Write a score with its spread over runs and, if wanted, its interval over tiles."""
    if score is None:
        return Cell("–")
    ends = {"low": score.low, "high": score.high} if interval else {}
    return score_cell(score.mean, spread=score.spread, **ends)


def _points(title: str, head: str, board: Board, which: str) -> list[str | Table]:
    """Tabulate scores by a number: rows of the leaderboard against its values."""
    series = {line.row.name: dict(getattr(line, which)()) for line in board.lines}
    series = {name: points for name, points in series.items() if points}
    if not series:
        return []
    numbers = sorted({number for points in series.values() for number in points})
    rows = [
        Row(name, [_over_runs(points.get(number)) for number in numbers])
        for name, points in series.items()
    ]
    first = Column(f"{MAIN[board.lines[0].main]}, {head}:", number=False)
    table = Table([first, *(Column(str(number)) for number in numbers)], rows)
    return [f"## {title}", "", table, ""]


def _over_runs(values: Floats | None) -> Cell:
    if values is None:
        return Cell("–")
    spread = values.std(ddof=1) if len(values) > 1 else math.nan
    return score_cell(float(values.mean()), spread=float(spread))


def csv_text(board: Board) -> str:
    """Return a line for each row: means, spreads and intervals of every score."""
    rows = [{**_flat(line), "transductive": board.transductive} for line in board.lines]
    names = list(dict.fromkeys(name for row in rows for name in row))
    texts = [
        ["" if (v := row.get(n)) is None else str(v) for n in names] for row in rows
    ]
    return Table(
        [Column(name) for name in names],
        [Row(first, [*map(Cell, others)]) for first, *others in texts],
    ).to_csv()


def _flat(line: Line) -> dict[str, Any]:
    row: dict[str, Any] = {
        "name": line.row.name,
        "family": line.row.family,
        "learns_from_labels": line.learns_from_labels,
        "runs": len(line.trials),
        **_numbers(line),
    }
    for name, score in line.summaries.items():
        row[name] = to_json(score.mean)
        row[f"{name}_spread"] = to_json(score.spread)
        row[f"{name}_low"] = to_json(score.low)
        row[f"{name}_high"] = to_json(score.high)
    return row


def _numbers(line: Line) -> dict[str, float | None]:
    names = ("labelled", "clusters", "weights", "steps", "memory", "gpu_memory")
    return {
        **{name: to_json(line.mean_of(name)) for name in names},
        **{
            f"{stage}_seconds": to_json(line.seconds(stage))
            for stage in ("training", "matching", "scoring")
        },
    }


def document(board: Board) -> dict[str, Any]:
    """Return all as plain JSON values; what is not known is None."""
    best = winners(board.lines)
    return {
        "geoseg_version": geoseg.__version__,
        "title": board.title,
        "command": board.command,
        "budget": dict(board.budget),
        "sentence": sentence(board.lines),
        "interval": "95 % of the mean over runs, test tiles resampled",
        "spread": "standard deviation over runs",
        "notes": list(board.notes),
        "failures": dict(board.failures),
        "left": board.left,
        "transductive": board.transductive,
        "rows": [_row(line, line in best) for line in board.lines],
    }


def _row(line: Line, best: bool) -> dict[str, Any]:
    first = line.trials[0].numbers
    return {
        "name": line.row.name,
        "family": line.row.family,
        "best_of_family": best,
        "missing_runs": line.missing,
        "learns_from_labels": line.learns_from_labels,
        "trunk": first.get("trunk"),
        "width": first.get("width"),
        "device": first.get("device"),
        "threads": first.get("torch_threads"),
        **_numbers(line),
        "metrics": {
            name: {
                "mean": to_json(score.mean),
                "spread": to_json(score.spread),
                "interval": [to_json(score.low), to_json(score.high)],
            }
            for name, score in line.summaries.items()
        },
        "by_labelled_tiles": _series(line, "by_labels"),
        "by_clusters": _series(line, "by_clusters"),
        "runs": [
            {
                "split": trial.job.split,
                "seed": trial.job.seed,
                "collapse": trial.numbers.get("collapse"),
                "steps": trial.numbers.get("steps"),
                "metrics": {
                    name: to_json(score.values[number])
                    for name, score in line.summaries.items()
                },
            }
            for number, trial in enumerate(line.trials)
        ],
    }


def _series(line: Line, which: str) -> list[dict[str, Any]]:
    return [
        {"number": number, "values": [to_json(float(v)) for v in values]}
        for number, values in getattr(line, which)()
    ]
