"""Describe the folder of a run."""

import shlex
from collections import Counter
from pathlib import Path

from geoseg.core.run_files import MODEL_NAME, ROLES_NAME
from geoseg.core.words import counted
from geoseg.geo.formats.role_outlines import adjoining_words
from geoseg.info.models import model_sheet
from geoseg.info.run_state import RunState, run_state
from geoseg.info.sheet import Sheet, wrapped
from geoseg.runs.folders import curves_of, is_scored
from geoseg.runs.settings import stored_values
from geoseg.runs.tiles.run_roles import read_adjoining, read_roles


def run_sheet(folder: Path) -> Sheet:
    """Describe a run: its settings, its state and its model.

    Raises:
        ModelFileError: If its model is damaged.
        TrainingError: If its settings are damaged.
    """
    model, run = folder / MODEL_NAME, run_state(folder)
    sheet = Sheet(str(folder), "run")
    if run.settings is not None:
        command = run.settings.command() + _output_option(
            folder, run.settings.source, run.settings.method
        )
        sheet.facts["command"] = command
        sheet.say("made by", *wrapped(command))
    sheet.facts |= {"state": run.name, "steps": run.steps, "planned_steps": run.planned}
    _say_state(sheet, run, has_model=model.exists())
    if run.settings is not None:
        _say_roles(sheet, folder)
    if model.exists():
        inner = model_sheet(model)
        sheet.facts["model"] = inner.facts
        sheet.rows += inner.rows
    else:
        sheet.say("model", "none yet")
    return sheet


def _say_state(sheet: Sheet, run: RunState, *, has_model: bool) -> None:
    """Add the state of a run; missing scores are explained with the model."""
    table = curves_of(run.folder)
    none = run.stepless
    made = f"{_steps(run)} made" if none is None else f"{none} makes no steps"
    numbers = f", numbers in {table.name}" if run.steps else ""
    if run.running:
        watch = f"; watch: tail -f {shlex.quote(str(table))}" if run.steps else ""
        sheet.say("state", f"running now: {made}{watch}")
        sheet.say("", f"should it stop, {run.go_on}")
    elif run.finished:
        sheet.say("state", f"finished: {made}{numbers}")
    elif is_scored(run.folder):
        sheet.say("state", f"{made}, scored, not refitted yet; {run.go_on}")
    elif has_model:
        sheet.say("state", f"{made}{numbers}")
    else:
        sheet.say("state", f"stopped: {made}{numbers}; {run.go_on}")


def _say_roles(sheet: Sheet, folder: Path) -> None:
    """Add the number of tiles of each role, if the run's version stored it."""
    values = stored_values(folder)
    roles = read_roles(values)
    if roles is None:
        return
    counts = Counter(entry.role for entry in roles)
    adjoining = read_adjoining(values)
    sheet.facts |= {"roles": dict(counts), "adjoining_test": adjoining}
    outlines = folder / ROLES_NAME
    where = f"; outlines in {outlines.name}" if outlines.exists() else ""
    words = ", ".join(f"{number} {role}" for role, number in counts.items())
    apart = 0 if values["settings"].get("transductive") else counts["test"]
    train = counts.total() - apart
    sheet.say("tiles", f"{words}; {train} train{where}")
    if adjoining:
        sheet.say("", *wrapped(adjoining_words(adjoining, counts)))


def _steps(run: RunState) -> str:
    if run.planned is None:
        return counted(run.steps, "step")
    return f"{run.steps} of {counted(run.planned, 'step')}"


def _output_option(folder: Path, source: str, method: str) -> str:
    """Return ``-o FOLDER`` unless train would name the folder so by default."""
    usual = f"{source}-{method}-"
    if folder.name.removeprefix(usual).isdigit():
        return ""
    return f" -o {shlex.quote(str(folder))}"
