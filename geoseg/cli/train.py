"""``geoseg train``."""

import logging
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

import geoseg
from geoseg.cli import options
from geoseg.cli.printing import echo
from geoseg.cli.sections import SectionedCommand
from geoseg.cli.setting_options import setting_opt
from geoseg.runs.folders import need_run
from geoseg.runs.settings import BESIDE_TRAINING

if TYPE_CHECKING:
    from geoseg.runs.result import RunResult

log = logging.getLogger(__name__)

#: Parameters that may be given beside ``--resume``.
WITH_RESUME = {"resume", "threads", "profile", "stop_on_collapse", "images", "labels"}
WITH_RESUME |= {"max_steps", "max_epochs", "max_time"}

#: Heading in the help → options below it.
SECTIONS = {
    "Tiles and labels": (
        *("images", "labels", "aoi", "data", "bands", "nodata", "blocks"),
        *("classes", "class_field", "label_layer"),
        *("labelled_area", "sparse", "point_radius"),
    ),
    "The run": ("output", "resume", "seed", "restarts"),
    "How long": ("max_steps", "max_epochs", "max_time", "stop_on_collapse"),
    "Method": (
        *("preset", "method", "init", "parameters"),
        *("sobel", "whiten", "lr_schedule", "warmup_steps"),
    ),
    "Patches": (
        "patch_size",
        "batch_size",
        "patches_per_epoch",
        "fit_patches",
        "accumulate",
    ),
    "Machine": (
        *("device", "devices", "threads", "loader_workers", "precision"),
        *("checkpoint_steps", "profile", "tensorboard"),
    ),
    "Matching and scores": (
        *("match_tiles", "test_tiles", "select_tiles", "label_tiles", "split_seed"),
        *(
            "transductive",
            "objective",
            "naming",
            "codebooks",
            "controls",
            "report",
            "refit",
        ),
    ),
}


@click.command(
    "train",
    cls=SectionedCommand,
    sections=SECTIONS,
    context_settings={"allow_extra_args": True},
)
@options.images_opt
@options.label_options
@options.aoi_opt
@options.data_opt
@setting_opt(
    "preset",
    metavar="NAME",
    help="A method with settings that were measured, such as unsupervised, labels, "
    "colors or forest: see geoseg methods. Whatever else is given wins over its own.",
)
@setting_opt(
    "method",
    help="See geoseg methods.",
)
@options.parameter_opt
@setting_opt(
    "init",
    metavar="RUN",
    help="Run or model file whose trunk to start from, with its bands and their "
    "normalisation.",
)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, file_okay=False),
    help="Run folder; default: a new one in ./runs.",
)
@click.option(
    "--resume",
    type=click.Path(path_type=Path),
    help="Go on with a run that was stopped, with its settings; other limits of steps, "
    "epochs or time replace its own, and a finished run goes on too. --images and "
    "--labels may say where its tiles are now; --report, --controls, --refit, --loader-workers "
    "and --checkpoint-steps may differ.",
)
@setting_opt(
    "max_steps",
    metavar="N",
    help="Optimiser steps; 600 if no limit is given.",
)
@setting_opt(
    "max_epochs",
    metavar="N",
    help="Passes over the patches.",
)
@click.option(
    "--max-time",
    type=options.Duration(),
    help="Training time, such as 00:20:00, with what begins epochs and the last fit; the "
    "fit of each control has as much.",
)
@setting_opt(
    "bands",
    "-b",
    help="rgb, rgbi, irrg, all, names or 1-based numbers such as 5,3,2,7; "
    "default: red, green, blue and near infrared where present.",
)
@click.option(
    "--sobel",
    type=click.Choice(["none", "append", "only"]),
    help="Gradient channels beside or instead of the bands; as -p sobel=…",
)
@setting_opt(
    "whiten",
    help="Decorrelate the bands by the covariance of the training tiles.",
)
@setting_opt(
    "nodata",
    help="auto, none, or the value that marks nodata in all bands.",
)
@setting_opt(
    "patch_size",
    metavar="N",
    least=16,
)
@setting_opt(
    "batch_size",
    metavar="N",
    help="Patches that go through the network at once, on each device.",
)
@setting_opt(
    "accumulate",
    metavar="N",
    help="Add up the gradients of so many batches for a step; for methods whose loss "
    "is a mean over patches.",
)
@setting_opt(
    "patches_per_epoch",
    metavar="N",
    help="Default: as many as cover the tiles once; for picie and mdc, which read an "
    "epoch before its steps, --fit-patches at most.",
)
@options.fit_patches_opt
@options.match_tiles_opt
@options.test_tiles_opt
@setting_opt(
    "select_tiles",
    metavar="N",
    help="Labelled tiles that choose the head; 0: the method's default head.",
)
@setting_opt(
    "label_tiles",
    metavar="N",
    help="Of the matching tiles, so many keep their labels, those of the others are "
    "hidden; default: all. The test tiles stay the same.",
)
@setting_opt(
    "split_seed",
    metavar="N",
    help="Which tiles are for the test; default: as --seed.",
)
@setting_opt(
    "transductive",
    help="Let training see the images of the test tiles too, without labels.",
)
@options.blocks_opt
@options.objective_opt
@options.naming_opt
@options.codebooks_opt
@options.seed_opt
@setting_opt(
    "restarts",
    metavar="N",
    help="Train so many times, from other random weights, and keep the network that "
    "matches the matching tiles best. Each training has all the steps or time.",
)
@options.threads_opt
@options.device_opt
@setting_opt(
    "devices",
    metavar="N",
    help="Train on so many GPUs, or CPU processes of one thread each; a step sees "
    "--batch-size patches on each.",
)
@setting_opt(
    "loader_workers",
    metavar="N",
    help="Processes that read patches while the network computes, for each device.",
)
@setting_opt(
    "lr_schedule",
    help="Of the method's learning rate: cosine and linear end at zero, step is a "
    "tenth after half and a hundredth after three quarters of the steps.",
)
@setting_opt(
    "warmup_steps",
    metavar="N",
    help="Steps in which the learning rate rises to its full.",
)
@setting_opt(
    "checkpoint_steps",
    metavar="N",
    help="Save a checkpoint every so many steps, beside one a minute.",
)
@setting_opt(
    "precision",
    help="bf16-mixed: layers compute in bfloat16; losses, weights and the model file "
    "stay float32.",
)
@setting_opt(
    "stop_on_collapse",
    help="Stop when nearly all pixels fall into one cluster, and say what to try.",
)
@click.option(
    "--profile",
    is_flag=True,
    help="Measure some of the first steps, log what takes most time, and write "
    "RUN/trace.json.gz for chrome://tracing.",
)
@setting_opt(
    "tensorboard",
    help="Write RUN/tensorboard too, for: tensorboard --logdir runs",
)
@setting_opt(
    "controls",
    help="Score colour k-means and an untrained network on the test tiles too; majority "
    "always stands there.",
)
@setting_opt(
    "refit",
    help="After the scoring, learn once more from the matching and the test tiles "
    "together: model.safetensors is then that model, scored.safetensors the one that the "
    "scores are of. Where labels only name clusters, these are named again, without "
    "another training. Default: as the preset; without one, no refit.",
    show_default=False,
)
@setting_opt(
    "report",
    help="report.html of the test tiles; full adds k-means of the features by K.",
)
@click.pass_context
def command(
    ctx: click.Context,
    /,
    *,
    images: str | None,
    aoi: str | None,
    parameters: tuple[str, ...],
    output: Path | None,
    resume: Path | None,
    max_time: timedelta | None,
    sobel: str | None,
    threads: int | None,
    profile: bool,
    **given: Any,
) -> None:
    """Train a model on unlabelled tiles.

    The result is a run folder with model.safetensors, metrics.csv and, if some tiles
    have labels, report.html, scores.json and panel.png of tiles that were kept aside
    for the test.
    Labels are used for the matching and the test alone, but for the references (see
    geoseg methods) and the controls majority and forest: those learn from the labels of
    the matching tiles.

    Ctrl-C ends the training after the current step and leaves a usable model; the exit
    status is 130 then, 143 after SIGTERM.

    \b
        geoseg train --images tiles/ --labels buildings.geojson --max-time 00:20:00
        geoseg train --aoi las_vegas -p width=16
        geoseg train --resume runs/las_vegas-iic-001 --max-steps 5000
    """
    if ctx.args:
        raise click.UsageError(f"give the tiles by an option: --images {ctx.args[0]}")
    if resume is not None:
        named = _refuse_settings(ctx)
        stop = given["stop_on_collapse"] if "stop_on_collapse" in named else None
        limits = (given["max_steps"], given["max_epochs"], max_time)
        changes = {name: given[name] for name in BESIDE_TRAINING & named}
        changes |= {"images": images, "labels": given["labels"], "profile": profile}
        result = _resume(resume, limits, threads, stop_on_collapse=stop, **changes)
    else:
        options.need_one_source(images, aoi, given["labels"])
        pairs = options.parse_parameters(parameters)
        if sobel is not None:
            pairs["sobel"] = sobel
        seconds = None if max_time is None else max_time.total_seconds()
        given |= {"images": images, "aoi": aoi, "max_seconds": seconds}
        given["parameters"] = pairs
        result = _start(options.with_preset(ctx, given), output, threads, profile)
    for line in result.summary().splitlines():  # a message is one line
        log.info("%s", line)
    echo(result.model_path)
    if result.signal is not None:
        ctx.exit(128 + result.signal)  # as shells and schedulers expect


def _refuse_settings(ctx: click.Context) -> set[str]:
    """Refuse what was given beside ``--resume`` and is a setting of the run.

    Returns:
        The names of the parameters that were given.
    """
    named = options.named(ctx)
    fixed = named - WITH_RESUME - BESIDE_TRAINING
    if fixed:
        others = ", ".join(
            param.opts[-1] for param in ctx.command.params if param.name in fixed
        )
        raise click.UsageError(
            f"--resume takes the settings of the run, but {others} was given too: leave "
            "it out, or start a new run"
        )
    return named


def _resume(
    run: Path,
    given: tuple[int | None, int | None, timedelta | None],
    threads: int | None,
    **changes: Any,
) -> "RunResult":
    """Go on with a run; of its limits, other steps, epochs and time may be given."""
    need_run(run)
    options.say_first(f"the run {run}")
    options.set_threads(threads)
    from geoseg.runs import train as runs  # heavy: after the check
    from geoseg.training.limits import Limits

    steps, epochs, time = given
    limits = Limits(max_steps=steps, max_epochs=epochs, max_time=time)
    return runs.resume(run, limits=None if limits == Limits() else limits, **changes)


def _start(
    given: dict[str, Any], output: Path | None, threads: int | None, profile: bool
) -> "RunResult":
    """Begin a run; what its settings alone say is wrong is said at once."""
    from geoseg.runs.checks import check_settings, warn_of_unused
    from geoseg.runs.settings import RunSettings

    settings = RunSettings(**given)
    options.say_first(f"the tiles of {settings.source}")
    check_settings(settings, output)
    warn_of_unused(settings, profile=profile)
    settings = replace(settings, device=options.found_device(settings.device))
    options.set_threads(threads)
    return geoseg.train(output=output, profile=profile, **vars(settings))
