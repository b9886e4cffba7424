"""Folders of runs: create them, check their state, find their models."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from geoseg.core.addresses import need_model
from geoseg.core.aside import ASIDE, replace_text
from geoseg.core.errors import (
    ModelFileError,
    OutputError,
    OutputExistsError,
    TrainingError,
)
from geoseg.core.run_files import (
    METRICS_NAME,
    MODEL_NAME,
    PANEL_NAME,
    REFITTED_NAME,
    REPORT_NAME,
    RESTARTS_NAME,
    RUNS,
    SCORED_NAME,
    SCORES_NAME,
    SETTINGS_NAME,
)
from geoseg.runs.settings import RunSettings, read_settings


def new_run_folder(run: Path | None, stem: str) -> Path:
    """Create the folder of a run.

    Args:
        run: The folder, or None for ``runs/STEM-001`` or the next free number.
        stem: First part of a numbered folder's name.

    Raises:
        OutputError: If it cannot be created.
        TrainingError: If no number is free.
    """
    try:
        (run or RUNS).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(
            f"folder {run or RUNS} cannot be created ({error.strerror}): give another "
            "one with -o"
        ) from error
    if run is not None:
        return run
    for number in range(1, 10**6):
        folder = RUNS / f"{stem}-{number:03d}"
        try:
            folder.mkdir()
        except FileExistsError:
            continue
        return folder
    raise TrainingError(f"{RUNS} is full: give a folder with -o")


def is_run(folder: Path) -> bool:
    """Return whether a path is a folder with a run or with a model."""
    return any((folder / name).exists() for name in (MODEL_NAME, SETTINGS_NAME))


def curves_of(run: Path) -> Path:
    """Return the path of a run's ``metrics.csv``, or else of its newest restart's."""
    own = run / METRICS_NAME
    tables = sorted(run.glob(f"{RESTARTS_NAME}/*/{METRICS_NAME}"), key=_written)
    return tables[-1] if tables and not own.exists() else own


def _written(path: Path) -> float:
    return path.stat().st_mtime


def need_run(folder: Path) -> Path:
    """Return the path of a run's settings.

    Raises:
        TrainingError: If the folder is not a run.
    """
    path = folder / SETTINGS_NAME
    if not path.is_file():
        raise TrainingError(
            f"{folder} has no {SETTINGS_NAME}, expected the folder of a run that "
            "geoseg train began"
        )
    return path


def newest_model(given: Path | None = None) -> Path:
    """Return the path of a model file: the given one, a run's, or the newest run's.

    Args:
        given: A run folder or a model file; None for the newest run in ``runs``.

    Raises:
        ModelFileError: If there is none.
    """
    if given is not None:
        return need_model(given / MODEL_NAME if given.is_dir() else given)
    models = sorted(RUNS.glob(f"*/{MODEL_NAME}"), key=_age)
    if not models:
        raise ModelFileError(
            f"there is no model in {RUNS.resolve()}: train one with geoseg train, or "
            "name one with --model"
        )
    return models[-1]


def _age(path: Path) -> tuple[float, Path]:
    """Return when a model's run began: matching an old run again keeps its age."""
    settings = path.with_name(SETTINGS_NAME)
    return (settings if settings.exists() else path).stat().st_mtime, path


def refuse_filled(run: Path) -> None:
    """Raise if a folder is not empty, apart from files of a failed start.

    Raises:
        OutputExistsError: If it is not empty.
    """
    if run.exists() and not all(map(_left_over, run.iterdir())):
        raise OutputExistsError(
            f"{run} is not empty: give another folder, or go on with that run by "
            f"--resume {run}"
        )


def _left_over(path: Path) -> bool:
    """Return whether a file is temporary or may be left by a failed start."""
    return path.name in (".lock", "run.part") or path.name.endswith(ASIDE)


def write_json(path: Path, values: Mapping[str, Any]) -> None:
    """Write a JSON file, complete or not at all."""
    replace_text(path, json.dumps(values, indent=2, allow_nan=False) + "\n")


def is_finished(run: Path) -> bool:
    """Return whether a run is trained, matched, scored, reported and refitted.

    The refit counts only if the settings ask for it.
    """
    settings = _settings_of(run)
    if settings is None or not is_scored(run):
        return False
    return not settings.refit or is_refitted(run)


def is_scored(run: Path) -> bool:
    """Return whether a run is completely trained, matched, scored and reported.

    Only a matched model is scored, and only if no signal ended its training. The scores
    are removed when the training continues (:func:`forget_scores`). A run without test
    tiles has no scores and never counts as finished, nor if its settings are damaged.
    """
    settings = _settings_of(run)
    if settings is None:
        return False
    names = [MODEL_NAME, SCORES_NAME, PANEL_NAME]
    if settings.report != "none":
        names.append(REPORT_NAME)
    return all((run / name).is_file() for name in names)


def is_refitted(run: Path) -> bool:
    """Return whether the refit of a run is over, whichever model it kept."""
    return (run / REFITTED_NAME).is_file()


def forget_scores(run: Path) -> None:
    """Remove the scores and other results of the model that training will replace."""
    for name in (SCORES_NAME, PANEL_NAME, REPORT_NAME, REFITTED_NAME, SCORED_NAME):
        (run / name).unlink(missing_ok=True)


def _settings_of(run: Path) -> RunSettings | None:
    """Return the settings of a run; None if they are absent or damaged."""
    try:
        return read_settings(run)
    except TrainingError:
        return None
