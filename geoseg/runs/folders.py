"""Folders of runs: a new one for each, never one that holds something; their models."""

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
    """Make the folder of a run.

    Args:
        run: The folder, or None for ``runs/STEM-001`` or the next free number.
        stem: What a numbered folder's name begins with.

    Raises:
        OutputError: If it cannot be made.
        TrainingError: If no number is free.
    """
    try:
        (run or RUNS).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(
            f"the folder {run or RUNS} cannot be made ({error.strerror}): give another "
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
    """Tell whether a path is the folder of a run, or of a model alone."""
    return any((folder / name).exists() for name in (MODEL_NAME, SETTINGS_NAME))


def curves_of(run: Path) -> Path:
    """Return the table of a run's numbers: of its newest training while it has none."""
    own = run / METRICS_NAME
    found = sorted(run.glob(f"{RESTARTS_NAME}/*/{METRICS_NAME}"), key=_written)
    return found[-1] if found and not own.exists() else own


def _written(path: Path) -> float:
    return path.stat().st_mtime


def need_run(folder: Path) -> Path:
    """Return the path of the settings of a run.

    Raises:
        TrainingError: If the folder is no run.
    """
    path = folder / SETTINGS_NAME
    if not path.is_file():
        raise TrainingError(
            f"{folder} has no {SETTINGS_NAME}: expected the folder of a run that "
            "geoseg train began"
        )
    return path


def newest_model(given: Path | None = None) -> Path:
    """Return a run folder's model file, a file itself, or the newest run's.

    Args:
        given: A run folder or a model file; None for the newest run in ``runs``.

    Raises:
        ModelFileError: If there is none.
    """
    if given is not None:
        return need_model(given / MODEL_NAME if given.is_dir() else given)
    found = sorted(RUNS.glob(f"*/{MODEL_NAME}"), key=_age)
    if not found:
        raise ModelFileError(
            f"there is no model in {RUNS.resolve()}: train one with geoseg train, or "
            "name one with --model"
        )
    return found[-1]


def _age(path: Path) -> tuple[float, Path]:
    """When the run of a model began: a new matching of an old run makes it no newer."""
    settings = path.with_name(SETTINGS_NAME)
    return (settings if settings.exists() else path).stat().st_mtime, path


def refuse_filled(run: Path) -> None:
    """Refuse a folder that holds something, but for what a start left that failed.

    Raises:
        OutputExistsError: If it does.
    """
    if run.exists() and not all(map(_left_over, run.iterdir())):
        raise OutputExistsError(
            f"{run} is not empty: give another folder, or go on with that run by "
            f"--resume {run}"
        )


def _left_over(path: Path) -> bool:
    """Tell whether a file was begun before there was a run, by this version or others."""
    return path.name in (".lock", "run.part") or path.name.endswith(ASIDE)


def write_json(path: Path, values: Mapping[str, Any]) -> None:
    """Write a file of JSON aside, and rename it."""
    replace_text(path, json.dumps(values, indent=2, allow_nan=False) + "\n")


def is_finished(run: Path) -> bool:
    """Return whether a run was trained, matched, scored, reported and refitted.

    Refitted only where its settings say so.
    """
    settings = _settings_of(run)
    if settings is None or not is_scored(run):
        return False
    return not settings.refit or is_refitted(run)


def is_scored(run: Path) -> bool:
    """Return whether a run was trained to its end, matched, scored and reported.

    Scores are of a matched model whose training no signal ended, and they go as soon as
    the training goes on (:func:`forget_scores`). A run without test tiles has none and
    never counts as finished; nor does one whose settings are damaged.
    """
    settings = _settings_of(run)
    if settings is None:
        return False
    names = [MODEL_NAME, SCORES_NAME, PANEL_NAME]
    if settings.report != "none":
        names.append(REPORT_NAME)
    return all((run / name).is_file() for name in names)


def is_refitted(run: Path) -> bool:
    """Return whether the refit of a run is over, whichever model it left in place."""
    return (run / REFITTED_NAME).is_file()


def forget_scores(run: Path) -> None:
    """Remove what was made of the model that training now replaces."""
    for name in (SCORES_NAME, PANEL_NAME, REPORT_NAME, REFITTED_NAME, SCORED_NAME):
        (run / name).unlink(missing_ok=True)


def _settings_of(run: Path) -> RunSettings | None:
    """Return the settings of a run; None where they are absent or damaged."""
    try:
        return read_settings(run)
    except TrainingError:
        return None
