"""Plan a run before its folder exists, and train by the plan."""

import math
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from geoseg.core.normalization import Normalization
from geoseg.core.patches import Epoch
from geoseg.core.progress import say_stage
from geoseg.core.run_files import METRICS_NAME
from geoseg.geo.tiles.roles import Split
from geoseg.methods import build_method, method_defaults
from geoseg.methods.codebooks import Codebook, codebooks_of
from geoseg.model.card import ModelCard
from geoseg.model.file import Model
from geoseg.runs.fitting import check_schedule, limits_of, train_method
from geoseg.runs.resuming import last_logs
from geoseg.runs.settings import RunSettings
from geoseg.runs.starting import initial_model, new_card
from geoseg.runs.tiles.run_tiles import loader_of, patch_tiles
from geoseg.training.passes import TimedPasses

if TYPE_CHECKING:
    from geoseg.geo.patches.dataset import PatchLoader
    from geoseg.training.limits import FitResult


class RunPlan(NamedTuple):
    """Settings, tiles, method and loaders of a run."""

    settings: RunSettings
    split: Split
    card: ModelCard
    loader: "PatchLoader"
    loaders: "Callable[[int, int], PatchLoader]"

    @property
    def steps_per_epoch(self) -> int:
        """Number of optimiser steps in a pass over the patches."""
        return math.ceil(len(self.loader) / self.settings.devices)


def plan_run(
    settings: RunSettings,
    split: Split,
    normalization: Normalization,
    facts: Mapping[str, Any],
) -> RunPlan:
    """Check the settings of a run with its tiles and return the plan; write nothing.

    Args:
        settings: Of the run.
        split: The roles of its tiles.
        normalization: Of their values.
        facts: Facts of the roles for the card, from
            :func:`geoseg.runs.tiles.run_roles.role_facts`.

    Raises:
        ParameterError: If the method, its parameters or its schedule do not fit the
            tiles.
    """
    card = new_card(settings, split, normalization, facts)
    tiles = patch_tiles(settings.method, split)
    loaders = partial(loader_of, settings, tiles, normalization)
    plan = RunPlan(settings, split, card, loaders(0, 1), loaders)
    check_schedule(settings, plan.steps_per_epoch)
    return plan


def train_plan(
    plan: RunPlan, folder: Path, *, resume: bool, profile: bool
) -> tuple[Model, "FitResult"]:
    """Train the method of a plan.

    Args:
        plan: Of the run.
        folder: For the checkpoint and the tables of numbers.
        resume: Continue from the checkpoint, if there is one.
        profile: Measure some steps.

    Returns:
        The model, not matched yet, and the result of its training.

    Raises:
        GeosegError: As :func:`geoseg.runs.fitting.train_method`.
    """
    settings, card = plan.settings, plan.card
    method = build_method(
        settings.method,
        card.normalization.channels,
        card.parameters,
        seed=settings.seed,
    )
    init = initial_model(settings.init)
    if init is not None:
        method.start_from(init.method)
    method.whiten(card.normalization.whitening)
    result = train_method(
        settings,
        method,
        plan.loader,
        plan.loaders,
        run=folder,
        resume=resume,
        profile=profile,
    )
    steps = {"steps": result.steps} if method.gradient else {}
    provenance = {**card.provenance, **steps, "logs": last_logs(folder / METRICS_NAME)}
    model = Model(method.eval(), card).with_card(provenance=provenance)
    return model, result


def fit_codebooks(plan: RunPlan, model: Model) -> Model:
    """Return the model with the codebooks of a run's settings, fitted to its patches."""
    settings = plan.settings
    books = codebooks_of(
        settings.codebooks, method=settings.method, naming=settings.naming
    )
    if not books:
        return model
    fitted = {name: _fitted(plan, model, name, book) for name, book in books.items()}
    return model.with_codebooks(fitted)


def _fitted(plan: RunPlan, model: Model, name: str, book: Codebook) -> Model:
    """Return a codebook as a model of its own, not matched."""
    say_stage(f"codebook: {name}")
    stretch = model.card.normalization
    method = build_method(
        book.method, stretch.channels, book.parameters, seed=model.card.seed
    )
    method.whiten(stretch.whitening)
    seconds = limits_of(plan.settings).seconds
    method.finish(TimedPasses(Epoch(plan.loader.thinned()), f"fitting {name}", seconds))
    card = model.with_card(
        method=book.method,
        parameters={**method_defaults(book.method), **book.parameters},
        head=method.default_head,
    ).card
    return Model(method.eval(), card)
