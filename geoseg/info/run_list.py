"""List the runs in a folder."""

from pathlib import Path

from geoseg.core.errors import GeosegError
from geoseg.core.run_files import MODEL_NAME
from geoseg.info.run_state import RunState, run_state
from geoseg.info.sheet import Sheet, columns
from geoseg.model.card import load_card
from geoseg.runs.folders import is_run

Facts = dict[str, str | float | None]


def runs_sheet(folder: Path) -> Sheet:
    """List the runs in a folder: name, method, state, and IoU on the test tiles.

    Damaged runs are listed with their error.
    """
    runs = [_facts(run) for run in sorted(folder.iterdir()) if is_run(run)]
    sheet = Sheet(str(folder), "runs", {"runs": runs})
    rows = [tuple(str(run[key]) for key in ("name", "method", "state")) for run in runs]
    scores = [_score(run["iou"]) for run in runs]
    lines = columns([(*row, iou) for row, iou in zip(rows, scores, strict=True)])
    problems = [f"  {run['problem']}" if run["problem"] else "" for run in runs]
    sheet.say("runs", *[a + b for a, b in zip(lines, problems, strict=True)])
    return sheet


def _facts(folder: Path) -> Facts:
    """Return plain values of a run; IoU is in [0, 1], or None without scores."""
    facts: Facts = {
        **{"name": folder.name, "method": "?", "state": "damaged"},
        **{"iou": None, "problem": None},
    }
    try:
        return facts | _read(run_state(folder))
    except GeosegError as error:
        return facts | {"problem": str(error)}


def _read(run: RunState) -> Facts:
    model = run.folder / MODEL_NAME
    card = load_card(model) if model.exists() else None
    method = card.method if card is not None else None
    if run.settings is not None:
        method = run.settings.method
    score = {} if card is None else card.metrics.get("iou") or {}
    state: str = run.name
    whole = run.planned is None or run.steps >= run.planned
    if state == "stopped" and card is not None and whole:
        state = "trained"  # a run without test tiles never counts as finished
    return {"method": method, "state": state, "iou": score.get("value")}


def _score(value: str | float | None) -> str:
    return "not scored" if value is None else f"IoU {value:.3f}"
