"""What happens between the steps of a training, as Lightning callbacks."""

import logging
import math
import signal
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import timedelta
from pathlib import Path
from types import FrameType
from typing import Any, Self

import lightning as L
from lightning.pytorch.callbacks import Callback
from tqdm import tqdm

from geoseg.core.aside import replacing
from geoseg.core.progress import new_bar
from geoseg.training.adapter import Adapter

log = logging.getLogger(__name__)

#: Without a terminal a line is logged at each tenth, though not more often than this,
#: and at least once in so many seconds.
LINE_SECONDS = (10.0, 60.0)


class StepCallback(Callback):
    """Acts after each whole step, never between the parts of one."""

    def __init__(self, state: Adapter) -> None:
        self.state = state

    def on_step(self, trainer: L.Trainer) -> None:
        """Act; on every rank, in the same order."""
        raise NotImplementedError

    def on_train_batch_end(self, trainer: L.Trainer, *args: Any) -> None:
        if self.state.between_steps:
            self.on_step(trainer)


def any_rank(trainer: L.Trainer, wish: bool) -> bool:
    """Return whether any rank has the wish; every rank must ask."""
    return bool(trainer.strategy.reduce_boolean_decision(wish, all=False))


class Checkpoint(StepCallback):
    """Saves the state aside and renames it, so that a kill leaves the one before."""

    def __init__(
        self, state: Adapter, path: Path, seconds: float, steps: int | None
    ) -> None:
        super().__init__(state)
        self.path = path
        self.seconds = seconds
        self.steps = steps
        self.saved_at = time.monotonic()

    def on_step(self, trainer: L.Trainer) -> None:
        due = time.monotonic() - self.saved_at >= self.seconds
        if self.steps is not None:
            due = due or self.state.steps_made % self.steps == 0
        if any_rank(trainer, due):
            self._save(trainer)

    def on_train_end(self, trainer: L.Trainer, *args: Any) -> None:
        self._save(trainer)

    def _save(self, trainer: L.Trainer) -> None:
        if trainer.is_global_zero:
            with replacing(self.path) as aside:
                trainer.save_checkpoint(aside)
        else:  # all ranks take part, the first one writes
            trainer.save_checkpoint(self.path)
        self.saved_at = time.monotonic()


class Progress(StepCallback):
    """A bar on a terminal, elsewhere a line in the log now and then.

    Collapse is visible in it: ``entropy`` near 0 means that one cluster took all.

    Args:
        state: Of the training.
        limit: Of its time, infinite if there is none.
    """

    def __init__(self, state: Adapter, limit: "TimeLimit") -> None:
        super().__init__(state)
        self.limit = limit
        self.bar: tqdm[Any] | None = None
        self.began = self.said = time.monotonic()
        self.first = self.tenth = 0

    def on_train_start(self, trainer: L.Trainer, *args: Any) -> None:
        made = self.state.steps_made
        self.bar = new_bar("training", self.state.steps, unit="step", initial=made)
        self.first, self.began = made, time.monotonic()
        self.said, self.tenth = self.began, int(10 * self._share())

    def on_step(self, trainer: L.Trainer) -> None:
        if self.bar is not None and not self.bar.disable:
            self.bar.set_postfix(self._numbers(), refresh=False)
            self.bar.update()
        elif log.isEnabledFor(logging.INFO):
            self._say()

    def teardown(self, *args: Any, **kwargs: Any) -> None:
        if self.bar is not None:
            self.bar.close()

    def _say(self) -> None:
        """Log a line if one is due."""
        now, tenth = time.monotonic(), int(10 * self._share())
        least, most = LINE_SECONDS
        if now - self.said < (least if tenth > self.tenth else most):
            return
        self.said, self.tenth = now, tenth
        of = "" if self.state.steps is None else f" of {self.state.steps}"
        numbers = ", ".join(f"{k} {v}" for k, v in self._numbers().items())
        log.info(
            *("step %d%s: %s, %s left", self.state.steps_made, of, numbers),
            timedelta(seconds=round(self._seconds_left(now))),
        )

    def _numbers(self) -> dict[str, str]:
        numbers = self.state.numbers()
        shown = ("loss", "entropy", "confidence")
        return {k: f"{numbers[k]:.3f}" for k in shown if k in numbers}

    def _share(self) -> float:
        """Return the part of the training that is done, in [0, 1]."""
        shares = [self.limit.elapsed() / self.limit.seconds]
        if self.state.steps:
            shares.append(self.state.steps_made / self.state.steps)
        return min(1.0, max(shares))

    def _seconds_left(self, now: float) -> float:
        """Guess from the pace of this part of the training and from its time limit."""
        left = [max(0.0, self.limit.seconds - self.limit.elapsed())]
        if self.state.steps is not None:
            pace = (now - self.began) / (self.state.steps_made - self.first)
            left.append(pace * (self.state.steps - self.state.steps_made))
        return min(left)


class StopSignals(AbstractContextManager["StopSignals"]):
    """Notes the first Ctrl-C, or a scheduler's SIGTERM; the second acts as ever.

    Args:
        then: Called when a signal arrives.

    Attributes:
        received: Number of the signal, or None.
    """

    def __init__(self, then: Callable[[], None] = lambda: None) -> None:
        self.then = then
        self.received: int | None = None
        self.previous: dict[int, Any] = {}

    def __enter__(self) -> Self:
        for number in (signal.SIGINT, signal.SIGTERM):
            try:
                self.previous[number] = signal.signal(number, self._note)
            except ValueError:  # not in the main thread: signals are not ours to take
                break
        return self

    def __exit__(self, *details: object) -> None:
        for number, handler in self.previous.items():
            signal.signal(number, handler)
        self.previous.clear()

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.received = number
        self.__exit__()
        self.then()


class Interrupt(StepCallback):
    """Ends the training after the current step, on all ranks, when asked to.

    Args:
        state: Of the training.
        asked: For a process of several: whether the one that leads them wants an end;
            signals are its own affair then. None: this process takes the signals.
    """

    def __init__(self, state: Adapter, asked: Callable[[], bool] | None = None) -> None:
        super().__init__(state)
        self.asked = asked
        self.signals = StopSignals()

    def on_train_start(self, trainer: L.Trainer, *args: Any) -> None:
        # not before: Lightning takes SIGTERM when it sets out
        if self.asked is None:
            self.signals.__enter__()
        else:
            for number in (signal.SIGINT, signal.SIGTERM):
                signal.signal(number, signal.SIG_IGN)

    def on_step(self, trainer: L.Trainer) -> None:
        asked = self.asked or (lambda: self.signals.received is not None)
        if any_rank(trainer, asked()):
            trainer.should_stop = True

    def teardown(self, *args: Any, **kwargs: Any) -> None:
        self.signals.__exit__()


class TimeLimit(StepCallback):
    """Ends the training when its time is over, that of former parts included.

    An epoch that is about to begin when it is, does not. Counts without a limit
    (infinity) too: a later part may have one.
    """

    def __init__(self, state: Adapter, seconds: float) -> None:
        super().__init__(state)
        if seconds != math.inf:
            state.time_is_over = lambda: self.is_over(state.trainer)
        self.seconds = seconds
        self.spent = 0.0
        self.since = time.monotonic()

    def on_train_start(self, trainer: L.Trainer, *args: Any) -> None:
        self.since = time.monotonic()

    def on_step(self, trainer: L.Trainer) -> None:
        if self.seconds != math.inf and self.is_over(trainer):
            trainer.should_stop = True

    def is_over(self, trainer: L.Trainer) -> bool:
        """Return whether the time is over on any rank; every rank must ask."""
        return any_rank(trainer, self.elapsed() >= self.seconds)

    def state_dict(self) -> dict[str, Any]:
        return {"spent": self.elapsed()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.spent = state_dict["spent"]

    def elapsed(self) -> float:
        """Return the seconds spent, those of former parts included."""
        return self.spent + time.monotonic() - self.since


class OnStep(StepCallback):
    """Reports each step to a function."""

    def __init__(self, state: Adapter, function: Callable[[int], None]) -> None:
        super().__init__(state)
        self.function = function

    def on_step(self, trainer: L.Trainer) -> None:
        self.function(self.state.steps_made)
