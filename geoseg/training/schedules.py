"""Schedules of the learning rate, as factors of the method's own rate."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from geoseg.core.errors import ParameterError
from geoseg.core.words import counted

ScheduleName = Literal["constant", "cosine", "linear", "step"]

#: ``step`` divides the rate by ten at these shares of the training.
MILESTONES = (0.5, 0.75)


@dataclass(frozen=True)
class Schedule:
    """The course of the learning rate, after a linear rise over ``warmup_steps``.

    Attributes:
        name: ``constant``; ``cosine`` and ``linear``, which end at zero; ``step``, a
            tenth after half and a hundredth after three quarters of the training.
        warmup_steps: Optimiser steps of linear rise, at least 0.
    """

    name: ScheduleName = "constant"
    warmup_steps: int = 0

    def check(self, steps: int | None) -> None:
        """Raise if the schedule does not fit the length of the training.

        Raises:
            ParameterError: If the number of steps is unknown, or all are warm-up.
        """
        if self.name != "constant" and steps is None:
            raise ParameterError(
                f"--lr-schedule {self.name} needs the number of steps, but only a time "
                "is given: give --max-steps or --max-epochs, with or without --max-time"
            )
        if steps is not None and self.warmup_steps >= steps:
            raise ParameterError(
                f"--warmup-steps is {self.warmup_steps}, expected less than the "
                f"{counted(steps, 'step')} of the training"
            )

    def factor(self, step: int, steps: int | None) -> float:
        """Return the share of the full rate at a step.

        Args:
            step: Optimiser steps made before it.
            steps: Of the whole training; may be None for ``constant``.

        Returns:
            In [0, 1].

        Example:
            >>> [Schedule("linear", 2).factor(step, 6) for step in range(6)]
            [0.5, 1.0, 1.0, 0.75, 0.5, 0.25]
        """
        if step < self.warmup_steps:
            return (step + 1) / self.warmup_steps
        if self.name == "constant" or steps is None:
            return 1.0
        done = min(1.0, (step - self.warmup_steps) / (steps - self.warmup_steps))
        if self.name == "linear":
            return 1 - done
        if self.name == "cosine":
            return 0.5 * (1 + math.cos(math.pi * done))
        return float(10 ** -sum(done >= milestone for milestone in MILESTONES))

    def over(
        self,
        optimizer: Optimizer,
        steps: int | None,
        own: Callable[[int, int], float] = lambda group, step: 1.0,
    ) -> LambdaLR:
        """Return torch's scheduler for all rates of the optimiser, one call per step.

        Args:
            optimizer: With one or several groups of parameters.
            steps: Of the whole training, if known.
            own: Returns a further factor for the number of a group and of a step.
        """

        # functions, not objects: torch would put an object into the checkpoint
        def of_group(group: int) -> Callable[[int], float]:
            return lambda step: self.factor(step, steps) * own(group, step)

        groups = range(len(optimizer.param_groups))
        return LambdaLR(optimizer, [of_group(group) for group in groups])
