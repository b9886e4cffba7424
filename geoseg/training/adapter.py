"""Wrap any method in a Lightning module.

Lightning sees one endless epoch. The number of steps, which the checkpoint holds,
determines the next patches, so a killed run resumes with exactly the batch that came
next. geoseg's own epochs are passes over the loader.
"""

import logging
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import lightning as L
import torch
from lightning.pytorch.utilities.types import OptimizerLRSchedulerConfig
from torch import Tensor
from torch.profiler import record_function

from geoseg.core.errors import TrainingError
from geoseg.core.patches import EpochLoader, PatchBatch
from geoseg.core.run_files import CHECKPOINT_NAME
from geoseg.core.words import counted
from geoseg.methods.bases.method import Method, StepContext, StepOutput
from geoseg.training.schedules import Schedule

log = logging.getLogger(__name__)


class _TimeOver(Exception):
    """The time is over before an epoch begins."""


class Adapter(L.LightningModule):
    """Wraps any method as a Lightning module, whose state callbacks read.

    Args:
        method: Trained in place.
        loader: One batch per step and device.
        seed: Keys the views.
        steps: Of the whole training, if known.
        schedule: Of the learning rate.
        accumulate: Number of equal parts into which a batch is split.

    Attributes:
        steps_made: Optimiser steps, resumed parts included.
        patches: Number of patches of one step on this device, after the first step.
        time_is_over: Returns whether to stop while an epoch begins, on all ranks
            together; None: never.
        ended: Whether the training stopped for that reason.
    """

    def __init__(
        self,
        method: Method,
        loader: EpochLoader,
        *,
        seed: int,
        steps: int | None,
        schedule: Schedule,
        accumulate: int,
    ) -> None:
        super().__init__()
        self.method = method
        self.loader = loader
        self.seed = seed
        self.steps = steps
        self.schedule = schedule
        self.accumulate = accumulate
        self.steps_made = 0
        self.epoch_begun = -1
        self.patches = 0
        self.time_is_over: Callable[[], bool] | None = None
        self.ended = False
        self._parts: list[tuple[dict[str, Tensor], Mapping[str, Tensor]]] = []
        self._numbers: dict[str, Tensor] = {}
        self._areas: dict[str, Tensor] = {}

    @property
    def between_steps(self) -> bool:
        """Whether all parts of the last step are done."""
        return not self._parts

    @property
    def steps_per_epoch(self) -> int:
        """Number of steps in a pass over the loader."""
        return len(self.loader)

    def numbers(self) -> dict[str, float]:
        """Return the last logged numbers (this waits for the device)."""
        return {name: float(value) for name, value in self._numbers.items()}

    def areas(self) -> dict[str, list[float]]:
        """Return the last logged areas, by head."""
        return {head: areas.tolist() for head, areas in self._areas.items()}

    def train_dataloader(self) -> "_Stream":
        return _Stream(self.loader, self.steps_made, self.accumulate)

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        optimizer = self.method.configure_optimizer()
        scheduler = self.schedule.over(
            optimizer,
            self.steps,
            lambda group, step: self.method.rate_factor(
                group, step // len(self.loader)
            ),
        )
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": scheduler, "interval": "step"},
        }

    def training_step(self, batch: PatchBatch, batch_idx: int) -> Tensor:
        context = self._context()
        with record_function("forward"):
            output = self.method.training_step(batch, context)
        if not torch.isfinite(output.loss):
            raise TrainingError(
                f"the loss is {float(output.loss.detach())} at step {self.steps_made}: "
                f"lower the learning rate; {CHECKPOINT_NAME} holds the last good state"
            )
        self._note(output, len(batch))
        return output.loss

    def _context(self) -> StepContext:
        epoch = self.steps_made // len(self.loader)
        return StepContext(epoch, self.steps_made, self.seed)

    def on_train_batch_start(self, batch: PatchBatch, batch_idx: int) -> int | None:
        """Begin an epoch at its first step; return -1 to end the training instead.

        If the time is over while an epoch begins, nothing of it is kept: a resumed
        training begins it again.
        """
        context = self._context()
        if context.epoch == self.epoch_begun:
            return None
        limited = self.time_is_over is not None
        state = self.method.state_dict() if limited else {}
        before = {name: tensor.clone() for name, tensor in state.items()}
        try:
            with self.trainer.precision_plugin.train_step_context():
                self.method.begin_epoch(context, lambda: self._patches_of(context))
        except _TimeOver:
            self.method.load_state_dict(before)
            self.trainer.should_stop = self.ended = True
            if self.steps_made == 0:
                log.warning(
                    "the time is over before the first step, while the first epoch "
                    "begins: raise --max-time or lower --fit-patches"
                )
            return -1
        self.epoch_begun = context.epoch
        return None

    def lr_scheduler_step(self, scheduler: Any, metric: Any) -> None:
        """Advance the schedule, except for a step that the end of training skipped."""
        if not self.ended:
            super().lr_scheduler_step(scheduler, metric)

    def _patches_of(self, context: StepContext) -> Iterator[PatchBatch]:
        """Yield the patches with which a method begins an epoch.

        Raises:
            _TimeOver: If the time is over.
        """
        whole = self.method.labels_epochs
        loader = self.loader if whole else self.loader.thinned()
        for batch in loader.batches(context.epoch):
            if self.time_is_over is not None and self.time_is_over():
                raise _TimeOver
            yield batch.to(self.device)

    def _note(self, output: StepOutput, patches: int) -> None:
        """Store the numbers of a part; after the last one, average parts and ranks."""
        self._parts.append(
            ({"loss": output.loss.detach(), **output.logs}, output.areas)
        )
        if len(self._parts) < self.accumulate:
            return
        numbers = _mean([logs for logs, _ in self._parts])
        self._numbers = self._mean_over_ranks(numbers)
        self._areas = self._mean_over_ranks(_mean([areas for _, areas in self._parts]))
        rate = self.trainer.optimizers[0].param_groups[0]["lr"]
        self._numbers["lr"] = torch.as_tensor(rate, dtype=torch.float64)
        self.patches = patches * self.accumulate
        self._parts.clear()
        self.steps_made += 1

    def _mean_over_ranks(self, values: dict[str, Tensor]) -> dict[str, Tensor]:
        if self.trainer.world_size == 1 or not values:
            return values
        flat = torch.cat([value.float().reshape(-1) for value in values.values()])
        flat = self.trainer.strategy.reduce(flat, reduce_op="mean")
        pieces = flat.split([value.numel() for value in values.values()])
        return {
            name: piece.reshape(value.shape)
            for (name, value), piece in zip(values.items(), pieces, strict=True)
        }

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["geoseg"] = {
            "steps_made": self.steps_made,
            "epoch_begun": self.epoch_begun,
            "accumulate": self.accumulate,
            "devices": self.trainer.world_size,
            "epoch_state": self.method.epoch_state(),
        }

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        state = checkpoint["geoseg"]
        for name, own in (
            ("accumulate", self.accumulate),
            ("devices", self.trainer.world_size),
        ):
            if state[name] != own:
                raise TrainingError(
                    f"{CHECKPOINT_NAME} is from a training with {name} {state[name]}, "
                    f"found {own}: resume with the same number, or start a new run"
                )
        self.steps_made = state["steps_made"]
        self.epoch_begun = state["epoch_begun"]
        self.method.load_epoch_state(state["epoch_state"])


def _mean(parts: list[Any]) -> dict[str, Tensor]:
    if len(parts) == 1:
        return dict(parts[0])
    return {
        name: torch.stack([part[name] for part in parts]).mean(0) for name in parts[0]
    }


class _Stream:
    """The batches of all epochs one after another; it has no length."""

    def __init__(self, loader: EpochLoader, start: int, parts: int) -> None:
        self.loader = loader
        self.start = start
        self.parts = parts

    def __iter__(self) -> Iterator[PatchBatch]:
        epoch, first = divmod(self.start, len(self.loader))
        while True:
            for batch in self.loader.batches(epoch, first):
                yield from _split(batch, self.parts)
            epoch, first = epoch + 1, 0


def _split(batch: PatchBatch, parts: int) -> Iterator[PatchBatch]:
    size, rest = divmod(len(batch), parts)
    if rest or not size:
        raise TrainingError(
            f"a batch of {counted(len(batch), 'patch')} cannot be split into {parts} "
            "equal parts"
        )
    for start in range(0, len(batch), size):
        part = slice(start, start + size)
        yield PatchBatch(
            batch.image[part], batch.valid[part], batch.mask[part], batch.index[part]
        )
