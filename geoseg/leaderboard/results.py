"""Summarise the finished runs of a benchmark by row."""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from geoseg.core.classes import BUILDING
from geoseg.leaderboard.plan import Job, Row
from geoseg.leaderboard.trial_files import (
    OnDamage,
    Trial,
    read_blind,
    read_trials,
    refuse_damaged,
)
from geoseg.scores.adjusted_information import adjusted_mutual_information
from geoseg.scores.metrics import (
    PIXEL_METRICS,
    POLYGON_METRICS,
    Floats,
    bootstrap_scores,
    ends,
    target_first,
)
from geoseg.scores.scores import EVERYTHING_NAME, constant_scores

#: Row of the map that is everywhere the commonest class of the matching tiles.
MAJORITY = Row("majority")
#: With two classes, also the row of the map that is building everywhere.
EVERYTHING = Row(EVERYTHING_NAME)


def majority_trials(trials: Iterable[Trial]) -> list[Trial]:
    """Return trials of the commonest class of the matching tiles on each split.

    Nothing is run for it: all pixels are one cluster.
    """
    return [
        _constant(trial, MAJORITY, int(trial.matched.argmax()))
        for trial in _one_a_split(trials)
    ]


def everything_trials(trials: Iterable[Trial]) -> list[Trial]:
    """Return trials of a map that is building everywhere, on each split."""
    return [_constant(trial, EVERYTHING, BUILDING) for trial in _one_a_split(trials)]


def _one_a_split(trials: Iterable[Trial]) -> list[Trial]:
    first = {trial.job.split: trial for trial in reversed(list(trials))}
    return [trial for _, trial in sorted(first.items())]


def _constant(trial: Trial, row: Row, class_id: int) -> Trial:
    return Trial(
        Job(row, trial.job.split, 0),
        trial.folder,
        constant_scores(trial.scores, class_id, row.name),
        trial.tables.sum(1, keepdims=True),
        trial.matched,
        {"learns_from_labels": False},
        {},
    )


class Summary(NamedTuple):
    """A score over the runs of a row.

    Attributes:
        mean: Over the runs with a defined score.
        spread: Standard deviation over the runs; ``nan`` for one run.
        low: Lower end of the 95 % interval of the mean on other test tiles.
        high: Upper end.
        values: Of each run.
    """

    mean: float
    spread: float
    low: float
    high: float
    values: tuple[float, ...]


@dataclass(frozen=True, eq=False)
class Line:
    """A row of the leaderboard with its finished runs.

    Attributes:
        row: The row.
        trials: Runs with all matching tiles; at least one.
        fewer: Runs with fewer labelled tiles.
        blind: Number of tiles and split of such runs whose labels show one class.
        missing: Number of splits and seeds that other rows have and this one lacks: its
            mean cannot be compared with theirs.
    """

    row: Row
    trials: Sequence[Trial]
    fewer: Sequence[Trial] = ()
    blind: Sequence[tuple[int, int]] = ()
    missing: int = 0

    @property
    def learns_from_labels(self) -> bool:
        """Whether the training used labels."""
        return bool(self.trials[0].numbers["learns_from_labels"])

    @property
    def is_run(self) -> bool:
        """Whether it has runs: constant maps have none."""
        return "steps" in self.trials[0].numbers

    @property
    def main(self) -> str:
        """The name of the score by which rows are ordered."""
        two = len(self.trials[0].scores.class_names) == 2
        return "iou" if two else "mean_iou"

    @cached_property
    def summaries(self) -> dict[str, Summary]:
        """All scores by name: of pixels, of footprints, and ``ami``."""
        names = [*PIXEL_METRICS, "ami"]
        if all(trial.scores.polygons is not None for trial in self.trials):
            names += POLYGON_METRICS
        return {name: self._summary(name) for name in names}

    def mean_of(self, name: str) -> float:
        """Return the mean of a number in ``trial.json`` over runs; ``nan`` if none."""
        values = [trial.numbers.get(name) for trial in self.trials]
        return _mean([value for value in values if value is not None])

    def seconds(self, *stages: str) -> float:
        """Return the mean seconds of stages over runs; ``nan`` if there are none."""
        return _mean(
            [
                sum(trial.seconds.get(stage, 0.0) for stage in stages)
                for trial in self.trials
                if trial.seconds
            ]
        )

    def by_labels(self) -> list[tuple[int, Floats]]:
        """Return the score of every run by the number of labelled tiles."""
        points: list[tuple[int, float | None]] = []
        for trial in self.trials:
            own = trial.numbers.get("labels", ())
            points += [(point["tiles"], point["mean"]) for point in own]
        if self.learns_from_labels:
            for trial in (*self.fewer, *self.trials):
                score = float(_values([trial], self.main)[0])
                points.append((trial.numbers["labelled"], score))
        for tiles, split in self.blind:
            # as when clusters cannot be matched: the map is empty, and its score counts
            trials = [trial for trial in self.trials if trial.job.split == split]
            empty = _values(majority_trials(trials), self.main)
            points += [(tiles, float(score)) for score in empty]
        return _by_number(points)

    def by_clusters(self) -> list[tuple[int, Floats]]:
        """Return the score of k-means of every run's features by K."""
        return _by_number(
            (point["clusters"], point["value"])
            for trial in self.trials
            for point in trial.numbers.get("k", ())
        )

    def _summary(self, name: str) -> Summary:
        values = _values(self.trials, name)
        drawn = []
        for split in sorted({trial.job.split for trial in self.trials}):
            own = [trial for trial in self.trials if trial.job.split == split]
            # splits have different tiles and so different resamples
            drawn.append(len(own) * _resampled(own, name, split))
        known = all(len(scores) for scores in drawn)
        mean = sum(drawn) / len(self.trials) if known else np.empty(0)
        return Summary(
            _mean([value for value in values if not math.isnan(value)]),
            float(np.std(values, ddof=1)) if len(values) > 1 else math.nan,
            *ends(np.asarray(mean)),
            tuple(map(float, values)),
        )


def _by_number(points: Iterable[tuple[int, float | None]]) -> list[tuple[int, Floats]]:
    """Return the defined scores by number, in ascending order."""
    gathered: dict[int, list[float]] = {}
    for number, score in points:
        if score is not None and not math.isnan(score):
            gathered.setdefault(number, []).append(score)
    return [(number, np.array(gathered[number])) for number in sorted(gathered)]


def _resampled(trials: Sequence[Trial], name: str, seed: int) -> Floats:
    """Return the mean score of runs on the same tiles, for resampled tiles."""
    counts, metric = _counts(trials, name)
    return bootstrap_scores(counts, lambda sums: metric(sums).mean(-1), seed=seed)


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values)) if values else math.nan


def _counts(
    trials: Sequence[Trial], name: str
) -> tuple[NDArray[Any], Callable[[NDArray[Any]], Floats]]:
    """Return ``(T, runs, …)`` counts of runs on the same tiles, and their metric."""
    if name == "ami":
        expected = np.array([trial.expected for trial in trials])
        tables = np.stack([trial.tables for trial in trials], axis=1)
        return tables, lambda sums: adjusted_mutual_information(sums, expected)
    if name in POLYGON_METRICS:
        polygons = [trial.scores.polygons for trial in trials]
        return (
            np.stack([p for p in polygons if p is not None], 1),
            POLYGON_METRICS[name],
        )
    scores = [trial.scores for trial in trials]
    confusions = [target_first(one.confusions, one.target) for one in scores]
    return np.stack(confusions, axis=1), PIXEL_METRICS[name]


def _values(trials: Sequence[Trial], name: str) -> Floats:
    """Return the score of every run."""
    values = []
    for trial in trials:
        counts, metric = _counts([trial], name)
        values.append(float(metric(counts.sum(0))[0]))
    return np.array(values)


def read_lines(
    bench: Path, rows: Iterable[Row], on_damage: OnDamage = refuse_damaged
) -> list[Line]:
    """Return the rows with finished runs, the best first.

    Rows that lack runs of the others come last. The constant maps are added once there
    is a run. Runs with damaged files are left out, and ``on_damage`` is called.
    """
    lines = []
    for row in rows:
        trials = read_trials(bench, row, on_damage)
        whole = [trial for trial in trials if trial.job.label_tiles is None]
        fewer = [trial for trial in trials if trial.job.label_tiles is not None]
        if whole:
            lines.append(Line(row, whole, fewer, read_blind(bench, row, on_damage)))
    every = [trial for line in lines for trial in line.trials]
    if lines and all(line.row != MAJORITY for line in lines):
        lines.append(Line(MAJORITY, majority_trials(every)))
    if lines and lines[0].main == "iou":
        lines.append(Line(EVERYTHING, everything_trials(every)))
    return sorted(compared(lines), key=_rank)


def compared(lines: Sequence[Line]) -> list[Line]:
    """Return the rows with the number of others' runs that they lack."""
    own = [{trial.job[1:3] for trial in line.trials} for line in lines]
    every = set().union(
        *(jobs for line, jobs in zip(lines, own, strict=True) if line.is_run)
    )
    return [
        replace(line, missing=len(every - jobs) if line.is_run else 0)
        for line, jobs in zip(lines, own, strict=True)
    ]


def _rank(line: Line) -> tuple[bool, float]:
    score = line.summaries[line.main].mean
    return line.missing > 0, math.inf if math.isnan(score) else -score
