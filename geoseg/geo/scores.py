"""Scores of several predictions on the same tiles: as JSON and as a table.

A score is that of the tiles' summed counts; its interval comes from resampling tiles.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

import geoseg
from geoseg.geo.outputs import write_aside
from geoseg.metrics import (
    BUILDING,
    PIXEL_METRICS,
    POLYGON_METRICS,
    Interval,
    PolygonCounts,
    bootstrap_interval,
    class_iou,
    to_json,
)


@dataclass(frozen=True, eq=False)
class TileCounts:
    """What was counted on a tile.

    Attributes:
        tile: Its id.
        confusion: ``(C, C)`` int64, reference classes in rows.
        polygons: Footprints found, invented, missed; None where not counted.
    """

    tile: str
    confusion: npt.NDArray[np.int64]
    polygons: PolygonCounts | None = None


@dataclass(frozen=True, eq=False)
class Scores:
    """The counts of one prediction on some tiles, and the scores that follow.

    Attributes:
        name: In tables: ``iic/over``, ``colour k-means``, ``majority``.
        class_names: Of the ids, background first.
        tiles: One or more.
        role: Whether this is what is judged or a control to judge it by.
        clusters: K, where it is known.
    """

    name: str
    class_names: tuple[str, ...]
    tiles: tuple[TileCounts, ...]
    role: Literal["model", "control"] = "model"
    clusters: int | None = None

    @property
    def confusions(self) -> npt.NDArray[np.int64]:
        """``(T, C, C)``, one matrix per tile."""
        return np.stack([tile.confusion for tile in self.tiles])

    @property
    def polygons(self) -> npt.NDArray[np.int64] | None:
        """``(T, 3)`` counts tp, fp, fn, or None where they were not counted."""
        counts = [tile.polygons for tile in self.tiles if tile.polygons is not None]
        if len(counts) != len(self.tiles):
            return None
        return np.array(counts, dtype=np.int64)

    def metrics(
        self, *, samples: int = 1000, seed: int = 0, level: float = 0.95
    ) -> dict[str, Interval]:
        """Return every score with its interval over tiles, by name.

        The names are those of :data:`geoseg.metrics.PIXEL_METRICS` and, where footprints
        were counted, :data:`geoseg.metrics.POLYGON_METRICS`.
        """
        options = {"samples": samples, "seed": seed}
        found = {
            name: bootstrap_interval(self.confusions, metric, level=level, **options)
            for name, metric in PIXEL_METRICS.items()
        }
        if (counts := self.polygons) is not None:
            for name, metric in POLYGON_METRICS.items():
                found[name] = bootstrap_interval(counts, metric, level=level, **options)
        return found

    def to_json(self, *, samples: int = 1000, seed: int = 0) -> dict[str, Any]:
        """Return plain JSON values; a score that is undefined is None."""
        total = self.confusions.sum(0)
        return {
            "name": self.name,
            "role": self.role,
            "clusters": self.clusters,
            "class_names": list(self.class_names),
            "num_tiles": len(self.tiles),
            "metrics": {
                name: {
                    "value": to_json(score.value),
                    "interval": [to_json(score.low), to_json(score.high)],
                }
                for name, score in self.metrics(samples=samples, seed=seed).items()
            },
            "class_iou": {
                name: to_json(value)
                for name, value in zip(self.class_names, class_iou(total), strict=True)
            },
            "confusion": total.tolist(),
            "tiles": [_tile_json(tile) for tile in self.tiles],
        }


def _tile_json(tile: TileCounts) -> dict[str, Any]:
    scores = {name: PIXEL_METRICS[name] for name in ("iou", "f1", "accuracy")}
    return {
        "tile": tile.tile,
        "confusion": tile.confusion.tolist(),
        "polygons": None if tile.polygons is None else tile.polygons._asdict(),
        **{name: to_json(float(f(tile.confusion))) for name, f in scores.items()},
    }


def majority_scores(scores: Scores) -> Scores:
    """Return the control that calls every pixel of these tiles the commonest class.

    The class is the commonest on these very tiles, the best that a constant can do. It
    proposes no footprint where that is background.
    """
    confusions = scores.confusions
    winner = int(confusions.sum((0, 2)).argmax())
    tiles = []
    for tile, confusion in zip(scores.tiles, confusions, strict=True):
        constant = np.zeros_like(confusion)
        constant[:, winner] = confusion.sum(1)
        counts = tile.polygons
        if counts is not None and winner != BUILDING:
            counts = PolygonCounts(0, 0, counts.tp + counts.fn)
        else:
            counts = None
        tiles.append(TileCounts(tile.tile, constant, counts))
    return Scores("majority", scores.class_names, tuple(tiles), role="control")


def write_scores(
    path: Path,
    entries: Sequence[Scores],
    *,
    command: str = "",
    seed: int = 0,
    overwrite: bool = False,
) -> None:
    """Write the scores of several entries to a JSON file.

    Raises:
        OutputExistsError: If the file exists and ``overwrite`` is False.
        OutputError: If it cannot be written.
    """
    document = {
        "geoseg_version": geoseg.__version__,
        "command": command,
        "seed": seed,
        "interval": "95 % over resampled tiles",
        "entries": [entry.to_json(seed=seed) for entry in entries],
    }
    text = json.dumps(document, indent=1, allow_nan=False) + "\n"
    with write_aside(path, verify=_parse, overwrite=overwrite) as temporary:
        temporary.write_text(text, encoding="utf-8")


def _parse(path: Path) -> None:
    json.loads(path.read_text(encoding="utf-8"))


#: Columns of the table: heading, score, whether its interval is shown.
TABLE_COLUMNS = (
    ("IoU", "iou", True),
    ("F1", "f1", True),
    ("precision", "precision", False),
    ("recall", "recall", False),
    ("accuracy", "accuracy", False),
    ("balanced", "balanced_accuracy", False),
    ("κ", "kappa", False),
    ("footprint F1", "polygon_f1", True),
)


def markdown_table(entries: Sequence[Scores], *, seed: int = 0) -> str:
    """Tabulate entries, building scores with their 95 % intervals over tiles.

    Below it: tiles, building share and the accuracy of the commonest class, without
    which no accuracy can be read.
    """
    heads = [head for head, _, _ in TABLE_COLUMNS]
    lines = [f"| | {' | '.join(heads)} |", f"|---|{'---:|' * len(heads)}"]
    for entry in entries:
        scores = entry.metrics(seed=seed)
        cells = [_cell(scores.get(key), shown) for _, key, shown in TABLE_COLUMNS]
        lines.append(f"| {entry.name} | {' | '.join(cells)} |")
    for entry in entries[:1]:
        total = entry.confusions.sum(0)
        share = float(PIXEL_METRICS["building_share"](total))
        majority = float(PIXEL_METRICS["majority_accuracy"](total))
        lines.append(
            f"\n{len(entry.tiles)} tiles, {100 * share:.1f} % of the labelled pixels are "
            f"building; calling every pixel the commonest class scores {majority:.3f} "
            "accuracy. In brackets: 95 % interval over resampled tiles."
        )
    return "\n".join(lines) + "\n"


def _cell(score: Interval | None, interval: bool) -> str:
    if score is None or np.isnan(score.value):
        return "–"
    ends = f" [{score.low:.2f}, {score.high:.2f}]"
    return f"{score.value:.3f}{ends if interval and not np.isnan(score.low) else ''}"
