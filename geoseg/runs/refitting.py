"""The model for the map: after the scoring, made once more with all labels.

Scores need tiles that a model has not seen, and a map does not. So the scored model is
kept under another name, and the one that maps have learned from its test tiles too.
"""

import logging
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from geoseg.core.aside import own_folder
from geoseg.core.errors import MatchingError
from geoseg.core.progress import say_stage
from geoseg.core.run_files import (
    MODEL_NAME,
    REFIT_NAME,
    REFITTED_NAME,
    SCORED_NAME,
    TIMES_NAME,
)
from geoseg.core.words import counted
from geoseg.geo.evaluation.matching import match_model
from geoseg.model.file import Model, file_sha256, load_model, save_model
from geoseg.runs.folders import is_refitted, write_json
from geoseg.runs.plan import Plan, plan_run, train_plan
from geoseg.runs.result import RunResult, timed
from geoseg.runs.tiles.roles import ROLE_FACTS
from geoseg.runs.tiles.run_tiles import ids_by_role, normalization_of, training_tiles

if TYPE_CHECKING:
    from geoseg.geo.tiles.roles import Split

log = logging.getLogger(__name__)


def refit(plan: Plan, result: RunResult) -> RunResult:
    """Make the model once more, with the matching and the test tiles together.

    A method that learns from labels is trained again, with the same settings, from the
    checkpoint of such a training if there is one. Any other is not: its clusters are
    matched again. The new model takes the name of the scored one, which gets another
    before. Where the new one is no model to map with, the scored one stays.

    Args:
        plan: Of the run.
        result: Of the run so far, with the scored model.

    Returns:
        The result with the new model; a signal leaves the scored one.
    """
    folder, scored = result.run, result.model
    together = _together(plan.split)
    say_stage(f"refitting on {counted(len(together.match), 'tile')}")
    with timed(folder / TIMES_NAME, "refitting"):
        again, told = _made_again(plan, scored, together, folder / REFIT_NAME, result)
    if again is None:
        return told
    save_model(folder / SCORED_NAME, scored)
    origin = {
        "scored_model": SCORED_NAME,
        "sha256": file_sha256(folder / SCORED_NAME),
        "match_tiles": len(plan.split.match),
        "test_tiles": len(plan.split.test),
    }
    again = again.with_card(
        head=scored.card.head,
        metrics={**scored.card.metrics, "scored_model": SCORED_NAME},
        provenance={**again.card.provenance, "refit": origin},
    )
    save_model(folder / MODEL_NAME, again)
    _note(folder, "refitted")
    return replace(told, model=again)


def scored_model(folder: Path) -> Model:
    """Return the model of a run that its scores are of.

    Raises:
        ModelFileError: If it cannot be read.
    """
    kept = folder / SCORED_NAME
    return load_model(kept if kept.exists() else folder / MODEL_NAME)


def undo_refit(folder: Path) -> Model:
    """Give the scored model its name back; return it.

    Raises:
        ModelFileError: If it cannot be read.
    """
    if (folder / SCORED_NAME).exists():
        os.replace(folder / SCORED_NAME, folder / MODEL_NAME)
    (folder / REFITTED_NAME).unlink(missing_ok=True)
    return load_model(folder / MODEL_NAME)


def set_refit(plan: Plan, folder: Path) -> RunResult:
    """Bring a run that is scored to what its settings say of a refit."""
    if plan.settings.refit:
        return refit(plan, RunResult(folder, scored_model(folder)))
    model = undo_refit(folder) if is_refitted(folder) else scored_model(folder)
    return RunResult(folder, model)


def _made_again(
    plan: Plan, scored: Model, split: "Split", place: Path, result: RunResult
) -> tuple[Model | None, RunResult]:
    """Return the matched model, or None where there is none, with what to tell of it."""
    card = scored.card
    facts = _facts_together(card.provenance)
    if scored.method.uses_labels:
        settings = replace(plan.settings, seed=card.seed, restarts=1)
        normalization = (
            normalization_of(settings, training_tiles(split))
            if settings.init is None
            else card.normalization
        )
        own = plan_run(settings, split, normalization, facts)
        own_folder(place)
        model, trained = train_plan(own, place, resume=True, profile=False)
        if trained.signal is not None:
            return None, replace(result, signal=trained.signal)
        if trained.collapse is not None:
            return None, _keep_scored(result, trained.collapse)
    else:
        origin = {**card.provenance, "tiles": ids_by_role(split), **facts}
        model = scored.with_card(provenance=origin)
    try:
        objective = plan.settings.objective
        return match_model(model, split.match, objective=objective), result
    except MatchingError as error:
        return None, _keep_scored(result, str(error))


def _keep_scored(result: RunResult, reason: str) -> RunResult:
    """Say that the scored model stays the run's."""
    log.warning("no refit: %s; %s stays the scored model", reason, result.model_path)
    _note(result.run, "scored", reason)
    return result


def _note(folder: Path, kept: str, reason: str | None = None) -> None:
    """Write down that the refit is over: the last that is done."""
    write_json(folder / REFITTED_NAME, {"model": kept, "reason": reason})


def _together(split: "Split") -> "Split":
    """Return the roles with the test tiles among the matching ones."""
    tested = {tile.id for tile in split.test}
    others = tuple(tile for tile in split.unlabelled if tile.id not in tested)
    return replace(split, match=split.match + split.test, test=(), unlabelled=others)


def _facts_together(provenance: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the card says of roles, by their roles in the refit."""
    facts = {name: provenance[name] for name in ROLE_FACTS if name in provenance}
    if "tile_keys" in facts:
        keys = dict(facts["tile_keys"])
        tested = keys.pop("test", [])
        facts["tile_keys"] = {**keys, "match": [*keys.get("match", []), *tested]}
    return facts
