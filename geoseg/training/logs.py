"""Where the numbers of a training go: tables of rows, and TensorBoard."""

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import lightning as L

from geoseg.core.aside import open_in_place, own_folder, replacing
from geoseg.training.adapter import Adapter
from geoseg.training.callbacks import StepCallback
from geoseg.training.step_tables import WORDS, read_step_table
from geoseg.training.tensorboard import import_summary_writer

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter


#: Columns of ``metrics.csv`` that say where, not what.
_PLACE = ("step", "epoch")


class StepTable(StepCallback):
    """A CSV file of rows that begin with their step; a subclass adds a step's rows.

    Its columns are those of the first row; ``words`` names those that hold words.
    """

    words: tuple[str, ...] = ()

    def __init__(self, state: Adapter, path: Path) -> None:
        super().__init__(state)
        self.path = path
        self.columns: list[str] = []

    def rows(self) -> Iterator[dict[str, Any]]:
        """Yield what the step that was just made adds, ``step`` first."""
        raise NotImplementedError

    def on_train_start(self, trainer: L.Trainer, *args: Any) -> None:
        """Drop the rows of steps that a resumed run is about to make again."""
        rows = read_step_table(self.path, self.words)
        kept = [row for row in rows if int(row["step"]) <= self.state.steps_made]
        if not kept:
            self.path.unlink(missing_ok=True)
            return
        self.columns = list(kept[0])
        with replacing(self.path) as aside, aside.open("w", newline="") as file:
            writer = csv.DictWriter(file, self.columns)
            writer.writeheader()
            writer.writerows(kept)

    def on_step(self, trainer: L.Trainer) -> None:
        rows = list(self.rows())
        if not rows:
            return
        first = not self.columns
        if first:
            self.columns = list(rows[0])
        with open_in_place(self.path, "a", newline="") as file:
            writer = csv.DictWriter(file, self.columns, extrasaction="ignore")
            if first:
                writer.writeheader()
            writer.writerows(rows)


class MetricsLog(StepTable):
    """Appends the logged numbers to a CSV file, one row a step."""

    def rows(self) -> Iterator[dict[str, Any]]:
        """Yield the step's one row."""
        step = self.state.steps_made
        epoch = (step - 1) // self.state.steps_per_epoch
        yield {"step": step, "epoch": epoch, **self.state.numbers()}


class AreasLog(StepTable):
    """Appends the clusters' shares of the area to a CSV file, one row a trained head.

    Columns ``step``, ``head``, ``area_0`` …, as many as the largest head has clusters;
    a smaller head leaves the last ones empty.
    """

    words = WORDS

    def rows(self) -> Iterator[dict[str, Any]]:
        """Yield a row for each head that the step trained."""
        most = max(self.state.method.heads.values())
        columns = [f"area_{cluster}" for cluster in range(most)]
        for head, areas in self.state.areas().items():
            shares: dict[str, Any] = dict.fromkeys(columns, "")
            shares |= zip(columns, areas, strict=False)
            yield {"step": self.state.steps_made, "head": head, **shares}


class TensorBoardLog(StepCallback):
    """Shows the rows of ``metrics.csv``, and the clusters' areas, in TensorBoard.

    At the start the events of an earlier part are written anew from the tables, which
    know the steps that count: none is missing or doubled after a kill.

    Args:
        state: Of the training.
        folder: Of the events; what is in it is replaced.
        metrics: The table of :class:`MetricsLog`, which must come before.
        areas: The table of :class:`AreasLog`, likewise.
    """

    def __init__(
        self, state: Adapter, folder: Path, metrics: Path, areas: Path
    ) -> None:
        super().__init__(state)
        self.folder = folder
        self.tables = (metrics, areas)
        self.writer: "SummaryWriter | None" = None

    def on_train_start(self, trainer: L.Trainer, *args: Any) -> None:
        for path in own_folder(self.folder).glob("events.out.tfevents.*"):
            path.unlink()
        self.writer = import_summary_writer()(self.folder)
        metrics = read_step_table(self.tables[0])
        areas = read_step_table(self.tables[1], WORDS)
        for row in metrics:
            numbers = {k: float(v) for k, v in row.items() if v and k not in _PLACE}
            self._add_numbers(numbers, int(row["step"]))
        for row in areas:
            shares = [float(v) for k, v in row.items() if k.startswith("area_") and v]
            self._add_areas(row["head"], shares, int(row["step"]))

    def on_step(self, trainer: L.Trainer) -> None:
        step = self.state.steps_made
        self._add_numbers(self.state.numbers(), step)
        for head, areas in self.state.areas().items():
            self._add_areas(head, areas, step)

    def teardown(self, *args: Any, **kwargs: Any) -> None:
        if self.writer is not None:
            self.writer.close()

    def _add_numbers(self, numbers: dict[str, float], step: int) -> None:
        assert self.writer is not None
        for name, value in numbers.items():
            self.writer.add_scalar(name, value, step)

    def _add_areas(self, head: str, areas: list[float], step: int) -> None:
        """Draw a bar of the histogram for each cluster, as high as its area."""
        assert self.writer is not None
        self.writer.add_histogram_raw(
            f"areas/{head}",
            min=-0.5,
            max=len(areas) - 0.5,
            num=sum(areas),
            sum=sum(k * area for k, area in enumerate(areas)),
            sum_squares=sum(k * k * area for k, area in enumerate(areas)),
            bucket_limits=[k + 0.5 for k in range(len(areas))],
            bucket_counts=areas,
            global_step=step,
        )
