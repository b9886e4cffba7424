"""Carry out a benchmark run by run, and update the leaderboard after each."""

import json
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, TypedDict

import geoseg
from geoseg.core.aside import own_folder
from geoseg.core.errors import (
    DatasetError,
    LabelError,
    OutputExistsError,
    ParameterError,
    TrainingError,
)
from geoseg.core.locks import locked
from geoseg.core.outputs import make_folder, write_aside
from geoseg.core.progress import Pace
from geoseg.core.run_files import SETTINGS_NAME
from geoseg.core.stored import StoredError, read_json, typed
from geoseg.core.words import counted
from geoseg.geo.formats.role_outlines import adjoining_test, adjoining_words
from geoseg.geo.labels.labels import check_two_classes
from geoseg.geo.tiles.roles import Split, tiles_by_role
from geoseg.geo.tiles.tiles import Tile
from geoseg.leaderboard.page import Gallery, write_page
from geoseg.leaderboard.plan import BenchmarkPlan, Job, Row, parse_rows, run_folder
from geoseg.leaderboard.process import run_apart
from geoseg.leaderboard.results import Line, read_lines
from geoseg.leaderboard.tables import MAIN, Board, csv_text, document, markdown, shown
from geoseg.leaderboard.trial import BLIND_NAME, TRIAL_NAME, Order
from geoseg.leaderboard.trial_files import read_trials
from geoseg.runs.fitting import check_device
from geoseg.runs.folders import write_json
from geoseg.runs.reporting.card import clock
from geoseg.runs.settings import RunSettings, read_settings
from geoseg.runs.tiles.run_tiles import fingerprint, split_of, tiles_of, training_tiles

log = logging.getLogger(__name__)

#: File with the benchmark's settings.
BENCH_NAME = "benchmark.json"
PAGE_NAME = "leaderboard.html"
BOARD_NAMES = ("leaderboard.md", "leaderboard.csv", "leaderboard.json")


def run_benchmark(plan: BenchmarkPlan, folder: Path, command: str) -> Board:
    """Carry out all missing runs and return the leaderboard.

    A failed run does not stop the others; the next call tries it again.

    Args:
        plan: The benchmark. When resumed, it may have other rows, seeds and splits than
            before; finished runs stay in the table.
        folder: Of the benchmark, new or begun with the same settings.
        command: The command line, for the head of the table.

    Raises:
        ParameterError: If parameters or settings are wrong, or differ from those that
            the benchmark was begun with.
        OutputExistsError: If the folder holds other files.
        OutputError: If another process works in the folder.
        DatasetError: If there are no tiles to test on.
        TrainingError: At the end, if a run failed.
    """
    plan.check(_former_rows(folder))
    check_device(plan.base.device)
    tiles = tiles_of(plan.base)
    split = _check_split(plan, tiles)
    make_folder(folder)
    with locked(folder):
        rows = _begin(plan, folder, fingerprint(tiles))
        jobs = list(plan.jobs(len(split.match)))
        for job in jobs:
            _check_same(plan, job, folder)
        state = _Progress(plan, folder, command, rows, split, jobs)
        with _going_on(command):
            state.carry_out()
    if state.failures:
        first, why = next(iter(state.failures.items()))
        raise TrainingError(
            f"{len(state.failures)} of {counted(len(jobs), 'run')} failed, the first of "
            f"{first}: {why}; {folder / BOARD_NAMES[0]} has the others, and the same "
            "command tries again"
        )
    log.info("open %s", folder / PAGE_NAME)
    log.info("%s", _next_step(plan, folder, state.board))
    return state.board


def _next_step(plan: BenchmarkPlan, folder: Path, board: Board) -> str:
    """Return a line with the command that trains the best method except controls."""
    rows = [line.row for line in board.lines if line.row in plan.rows]
    best = next((row for row in rows if row.family != "control"), None) or rows[0]
    settings = plan.settings(Job(best, 0, plan.base.seed), folder)
    settings = replace(settings, controls=True, report="quick")
    return f"train {best.name} for maps: {settings.command()}"


@contextmanager
def _going_on(command: str) -> Iterator[None]:
    """Add the command that resumes to any exception that ends the process."""
    try:
        yield
    except (KeyboardInterrupt, SystemExit) as stop:
        stop.add_note(f"go on with the same command: {command}")
        raise


def _check_split(plan: BenchmarkPlan, tiles: list[Tile]) -> Split:
    """Return the first split, after checking that all have matching and test tiles."""
    splits = [
        split_of(replace(plan.base, split_seed=number), tiles)
        for number in range(plan.splits)
    ]
    for split in splits:
        if not split.match or not split.test:
            raise DatasetError(
                f"of {counted(len(tiles), 'tile')} {len(split.match)} are left to match "
                f"and {len(split.test)} to test on, expected some of each: give labels "
                "with --labels, or cut large images with --blocks"
            )
        check_two_classes(split.match)
    return splits[0]


def _begin(plan: BenchmarkPlan, folder: Path, tiles: str) -> tuple[Row, ...]:
    """Store or compare the benchmark's settings; return the rows of its table."""
    path = folder / BENCH_NAME
    planned, rows = plan.common(), plan.rows
    if path.exists():
        stored = _read(path)
        _refuse_former(stored["settings"], folder)
        _refuse_changed(stored["settings"], planned, folder)
        if stored["fingerprint"] != tiles:
            raise ParameterError(
                f"the tiles have changed since {folder} was begun: put them back as they "
                "were, or give another folder"
            )
        rows = tuple(dict.fromkeys((*_former_rows(folder), *rows)))
    elif any(entry.name != ".lock" for entry in folder.iterdir()):
        raise OutputExistsError(
            f"{folder} is not empty and not a benchmark: give another folder"
        )
    write_json(
        path,
        {
            "geoseg_version": geoseg.__version__,
            "settings": planned,
            "fingerprint": tiles,
            "rows": [row.name for row in rows],
        },
    )
    return rows


def _former_rows(folder: Path) -> tuple[Row, ...]:
    """Return the rows of an existing benchmark; none for a new one."""
    path = folder / BENCH_NAME
    return parse_rows(",".join(_read(path)["rows"])) if path.exists() else ()


class _Begun(TypedDict):
    settings: dict[str, Any]
    fingerprint: str
    rows: list[str]


def _read(path: Path) -> _Begun:
    try:
        return typed(read_json(path), _Begun)
    except StoredError as error:
        raise ParameterError(
            f"{path} is damaged ({error}): give another folder"
        ) from error


def _refuse_former(stored: Mapping[str, Any], folder: Path) -> None:
    """Raise if a former version began the benchmark with another rule of roles."""
    if "test_tiles" not in stored:
        raise ParameterError(
            f"{folder} was begun by a former version, which tested on all labelled "
            "tiles that it did not match on: new runs could not be compared with the "
            "old ones; give another folder"
        )


def _refuse_changed(
    stored: Mapping[str, Any], planned: Mapping[str, Any], folder: Path
) -> None:
    # settings that a later version added have their defaults
    former = {**RunSettings().to_json(), **stored}
    for name, value in json.loads(json.dumps(planned)).items():
        if former.get(name) != value:
            raise ParameterError(
                f"{folder} was begun with {name.replace('_', ' ')} "
                f"{former.get(name)!r}, found {value!r}: give the same settings, or "
                "another folder"
            )


def _check_same(plan: BenchmarkPlan, job: Job, folder: Path) -> None:
    """Raise if a run was begun with other settings."""
    path = run_folder(folder, job) / SETTINGS_NAME
    if not path.exists():
        return
    stored = read_settings(path.parent)
    planned = plan.settings(job, folder)
    former, given = stored.to_json(), planned.to_json()
    changed = [name for name in given if name != "init" and former[name] != given[name]]
    if changed:
        name = changed[0]
        raise ParameterError(
            f"the run of {job} in {folder} was begun with {name.replace('_', ' ')} "
            f"{former[name]!r}, found {given[name]!r}: give the same settings, or "
            "another folder"
        )


class _Progress:
    """Carries out the runs of a benchmark and counts failures."""

    def __init__(
        self,
        plan: BenchmarkPlan,
        folder: Path,
        command: str,
        rows: tuple[Row, ...],
        split: Split,
        jobs: list[Job],
    ) -> None:
        self.plan, self.folder, self.command = plan, folder, command
        self.rows, self.split, self.jobs = rows, split, jobs
        self.near = adjoining_words(adjoining_test(split), tiles_by_role(split))
        self.failures: dict[str, str] = {}
        self.gallery = Gallery(split.test, plan.base.nodata)

    def carry_out(self) -> None:
        """Carry out every missing run, and write the leaderboard after each."""
        own_folder(self.folder / "logs")
        done = [job for job in self.jobs if self._finished(job)]
        if done:
            log.info("%d of %d runs are there already", len(done), len(self.jobs))
        self.board = self.write()
        pace, made = Pace(len(self.jobs) - len(done)), 0
        for number, job in enumerate(self.jobs, 1):
            if job in done:
                continue
            left = pace.left(made)
            log.info("run %d of %d: %s%s", number, len(self.jobs), job, left)
            self._one(job)
            made += 1
            self.board = self.write()
            if self._finished(job):
                self._say(job)

    def _one(self, job: Job) -> None:
        source = job.row.source
        if source and not self._finished(Job(Row(source), job.split, job.seed)):
            self._fail(job, f"there is no run of {source} to start from")
            return
        folder = run_folder(self.folder, job)
        settings = self.plan.settings(job, self.folder)
        if job.label_tiles is not None and self._blind(settings, folder):
            return
        order = Order(
            settings,
            folder,
            self.plan.label_tiles,
            self.plan.clusters,
            self.plan.threads,
        )
        name = job.name.replace("/", "-")
        try:
            run_apart(order, self.folder / "logs" / f"{name}.txt")
        except TrainingError as error:
            self._fail(job, str(error))

    def _say(self, job: Job) -> None:
        """Log the result of a run."""
        for trial in read_trials(self.folder, job.row, self._fail_damaged):
            if trial.job == job:
                line = Line(job.row, [trial])
                score = shown(line.summaries[line.main])
                log.info(
                    "%s %s, trained in %s",
                    MAIN[line.main],
                    score,
                    clock(line.seconds("training")),
                )

    def _blind(self, settings: RunSettings, folder: Path) -> bool:
        """Record and skip a run whose labelled tiles show only one class."""
        split = split_of(settings, tiles_of(settings))
        try:
            check_two_classes(split.match)
        except LabelError:
            folder.mkdir(parents=True, exist_ok=True)
            write_json(folder / BLIND_NAME, {"labelled": len(split.match)})
            log.info("its labels show only one class: an empty map, no training")
            return True
        return False

    def _fail(self, job: Job, why: str) -> None:
        self.failures[str(job)] = why
        log.warning("no run of %s: %s", job, why)

    def _fail_damaged(self, job: Job, error: TrainingError) -> None:
        if str(job) not in self.failures:
            self._fail(job, str(error))

    def _finished(self, job: Job) -> bool:
        folder = run_folder(self.folder, job)
        return any((folder / name).exists() for name in (TRIAL_NAME, BLIND_NAME))

    def write(self) -> Board:
        """Write the leaderboard of the finished runs, and return it."""
        left = sum(not self._finished(job) for job in self.jobs)
        board = Board(
            title=f"Leaderboard of {self.plan.base.source}",
            budget=self._budget(),
            lines=read_lines(self.folder, self.rows, self._fail_damaged),
            command=self.command,
            notes=self._notes(),
            failures=self.failures,
            left=left,
            transductive=self.plan.base.transductive,
        )
        texts = (markdown(board), csv_text(board), _json(board))
        for name, text in zip(BOARD_NAMES, texts, strict=True):
            write_text(self.folder / name, text)
        write_page(self.folder / PAGE_NAME, board, self.gallery)
        return board

    def _budget(self) -> dict[str, str]:
        base, plan = self.plan.base, self.plan
        tiles = {
            "to match or learn from": self.split.match,
            "to test": self.split.test,
            "with labels hidden": self.split.hidden,
            "unlabelled": self.split.unlabelled,
            "in training": training_tiles(self.split),
        }
        given = {**plan.shared}
        for method, own in plan.own.items():
            given |= {f"{method}.{name}": value for name, value in own.items()}
        return {
            "training": f"{base.max_steps} steps of {base.batch_size} patches of "
            f"{base.patch_size} × {base.patch_size} pixels",
            "parameters": ", ".join(f"{k}={v}" for k, v in given.items())
            or "the methods' defaults",
            "runs": f"{counted(plan.seeds, 'seed')} on {counted(plan.splits, 'split')}",
            "tiles": ", ".join(f"{len(t)} {use}" for use, t in tiles.items() if t),
            "test images": (
                "**transductive**: seen in training, without labels"
                if base.transductive
                else "never seen in training"
            ),
            "device": f"{base.device}, {base.precision}",
            "geoseg": geoseg.__version__,
        }

    def _notes(self) -> list[str]:
        notes = [
            "Bold: the best of its family, of the rows that miss no run of the others. "
            "±: standard deviation over runs. In brackets: 95 % interval of the mean when "
            "test tiles are drawn again. AMI: adjusted mutual information of clusters and "
            "classes, without any matching.",
            "Where labels only name clusters, scores by labelled tiles count the most "
            "probable cluster of each pixel: the last of them can differ from the table "
            "above, whose maps add up the probabilities of all clusters.",
        ]
        notes += [f"{self.near}."] if self.near else []
        if any(row.source for row in self.rows):
            notes.append(
                "METHOD:OTHER starts from the run of OTHER with the same split and seed: "
                "its steps and time come on top of that run's."
            )
        if self.plan.base.transductive:
            notes.append(
                "Transductive: training saw the images of the test tiles, without labels. "
                "New tiles may score lower."
            )
        return notes


def _json(board: Board) -> str:
    return json.dumps(document(board), indent=1, allow_nan=False) + "\n"


def write_text(path: Path, text: str) -> None:
    """Write a text file, complete or not at all."""
    with write_aside(path, verify=lambda _: None, overwrite=True) as temporary:
        temporary.write_text(text, encoding="utf-8")
