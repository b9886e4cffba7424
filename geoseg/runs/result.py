"""The result of a run, its summary, and the times of its stages."""

import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from geoseg.core.aside import replace_text
from geoseg.core.run_files import MODEL_NAME, REPORT_NAME, SCORED_NAME, TIMES_NAME
from geoseg.core.stored import StoredError, read_json, typed
from geoseg.core.words import counted
from geoseg.model.file import Model
from geoseg.scores.documents import Document


@dataclass(frozen=True)
class RunResult:
    """The result of a run: its folder, model and scores."""

    run: Path
    model: Model
    signal: int | None = None
    collapse: str | None = None
    scores: Document = Document(())
    finished: bool = False

    def __repr__(self) -> str:
        """Return the run's folder and main score, for consoles and notebooks."""
        card = self.model.card
        several = len(card.class_names) > 2
        score = card.metrics.get("mean_iou" if several else "iou", {}).get("value")
        words = "" if score is None else f", {'mean ' * several}IoU {score:.3f}"
        return f"<RunResult in {self.run}{words}>"

    @property
    def interrupted(self) -> bool:
        """Whether Ctrl-C or a scheduler ended the training early."""
        return self.signal is not None

    @property
    def model_path(self) -> Path:
        """The model file."""
        return self.run / MODEL_NAME

    @property
    def table(self) -> str:
        """The scores on the test tiles in Markdown; empty if there are none."""
        return str(self.scores)

    def summary(self) -> str:
        """Return a few lines on the results and the next commands."""
        if self.finished:
            return self._nothing_to_do()
        lines = [self._effort()]
        if self.collapse:
            lines.append(
                f"{self.collapse}; to go on anyway: geoseg train --resume "
                f"{self.run} --no-stop-on-collapse"
            )
        if self.interrupted:
            lines.append(f"stopped early; go on with: geoseg train --resume {self.run}")
        if self.scores.parts:
            lines.append(self.scores.for_stream(sys.stderr))
        report = self.run / REPORT_NAME
        if self.scores.parts and report.exists():
            lines.append(f"open {report}")
        refit = self.model.card.provenance.get("refit")
        if refit is not None:
            again = refit["match_tiles"] + refit["test_tiles"]
            lines.append(
                f"{MODEL_NAME} is made of all {counted(again, 'labelled tile')}; the "
                f"scores are of {SCORED_NAME}, which has not seen the test tiles"
            )
        if not self.model.card.matchings and not self.model.learned_classes:
            lines.append(
                "the clusters have no classes yet: name them from labelled tiles with "
                f"geoseg match {self.run} --images tiles/ --labels labels/, then map with "
                f"geoseg predict IMAGE.tif -o buildings.geojson --model {self.run}"
            )
        else:
            lines.append(
                "map buildings with: geoseg predict IMAGE.tif -o buildings.geojson "
                f"--model {self.run}"
            )
        return "\n".join(lines)

    def _nothing_to_do(self) -> str:
        reported = (self.run / REPORT_NAME).exists()
        what = "model, scores and report" if reported else "model and scores"
        return (
            f"already finished: {self.run} has its {what}; to train longer: geoseg "
            f"train --resume {self.run} --max-steps N"
        )

    def _effort(self) -> str:
        """Return the number of steps, if any, and the times of the stages."""
        origin = self.model.card.provenance
        steps, restarts = origin.get("steps"), len(origin.get("restarts", ()))
        seconds = read_seconds(self.run / TIMES_NAME)
        parts = ", ".join(f"{name} {_clock(s)}" for name, s in seconds.items())
        if steps is None:
            return parts
        kept = f" in the best of {counted(restarts, 'training')}" if restarts else ""
        return f"{counted(steps, 'step')}{kept}; {parts}"


def _clock(seconds: float) -> str:
    return str(timedelta(seconds=round(seconds)))


@contextmanager
def timed(path: Path, stage: str) -> Iterator[None]:
    """Add the seconds of a block to those of a stage, over all resumed parts.

    A block that fails is not counted.
    """
    started = time.monotonic()
    yield
    add_seconds(path, stage, started)


def add_seconds(path: Path, stage: str, started: float) -> None:
    """Add the seconds since a time of the monotonic clock to those of a stage."""
    seconds = read_seconds(path)
    passed = seconds.get(stage, 0.0) + time.monotonic() - started
    seconds[stage] = round(passed, 2)
    replace_text(path, json.dumps(seconds, indent=2) + "\n")


def read_seconds(path: Path) -> dict[str, float]:
    """Return seconds by stage; empty if the file is absent or damaged."""
    try:
        return typed(read_json(path), dict[str, float])
    except StoredError:
        return {}
