"""What happens between the steps of a training, as Lightning callbacks."""

import csv
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any, Protocol

import lightning as L
from lightning.pytorch.callbacks import Callback
from tqdm import tqdm


class TrainingState(Protocol):
    """What callbacks read of a training."""

    batches_seen: int

    @property
    def batches_per_epoch(self) -> int:
        """Number of batches in a pass over the patches."""

    @property
    def most_clusters(self) -> int:
        """Number of clusters of the largest head."""

    def numbers(self) -> dict[str, float]:
        """Return the last logged numbers."""

    def areas(self) -> dict[str, list[float]]:
        """Return the last logged areas, by head."""


class Checkpoint(Callback):
    """Saves the state aside and renames it, so that a kill leaves the one before."""

    def __init__(
        self, state: TrainingState, path: Path, seconds: float, steps: int | None
    ) -> None:
        self.state = state
        self.path = path
        self.seconds = seconds
        self.steps = steps
        self.saved_at = time.monotonic()

    def on_train_batch_end(self, trainer: L.Trainer, *args: Any) -> None:
        due = time.monotonic() - self.saved_at >= self.seconds
        if self.steps is not None:
            due = due or self.state.batches_seen % self.steps == 0
        if due:
            self._save(trainer)

    def on_train_end(self, trainer: L.Trainer, *args: Any) -> None:
        self._save(trainer)

    def _save(self, trainer: L.Trainer) -> None:
        aside = self.path.with_suffix(".part")
        trainer.save_checkpoint(aside)
        os.replace(aside, self.path)
        self.saved_at = time.monotonic()


class StepTable(Callback):
    """A CSV file of rows that begin with their step; a subclass adds a step's rows.

    Its columns are those of the first row.
    """

    def __init__(self, state: TrainingState, path: Path) -> None:
        self.state = state
        self.path = path
        self.columns: list[str] = []

    def rows(self) -> Iterator[dict[str, Any]]:
        """Yield what the step that was just made adds, ``step`` first."""
        raise NotImplementedError

    def on_train_start(self, trainer: L.Trainer, *args: Any) -> None:
        """Drop the rows of steps that a resumed run is about to make again."""
        if not self.path.exists():
            return
        with self.path.open(newline="") as file:
            rows = list(csv.DictReader(file))
        kept = [row for row in rows if _step_of(row) <= self.state.batches_seen]
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
        rows = list(self.rows())
        if not rows:
            return
        first = not self.columns
        if first:
            self.columns = list(rows[0])
        with self.path.open("a", newline="") as file:
            writer = csv.DictWriter(file, self.columns, extrasaction="ignore")
            if first:
                writer.writeheader()
            writer.writerows(rows)


class MetricsLog(StepTable):
    """Appends the logged numbers to a CSV file, one row a step."""

    def rows(self) -> Iterator[dict[str, Any]]:
        """Yield the step's one row."""
        epoch = (self.state.batches_seen - 1) // self.state.batches_per_epoch
        step = self.state.batches_seen
        yield {"step": step, "epoch": epoch, **self.state.numbers()}


class AreasLog(StepTable):
    """Appends the clusters' shares of the area to a CSV file, one row a trained head.

    Columns ``step``, ``head``, ``area_0`` …, as many as the largest head has clusters;
    a smaller head leaves the last ones empty.
    """

    def rows(self) -> Iterator[dict[str, Any]]:
        """Yield a row for each head that the step trained."""
        columns = [f"area_{cluster}" for cluster in range(self.state.most_clusters)]
        for head, areas in self.state.areas().items():
            shares = dict.fromkeys(columns, "") | dict(zip(columns, areas))
            yield {"step": self.state.batches_seen, "head": head, **shares}


def _step_of(row: dict[str, str]) -> float:
    """Return the step of a row; infinite for a row that a kill cut short."""
    complete = None not in row.values() and (row.get("step") or "").isdigit()
    return int(row["step"]) if complete else float("inf")


class Progress(Callback):
    """A progress bar on standard error, if that is a terminal.

    Collapse is visible in it: ``entropy`` near 0 means that one cluster took all.
    """

    def __init__(self, state: TrainingState, steps: int | None) -> None:
        self.state = state
        self.steps = steps
        self.bar: tqdm[Any] | None = None

    def on_train_start(self, trainer: L.Trainer, *args: Any) -> None:
        self.bar = tqdm(
            total=self.steps,
            initial=self.state.batches_seen,
            desc="training",
            unit="step",
            file=sys.stderr,
            disable=not sys.stderr.isatty(),
        )

    def on_train_batch_end(self, trainer: L.Trainer, *args: Any) -> None:
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


class Interrupt(Callback):
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


class OnStep(Callback):
    """Reports each step to a function."""

    def __init__(self, state: TrainingState, function: Callable[[int], None]) -> None:
        self.state = state
        self.function = function

    def on_train_batch_end(self, trainer: L.Trainer, *args: Any) -> None:
        self.function(self.state.batches_seen)
