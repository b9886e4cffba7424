"""Plan a benchmark: rows × splits × seeds, each an ordinary run."""

import logging
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from geoseg.core.errors import ParameterError
from geoseg.core.words import did_you_mean
from geoseg.methods import (
    METHODS,
    TRUNK_PARAMETERS,
    Family,
    check_parameters,
    method_class,
    method_defaults,
)
from geoseg.runs.fitting import outline_method
from geoseg.runs.settings import RunSettings
from geoseg.runs.starting import parameters_of
from geoseg.scores.scores import EVERYTHING_NAME

log = logging.getLogger(__name__)


class Row(NamedTuple):
    """A row of the leaderboard: a method, and the one whose trunk it starts from."""

    method: str
    source: str | None = None

    @property
    def name(self) -> str:
        """The name as given: ``probe:iic``."""
        return self.method if self.source is None else f"{self.method}:{self.source}"

    @property
    def folder(self) -> str:
        """The name in paths: ``probe-iic``."""
        return self.name.replace(":", "-")

    @property
    def family(self) -> Family:
        """The family of the method; constant maps are controls."""
        if self.method == EVERYTHING_NAME:
            return "control"
        return METHODS[self.method].family

    @property
    def uses_labels(self) -> bool:
        """Whether the method learns from labels."""
        return method_class(self.method).uses_labels


def parse_rows(names: str) -> tuple[Row, ...]:
    """Parse rows such as ``iic,probe:iic``.

    Raises:
        ParameterError: If a method is unknown, there are no or equal rows, or a method
            lacks the model that it starts from or has one without need.
    """
    rows = tuple(_row(name.strip()) for name in names.split(",") if name.strip())
    if not rows:
        raise ParameterError("no method is named, expected some such as iic,supervised")
    twice = sorted({row.name for row in rows if rows.count(row) > 1})
    if twice:
        raise ParameterError(f"{', '.join(twice)} is named twice: name it once")
    return rows


def _row(name: str) -> Row:
    method, _, source = name.partition(":")
    start = method_class(method).start
    if not source:
        if start == "must":
            raise ParameterError(
                f"{method} starts from a trained model: name the method that trains it "
                f"as METHOD:OTHER, for instance {method}:iic"
            )
        return Row(method)
    if start == "never":
        raise ParameterError(
            f"{method} does not start from a model, found {name}: write {method} alone"
        )
    other = method_class(source)
    if other.start == "must":
        raise ParameterError(
            f"{source} itself starts from a model, found {name}: expected a method that "
            f"trains from nothing, such as {method}:iic"
        )
    if not other.has_features:
        raise ParameterError(
            f"{source} has no trunk that {method} could start from: name another, such "
            f"as {method}:iic"
        )
    return Row(method, source)


class Job(NamedTuple):
    """One run of a row.

    Attributes:
        row: The row.
        split: Seed of the split.
        seed: Of the training.
        label_tiles: Matching tiles that keep their labels; None for all.
    """

    row: Row
    split: int
    seed: int
    label_tiles: int | None = None

    @property
    def name(self) -> str:
        """The path below the benchmark's folder of runs."""
        few = "" if self.label_tiles is None else f"-tiles{self.label_tiles}"
        return f"{self.row.folder}/split{self.split}-seed{self.seed}{few}"

    def __str__(self) -> str:
        few = "" if self.label_tiles is None else f", {self.label_tiles} labelled tiles"
        return f"{self.row.name}, split {self.split}, seed {self.seed}{few}"


@dataclass(frozen=True, kw_only=True)
class BenchmarkPlan:
    """The rows, seeds, splits and settings of a benchmark.

    Attributes:
        base: Settings of all runs: tiles, patches, steps, matching, device.
        rows: Of the leaderboard.
        seeds: Number of trainings of each row on each split.
        splits: Number of splits of the tiles into matching and test tiles.
        shared: Parameters of every method that has them.
        own: Method → parameters of this method only.
        label_tiles: Numbers of labelled tiles to score with: rows that learn from labels
            are trained again with each number, the others are matched again.
        clusters: Numbers of clusters for k-means of the rows' features.
        threads: CPU threads of each run; None for all cores.
    """

    base: RunSettings
    rows: tuple[Row, ...]
    seeds: int = 3
    splits: int = 1
    shared: Mapping[str, str] = field(default_factory=dict)
    own: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    label_tiles: tuple[int, ...] = ()
    clusters: tuple[int, ...] = ()
    threads: int | None = None

    @cached_property
    def sources(self) -> tuple[Row, ...]:
        """Rows that others start from and that are not among the rows."""
        sources = dict.fromkeys(Row(row.source) for row in self.rows if row.source)
        return tuple(row for row in sources if row not in self.rows)

    def jobs(self, matching: int) -> Iterator[Job]:
        """Yield every run, each after the one that it starts from.

        The first runs of all rows come before their second runs.

        Args:
            matching: Number of matching tiles of a split.
        """
        every = [*self.sources, *self.rows]
        ordered = sorted(every, key=lambda row: row.source is not None)
        for split in range(self.splits):
            for seed in range(self.seeds):
                yield from (Job(row, split, seed) for row in ordered)
        fewer = [n for n in self.label_tiles if n < matching]
        for split in range(self.splits):
            for seed in range(self.seeds):
                for row in self.rows:
                    if row.uses_labels:
                        yield from (Job(row, split, seed, n) for n in fewer)

    def settings(self, job: Job, folder: Path) -> RunSettings:
        """Return the settings of a run.

        Args:
            job: The run.
            folder: The benchmark's.
        """
        settings = replace(
            self.base,
            method=job.row.method,
            parameters=self.parameters(job.row),
            seed=job.seed,
            split_seed=job.split,
            label_tiles=job.label_tiles,
        )
        if job.row.source is None:
            return settings
        source = Job(Row(job.row.source), job.split, job.seed)
        # bands and normalisation are those of the model that it starts from
        return replace(
            settings,
            init=str(run_folder(folder, source)),
            bands=None,
            whiten="none",
        )

    def parameters(self, row: Row) -> dict[str, str]:
        """Return the parameters given for a row, without those of the trunk."""
        known = method_defaults(row.method)
        given = {name: self.shared[name] for name in self.shared if name in known}
        given |= self.own.get(row.method, {})
        if row.source is None:
            return given
        return {k: v for k, v in given.items() if k not in TRUNK_PARAMETERS}

    def common(self) -> dict[str, Any]:
        """Return the settings shared by all runs of a benchmark, as JSON values."""
        return {**self.base.to_json(), "parameters": dict(self.shared)}

    def check(self, former: Sequence[Row] = ()) -> None:
        """Raise if a parameter is wrong; warn if no row uses it.

        A table grows over several commands, so parameters may be for later rows.

        Args:
            former: Existing rows of the benchmark, which share the parameters.

        Raises:
            ParameterError: If no method has a parameter, or its value is invalid.
        """
        methods = {row.method for row in (*self.sources, *self.rows, *former)}
        known = {name for method in methods for name in method_defaults(method)}
        if others := [name for name in self.shared if name not in known]:
            _check_others(others, methods)
        for method, given in self.own.items():
            check_parameters(method, given)
            if method not in methods:
                _warn_of_unused(f"{method}.{next(iter(given))}", methods)
        for row in (*self.sources, *self.rows):
            settings = self.settings(Job(row, 0, 0), Path())
            free = replace(settings, init=None)
            parameters = parameters_of(free, ("red",) * 3)
            outline_method(free.method, 3, parameters, patch_size=free.patch_size)


def _check_others(names: Sequence[str], methods: Collection[str]) -> None:
    """Warn of parameters of other methods; raise if no method has the parameter."""
    everywhere = {name for method in METHODS for name in method_defaults(method)}
    for name in names:
        if name not in everywhere:
            raise ParameterError(
                f"no method has a parameter {name!r}{did_you_mean(name, everywhere)}"
            )
        _warn_of_unused(name, methods)


def _warn_of_unused(parameter: str, methods: Collection[str]) -> None:
    log.warning(
        "-p %s is not for any of the methods here: %s",
        parameter,
        ", ".join(sorted(methods)),
    )


def run_folder(bench: Path, job: Job) -> Path:
    """Return the folder of a run."""
    return bench / "runs" / job.name


def split_parameters(
    pairs: Mapping[str, str], methods: Sequence[str]
) -> tuple[dict[str, str], dict[str, dict[str, str]]]:
    """Split parameters into those of all methods and those of one, ``METHOD.NAME``.

    Args:
        pairs: Name → value as given.
        methods: Known names, for the message.

    Raises:
        ParameterError: If the method of a parameter is unknown.
    """
    shared: dict[str, str] = {}
    own: dict[str, dict[str, str]] = {}
    for name, value in pairs.items():
        method, dot, rest = name.partition(".")
        if not dot:
            shared[name] = value
            continue
        if method not in methods:
            raise ParameterError(
                f"-p {name} is for a method {method!r}{did_you_mean(method, methods)}, "
                f"expected one of {', '.join(methods)}"
            )
        own.setdefault(method, {})[rest] = value
    return shared, own
