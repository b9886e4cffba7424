"""Start and resume runs: train, match, score and report into a folder.

The commands, the demo and the notebook all use it.
"""

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import geoseg
from geoseg.core.errors import MatchingError, TrainingError
from geoseg.core.locks import locked, refuse_busy
from geoseg.core.patches import Epoch
from geoseg.core.progress import say_stage
from geoseg.core.run_files import (
    CURVES_NAME,
    METRICS_NAME,
    MODEL_NAME,
    PANEL_NAME,
    REPORT_NAME,
    ROLES_NAME,
    SETTINGS_NAME,
    TIMES_NAME,
)
from geoseg.core.words import counted
from geoseg.geo.evaluation.matching import match_model
from geoseg.geo.formats.role_outlines import adjoining_test, write_roles
from geoseg.geo.labels.labels import check_two_classes
from geoseg.geo.rasters.open_images import each_opened_once
from geoseg.model.file import Model, load_model, save_model
from geoseg.report.figures import curves_figure
from geoseg.runs.checks import check_settings
from geoseg.runs.controls import score_controls
from geoseg.runs.fitting import limits_of
from geoseg.runs.folders import (
    forget_scores,
    is_refitted,
    is_scored,
    new_run_folder,
    refuse_filled,
    write_json,
)
from geoseg.runs.matching import say_objective, select_head
from geoseg.runs.plan import RunPlan, fit_codebooks, plan_run
from geoseg.runs.refitting import refit, set_refit
from geoseg.runs.restarts import checkpoints, judged_restarts, train_best
from geoseg.runs.result import RunResult, add_seconds, timed
from geoseg.runs.resuming import (
    check_extension,
    read_checkpoint,
    read_run,
    with_present_paths,
)
from geoseg.runs.settings import RunSettings
from geoseg.runs.starting import initial_card, warn_of_seen
from geoseg.runs.tiles.run_roles import (
    role_facts,
    roles_of,
    split_of_run,
    warn_of_adjoining_test,
)
from geoseg.runs.tiles.run_tiles import (
    check_labelled,
    fingerprint,
    normalization_of,
    split_of,
    tiles_of,
    training_tiles,
)
from geoseg.scores.scores import constant_controls
from geoseg.training.step_tables import read_step_table

if TYPE_CHECKING:
    from geoseg.runs.reporting.survey import Surveyor
    from geoseg.training.limits import Limits

log = logging.getLogger(__name__)


@each_opened_once()
def start(
    settings: RunSettings, run: Path | None = None, *, profile: bool = False
) -> RunResult:
    """Train, match and score into a new run folder.

    Args:
        settings: Of the run.
        run: Its folder; by default the next free number below ``runs``.
        profile: Measure some steps of the training and log their times.

    Raises:
        GeosegError: If tiles, labels or settings are wrong; then no folder is left.
    """
    began = time.monotonic()
    check_settings(settings, run)
    init = initial_card(settings.init)
    tiles = tiles_of(settings)
    say_objective(settings.label_classes, settings.objective)
    split = split_of(settings, tiles)
    check_two_classes(split.match)
    check_labelled(settings.method, settings.source, split)
    settings = judged_restarts(settings, split)
    if init is not None:
        warn_of_seen(settings.source, init, split)
    normalization = (
        normalization_of(settings, training_tiles(split))
        if init is None
        else init.normalization
    )
    roles = roles_of(split, settings.source)
    adjoining = adjoining_test(split)
    warn_of_adjoining_test(adjoining, split)
    facts = role_facts(roles, adjoining)
    plan = plan_run(settings, split, normalization, facts)
    folder = new_run_folder(run, f"{settings.source}-{settings.method}")
    refuse_filled(folder)  # again, because another run may use it by now
    write_json(
        folder / SETTINGS_NAME,
        {
            "geoseg_version": geoseg.__version__,
            "settings": settings.to_json(),
            "normalization": normalization.to_json(),
            "fingerprint": fingerprint(tiles),
            "roles": [entry.to_json() for entry in roles],
            "adjoining_test": adjoining,
        },
    )
    with locked(folder), _going_on(folder):
        add_seconds(folder / TIMES_NAME, "looking at tiles", began)
        return _train_match_score(plan, folder, resume=False, profile=profile)


@each_opened_once()
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
    """Resume a run that was stopped or killed; leave a finished one unchanged.

    With other limits a finished run continues too, as if it had begun with them.

    Args:
        folder: Of the run.
        images: Present path or newly signed URL of the run's images, if changed.
        labels: Present path or newly signed URL of the run's labels, if changed.
        limits: Replace all limits of the run, if given; they are stored.
        stop_on_collapse: Replaces the run's own setting, if given.
        profile: As :func:`start`.
        beside_training: New values for settings of ``BESIDE_TRAINING``.

    Raises:
        TrainingError: If the folder is not a run, or the tiles have changed.
        ParameterError: If the run cannot have these limits.
    """
    begun = read_run(folder)
    refuse_busy(folder)
    stored = begun.beside_training(beside_training)
    scored = limits is None and stop_on_collapse is None and is_scored(folder)
    scored = scored and begun.scored_as(stored)
    if limits is not None:
        stored = stored.limited(limits)
    elif scored and is_refitted(folder) == stored.settings.refit:
        return RunResult(folder, load_model(folder / MODEL_NAME), finished=True)
    settings = with_present_paths(stored.settings, folder, images, labels)
    if stop_on_collapse is not None:
        settings = replace(settings, stop_on_collapse=stop_on_collapse)
    check_settings(settings)
    tiles = tiles_of(settings)
    if fingerprint(tiles) != stored.fingerprint:
        raise TrainingError(
            f"the tiles of {folder} have changed since it began: put them back as they "
            "were, or start a new run"
        )
    made = max(map(read_checkpoint, checkpoints(settings, folder)))
    split = split_of_run(stored.roles, settings, tiles)
    facts = role_facts(stored.roles, stored.adjoining)
    plan = plan_run(settings, split, stored.normalization, facts)
    if limits is not None:
        check_extension(begun.settings, settings, made, plan.steps_per_epoch)
    with locked(folder), _going_on(folder):
        if stored.values != begun.values:
            if not scored:
                forget_scores(folder)  # first, because they do not fit the new settings
            write_json(folder / SETTINGS_NAME, stored.values)
        if scored:
            return set_refit(plan, folder)
        return _train_match_score(plan, folder, resume=True, profile=profile)


@contextmanager
def _going_on(folder: Path) -> Iterator[None]:
    """Add the command that resumes the run to any exception that ends the process."""
    try:
        yield
    except (KeyboardInterrupt, SystemExit) as stop:
        stop.add_note(f"go on with: geoseg train --resume {folder}")
        raise


def _train_match_score(
    plan: RunPlan, folder: Path, *, resume: bool, profile: bool
) -> RunResult:
    split, settings = plan.split, plan.settings
    times = folder / TIMES_NAME
    if not (folder / ROLES_NAME).exists():
        write_roles(folder / ROLES_NAME, split, plan.settings.source)
    with timed(times, "training"):
        model, trained = train_best(plan, folder, resume=resume, profile=profile)
    forget_scores(folder)
    with timed(times, "codebooks"):
        model = fit_codebooks(plan, model)
    save_model(folder / MODEL_NAME, model)
    result = RunResult(folder, model, trained.signal, trained.collapse)
    if not split.match:
        return result
    try:
        doing = "checking the classes" if model.learned_classes else "matching"
        say_stage(f"{doing} on {counted(len(split.match), 'tile')}")
        with timed(times, "matching"):
            seen = _surveyor(plan, model, test=False)
            model = match_model(
                model,
                split.match,
                objective=settings.objective,
                naming=settings.naming,
                onlooker=seen,
            )
    except MatchingError as error:
        log.warning("the clusters are not matched: %s", error)
        return result
    if split.select:
        model = select_head(model, split.select)
    save_model(folder / MODEL_NAME, model)
    result = replace(result, model=model)
    if not split.test or result.interrupted:
        return result
    result = _score(plan, result, seen)
    return refit(plan, result) if settings.refit else result


def _surveyor(plan: RunPlan, model: Model, *, test: bool) -> "Surveyor | None":
    """Return the surveyor that collects predictions for the report, or None."""
    tiles = plan.split.test if test else plan.split.match
    # while matching, learned classes do not have their threshold yet
    early = not test and model.method.class_head is not None
    if plan.settings.report == "none" or not plan.split.test or early:
        return None
    from geoseg.runs.reporting.gather import surveyor  # only for a report

    return surveyor(model, tiles, test=test, seed=plan.settings.seed)


def _score(plan: RunPlan, result: RunResult, matched: "Surveyor | None") -> RunResult:
    """Score on the test tiles, draw pictures, and store scores in the model's card."""
    from geoseg.runs import scoring
    from geoseg.runs.reporting import pictures  # only for a test
    from geoseg.runs.reporting.gather import write_report_page
    from geoseg.runs.reporting.material import Material, page_title
    from geoseg.runs.reporting.survey import surveys_of

    settings, split = plan.settings, plan.split
    folder, model = result.run, result.model
    batches = Epoch(plan.loader.thinned())
    seen = _surveyor(plan, model, test=True)
    say_stage(f"scoring {counted(len(split.test), 'tile')}")
    with timed(folder / TIMES_NAME, "scoring"):
        entries = scoring.score_heads(model, split.test, split.match, onlooker=seen)
    if settings.controls:
        with timed(folder / TIMES_NAME, "controls"):
            entries += score_controls(
                model,
                split.test,
                split.match,
                batches,
                objective=settings.objective,
                naming=settings.naming,
                seconds=limits_of(settings).seconds,
            )
    entries += constant_controls(entries[0])
    command = settings.command()
    table = scoring.write_report(
        folder, entries, command=command, seed=settings.seed, model=model
    )
    if model.method.gradient:
        rows = read_step_table(folder / METRICS_NAME)
        curves_figure(folder / CURVES_NAME, rows)
    scores = entries[0].to_json(seed=settings.seed)["metrics"]
    model = model.with_card(metrics={"test_tiles": len(split.test), **scores})
    save_model(folder / MODEL_NAME, model)
    pictures.draw_panel(folder / PANEL_NAME, model, split.test, seed=settings.seed)
    if settings.report != "none":
        say_stage(REPORT_NAME)
        material = Material(
            title=page_title(entries[0].class_names, settings.source),
            entries=entries,
            test=split.test,
            matching=split.match,
            training=training_tiles(split),
            model=model,
            batches=batches if settings.report == "full" else None,
            run=folder,
            command=command,
            seed=settings.seed,
            surveys=surveys_of(matched, seen),
        )
        write_report_page(folder / REPORT_NAME, material, overwrite=True)
    return replace(result, model=model, scores=table)
