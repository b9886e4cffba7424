"""Training of any method through Lightning: one adapter, resumable bit for bit.

Lightning sees one endless epoch. Which patches come next follows from the number of
batches seen, which the checkpoint holds, so that a run killed anywhere goes on with the
very batch that it would have taken. Epochs are geoseg's own: passes over the loader.
"""

import logging
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal, Protocol

import lightning as L
import torch
from lightning.pytorch.callbacks import Callback, Timer
from torch import Tensor

from geoseg.callbacks import (
    AreasLog,
    Checkpoint,
    Interrupt,
    MetricsLog,
    OnStep,
    Progress,
)
from geoseg.errors import TrainingError
from geoseg.methods.base import Method, StepContext
from geoseg.patches import PatchBatch

Precision = Literal["32-true", "bf16-mixed"]

#: What Lightning would add by itself, and geoseg does in its own way or not at all.
_BARE: dict[str, Any] = {
    "devices": 1,
    "max_epochs": -1,
    "logger": False,
    "enable_checkpointing": False,
    "enable_progress_bar": False,
    "enable_model_summary": False,
}

CHECKPOINT_NAME = "last.ckpt"
METRICS_NAME = "metrics.csv"
AREAS_NAME = "areas.csv"


class EpochLoader(Protocol):
    """What training needs of a loader: epochs that can be entered anywhere."""

    def __len__(self) -> int:
        """Return the number of batches in an epoch."""

    def batches(self, epoch: int, start: int = 0) -> Iterator[PatchBatch]:
        """Yield the batches of an epoch from number ``start`` on."""


@dataclass(frozen=True, kw_only=True)
class Limits:
    """When to stop: whichever comes first.

    Attributes:
        max_steps: Number of optimiser steps, or None.
        max_epochs: Number of passes over the loader, or None.
        max_time: Wall-clock time spent on steps, over all resumed parts, or None.
    """

    max_steps: int | None = None
    max_epochs: int | None = None
    max_time: timedelta | None = None

    def steps(self, batches_per_epoch: int) -> int | None:
        """Return the step to stop at, or None where only the time limits."""
        limits = [self.max_steps] if self.max_steps is not None else []
        if self.max_epochs is not None:
            limits.append(self.max_epochs * batches_per_epoch)
        return min(limits) if limits else None


@dataclass(frozen=True)
class FitResult:
    """What happened.

    Attributes:
        steps: Optimiser steps made in all, resumed parts included.
        interrupted: True if Ctrl-C ended the training early.
        logs: The last logged numbers.
    """

    steps: int
    interrupted: bool
    logs: dict[str, float]


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
    checkpoint_seconds: float = 60.0,
    checkpoint_steps: int | None = None,
    on_step: Callable[[int], None] | None = None,
) -> FitResult:
    """Train a method on the patches of a loader.

    Writes ``metrics.csv``, ``areas.csv`` and ``last.ckpt`` (for resuming this run, never
    to be taken from others) into ``run``. The first Ctrl-C ends the training after the current
    step; the method is usable then.

    Args:
        method: Trained in place. Methods without ``gradient`` only ``finish``.
        loader: Its batches depend on seed and epoch alone.
        run: An existing folder.
        limits: When to stop; at least one must be set for methods with ``gradient``.
        seed: Keys the views.
        resume: Go on from ``last.ckpt`` in ``run``, if there is one.
        accelerator: Lightning's name: ``cpu``, ``cuda``, …
        precision: Lightning's name: ``32-true``, ``bf16-mixed``, …
        checkpoint_seconds: Save at least so often.
        checkpoint_steps: Save also every so many steps.
        on_step: Called with the number of steps made, after each.

    Raises:
        TrainingError: If no limit is set, or the loss is not finite.
    """
    if not method.gradient:
        method.finish(lambda: loader.batches(0))
        return FitResult(0, interrupted=False, logs={})
    steps = limits.steps(len(loader))
    if steps is None and limits.max_time is None:
        raise TrainingError(
            "no limit is set: give a number of steps, epochs or a time, "
            "for instance --max-steps 1000"
        )
    adapter = _Adapter(method, loader, seed)
    interrupt = Interrupt()
    callbacks: list[Callback] = [
        MetricsLog(adapter, run / METRICS_NAME),
        AreasLog(adapter, run / AREAS_NAME),
        Checkpoint(
            adapter, run / CHECKPOINT_NAME, checkpoint_seconds, checkpoint_steps
        ),
        Progress(adapter, steps),
        interrupt,
    ]
    if limits.max_time is not None:
        callbacks.append(Timer(limits.max_time, verbose=False))
    if on_step is not None:
        callbacks.append(OnStep(adapter, on_step))
    checkpoint = run / CHECKPOINT_NAME
    path = checkpoint if resume and checkpoint.exists() else None
    with _quiet_lightning():
        trainer = L.Trainer(
            accelerator=accelerator,
            precision=precision,
            max_steps=-1 if steps is None else steps,
            callbacks=callbacks,
            default_root_dir=run,
            **_BARE,
        )
        trainer.fit(adapter, ckpt_path=path, weights_only=True if path else None)
    method.finish(lambda: loader.batches(adapter.batches_seen // len(loader)))
    return FitResult(adapter.batches_seen, interrupt.received, adapter.numbers())


@contextmanager
def _quiet_lightning() -> Iterator[None]:
    """Keep Lightning's greetings, and its quarrel with torch, from the user."""
    logger = logging.getLogger("lightning.pytorch")
    level = logger.level
    logger.setLevel(logging.WARNING)
    with warnings.catch_warnings():
        # Lightning 2.6 asks torch about trees in a way that torch 2.12 deprecates.
        warnings.filterwarnings("ignore", "`isinstance.treespec, LeafSpec.`")
        try:
            yield
        finally:
            logger.setLevel(level)


class _Adapter(L.LightningModule):
    """Makes a Lightning module of any method."""

    def __init__(self, method: Method, loader: EpochLoader, seed: int) -> None:
        super().__init__()
        self.method = method
        self.loader = loader
        self.seed = seed
        self.batches_seen = 0
        self.epoch_begun = -1
        self.latest: dict[str, Tensor] = {}
        self.latest_areas: Mapping[str, Tensor] = {}

    @property
    def batches_per_epoch(self) -> int:
        """Number of batches in a pass over the loader."""
        return len(self.loader)

    def numbers(self) -> dict[str, float]:
        """Return the last logged numbers (this waits for the device)."""
        return {name: float(value) for name, value in self.latest.items()}

    @property
    def most_clusters(self) -> int:
        """Number of clusters of the largest head."""
        return max(self.method.heads.values())

    def areas(self) -> dict[str, list[float]]:
        """Return the last logged areas, by head."""
        return {head: areas.tolist() for head, areas in self.latest_areas.items()}

    def train_dataloader(self) -> "_Stream":
        return _Stream(self.loader, self.batches_seen)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return self.method.configure_optimizer()

    def training_step(self, batch: PatchBatch, batch_idx: int) -> Tensor:
        epoch = self.batches_seen // len(self.loader)
        if epoch != self.epoch_begun:
            self.method.begin_epoch(epoch, lambda: self.loader.batches(epoch))
            self.epoch_begun = epoch
        context = StepContext(epoch, self.batches_seen, self.seed)
        loss, logs, areas = self.method.training_step(batch, context)
        if not torch.isfinite(loss):
            raise TrainingError(
                f"the loss is {float(loss.detach())} at step {self.batches_seen}: "
                f"lower the learning rate; {CHECKPOINT_NAME} holds the last good state"
            )
        self.latest = {"loss": loss.detach(), **logs}
        self.latest_areas = areas
        self.batches_seen += 1
        return loss

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["geoseg"] = {
            "batches_seen": self.batches_seen,
            "epoch_begun": self.epoch_begun,
        }

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self.batches_seen = checkpoint["geoseg"]["batches_seen"]
        self.epoch_begun = checkpoint["geoseg"]["epoch_begun"]


class _Stream:
    """The batches of all epochs in a row, from a given one on; it has no length."""

    def __init__(self, loader: EpochLoader, start: int) -> None:
        self.loader = loader
        self.start = start

    def __iter__(self) -> Iterator[PatchBatch]:
        epoch, first = divmod(self.start, len(self.loader))
        while True:
            yield from self.loader.batches(epoch, first)
            epoch, first = epoch + 1, 0
