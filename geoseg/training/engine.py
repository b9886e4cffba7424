"""Train a method in this process, alone or as one of several."""

import logging
import math
import signal
import threading
import warnings
from collections.abc import Iterator, Sequence
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
from geoseg.training.callbacks import (
    Checkpoint,
    Interrupt,
    OnStep,
    Progress,
    StepCallback,
    TimeLimit,
)
from geoseg.training.collapse import CollapseStop
from geoseg.training.group import ProcessGroup
from geoseg.training.limits import (
    LAST_FIT,
    FitOptions,
    FitResult,
    Limits,
    check_accumulation,
)
from geoseg.training.logs import AreasLog, MetricsLog, TensorBoardLog
from geoseg.training.passes import TimedPasses
from geoseg.training.profiling import profiler

#: Switches off Lightning's defaults that geoseg replaces or does not need.
_BARE: dict[str, Any] = {
    "max_epochs": -1,
    "logger": False,
    "enable_checkpointing": False,
    "enable_progress_bar": False,
    "enable_model_summary": False,
    "use_distributed_sampler": False,
}

#: Forces one process, even inside a SLURM or MPI job that Lightning would detect.
_ALONE: dict[str, Any] = {"devices": 1, "plugins": [LightningEnvironment()]}


def fit(
    method: Method,
    loader: EpochLoader,
    *,
    run: Path,
    limits: Limits,
    group: ProcessGroup | None = None,
    **options: Any,
) -> FitResult:
    """Train a method on the patches of a loader.

    Writes ``metrics.csv``, ``areas.csv`` and ``last.ckpt`` (only for resuming this run;
    never load one from others) into ``run``. The first Ctrl-C, or a scheduler's
    SIGTERM, ends the training after the current step, with a usable method.

    Args:
        method: Trained in place. Methods without ``gradient`` only ``finish``.
        loader: One batch per step; its batches depend only on seed and epoch.
        run: An existing folder.
        limits: When to stop; at least one must be set for methods with ``gradient``.
        group: Group of processes of this one; see :func:`fit_on_devices`.
        **options: Fields of :class:`FitOptions`.

    Raises:
        ParameterError: If the schedule needs a number of steps that is unknown, or the
            method's loss does not allow ``accumulate``.
        TrainingError: If no limit is set, the loss is not finite, or the checkpoint is
            from a training with another ``accumulate`` or number of devices.
    """
    if not method.gradient:
        finish(method, loader, seconds=limits.seconds)
        return FitResult(0, logs={})
    chosen = FitOptions(**options)
    adapter = _adapter(method, loader, limits, chosen)
    kept = LAST_FIT if method.labels_epochs else 0.0
    clock = TimeLimit(adapter, (1 - kept) * limits.seconds)
    interrupt = Interrupt(adapter, None if group is None else group.asked_to_stop)
    collapse = CollapseStop(adapter, stop=chosen.stop_on_collapse)
    saving = _checkpoint(adapter, run, chosen)
    callbacks: list[StepCallback] = [clock, saving, interrupt, collapse]
    leads = group is None or group.rank == 0
    if leads:
        callbacks[:0] = [*_logs(adapter, run, chosen), Progress(adapter, clock)]
    if chosen.on_step is not None:
        callbacks.insert(0, OnStep(adapter, chosen.on_step))
    _train(adapter, run, callbacks, chosen, group)
    spent = clock.elapsed()
    if group is None:
        seconds = limits.seconds - spent
        finish(method, loader, adapter.steps_made, seconds=seconds)
    return FitResult(
        adapter.steps_made,
        adapter.numbers(),
        signal=interrupt.signals.received,
        collapse=collapse.message,
        seconds=spent,
    )


def finish(
    method: Method, loader: EpochLoader, steps: int = 0, *, seconds: float = math.inf
) -> None:
    """Run a method's last fit on the patches, with a bar for every pass.

    Args:
        method: Changed in place.
        loader: Of all patches; a fit reads those of a thinned epoch.
        steps: Optimiser steps made before, which determine the epoch.
        seconds: Time for reading patches.
    """
    epoch = Epoch(loader.thinned(), steps // len(loader))
    method.finish(TimedPasses(epoch, "fitting", seconds))


def _adapter(
    method: Method,
    loader: EpochLoader,
    limits: Limits,
    options: FitOptions,
) -> Adapter:
    """Wrap the method for Lightning, after checking that all options fit together.

    Raises:
        ParameterError, TrainingError: As :func:`fit`.
    """
    steps = _last_step(limits, len(loader))
    options.schedule.check(steps)
    check_accumulation(method, options.accumulate)
    return Adapter(
        method,
        loader,
        seed=options.seed,
        steps=steps,
        schedule=options.schedule,
        accumulate=options.accumulate,
    )


def _last_step(limits: Limits, steps_per_epoch: int) -> int | None:
    """Return the step to stop at, or None if only the time is limited.

    Raises:
        TrainingError: If no limit is set.
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
    callbacks: Sequence[Callback],
    options: FitOptions,
    group: ProcessGroup | None,
) -> None:
    """Run Lightning's trainer, from the run's checkpoint if requested."""
    path = run / CHECKPOINT_NAME if options.resume else None
    path = path if path is not None and path.exists() else None
    measures = options.profile and (group is None or group.rank == 0)
    measuring = profiler(run / TRACE_NAME) if measures else nullcontext()
    with _quiet_lightning(), _own_signals(), measuring as measured:
        trainer = L.Trainer(
            default_root_dir=run,
            callbacks=list(callbacks),
            profiler=measured,
            accelerator=options.accelerator,
            precision=options.precision,
            max_steps=-1 if adapter.steps is None else adapter.steps,
            accumulate_grad_batches=adapter.accumulate,
            **(_ALONE if group is None else group.trainer_options()),
            **_BARE,
        )
        trainer.fit(adapter, ckpt_path=path, weights_only=True if path else None)


def _checkpoint(adapter: Adapter, run: Path, options: FitOptions) -> Checkpoint:
    seconds, steps = options.checkpoint_seconds, options.checkpoint_steps
    return Checkpoint(adapter, run / CHECKPOINT_NAME, seconds, steps)


def _logs(adapter: Adapter, run: Path, options: FitOptions) -> list[StepCallback]:
    metrics, areas = run / METRICS_NAME, run / AREAS_NAME
    callbacks: list[StepCallback] = [
        MetricsLog(adapter, metrics),
        AreasLog(adapter, areas),
    ]
    if options.tensorboard:
        folder = run / TENSORBOARD_NAME
        callbacks.append(TensorBoardLog(adapter, folder, metrics, areas))
    return callbacks


@contextmanager
def _own_signals() -> Iterator[None]:
    """Restore the signal handlers: Lightning would leave its own for SIGTERM."""
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
    """Hide Lightning's start messages and its warnings about torch."""
    logger = logging.getLogger("lightning.pytorch")
    level = logger.level
    logger.setLevel(logging.WARNING)
    with warnings.catch_warnings():
        # Lightning 2.6 uses a function of torch that torch 2.12 deprecates.
        warnings.filterwarnings("ignore", "`isinstance.treespec, LeafSpec.`")
        # geoseg starts its own processes, so the advice to use srun does not apply.
        warnings.filterwarnings("ignore", "The `srun` command is available")
        try:
            yield
        finally:
            logger.setLevel(level)
