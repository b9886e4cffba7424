"""Train several times from different random weights and keep the best matched model.

In a short training the initial weights decide much of the result, and the loss does not
show which training found buildings. The matching tiles show it, and their labels are
needed anyway.
"""

import logging
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import torch

from geoseg.core.aside import own_folder, replacing
from geoseg.core.errors import LabelError
from geoseg.core.progress import Pace, say_stage
from geoseg.core.run_files import (
    AREAS_NAME,
    CHECKPOINT_NAME,
    METRICS_NAME,
    RESTARTS_NAME,
)
from geoseg.core.words import counted
from geoseg.geo.evaluation.matching import match_model
from geoseg.methods.presets import PRESETS
from geoseg.model.file import Model
from geoseg.runs.plan import RunPlan, plan_run, train_plan
from geoseg.runs.settings import RunSettings
from geoseg.runs.tiles.run_roles import ROLE_FACTS
from geoseg.scores.metrics import iou, mean_iou

if TYPE_CHECKING:
    from geoseg.geo.tiles.roles import Split
    from geoseg.training.limits import FitResult

log = logging.getLogger(__name__)


class _Restart(NamedTuple):
    """One of the trainings: its model, not matched yet, and its score if matched."""

    model: Model
    trained: "FitResult"
    score: float
    folder: Path


def checkpoints(settings: RunSettings, folder: Path) -> list[Path]:
    """Return the paths of the checkpoints of a run's trainings."""
    if settings.restarts == 1:
        return [folder / CHECKPOINT_NAME]
    return [_place(folder, seed) / CHECKPOINT_NAME for seed in _seeds(settings)]


def judged_restarts(settings: RunSettings, split: "Split") -> RunSettings:
    """Return the settings with a single training if there are no labels to choose by.

    Raises:
        LabelError: If there is no tile to match on, and ``--restarts`` was given by the
            user, not by a preset.
    """
    if settings.restarts == 1 or split.match:
        return settings
    preset = PRESETS.get(settings.preset or "")
    if preset is None or preset.settings.get("restarts") != settings.restarts:
        raise LabelError(
            f"--restarts {settings.restarts} keeps the training that matches the labelled "
            f"tiles best, but no tile of {settings.source} has labels: name them with "
            "--labels, or leave --restarts out"
        )
    log.info(
        "no tile has labels to choose among the %d trainings of --preset %s: training "
        "once",
        settings.restarts,
        settings.preset,
    )
    return replace(settings, restarts=1)


def train_best(
    plan: RunPlan, folder: Path, *, resume: bool, profile: bool
) -> tuple[Model, "FitResult"]:
    """Train as often as the settings say; return the best on the matching tiles.

    Every training has all the steps and a folder of its own below the run's. The test
    tiles are not used for the choice.

    Args:
        plan: Of the run.
        folder: Of the run; the tables of numbers of the best are moved there.
        resume: Continue trainings that were begun.
        profile: Measure some steps of each.

    Returns:
        The best model, not matched yet, and the result of its training. A signal ends
        the current training, and the best so far is kept.

    Raises:
        GeosegError: As :func:`geoseg.runs.plan.train_plan`.
    """
    if plan.settings.restarts == 1:
        return train_plan(plan, folder, resume=resume, profile=profile)
    seeds = _seeds(plan.settings)
    done: list[_Restart] = []
    pace = Pace(len(seeds))
    for number, seed in enumerate(seeds, start=1):
        left = pace.left(len(done))
        say_stage(f"training {number} of {len(seeds)}, seed {seed}{left}")
        place = _place(folder, seed)
        own_folder(place.parent)
        own_folder(place)
        own = _plan_of(plan, seed)
        model, trained = train_plan(own, place, resume=resume, profile=profile)
        score = matching_iou(model, plan)
        done.append(_Restart(model, trained, score, place))
        log.info(
            "seed %d: IoU %.3f on the %s of the matching%s",
            seed,
            score,
            counted(len(plan.split.match), "tile"),
            f" ({trained.collapse})" if trained.collapse else "",
        )
        if trained.signal is not None:
            break
    return _best_of(done, folder)


def matching_iou(model: Model, plan: RunPlan) -> float:
    """Return the IoU of a model's default head on the matching tiles, in [0, 1].

    Returns:
        IoU of building after matching on the same tiles; with more than two classes,
        the mean IoU.
    """
    matched = match_model(model, plan.split.match, objective=plan.settings.objective)
    matching = matched.card.matchings[matched.card.head]
    confusion = matching.confusion(torch.tensor(matching.counts))
    return float((iou if matching.num_classes == 2 else mean_iou)(confusion))


def _best_of(done: Sequence[_Restart], folder: Path) -> tuple[Model, "FitResult"]:
    """Return the best training, the first among equals; move its tables to the run."""
    best = max(done, key=lambda restart: restart.score)
    for name in (METRICS_NAME, AREAS_NAME):
        if (best.folder / name).exists():
            with replacing(folder / name) as aside:
                shutil.copy(best.folder / name, aside)
    log.info("the training of seed %d is kept", best.model.card.seed)
    scores = [
        {"seed": restart.model.card.seed, "matching_iou": restart.score}
        for restart in done
    ]
    provenance = {**best.model.card.provenance, "restarts": scores}
    last = done[-1].trained
    trained = replace(best.trained, signal=last.signal)
    return best.model.with_card(provenance=provenance), trained


def _seeds(settings: RunSettings) -> range:
    return range(settings.seed, settings.seed + settings.restarts)


def _place(folder: Path, seed: int) -> Path:
    return folder / RESTARTS_NAME / f"seed-{seed}"


def _plan_of(plan: RunPlan, seed: int) -> RunPlan:
    """Return the plan with another seed of weights, patches and views, same split."""
    settings = replace(plan.settings, seed=seed, restarts=1)
    known = plan.card.provenance
    facts = {name: known[name] for name in ROLE_FACTS if name in known}
    return plan_run(settings, plan.split, plan.card.normalization, facts)
