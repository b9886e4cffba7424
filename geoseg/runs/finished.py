"""Whether a run has all that it was begun for; known without reading a tile."""

from pathlib import Path

from geoseg.core.errors import TrainingError
from geoseg.core.run_files import (
    MODEL_NAME,
    PANEL_NAME,
    REFITTED_NAME,
    REPORT_NAME,
    SCORED_NAME,
    SCORES_NAME,
)
from geoseg.runs.settings import RunSettings, read_settings


def is_finished(run: Path) -> bool:
    """Return whether a run was trained, matched, scored, reported and refitted.

    Refitted only where its settings say so.
    """
    settings = _settings(run)
    if settings is None or not is_scored(run):
        return False
    return not settings.refit or is_refitted(run)


def is_scored(run: Path) -> bool:
    """Return whether a run was trained to its end, matched, scored and reported.

    Scores are of a matched model whose training no signal ended, and they go as soon as
    the training goes on (:func:`forget_scores`). A run without test tiles has none and
    never counts as finished; nor does one whose settings are damaged.
    """
    settings = _settings(run)
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


def _settings(run: Path) -> RunSettings | None:
    """Return the settings of a run; None where they are absent or damaged."""
    try:
        return read_settings(run)
    except TrainingError:
        return None
