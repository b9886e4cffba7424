"""Runs: folders that hold one training each, from its settings to its scores.

This is the road from tiles to a model that knows which clusters are buildings. The
commands, the demo and the notebook all take it.
"""

import csv
import logging
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import geoseg
from geoseg.checks import check_settings
from geoseg.errors import MatchingError, TrainingError
from geoseg.finished import forget_scores, is_finished
from geoseg.fitting import check_schedule, train_method
from geoseg.geo.contingency import match_model
from geoseg.geo.labels import check_tells_apart
from geoseg.geo.locks import locked
from geoseg.geo.splits import Split
from geoseg.methods import build_method
from geoseg.model import Model, ModelCard, load_model, save_model
from geoseg.normalization import Normalization
from geoseg.progress import say_stage
from geoseg.resuming import (
    check_extension,
    last_logs,
    located,
    read_checkpoint,
    read_run,
)
from geoseg.run_files import (
    CHECKPOINT_NAME,
    CURVES_NAME,
    METRICS_NAME,
    MODEL_NAME,
    PANEL_NAME,
    REPORT_NAME,
    SETTINGS_NAME,
    TIMES_NAME,
)
from geoseg.run_folders import new_run_folder, refuse_filled, write_json
from geoseg.run_matching import say_objective, select_head
from geoseg.run_tiles import (
    check_labelled,
    fingerprint,
    loader_of,
    normalization_of,
    patch_tiles,
    split_of,
    tiles_of,
    training_tiles,
)
from geoseg.settings import RunSettings
from geoseg.starting import initial_card, initial_model, new_card, warn_of_seen
from geoseg.stopwatch import read_seconds, timed
from geoseg.words import counted

if TYPE_CHECKING:
    from geoseg.geo.dataset import PatchLoader
    from geoseg.reporting.survey import Surveyor
    from geoseg.training import FitResult, Limits

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class RunResult:
    """What a training left behind."""

    run: Path
    model: Model
    signal: int | None = None
    collapse: str | None = None
    table: str = ""
    finished: bool = False

    def __repr__(self) -> str:
        """Say where the run lies and how good it is: for consoles and notebooks."""
        card = self.model.card
        several = len(card.class_names) > 2
        score = card.metrics.get("mean_iou" if several else "iou", {}).get("value")
        words = "" if score is None else f", {'mean ' * several}IoU {score:.3f}"
        return f"<RunResult in {self.run}{words}>"

    @property
    def interrupted(self) -> bool:
        """Whether Ctrl-C or a scheduler ended the training early."""
        return self.signal is not None

    @property
    def model_path(self) -> Path:
        """The model file."""
        return self.run / MODEL_NAME

    def summary(self) -> str:
        """Say in a few lines what there is now."""
        if self.finished:
            return self._nothing_to_do()
        lines = [self._effort()]
        if self.collapse:
            lines.append(
                f"{self.collapse}; to go on all the same: geoseg train --resume "
                f"{self.run} --no-stop-on-collapse"
            )
        if self.interrupted:
            lines.append(f"stopped early; go on with: geoseg train --resume {self.run}")
        if self.table:
            lines.append(self.table)
        report = self.run / REPORT_NAME
        if self.table and report.exists():
            lines.append(f"report: {report}")
        if not self.model.card.matchings and not self.model.learned_classes:
            lines.append(
                "the clusters have no classes yet: say which are buildings with "
                f"geoseg match {self.run}"
            )
        else:
            lines.append(
                "map buildings with: geoseg predict IMAGE.tif -o buildings.geojson "
                f"--model {self.run}"
            )
        return "\n".join(lines)

    def _nothing_to_do(self) -> str:
        reported = (self.run / REPORT_NAME).exists()
        what = "model, scores and report" if reported else "model and scores"
        return (
            f"already finished: {self.run} has its {what}; to train longer: geoseg "
            f"train --resume {self.run} --max-steps N"
        )

    def _effort(self) -> str:
        """Say how many steps were made, if any are, and where the time went."""
        steps = self.model.card.provenance.get("steps")
        seconds = read_seconds(self.run / TIMES_NAME)
        parts = ", ".join(f"{name} {_clock(s)}" for name, s in seconds.items())
        return parts if steps is None else f"{counted(steps, 'step')}; {parts}"


def _clock(seconds: float) -> str:
    return str(timedelta(seconds=round(seconds)))


def start(
    settings: RunSettings, run: Path | None = None, *, profile: bool = False
) -> RunResult:
    """Train, match and score into a new run folder.

    Args:
        settings: Of the run.
        run: Its folder; by default the next free number below ``runs``.
        profile: Measure some steps of the training, say where their time goes.

    Raises:
        GeosegError: If tiles, labels or settings say no; then no folder is left.
    """
    check_settings(settings, run)
    init = initial_card(settings)
    tiles = tiles_of(settings)
    say_objective(settings)
    split = split_of(settings, tiles)
    check_tells_apart(split.match)
    check_labelled(settings, split)
    if init is not None:
        warn_of_seen(settings, init, split)
    normalization = (
        normalization_of(settings, training_tiles(split))
        if init is None
        else init.normalization
    )
    plan = _plan(settings, split, normalization)
    folder = new_run_folder(run, f"{settings.source}-{settings.method}")
    refuse_filled(folder)  # again: another run may have taken it meanwhile
    write_json(
        folder / SETTINGS_NAME,
        {
            "geoseg_version": geoseg.__version__,
            "settings": settings.to_json(),
            "normalization": normalization.to_json(),
            "fingerprint": fingerprint(tiles),
        },
    )
    with locked(folder), _going_on(folder):
        return _train_match_score(plan, folder, resume=False, profile=profile)


def resume(
    folder: Path,
    *,
    images: str | None = None,
    labels: str | None = None,
    limits: "Limits | None" = None,
    stop_on_collapse: bool | None = None,
    profile: bool = False,
    **beside_training: Any,
) -> RunResult:
    """Go on with a run that was stopped or killed; a finished one is left as it is.

    With other limits, also a finished run goes on: to the very result that it would have
    had with these limits from its beginning.

    Args:
        folder: Of the run.
        images: Where the run's images are now, if elsewhere, or signed anew.
        labels: Likewise.
        limits: Instead of all the run's own, if given; they are written down.
        stop_on_collapse: Instead of the run's own setting, if given.
        profile: As :func:`start`.
        beside_training: Settings of ``BESIDE_TRAINING`` in other values.

    Raises:
        TrainingError: If the folder is no run, or the tiles are no longer the same.
        ParameterError: If the run cannot have such limits.
    """
    begun = read_run(folder)
    stored = begun.beside_training(beside_training)
    if limits is not None:
        stored = stored.limited(limits)
    elif stop_on_collapse is None and is_finished(folder) and begun.scored_as(stored):
        return RunResult(folder, load_model(folder / MODEL_NAME), finished=True)
    settings = located(stored.settings, folder, images, labels)
    if stop_on_collapse is not None:
        settings = replace(settings, stop_on_collapse=stop_on_collapse)
    check_settings(settings)
    tiles = tiles_of(settings)
    if fingerprint(tiles) != stored.fingerprint:
        raise TrainingError(
            f"the tiles of {folder} have changed since it began: put them back as they "
            "were, or start a new run"
        )
    made = read_checkpoint(folder / CHECKPOINT_NAME)
    plan = _plan(settings, split_of(settings, tiles), stored.normalization)
    if limits is not None:
        check_extension(begun.settings, settings, made, plan.steps_per_epoch)
    with locked(folder), _going_on(folder):
        if stored.values != begun.values:
            forget_scores(folder)  # first: they are not those of the new settings
            write_json(folder / SETTINGS_NAME, stored.values)
        return _train_match_score(plan, folder, resume=True, profile=profile)


class _Plan(NamedTuple):
    """All that a run needs, made before its folder."""

    settings: RunSettings
    split: Split
    card: ModelCard
    loader: "PatchLoader"
    loaders: "Callable[[int, int], PatchLoader]"

    @property
    def steps_per_epoch(self) -> int:
        """Optimiser steps in a pass over the patches."""
        return math.ceil(len(self.loader) / self.settings.devices)


def _plan(settings: RunSettings, split: Split, normalization: Normalization) -> _Plan:
    card = new_card(settings, split, normalization)
    tiles = patch_tiles(settings, split)
    loaders = partial(loader_of, settings, tiles, normalization)
    plan = _Plan(settings, split, card, loaders(0, 1), loaders)
    check_schedule(settings, plan.steps_per_epoch)
    return plan


@contextmanager
def _going_on(folder: Path) -> Iterator[None]:
    """Note on whatever stops this process at once how to go on."""
    try:
        yield
    except (KeyboardInterrupt, SystemExit) as stop:
        stop.add_note(f"go on with: geoseg train --resume {folder}")
        raise


def _train_match_score(
    plan: _Plan, folder: Path, *, resume: bool, profile: bool
) -> RunResult:
    split, objective = plan.split, plan.settings.objective
    times = folder / TIMES_NAME
    with timed(times, "training"):
        model, trained = _train(plan, folder, resume=resume, profile=profile)
    forget_scores(folder)
    save_model(folder / MODEL_NAME, model)
    result = RunResult(folder, model, trained.signal, trained.collapse)
    if not split.match:
        return result
    try:
        doing = "checking the classes" if model.learned_classes else "matching"
        say_stage(f"{doing} on {counted(len(split.match), 'tile')}")
        with timed(times, "matching"):
            seen = _surveyor(plan, model, test=False)
            model = match_model(model, split.match, objective=objective, onlooker=seen)
    except MatchingError as error:
        log.warning("the clusters are not matched: %s", error)
        return result
    if split.select:
        model = select_head(model, split.select)
    save_model(folder / MODEL_NAME, model)
    result = replace(result, model=model)
    if not split.test or result.interrupted:
        return result
    return _score(plan, result, seen)


def _surveyor(plan: _Plan, model: Model, *, test: bool) -> "Surveyor | None":
    """Return what notes for the report what matching or scoring sees, if any does."""
    tiles = plan.split.test if test else plan.split.match
    # matching sees classes that were learned before they have their threshold
    early = not test and model.method.class_head is not None
    if plan.settings.report == "none" or not plan.split.test or early:
        return None
    from geoseg.reporting import surveyor  # only for a report

    return surveyor(model, tiles, test=test, seed=plan.settings.seed)


def _score(plan: _Plan, result: RunResult, matched: "Surveyor | None") -> RunResult:
    """Score on the test tiles, draw, and note the scores in the model's card."""
    from geoseg import pictures, report, reporting, scoring  # only for a test

    settings, split = plan.settings, plan.split
    folder, model = result.run, result.model
    batches = partial(plan.loader.batches, 0)
    seen = _surveyor(plan, model, test=True)
    with timed(folder / TIMES_NAME, "scoring"):
        entries = scoring.score_all(
            model,
            split.test,
            split.match,
            batches if settings.controls else None,
            objective=settings.objective,
            onlooker=seen,
        )
    command = settings.command()
    table = scoring.write_report(
        folder, entries, command=command, seed=settings.seed, model=model
    )
    pictures.draw_panel(folder / PANEL_NAME, model, split.test, seed=settings.seed)
    if model.method.gradient:
        with (folder / METRICS_NAME).open(newline="") as file:
            report.curves_figure(folder / CURVES_NAME, list(csv.DictReader(file)))
    scores = entries[0].to_json(seed=settings.seed)["metrics"]
    model = model.with_card(metrics={"test_tiles": len(split.test), **scores})
    save_model(folder / MODEL_NAME, model)
    if settings.report != "none":
        say_stage(REPORT_NAME)
        material = reporting.Material(
            title=reporting.page_title(entries[0].class_names, settings.source),
            entries=entries,
            test=split.test,
            matching=split.match,
            training=training_tiles(split),
            model=model,
            batches=batches if settings.report == "full" else None,
            run=folder,
            command=command,
            seed=settings.seed,
            surveys=reporting.surveys_of(matched, seen),
        )
        reporting.write_report_page(folder / REPORT_NAME, material, overwrite=True)
    return replace(result, model=model, table=table)


def _train(
    plan: _Plan, folder: Path, *, resume: bool, profile: bool
) -> tuple[Model, "FitResult"]:
    settings, card = plan.settings, plan.card
    method = build_method(
        settings.method,
        card.normalization.channels,
        card.parameters,
        seed=settings.seed,
    )
    init = initial_model(settings)
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
