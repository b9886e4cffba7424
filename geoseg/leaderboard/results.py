"""What the finished runs of a benchmark found, row by row."""

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

#: The row that is always there: all is one cluster, which the matching tiles name.
MAJORITY = Row("majority")
#: Of two classes, this one too.
EVERYTHING = Row(EVERYTHING_NAME)


def majority_trials(trials: Iterable[Trial]) -> list[Trial]:
    """Return what the commonest class of the matching tiles scores on each split.

    Nothing is run for it; it is one cluster of all pixels.
    """
    return [
        _constant(trial, MAJORITY, int(trial.matched.argmax()))
        for trial in _one_a_split(trials)
    ]


def everything_trials(trials: Iterable[Trial]) -> list[Trial]:
    """Return what a map scores on each split that calls every pixel building."""
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
        mean: Over the runs where it is defined.
        spread: Standard deviation over the runs; ``nan`` of one.
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
        trials: With all matching tiles; one at least.
        fewer: With fewer labelled tiles.
        blind: Splits of such runs that had nothing to learn from, by number of tiles.
        missing: Number of splits and seeds that other rows have and this one has not:
            its mean is not to be compared with theirs.
    """

    row: Row
    trials: Sequence[Trial]
    fewer: Sequence[Trial] = ()
    blind: Sequence[tuple[int, int]] = ()
    missing: int = 0

    @property
    def learns_from_labels(self) -> bool:
        """Whether labels took part in the training."""
        return bool(self.trials[0].numbers["learns_from_labels"])

    @property
    def is_run(self) -> bool:
        """Whether something was run for it: not for the row of the commonest class."""
        return "steps" in self.trials[0].numbers

    @property
    def main(self) -> str:
        """Name of the score that rows are ordered by."""
        two = len(self.trials[0].scores.class_names) == 2
        return "iou" if two else "mean_iou"

    @cached_property
    def summaries(self) -> dict[str, Summary]:
        """Every score by name: those of pixels, of footprints, and ``ami``."""
        names = [*PIXEL_METRICS, "ami"]
        if all(trial.scores.polygons is not None for trial in self.trials):
            names += POLYGON_METRICS
        return {name: self._summary(name) for name in names}

    def mean_of(self, name: str) -> float:
        """Return the mean over the runs of a number in ``trial.json``; ``nan`` if none."""
        values = [trial.numbers.get(name) for trial in self.trials]
        return _mean([value for value in values if value is not None])

    def seconds(self, *stages: str) -> float:
        """Return the mean over the runs of the time of stages; ``nan`` if there is none."""
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
            # As where clusters cannot be named: the map is empty, and its score counts.
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
            # Splits have tiles of their own, and so draws of their own.
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
    """Gather the scores that are defined, by number in ascending order."""
    gathered: dict[int, list[float]] = {}
    for number, score in points:
        if score is not None and not math.isnan(score):
            gathered.setdefault(number, []).append(score)
    return [(number, np.array(gathered[number])) for number in sorted(gathered)]


def _resampled(trials: Sequence[Trial], name: str, seed: int) -> Floats:
    """Return the mean score of runs on the same tiles, for tiles drawn again."""
    counts, metric = _counts(trials, name)
    return bootstrap_scores(counts, lambda sums: metric(sums).mean(-1), seed=seed)


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values)) if values else math.nan


def _counts(
    trials: Sequence[Trial], name: str
) -> tuple[NDArray[Any], Callable[[NDArray[Any]], Floats]]:
    """Return ``(T, runs, …)`` counts of runs on the same tiles, and their measure."""
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
    """Return the rows that have a finished run, the best first.

    Rows that miss runs of the others come after those that do not. The constant maps are
    always among them, once there is any. Runs whose files are damaged are left out, and
    ``on_damage`` is told.
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
    """Return rows that know how many of the others' runs they miss."""
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
