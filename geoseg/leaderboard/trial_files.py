"""Read and check the files of a benchmark's finished runs."""

import math
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, TypedDict
from zipfile import BadZipFile
from zlib import error as ZlibError

import numpy as np
from numpy.typing import NDArray

from geoseg.core.errors import TrainingError
from geoseg.core.run_files import SCORES_NAME, TIMES_NAME
from geoseg.core.stored import Range, StoredError, read_json, typed
from geoseg.leaderboard.plan import Job, Row
from geoseg.leaderboard.trial import BLIND_NAME, COUNTS_NAME, TRIAL_NAME
from geoseg.runs.result import read_seconds
from geoseg.scores.adjusted_information import expected_mutual_information
from geoseg.scores.scores import Scores

_NAME = re.compile(r"split(\d{1,9})-seed(\d{1,10})(?:-tiles(\d{1,9}))?")
_Count = Annotated[int, Range(0)]

#: Called with a run whose files are damaged.
OnDamage = Callable[[Job, TrainingError], None]


class LabelScore(TypedDict):
    """The score with a number of labelled tiles; null if undefined."""

    tiles: _Count
    mean: float | None


class ClusterScore(TypedDict):
    """The score of k-means with a number of clusters."""

    clusters: _Count
    value: float | None


class _TrialNumbers(TypedDict):
    learns_from_labels: bool
    labelled: _Count


class TrialNumbers(_TrialNumbers, total=False):
    """The contents of ``trial.json``."""

    steps: _Count
    memory: _Count | None
    gpu_memory: _Count | None
    weights: _Count
    clusters: _Count
    torch_threads: _Count
    trunk: str | None
    width: _Count | None
    device: str
    collapse: str | None
    labels: list[LabelScore]
    k: list[ClusterScore]


class _Document(TypedDict):
    entries: list[Any]


@dataclass(frozen=True, eq=False)
class Trial:
    """A finished run.

    Attributes:
        job: Its row, split and seed.
        folder: Its folder.
        scores: Of the default head on the test tiles.
        tables: ``(T, K, C)`` counts of its clusters on the classes of the test tiles.
        matched: ``(C,)`` labelled pixels of each class on the matching tiles.
        numbers: Other measurements, from ``trial.json``.
        seconds: By stage.
    """

    job: Job
    folder: Path
    scores: Scores
    tables: NDArray[np.int64]
    matched: NDArray[np.int64]
    numbers: Mapping[str, Any]
    seconds: Mapping[str, float]

    @cached_property
    def expected(self) -> float:
        """The expected mutual information of random clusters, in nats."""
        return expected_mutual_information(self.tables.sum(0).astype(np.float64))


def refuse_damaged(job: Job, error: TrainingError) -> None:
    """Raise the error of a damaged run."""
    raise error


def read_trials(
    bench: Path, row: Row, on_damage: OnDamage = refuse_damaged
) -> list[Trial]:
    """Return the finished runs of a row, in the order of splits and seeds.

    Args:
        bench: Folder of the benchmark.
        row: Of its table.
        on_damage: Called for each run whose files are damaged; it is left out.

    Raises:
        TrainingError: If there is one, unless ``on_damage`` handles it.
    """
    trials = []
    for job, folder in _jobs(bench, row, TRIAL_NAME):
        try:
            trials.append(_read(job, folder))
        except (StoredError, *_DAMAGED) as error:
            on_damage(job, _damaged(folder, error))
    return sorted(trials, key=lambda trial: (trial.job[1:3], trial.job[3] or math.inf))


def read_blind(
    bench: Path, row: Row, on_damage: OnDamage = refuse_damaged
) -> list[tuple[int, int]]:
    """Return number of tiles and split of the runs whose labels show one class.

    Arguments and errors as :func:`read_trials`.
    """
    blind = []
    for job, folder in _jobs(bench, row, BLIND_NAME):
        try:
            values = typed(read_json(folder / BLIND_NAME), dict[str, _Count])
            blind.append((values["labelled"], job.split))
        except (StoredError, KeyError) as error:
            on_damage(job, _damaged(folder, error))
    return blind


def read_maps(folder: Path, name: str) -> dict[str, NDArray[np.uint8]]:
    """Return the ``(H, W)`` class ids of the tiles that a run shows.

    Raises:
        TrainingError: If the file is absent or damaged.
    """
    try:
        with (folder / name).open("rb") as file, np.load(file) as stored:
            maps = {tile: stored[tile] for tile in stored.files}
    except (OSError, *_DAMAGED) as error:
        raise _damaged(folder, error) from error
    for tile, classes in maps.items():
        if classes.ndim != 2 or classes.dtype != np.uint8:
            raise _damaged(folder, f"{tile} in {name} is not a map of classes")
    return maps


#: Exceptions that numpy raises for damaged archives.
_DAMAGED = (
    *(ValueError, KeyError, EOFError, OverflowError, MemoryError),
    *(BadZipFile, ZlibError, NotImplementedError),
)


def _jobs(bench: Path, row: Row, name: str) -> Iterator[tuple[Job, Path]]:
    """Yield the runs of a row that have a file, with their folders."""
    for path in sorted((bench / "runs" / row.folder).glob(f"*/{name}")):
        named = _NAME.fullmatch(path.parent.name)
        if named is not None:
            split, seed, tiles = (None if n is None else int(n) for n in named.groups())
            yield Job(row, split or 0, seed or 0, tiles), path.parent


def _read(job: Job, folder: Path) -> Trial:
    numbers = read_json(folder / TRIAL_NAME)
    typed(numbers, TrialNumbers)
    document = typed(read_json(folder / SCORES_NAME), _Document)
    if not document["entries"]:
        raise StoredError(f"{SCORES_NAME} has no entry")
    scores = Scores.from_json(document["entries"][0])
    tables, matching = _read_counts(folder, len(scores.class_names))
    if len(tables) != len(scores.tiles):
        raise StoredError(f"{COUNTS_NAME} is of other tiles than {SCORES_NAME}")
    seconds = read_seconds(folder / TIMES_NAME)
    return Trial(job, folder, scores, tables, matching.sum((0, 1)), numbers, seconds)


def _read_counts(folder: Path, classes: int) -> list[NDArray[np.int64]]:
    """Return the ``(T, K, C)`` counts on the test and on the matching tiles."""
    try:
        with (folder / COUNTS_NAME).open("rb") as file, np.load(file) as stored:
            counts = [stored[name] for name in ("test", "matching")]
    except OSError as error:
        raise StoredError(f"{COUNTS_NAME} cannot be read: {error}") from error
    for table in counts:
        whole = np.issubdtype(table.dtype, np.integer)
        if table.ndim != 3 or table.shape[2] != classes or not whole or table.min() < 0:
            raise StoredError(f"{COUNTS_NAME} is not a table of {classes} classes")
    return counts


def _damaged(folder: Path, reason: object) -> TrainingError:
    return TrainingError(
        f"the files of {folder} are damaged ({reason}), expected those of geoseg "
        "benchmark: remove that folder to train it again"
    )
