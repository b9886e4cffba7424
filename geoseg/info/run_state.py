"""Read the state of a run from its files and its lock."""

import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from geoseg.core.locks import is_locked
from geoseg.core.run_files import SETTINGS_NAME
from geoseg.methods import method_class
from geoseg.runs.fitting import DEFAULT_STEPS
from geoseg.runs.folders import curves_of, is_finished
from geoseg.runs.settings import RunSettings, read_settings
from geoseg.training.step_tables import read_step_table


@dataclass(frozen=True)
class RunState:
    """The state of a run.

    Attributes:
        folder: Of the run.
        settings: None if the folder has none, so that it is not a run.
        steps: Steps in the table of numbers.
        planned: Last step of the training; None if epochs or time may end it.
        running: Whether a process works on it now.
        finished: Whether it is complete.
    """

    folder: Path
    settings: RunSettings | None
    steps: int
    planned: int | None
    running: bool
    finished: bool

    @property
    def name(self) -> Literal["running", "finished", "stopped"]:
        """The state in one word."""
        if self.running:
            return "running"
        return "finished" if self.finished else "stopped"

    @property
    def stepless(self) -> str | None:
        """The name of the method if it makes no optimiser steps, else None."""
        if self.settings is None or method_class(self.settings.method).gradient:
            return None
        return self.settings.method

    @property
    def go_on(self) -> str:
        """The command that resumes the run."""
        return f"go on with: geoseg train --resume {shlex.quote(str(self.folder))}"

    def of(self, steps: int) -> str:
        """Return a number of steps as text, with the planned number if known."""
        return str(steps) if self.planned is None else f"{steps} of {self.planned}"


def run_state(folder: Path) -> RunState:
    """Read the state of a run.

    Raises:
        TrainingError: If its settings or its table of numbers are damaged.
    """
    settings = _settings(folder)
    return RunState(
        folder=folder,
        settings=settings,
        steps=_steps(curves_of(folder)),
        planned=None if settings is None else _planned(settings),
        running=is_locked(folder),
        finished=is_finished(folder),
    )


def _settings(folder: Path) -> RunSettings | None:
    """Return the settings of a run, or None if the folder has none."""
    return read_settings(folder) if (folder / SETTINGS_NAME).exists() else None


def _planned(settings: RunSettings) -> int | None:
    """Return the last step of a training; None if epochs or time may end it."""
    if settings.max_epochs is not None or settings.max_seconds is not None:
        return None
    if not method_class(settings.method).gradient:
        return None
    return DEFAULT_STEPS if settings.max_steps is None else settings.max_steps


def _steps(path: Path) -> int:
    return max((int(row["step"]) for row in read_step_table(path)), default=0)
