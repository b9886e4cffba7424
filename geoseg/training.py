"""Training of any method through Lightning: one adapter, resumable bit for bit.

Lightning sees one endless epoch. Which patches come next follows from the number of
batches seen, which the checkpoint holds, so that a run killed anywhere goes on with the
very batch that it would have taken. Epochs are geoseg's own: passes over the loader.
"""

import csv
import logging
import os
import signal
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from types import FrameType
from typing import Any, Literal, Protocol

import lightning as L
import torch
from lightning.pytorch.callbacks import Callback, Timer
from torch import Tensor
from tqdm import tqdm

from geoseg.errors import TrainingError
from geoseg.methods.base import Method, StepContext
from geoseg.patches import PatchBatch

Precision = Literal["32-true", "bf16-mixed"]

CHECKPOINT_NAME = "last.ckpt"
METRICS_NAME = "metrics.csv"


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
        epochs: Passes over the loader, the unfinished one included as a fraction.
        seconds: Wall-clock time of this part.
        interrupted: True if Ctrl-C ended the training early.
        logs: The last logged numbers.
    """

    steps: int
    epochs: float
    seconds: float
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
    log_every: int = 1,
    on_step: Callable[[int], None] | None = None,
) -> FitResult:
    """Train a method on the patches of a loader.

    Writes ``metrics.csv`` and ``last.ckpt`` (for resuming this run, never to be taken
    from others) into ``run``. The first Ctrl-C ends the training after the current
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
        log_every: Write every so many steps to ``metrics.csv``.
        on_step: Called with the number of steps made, after each.

    Raises:
        TrainingError: If no limit is set, or the loss is not finite.
    """
    started = time.monotonic()
    if not method.gradient:
        method.finish(lambda: loader.batches(0))
        seconds = time.monotonic() - started
        return FitResult(0, 1.0, seconds, interrupted=False, logs={})
    steps = limits.steps(len(loader))
    if steps is None and limits.max_time is None:
        raise TrainingError(
            "no limit is set: give a number of steps, epochs or a time, "
            "for instance --max-steps 1000"
        )
    adapter = _Adapter(method, loader, seed)
    interrupt = _Interrupt()
    callbacks: list[Callback] = [
        _MetricsLog(adapter, run / METRICS_NAME, log_every),
        _Checkpoint(
            adapter, run / CHECKPOINT_NAME, checkpoint_seconds, checkpoint_steps
        ),
        _Progress(adapter, steps),
        interrupt,
    ]
    if limits.max_time is not None:
        callbacks.append(Timer(limits.max_time, verbose=False))
    if on_step is not None:
        callbacks.append(_OnStep(adapter, on_step))
    checkpoint = run / CHECKPOINT_NAME
    path = checkpoint if resume and checkpoint.exists() else None
    with _quiet_lightning():
        trainer = L.Trainer(
            accelerator=accelerator,
            devices=1,
            precision=precision,
            max_steps=-1 if steps is None else steps,
            max_epochs=-1,
            callbacks=callbacks,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            default_root_dir=run,
        )
        trainer.fit(adapter, ckpt_path=path, weights_only=True if path else None)
    method.finish(lambda: loader.batches(adapter.batches_seen // len(loader)))
    return FitResult(
        steps=adapter.batches_seen,
        epochs=adapter.batches_seen / len(loader),
        seconds=time.monotonic() - started,
        interrupted=interrupt.received,
        logs=adapter.numbers(),
    )


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

    def numbers(self) -> dict[str, float]:
        """Return the last logged numbers (this waits for the device)."""
        return {name: float(value) for name, value in self.latest.items()}

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
        loss, logs = self.method.training_step(batch, context)
        if not torch.isfinite(loss):
            raise TrainingError(
                f"the loss is {float(loss.detach())} at step {self.batches_seen}: "
                f"lower the learning rate; {CHECKPOINT_NAME} holds the last good state"
            )
        self.latest = {"loss": loss.detach(), **logs}
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


class _Checkpoint(Callback):
    """Saves the state aside and renames it, so that a kill leaves the one before."""

    def __init__(
        self, adapter: _Adapter, path: Path, seconds: float, steps: int | None
    ) -> None:
        self.adapter = adapter
        self.path = path
        self.seconds = seconds
        self.steps = steps
        self.saved_at = time.monotonic()

    def on_train_batch_end(self, trainer: L.Trainer, *args: Any) -> None:
        due = time.monotonic() - self.saved_at >= self.seconds
        if self.steps is not None:
            due = due or self.adapter.batches_seen % self.steps == 0
        if due:
            self._save(trainer)

    def on_train_end(self, trainer: L.Trainer, *args: Any) -> None:
        self._save(trainer)

    def _save(self, trainer: L.Trainer) -> None:
        aside = self.path.with_suffix(".part")
        trainer.save_checkpoint(aside)
        os.replace(aside, self.path)
        self.saved_at = time.monotonic()


class _MetricsLog(Callback):
    """Appends the logged numbers to a CSV file, one row a step."""

    def __init__(self, adapter: _Adapter, path: Path, every: int) -> None:
        self.adapter = adapter
        self.path = path
        self.every = every
        self.columns: list[str] = []

    def on_train_start(self, trainer: L.Trainer, *args: Any) -> None:
        """Drop the rows of steps that a resumed run is about to make again."""
        if not self.path.exists():
            return
        with self.path.open(newline="") as file:
            rows = list(csv.DictReader(file))
        kept = [row for row in rows if _step_of(row) <= self.adapter.batches_seen]
        if not kept:
            self.path.unlink()
            return
        self.columns = list(kept[0])
        aside = self.path.with_suffix(".part")
        with aside.open("w", newline="") as file:
            writer = csv.DictWriter(file, self.columns)
            writer.writeheader()
            writer.writerows(kept)
        os.replace(aside, self.path)

    def on_train_batch_end(self, trainer: L.Trainer, *args: Any) -> None:
        if self.adapter.batches_seen % self.every:
            return
        epoch = (self.adapter.batches_seen - 1) // len(self.adapter.loader)
        row = {
            "step": self.adapter.batches_seen,
            "epoch": epoch,
            **self.adapter.numbers(),
        }
        first = not self.columns
        if first:
            self.columns = list(row)
        with self.path.open("a", newline="") as file:
            writer = csv.DictWriter(file, self.columns, extrasaction="ignore")
            if first:
                writer.writeheader()
            writer.writerow(row)


def _step_of(row: dict[str, str]) -> float:
    """Return the step of a row; infinite for a row that a kill cut short."""
    complete = None not in row.values() and (row.get("step") or "").isdigit()
    return int(row["step"]) if complete else float("inf")


class _Progress(Callback):
    """A progress bar on standard error, if that is a terminal.

    Collapse is visible in it: ``entropy`` near 0 means that one cluster took all.
    """

    def __init__(self, adapter: _Adapter, steps: int | None) -> None:
        self.adapter = adapter
        self.steps = steps
        self.bar: tqdm[Any] | None = None

    def on_train_start(self, trainer: L.Trainer, *args: Any) -> None:
        self.bar = tqdm(
            total=self.steps,
            initial=self.adapter.batches_seen,
            desc="training",
            unit="step",
            file=sys.stderr,
            disable=not sys.stderr.isatty(),
        )

    def on_train_batch_end(self, trainer: L.Trainer, *args: Any) -> None:
        if self.bar is None or self.bar.disable:
            return
        numbers = self.adapter.numbers()
        shown = {
            k: numbers[k] for k in ("loss", "entropy", "confidence") if k in numbers
        }
        self.bar.set_postfix({k: f"{v:.3f}" for k, v in shown.items()}, refresh=False)
        self.bar.update()

    def teardown(self, *args: Any, **kwargs: Any) -> None:
        if self.bar is not None:
            self.bar.close()


class _Interrupt(Callback):
    """Lets the first Ctrl-C end the training in good order, the second at once."""

    def __init__(self) -> None:
        self.received = False
        self.previous: Any = None

    def on_train_start(self, trainer: L.Trainer, *args: Any) -> None:
        def stop(number: int, frame: FrameType | None) -> None:
            self.received = True
            trainer.should_stop = True
            signal.signal(signal.SIGINT, self.previous)

        try:
            self.previous = signal.signal(signal.SIGINT, stop)
        except ValueError:  # not in the main thread: signals are not ours to take
            self.previous = None

    def teardown(self, *args: Any, **kwargs: Any) -> None:
        if self.previous is not None:
            signal.signal(signal.SIGINT, self.previous)


class _OnStep(Callback):
    """Reports each step to a function."""

    def __init__(self, adapter: _Adapter, function: Callable[[int], None]) -> None:
        self.adapter = adapter
        self.function = function

    def on_train_batch_end(self, trainer: L.Trainer, *args: Any) -> None:
        self.function(self.adapter.batches_seen)
