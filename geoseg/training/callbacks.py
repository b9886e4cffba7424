"""What happens between the steps of a training, as Lightning callbacks."""

import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from types import FrameType
from typing import Any, Self

import lightning as L
from lightning.pytorch.callbacks import Callback
from tqdm import tqdm

from geoseg.training.adapter import Adapter


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
        aside = self.path.with_suffix(".part")
        trainer.save_checkpoint(aside)
        if trainer.is_global_zero:
            os.replace(aside, self.path)
        self.saved_at = time.monotonic()


class Progress(StepCallback):
    """A progress bar on standard error, if that is a terminal.

    Collapse is visible in it: ``entropy`` near 0 means that one cluster took all.
    """

    def __init__(self, state: Adapter) -> None:
        super().__init__(state)
        self.bar: tqdm[Any] | None = None

    def on_train_start(self, trainer: L.Trainer, *args: Any) -> None:
        # tqdm's own lock is for processes, and one that is killed would leave it behind
        tqdm.set_lock(threading.RLock())
        self.bar = tqdm(
            total=self.state.steps,
            initial=self.state.steps_made,
            desc="training",
            unit="step",
            file=sys.stderr,
            disable=not sys.stderr.isatty(),
        )

    def on_step(self, trainer: L.Trainer) -> None:
        if self.bar is None or self.bar.disable:
            return
        numbers = self.state.numbers()
        shown = {
            k: numbers[k] for k in ("loss", "entropy", "confidence") if k in numbers
        }
        self.bar.set_postfix({k: f"{v:.3f}" for k, v in shown.items()}, refresh=False)
        self.bar.update()

    def teardown(self, *args: Any, **kwargs: Any) -> None:
        if self.bar is not None:
            self.bar.close()


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
    """Ends the training when its time is over, that of former parts included."""

    def __init__(self, state: Adapter, seconds: float) -> None:
        super().__init__(state)
        self.seconds = seconds
        self.spent = 0.0
        self.since = time.monotonic()

    def on_train_start(self, trainer: L.Trainer, *args: Any) -> None:
        self.since = time.monotonic()

    def on_step(self, trainer: L.Trainer) -> None:
        if any_rank(trainer, self._elapsed() >= self.seconds):
            trainer.should_stop = True

    def state_dict(self) -> dict[str, Any]:
        return {"spent": self._elapsed()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.spent = state_dict["spent"]

    def _elapsed(self) -> float:
        return self.spent + time.monotonic() - self.since


class OnStep(StepCallback):
    """Reports each step to a function."""

    def __init__(self, state: Adapter, function: Callable[[int], None]) -> None:
        super().__init__(state)
        self.function = function

    def on_step(self, trainer: L.Trainer) -> None:
        self.function(self.state.steps_made)
