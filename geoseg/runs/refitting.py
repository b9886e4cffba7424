"""Refit the model with all labels after it is scored.

Scores need tiles that the model has not seen, but a map does not. So the scored model
is kept under another name, and the model for maps also learns from the test tiles.
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
from geoseg.runs.plan import RunPlan, plan_run, train_plan
from geoseg.runs.result import RunResult, timed
from geoseg.runs.tiles.run_roles import ROLE_FACTS
from geoseg.runs.tiles.run_tiles import ids_by_role, normalization_of, training_tiles

if TYPE_CHECKING:
    from geoseg.geo.tiles.roles import Split

log = logging.getLogger(__name__)


def refit(plan: RunPlan, result: RunResult) -> RunResult:
    """Refit the model on the matching and test tiles together.

    A method that learns from labels is trained again with the same settings, from the
    checkpoint of an earlier refit if there is one. The clusters of any other method are
    only matched again. The scored model is renamed first, and the new model takes its
    name. If the refit fails to give a usable model, the scored one stays.

    Args:
        plan: Of the run.
        result: Of the run so far, with the scored model.

    Returns:
        The result with the new model; after a signal, with the scored one.
    """
    folder, scored = result.run, result.model
    together = _together(plan.split)
    say_stage(f"refitting on {counted(len(together.match), 'tile')}")
    with timed(folder / TIMES_NAME, "refitting"):
        again, updated = _made_again(
            plan, scored, together, folder / REFIT_NAME, result
        )
    if again is None:
        return updated
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
    return replace(updated, model=again)


def scored_model(folder: Path) -> Model:
    """Return the model of a run that was scored.

    Raises:
        ModelFileError: If it cannot be read.
    """
    kept = folder / SCORED_NAME
    return load_model(kept if kept.exists() else folder / MODEL_NAME)


def undo_refit(folder: Path) -> Model:
    """Rename the scored model back and return it.

    Raises:
        ModelFileError: If it cannot be read.
    """
    if (folder / SCORED_NAME).exists():
        os.replace(folder / SCORED_NAME, folder / MODEL_NAME)
    (folder / REFITTED_NAME).unlink(missing_ok=True)
    return load_model(folder / MODEL_NAME)


def set_refit(plan: RunPlan, folder: Path) -> RunResult:
    """Refit a scored run, or undo the refit, as its settings say."""
    if plan.settings.refit:
        return refit(plan, RunResult(folder, scored_model(folder)))
    model = undo_refit(folder) if is_refitted(folder) else scored_model(folder)
    return RunResult(folder, model)


def _made_again(
    plan: RunPlan, scored: Model, split: "Split", place: Path, result: RunResult
) -> tuple[Model | None, RunResult]:
    """Return the refitted and matched model, or None, with the updated result."""
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
        matched = match_model(
            model,
            split.match,
            objective=plan.settings.objective,
            naming=plan.settings.naming,
        )
        return matched, result
    except MatchingError as error:
        return None, _keep_scored(result, str(error))


def _keep_scored(result: RunResult, reason: str) -> RunResult:
    """Log that the scored model stays in place."""
    log.warning("no refit: %s; %s stays the scored model", reason, result.model_path)
    _note(result.run, "scored", reason)
    return result


def _note(folder: Path, kept: str, reason: str | None = None) -> None:
    """Record that the refit is over, as its last step."""
    write_json(folder / REFITTED_NAME, {"model": kept, "reason": reason})


def _together(split: "Split") -> "Split":
    """Return the split with the test tiles among the matching tiles."""
    tested = {tile.id for tile in split.test}
    others = tuple(tile for tile in split.unlabelled if tile.id not in tested)
    return replace(split, match=split.match + split.test, test=(), unlabelled=others)


def _facts_together(provenance: Mapping[str, Any]) -> dict[str, Any]:
    """Return the card's facts of the roles, for the roles of the refit."""
    facts = {name: provenance[name] for name in ROLE_FACTS if name in provenance}
    if "tile_keys" in facts:
        keys = dict(facts["tile_keys"])
        tested = keys.pop("test", [])
        facts["tile_keys"] = {**keys, "match": [*keys.get("match", []), *tested]}
    return facts
