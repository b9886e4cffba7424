"""The leaderboard in words: who won, and whether by more than chance."""

import math
from collections.abc import Sequence

import numpy as np

from geoseg.benchmarking.results import Line
from geoseg.words import counted

NAMES = {"iou": "IoU", "mean_iou": "mean IoU"}


def winners(lines: Sequence[Line]) -> list[Line]:
    """Return the best row of each family that has a score, and all runs of the others."""
    best: dict[str, Line] = {}
    for line in _comparable(lines):
        family = line.row.family
        if family not in best or _score(line) > _score(best[family]):
            best[family] = line
    return list(best.values())


def _comparable(lines: Sequence[Line]) -> list[Line]:
    """Return the rows with a score over the same runs; none misses what others have."""
    return [line for line in lines if not line.missing and not math.isnan(_score(line))]


def sentence(lines: Sequence[Line]) -> str:
    """Say in one sentence which method won and how sure that is; nothing of no rows.

    Methods that learn from labels do not compete with those that do not; the best of
    them is named at the end.
    """
    known = _comparable(lines)
    if not known:
        return ""
    free = [line for line in known if not line.learns_from_labels]
    taught = [line for line in known if line.learns_from_labels]
    parts = []
    if free:
        among = "" if not taught else " of the methods that learn without labels"
        parts.append(_won(free, among))
    if taught:
        parts.append(_won(taught, " of those that learn from labels"))
    return "; ".join(parts) + "."


def _won(lines: Sequence[Line], among: str) -> str:
    ordered = sorted(lines, key=_score, reverse=True)
    first = ordered[0]
    if len(ordered) == 1:
        return _reached(first)
    second = ordered[1]
    kind = ", a control," if first.row.family == "control" else ""
    return (
        f"{first.row.name}{kind} won{among} with {_worth(first)}, "
        f"{_lead(first, second)}"
    )


def _reached(line: Line) -> str:
    how = ", which learns from labels," if line.learns_from_labels else ""
    return f"{line.row.name}{how} reached {_worth(line)}"


def _worth(line: Line) -> str:
    return f"{NAMES[line.main]} {_score(line):.3f}"


def _lead(first: Line, second: Line) -> str:
    """Compare the lead with its spread over runs of the same split and seed."""
    scores = [
        {
            trial.job[1:3]: value
            for trial, value in zip(
                line.trials, line.summaries[line.main].values, strict=True
            )
        }
        for line in (first, second)
    ]
    if not second.is_run:  # one value for all seeds
        by_split = {split: value for (split, _), value in scores[1].items()}
        scores[1] = {key: by_split.get(key[0], math.nan) for key in scores[0]}
    shared = sorted(scores[0].keys() & scores[1].keys())
    leads = np.array([scores[0][key] - scores[1][key] for key in shared])
    ahead = f"{_score(first) - _score(second):.3f} ahead of {second.row.name}"
    if len(leads) < 2:
        return f"{ahead} (one run of each, so nothing is known of the spread)"
    spread = float(leads.std(ddof=1))
    runs = counted(len(leads), "run")
    if leads.mean() > spread:
        return f"{ahead}, which is more than the spread over {runs} ({spread:.3f})"
    return (
        f"{ahead}, which is no more than the spread over {runs} ({spread:.3f}) and may "
        "be chance"
    )


def _score(line: Line) -> float:
    return line.summaries[line.main].mean
