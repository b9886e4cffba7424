"""Limits and result of a training."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

from geoseg.core.errors import ParameterError
from geoseg.methods.bases.method import Method
from geoseg.training.schedules import Schedule

Precision = Literal["32-true", "bf16-mixed"]


#: Share of a limited time reserved for the last fit of methods that have one.
LAST_FIT = 0.1


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Limits of a training; it stops at the first one reached.

    Attributes:
        max_steps: Number of optimiser steps, or None.
        max_epochs: Number of passes over the loader, or None.
        max_time: Wall-clock time of steps, beginnings of epochs and the last fit, over
            all resumed parts, or None.
    """

    max_steps: int | None = None
    max_epochs: int | None = None
    max_time: timedelta | None = None

    @property
    def seconds(self) -> float:
        """The time limit in seconds; infinite if there is none."""
        return math.inf if self.max_time is None else self.max_time.total_seconds()

    def steps(self, steps_per_epoch: int) -> int | None:
        """Return the step to stop at, or None if only the time is limited."""
        limits = [self.max_steps] if self.max_steps is not None else []
        if self.max_epochs is not None:
            limits.append(self.max_epochs * steps_per_epoch)
        return min(limits) if limits else None


@dataclass(frozen=True, kw_only=True)
class FitOptions:
    """Options of a training, apart from its limits.

    Attributes:
        seed: Keys the views.
        resume: Continue from ``last.ckpt`` in the run's folder, if it exists.
        accelerator: Lightning's name: ``cpu``, ``cuda``, …
        precision: ``32-true``, or ``bf16-mixed``: layers compute in bfloat16 where that
            is safe; losses, weights and the optimiser stay in float32.
        accumulate: Split each batch into this many equal parts and add up their
            gradients. Equal to the whole batch for a loss that is a mean over patches,
            except that batch normalisation uses each part by itself.
        schedule: Of the learning rate.
        checkpoint_seconds: Longest time between checkpoints.
        checkpoint_steps: Also save after this many steps.
        stop_on_collapse: End a training whose default head has collapsed.
        tensorboard: Also write events into ``tensorboard`` in the run's folder.
        profile: Measure some of the first steps, log their times, and write
            ``trace.json.gz``; see :func:`geoseg.training.profiling.profiler`.
        on_step: Called after each step with the number of steps made.
    """

    seed: int = 0
    resume: bool = False
    accelerator: str = "cpu"
    precision: Precision = "32-true"
    accumulate: int = 1
    schedule: Schedule = Schedule()
    checkpoint_seconds: float = 60.0
    checkpoint_steps: int | None = None
    stop_on_collapse: bool = True
    tensorboard: bool = False
    profile: bool = False
    on_step: Callable[[int], None] | None = None


@dataclass(frozen=True)
class FitResult:
    """The result of a training.

    Attributes:
        steps: Optimiser steps made in all, resumed parts included.
        logs: The last logged numbers.
        signal: Number of the signal that ended the training early, or None.
        collapse: Cause and advice, if collapse ended it; else None.
        seconds: Time of steps and beginnings of epochs, resumed parts included.
    """

    steps: int
    logs: dict[str, float]
    signal: int | None = None
    collapse: str | None = None
    seconds: float = 0.0

    @property
    def interrupted(self) -> bool:
        """Whether Ctrl-C or a scheduler ended the training early."""
        return self.signal is not None


def check_accumulation(method: Method | type[Method], parts: int) -> None:
    """Raise if the gradients of parts do not add up to that of the batch.

    Raises:
        ParameterError: If the method's loss couples the batch.
    """
    if parts > 1 and method.couples_batch:
        raise ParameterError(
            f"--accumulate {parts} does not work with this method, whose loss counts "
            "over the whole batch at once: give a larger --batch-size, more --devices, "
            "or --precision bf16-mixed to save memory"
        )
