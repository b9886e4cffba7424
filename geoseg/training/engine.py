"""The training of a method in this process, alone or as one of several."""

import logging
import math
import signal
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import lightning as L
from lightning.fabric.plugins.environments.lightning import LightningEnvironment
from lightning.pytorch.callbacks import Callback

from geoseg.core.errors import TrainingError
from geoseg.core.patches import Epoch, EpochLoader
from geoseg.core.run_files import (
    AREAS_NAME,
    CHECKPOINT_NAME,
    METRICS_NAME,
    TENSORBOARD_NAME,
    TRACE_NAME,
)
from geoseg.methods.bases.method import Method
from geoseg.training.adapter import Adapter
from geoseg.training.callbacks import Checkpoint, Interrupt, OnStep, Progress, TimeLimit
from geoseg.training.collapse import CollapseStop
from geoseg.training.group import Group
from geoseg.training.limits import (
    LAST_FIT,
    FitResult,
    Limits,
    Precision,
    check_accumulation,
)
from geoseg.training.logs import AreasLog, MetricsLog, TensorBoardLog
from geoseg.training.passes import TimedPasses
from geoseg.training.profiling import profiler
from geoseg.training.schedules import Schedule

#: What Lightning would add by itself, and geoseg does in its own way or not at all.
_BARE: dict[str, Any] = {
    "max_epochs": -1,
    "logger": False,
    "enable_checkpointing": False,
    "enable_progress_bar": False,
    "enable_model_summary": False,
    "use_distributed_sampler": False,
}

#: One process, whatever Lightning would make of the tasks of a job of SLURM or MPI.
_ALONE: dict[str, Any] = {"devices": 1, "plugins": [LightningEnvironment()]}


def fit(
    method: Method,
    loader: EpochLoader,
    *,
    run: Path,
    limits: Limits,
    seed: int = 0,
    resume: bool = False,
    accelerator: str = "cpu",
    precision: Precision = "32-true",
    accumulate: int = 1,
    schedule: Schedule = Schedule(),
    checkpoint_seconds: float = 60.0,
    checkpoint_steps: int | None = None,
    stop_on_collapse: bool = True,
    tensorboard: bool = False,
    profile: bool = False,
    on_step: Callable[[int], None] | None = None,
    group: Group | None = None,
) -> FitResult:
    """Train a method on the patches of a loader.

    Writes ``metrics.csv``, ``areas.csv`` and ``last.ckpt`` (for resuming this run, never
    to be taken from others) into ``run``. The first Ctrl-C, or a scheduler's SIGTERM,
    ends the training after the current step; the method is usable then.

    Args:
        method: Trained in place. Methods without ``gradient`` only ``finish``.
        loader: One batch a step; its batches depend on seed and epoch alone.
        run: An existing folder.
        limits: When to stop; at least one must be set for methods with ``gradient``.
        seed: Keys the views.
        resume: Go on from ``last.ckpt`` in ``run``, if there is one.
        accelerator: Lightning's name: ``cpu``, ``cuda``, …
        precision: ``32-true``, or ``bf16-mixed``: layers compute in bfloat16 where that
            is safe; losses, weights and the optimiser stay in float32.
        accumulate: Send a batch through the network in so many equal parts and add up
            their gradients. Equal to the whole batch for a loss that is a mean over
            patches, except that batch normalisation sees each part by itself.
        schedule: Of the learning rate.
        checkpoint_seconds: Save at least so often.
        checkpoint_steps: Save also every so many steps.
        stop_on_collapse: End a training whose default head has collapsed.
        tensorboard: Write events into ``run/tensorboard`` too.
        profile: Measure some of the first steps, log where their time goes, and write
            ``trace.json.gz``; see :func:`geoseg.training.profiling.profiler`.
        on_step: Called with the number of steps made, after each.
        group: Of processes that this one belongs to; see :func:`fit_on_devices`.

    Raises:
        ParameterError: If the schedule needs a number of steps that is not known, or
            the method's loss does not allow to accumulate.
        TrainingError: If no limit is set, the loss is not finite, or the checkpoint is
            of a training with other parts or devices.
    """
    if not method.gradient:
        finish(method, loader, seconds=limits.seconds)
        return FitResult(0, logs={})
    adapter = _adapter(method, loader, limits, schedule, accumulate, seed)
    checkpoint = run / CHECKPOINT_NAME
    kept = LAST_FIT if method.labels_epochs else 0.0
    clock = TimeLimit(adapter, (1 - kept) * limits.seconds)
    interrupt = Interrupt(adapter, None if group is None else group.asked_to_stop)
    collapse = CollapseStop(adapter, stop=stop_on_collapse)
    callbacks: list[Callback] = [
        clock,
        Checkpoint(adapter, checkpoint, checkpoint_seconds, checkpoint_steps),
        *(interrupt, collapse),
    ]
    options: dict[str, Any] = {"accelerator": accelerator, "precision": precision}
    options |= _ALONE if group is None else group.trainer_options()
    leads = group is None or group.rank == 0
    if leads:
        callbacks[:0] = [*_logs(adapter, run, tensorboard), Progress(adapter, clock)]
    if on_step is not None:
        callbacks.insert(0, OnStep(adapter, on_step))
    resumed = checkpoint if resume and checkpoint.exists() else None
    with profiler(run / TRACE_NAME) if profile and leads else nullcontext() as measured:
        options["profiler"] = measured
        _train(adapter, run, callbacks, options, resumed)
    spent = clock.elapsed()
    if group is None:
        seconds = limits.seconds - spent
        finish(method, loader, adapter.steps_made, seconds=seconds)
    return FitResult(
        adapter.steps_made,
        adapter.numbers(),
        signal=interrupt.signals.received,
        collapse=collapse.said,
        seconds=spent,
    )


def finish(
    method: Method, loader: EpochLoader, steps: int = 0, *, seconds: float = math.inf
) -> None:
    """Let a method have its last look at the patches, with a bar for every pass.

    Args:
        method: Changed in place.
        loader: Of all patches; a fit reads those of a thinned epoch.
        steps: Made before; they tell the epoch.
        seconds: Time for reading patches.
    """
    epoch = Epoch(loader.thinned(), steps // len(loader))
    method.finish(TimedPasses(epoch, "fitting", seconds))


def _adapter(
    method: Method,
    loader: EpochLoader,
    limits: Limits,
    schedule: Schedule,
    accumulate: int,
    seed: int,
) -> Adapter:
    """Make Lightning's view of the method, for which all must fit together.

    Raises:
        ParameterError, TrainingError: As :func:`fit`.
    """
    steps = _last_step(limits, len(loader))
    schedule.check(steps)
    check_accumulation(method, accumulate)
    return Adapter(
        method,
        loader,
        seed=seed,
        steps=steps,
        schedule=schedule,
        accumulate=accumulate,
    )


def _last_step(limits: Limits, steps_per_epoch: int) -> int | None:
    """Return the step to stop at, or None where only the time limits.

    Raises:
        TrainingError: If nothing does.
    """
    steps = limits.steps(steps_per_epoch)
    if steps is None and limits.max_time is None:
        raise TrainingError(
            "no limit is set: give a number of steps, epochs or a time, "
            "for instance --max-steps 1000"
        )
    return steps


def _train(
    adapter: Adapter,
    run: Path,
    callbacks: list[Callback],
    options: dict[str, Any],
    path: Path | None,
) -> None:
    """Let Lightning step, from a checkpoint on if there is one."""
    with _quiet_lightning(), _own_signals():
        trainer = L.Trainer(
            default_root_dir=run,
            callbacks=callbacks,
            max_steps=-1 if adapter.steps is None else adapter.steps,
            accumulate_grad_batches=adapter.accumulate,
            **options,
            **_BARE,
        )
        trainer.fit(adapter, ckpt_path=path, weights_only=True if path else None)


def _logs(adapter: Adapter, run: Path, tensorboard: bool) -> list[Callback]:
    metrics, areas = run / METRICS_NAME, run / AREAS_NAME
    callbacks: list[Callback] = [MetricsLog(adapter, metrics), AreasLog(adapter, areas)]
    if tensorboard:
        folder = run / TENSORBOARD_NAME
        callbacks.append(TensorBoardLog(adapter, folder, metrics, areas))
    return callbacks


@contextmanager
def _own_signals() -> Iterator[None]:
    """Put the handlers back afterwards: Lightning would leave its own for SIGTERM."""
    numbers = (signal.SIGINT, signal.SIGTERM)
    handlers = {number: signal.getsignal(number) for number in numbers}
    try:
        yield
    finally:
        if threading.current_thread() is threading.main_thread():
            for number, handler in handlers.items():
                signal.signal(number, handler)


@contextmanager
def _quiet_lightning() -> Iterator[None]:
    """Keep Lightning's greetings, and its quarrel with torch, from the user."""
    logger = logging.getLogger("lightning.pytorch")
    level = logger.level
    logger.setLevel(logging.WARNING)
    with warnings.catch_warnings():
        # Lightning 2.6 asks torch about trees in a way that torch 2.12 deprecates.
        warnings.filterwarnings("ignore", "`isinstance.treespec, LeafSpec.`")
        # A cluster's srun is for its users to call or not: processes are geoseg's own.
        warnings.filterwarnings("ignore", "The `srun` command is available")
        try:
            yield
        finally:
            logger.setLevel(level)
