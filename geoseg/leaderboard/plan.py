"""What a benchmark trains: rows × splits × seeds, each an ordinary run."""

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
    """A line of the leaderboard: a method, and the one whose trunk it starts from."""

    method: str
    source: str | None = None

    @property
    def name(self) -> str:
        """As it was asked for: ``probe:iic``."""
        return self.method if self.source is None else f"{self.method}:{self.source}"

    @property
    def folder(self) -> str:
        """The name in paths: ``probe-iic``."""
        return self.name.replace(":", "-")

    @property
    def family(self) -> Family:
        """Of the method; a constant map that is no method is a control."""
        if self.method == EVERYTHING_NAME:
            return "control"
        return METHODS[self.method].family

    @property
    def uses_labels(self) -> bool:
        """Whether the method learns from labels."""
        return method_class(self.method).uses_labels


def parse_rows(names: str) -> tuple[Row, ...]:
    """Read the rows of ``iic,probe:iic``.

    Raises:
        ParameterError: If a method is unknown, a row is named twice or not at all, or a
            method has no model to start from though it must, or one though it cannot.
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
        row: Whose.
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
        """In paths below the benchmark's folder."""
        few = "" if self.label_tiles is None else f"-tiles{self.label_tiles}"
        return f"{self.row.folder}/split{self.split}-seed{self.seed}{few}"

    def __str__(self) -> str:
        few = "" if self.label_tiles is None else f", {self.label_tiles} labelled tiles"
        return f"{self.row.name}, split {self.split}, seed {self.seed}{few}"


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A benchmark as it was asked for.

    Attributes:
        base: What all runs share: tiles, patches, steps, matching, device.
        rows: Of the leaderboard.
        seeds: Trainings of each row on each split.
        splits: Splits of the tiles into matching and test.
        shared: Parameters of every method that has them.
        own: Method → parameters of that one alone.
        label_tiles: Numbers of labelled tiles to score with: rows that learn from labels
            train again with as many, those of the others name the clusters anew.
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
        """Rows that others start from and that are not asked for themselves."""
        wanted = dict.fromkeys(Row(row.source) for row in self.rows if row.source)
        return tuple(row for row in wanted if row not in self.rows)

    def jobs(self, matching: int) -> Iterator[Job]:
        """Yield every run, each after the one that it starts from.

        A first run of every row comes before the second of any.

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
        # Bands and their normalisation are those of the model that it starts from.
        return replace(
            settings,
            init=str(run_folder(folder, source)),
            bands=None,
            whiten="none",
        )

    def parameters(self, row: Row) -> dict[str, str]:
        """Return the parameters given for a row; the trunk of its source is its own."""
        known = method_defaults(row.method)
        given = {name: self.shared[name] for name in self.shared if name in known}
        given |= self.own.get(row.method, {})
        if row.source is None:
            return given
        return {k: v for k, v in given.items() if k not in TRUNK_PARAMETERS}

    def common(self) -> dict[str, Any]:
        """Return what runs of one benchmark must agree in, as plain JSON values."""
        return {**self.base.to_json(), "parameters": dict(self.shared)}

    def check(self, former: Sequence[Row] = ()) -> None:
        """Refuse what no run could be begun with; warn of what none will take.

        A table grows over several commands: parameters may be for rows to come.

        Args:
            former: Rows that the benchmark has already; they share the parameters.

        Raises:
            ParameterError: If a parameter is one of no method, or has no meaning.
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
            outline_method(free, 3, parameters_of(free, ("red",) * 3))


def _check_others(names: Sequence[str], methods: Collection[str]) -> None:
    """Warn of parameters of other methods alone; refuse those of none that there is."""
    everywhere = {name for method in METHODS for name in method_defaults(method)}
    for name in names:
        if name not in everywhere:
            raise ParameterError(
                f"no method has a parameter {name!r}{did_you_mean(name, everywhere)}"
            )
        _warn_of_unused(name, methods)


def _warn_of_unused(parameter: str, methods: Collection[str]) -> None:
    log.warning(
        "-p %s is for none of the methods here: %s",
        parameter,
        ", ".join(sorted(methods)),
    )


def run_folder(bench: Path, job: Job) -> Path:
    """Return the folder of a run."""
    return bench / "runs" / job.name


def split_parameters(
    pairs: Mapping[str, str], methods: Sequence[str]
) -> tuple[dict[str, str], dict[str, dict[str, str]]]:
    """Tell parameters of all methods from those of one, which are ``METHOD.NAME``.

    Args:
        pairs: Name → value as given.
        methods: Known names, for the message.

    Raises:
        ParameterError: If the method of one is unknown.
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
