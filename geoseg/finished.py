"""Whether a run has all that it was begun for; known without reading a tile."""

import json
from pathlib import Path

from geoseg.run_files import (
    MODEL_NAME,
    PANEL_NAME,
    REPORT_NAME,
    SCORES_NAME,
    SETTINGS_NAME,
)


def is_finished(run: Path) -> bool:
    """Return whether a run was trained to its end, matched, scored and reported.

    Scores are of a matched model whose training no signal ended, and they go as soon as
    the training goes on (:func:`forget_scores`). A run without test tiles has none and
    never counts as finished; nor does one whose settings are damaged.
    """
    try:
        report = json.loads((run / SETTINGS_NAME).read_text())["settings"]["report"]
    except (OSError, ValueError, KeyError, TypeError):
        return False
    names = [MODEL_NAME, SCORES_NAME, PANEL_NAME]
    if report != "none":
        names.append(REPORT_NAME)
    return all((run / name).is_file() for name in names)


def forget_scores(run: Path) -> None:
    """Remove what was made of the model that training now replaces."""
    for name in (SCORES_NAME, PANEL_NAME, REPORT_NAME):
        (run / name).unlink(missing_ok=True)
