"""The leaderboard as Markdown, CSV and JSON."""

import csv
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import geoseg
from geoseg.core.words import counted
from geoseg.leaderboard.results import Line, Summary
from geoseg.leaderboard.verdict import sentence, sentences, winners
from geoseg.runs.reporting.card import clock
from geoseg.scores.metrics import to_json

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
    parts = [f"# {board.title}", ""]
    parts += [f"- {label}: {value}" for label, value in board.budget.items()]
    parts += ["", "```", board.command, "```", ""]
    if board.left:
        parts += [f"**{board.left} runs are not finished yet.**", ""]
    parts += [f"- {said}" for said in sentences(board.lines)]
    if board.lines:
        parts += ["", *_table(board.lines, winners(board.lines)), ""]
    parts += _points("Score and labelled tiles", "labelled tiles", board, "by_labels")
    parts += _points("Score and number of clusters", "K", board, "by_clusters")
    parts += [f"- {note}" for note in board.notes]
    parts += [f"- No run of {job}: {why}" for job, why in board.failures.items()]
    return "\n".join(parts).rstrip() + "\n"


def summary(board: Board) -> str:
    """Return what the terminal shows of a leaderboard, in Markdown: fewer columns."""
    parts = [*sentences(board.lines), ""]
    if board.lines:
        best = winners(board.lines)
        parts += [*_table(board.lines, best, SHORT_COLUMNS, SHORT_FACTS), ""]
    parts += [f"- No run of {job}: {why}" for job, why in board.failures.items()]
    return "\n".join(parts).rstrip() + "\n"


def _table(
    lines: Sequence[Line],
    best: Sequence[Line],
    columns: Sequence[tuple[str, str]] = COLUMNS,
    known: Sequence[str] = FACTS,
) -> list[str]:
    main = lines[0].main
    heads = [MAIN[main], *(head for head, _ in columns), *known]
    rows = [
        f"| method | family | {' | '.join(heads)} |",
        f"|---|---|{'---:|' * len(heads)}",
    ]
    for line in lines:
        name = f"**{row_name(line)}**" if line in best else row_name(line)
        cells = [line.row.family, shown(line.summaries[main], interval=True)]
        cells += [shown(line.summaries.get(key)) for _, key in columns]
        values = dict(zip(FACTS, facts(line), strict=True))
        cells += [values[fact] for fact in known]
        rows.append(f"| {name} | {' | '.join(cells)} |")
    return rows


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


def shown(score: Summary | None, *, interval: bool = False) -> str:
    """Write a score with its spread over runs and, if wanted, its interval over tiles."""
    if score is None or math.isnan(score.mean):
        return "–"
    text = f"{score.mean:.3f}"
    if not math.isnan(score.spread):
        text += f" ± {score.spread:.3f}"
    if interval and not math.isnan(score.low):
        text += f" [{score.low:.2f}, {score.high:.2f}]"
    return text


def _points(title: str, head: str, board: Board, which: str) -> list[str]:
    """Tabulate scores by a number: rows of the leaderboard against its values."""
    series = {line.row.name: dict(getattr(line, which)()) for line in board.lines}
    series = {name: points for name, points in series.items() if points}
    if not series:
        return []
    numbers = sorted({number for points in series.values() for number in points})
    rows = [
        f"## {title}",
        "",
        f"| {MAIN[board.lines[0].main]}, {head}: | {' | '.join(map(str, numbers))} |",
        f"|---|{'---:|' * len(numbers)}",
    ]
    for name, points in series.items():
        cells = []
        for number in numbers:
            values = points.get(number)
            if values is None:
                cells.append("–")
                continue
            several = f" ± {values.std(ddof=1):.3f}" if len(values) > 1 else ""
            cells.append(f"{values.mean():.3f}{several}")
        rows.append(f"| {name} | {' | '.join(cells)} |")
    return [*rows, ""]


def csv_text(board: Board) -> str:
    """Return a line for each row: means, spreads and intervals of every score."""
    buffer = io.StringIO()
    rows = [{**_flat(line), "transductive": board.transductive} for line in board.lines]
    names = list(dict.fromkeys(name for row in rows for name in row))
    writer = csv.DictWriter(buffer, names, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return buffer.getvalue()


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
