"""Scores of predictions on the same tiles, and their JSON form.

Scores are computed from the tiles' summed counts, their intervals by resampling tiles.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

import geoseg
from geoseg.core.classes import BACKGROUND, BUILDING
from geoseg.core.outputs import write_aside
from geoseg.core.stored import Range, StoredError, typed
from geoseg.scores.metrics import (
    PIXEL_METRICS,
    POLYGON_METRICS,
    Interval,
    PolygonCounts,
    bootstrap_interval,
    class_iou,
    target_first,
    to_json,
)


@dataclass(frozen=True, eq=False)
class TileCounts:
    """Pixel and footprint counts of a tile.

    Attributes:
        tile: Its id.
        confusion: ``(C, C)`` int64, reference classes in rows.
        polygons: Footprint counts of the target class; None if not counted.
        other_polygons: Footprint counts of other classes, by class id.
    """

    tile: str
    confusion: npt.NDArray[np.int64]
    polygons: PolygonCounts | None = None
    other_polygons: Mapping[int, PolygonCounts] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Scores:
    """The counts of one prediction on some tiles, and the scores from them.

    Attributes:
        name: Name in tables: ``iic/over``, ``colour k-means``, ``majority``.
        class_names: Of the ids, background first.
        tiles: One or more.
        role: Whether this is a judged prediction or a control.
        clusters: K, if known.
        target: Id of the class of all one-class scores: IoU, F1, precision, recall,
            shares and footprints.
        sparse: Whether the labels were sparse, so that footprints cannot be counted.
    """

    name: str
    class_names: tuple[str, ...]
    tiles: tuple[TileCounts, ...]
    role: Literal["model", "control"] = "model"
    clusters: int | None = None
    target: int = BUILDING
    sparse: bool = False

    @property
    def confusions(self) -> npt.NDArray[np.int64]:
        """The confusion matrices of all tiles, ``(T, C, C)``."""
        return np.stack([tile.confusion for tile in self.tiles])

    def of_class(self, class_id: int) -> "Scores":
        """Return the same counts with another class as target."""
        tiles = []
        for tile in self.tiles:
            counts = dict(tile.other_polygons)
            if tile.polygons is not None:
                counts[self.target] = tile.polygons
            own = counts.pop(class_id, None)
            tiles.append(TileCounts(tile.tile, tile.confusion, own, counts))
        return replace(self, tiles=tuple(tiles), target=class_id)

    @property
    def polygons(self) -> npt.NDArray[np.int64] | None:
        """The target's footprint counts tp, fp, fn, ``(T, 3)``; None if not counted."""
        counts = [tile.polygons for tile in self.tiles if tile.polygons is not None]
        if len(counts) != len(self.tiles):
            return None
        return np.array(counts, dtype=np.int64)

    def metrics(
        self, *, samples: int = 1000, seed: int = 0, level: float = 0.95
    ) -> dict[str, Interval]:
        """Return every score with its interval over tiles, by name.

        The names are those of :data:`geoseg.scores.metrics.PIXEL_METRICS`, with the
        target as building, and, if footprints were counted, of
        :data:`geoseg.scores.metrics.POLYGON_METRICS`.
        """
        options = {"samples": samples, "seed": seed}
        confusions = target_first(self.confusions, self.target)
        scores = {
            name: bootstrap_interval(confusions, metric, level=level, **options)
            for name, metric in PIXEL_METRICS.items()
        }
        if (counts := self.polygons) is not None:
            for name, metric in POLYGON_METRICS.items():
                scores[name] = bootstrap_interval(
                    counts, metric, level=level, **options
                )
        return scores

    def to_json(self, *, samples: int = 1000, seed: int = 0) -> dict[str, Any]:
        """Return plain JSON values; undefined scores are None."""
        total = self.confusions.sum(0)
        options = {"samples": samples, "seed": seed}
        return {
            "name": self.name,
            "role": self.role,
            "clusters": self.clusters,
            "class_names": list(self.class_names),
            "num_tiles": len(self.tiles),
            **({"sparse_labels": True} if self.sparse else {}),
            "metrics": _metrics_json(self.metrics(**options)),
            **self._classes_json(options),
            "class_iou": {
                name: to_json(value)
                for name, value in zip(self.class_names, class_iou(total), strict=True)
            },
            "confusion": total.tolist(),
            "tiles": [self._tile_json(tile) for tile in self.tiles],
        }

    @classmethod
    def from_json(cls, values: Any) -> "Scores":
        """Rebuild the counts from the values of :meth:`to_json`.

        Raises:
            StoredError: If a value is missing or malformed.
        """
        stored = typed(values, _StoredScores)
        names = stored.class_names
        if not stored.tiles or len(names) < 2 or len(set(names)) < len(names):
            raise StoredError("it has no tile, or no two classes of different names")
        target = names[BUILDING] if stored.target is None else stored.target
        return cls(
            stored.name,
            names,
            tuple(_read_tile(tile, names) for tile in stored.tiles),
            role=stored.role,
            clusters=stored.clusters,
            target=_place(target, names),
            sparse=stored.sparse_labels,
        )

    def _classes_json(self, options: Mapping[str, int]) -> dict[str, Any]:
        """Return the scores of every class if there are more than two."""
        if len(self.class_names) == 2:
            return {}
        classes = {}
        for class_id, name in enumerate(self.class_names):
            scores = self.of_class(class_id).metrics(**options)
            renamed = {
                CLASS_METRICS[k]: v for k, v in scores.items() if k in CLASS_METRICS
            }
            classes[name] = _metrics_json(renamed)
        return {"target": self.class_names[self.target], "classes": classes}

    def _tile_json(self, tile: TileCounts) -> dict[str, Any]:
        scores = {name: PIXEL_METRICS[name] for name in ("iou", "f1", "accuracy")}
        confusion = target_first(tile.confusion, self.target)
        others = {
            self.class_names[k]: counts._asdict()
            for k, counts in tile.other_polygons.items()
        }
        return {
            "tile": tile.tile,
            "confusion": tile.confusion.tolist(),
            "polygons": None if tile.polygons is None else tile.polygons._asdict(),
            **({"other_polygons": others} if others else {}),
            **{name: to_json(float(f(confusion))) for name, f in scores.items()},
        }


_Count = Annotated[int, Range(0)]


class _StoredPolygons(NamedTuple):
    tp: _Count
    fp: _Count
    fn: _Count


class _StoredTile(NamedTuple):
    tile: str
    confusion: tuple[tuple[_Count, ...], ...]
    polygons: _StoredPolygons | None
    other_polygons: dict[str, _StoredPolygons] = {}


@dataclass(frozen=True)
class _StoredScores:
    name: str
    class_names: tuple[str, ...]
    tiles: tuple[_StoredTile, ...]
    role: Literal["model", "control"]
    clusters: _Count | None
    target: str | None = None
    sparse_labels: bool = False


def _read_tile(stored: _StoredTile, names: Sequence[str]) -> TileCounts:
    if [len(row) for row in stored.confusion] != [len(names)] * len(names):
        raise StoredError(
            f"the confusion of tile {stored.tile} is not a table of {len(names)} classes"
        )
    own = stored.polygons
    others = stored.other_polygons.items()
    return TileCounts(
        stored.tile,
        np.array(stored.confusion, dtype=np.int64),
        None if own is None else PolygonCounts(*own),
        {_place(name, names): PolygonCounts(*counts) for name, counts in others},
    )


def _place(name: str, names: Sequence[str]) -> int:
    if name not in names:
        raise StoredError(f"{name!r} is none of the classes {', '.join(names)}")
    return names.index(name)


#: Scores of one class → their names in ``scores.json``.
CLASS_METRICS = {
    **{name: name for name in ("iou", "f1", "precision", "recall")},
    "building_share": "share",
    "predicted_share": "predicted_share",
    **{name: name for name in POLYGON_METRICS},
}


def _metrics_json(scores: Mapping[str, Interval]) -> dict[str, Any]:
    return {
        name: {
            "value": to_json(score.value),
            "interval": [to_json(score.low), to_json(score.high)],
        }
        for name, score in scores.items()
    }


#: Names of the constant maps in tables.
MAJORITY_NAME, EVERYTHING_NAME = "majority", "everything is building"


def constant_controls(scores: Scores, commonest: int | None = None) -> list[Scores]:
    """Return the scores of constant maps, the controls that need no image.

    They are the commonest class everywhere and, with two classes, building everywhere
    if that is another map.

    Args:
        scores: Of any map of the tiles.
        commonest: As :func:`majority_scores`.
    """
    controls = [majority_scores(scores, commonest)]
    background = int(controls[0].confusions.sum((0, 1)).argmax()) == BACKGROUND
    if len(scores.class_names) == 2 and background:
        controls.append(constant_scores(scores, BUILDING, EVERYTHING_NAME))
    return controls


def majority_scores(scores: Scores, commonest: int | None = None) -> Scores:
    """Return the scores of a map that is the commonest class everywhere.

    Args:
        scores: Of any map of these tiles.
        commonest: Id of the commonest class on the matching tiles; None: that on these
            tiles, which is the best constant map.
    """
    winner = commonest
    if winner is None:
        winner = int(scores.confusions.sum((0, 2)).argmax())
    return constant_scores(scores, winner, MAJORITY_NAME)


def constant_scores(scores: Scores, class_id: int, name: str) -> Scores:
    """Return the scores of a map that is one class everywhere.

    A map of background has no footprints. With another class the whole tile would be
    one footprint, so footprints are not counted.

    Args:
        scores: Of any map of these tiles.
        class_id: The class.
        name: Name in tables.
    """
    tiles = []
    for tile, confusion in zip(scores.tiles, scores.confusions, strict=True):
        constant = np.zeros_like(confusion)
        constant[:, class_id] = confusion.sum(1)
        missed = {
            other: PolygonCounts(0, 0, counts.tp + counts.fn)
            for other, counts in tile.other_polygons.items()
            if other != class_id
        }
        own = tile.polygons
        if own is not None and class_id != scores.target:
            own = PolygonCounts(0, 0, own.tp + own.fn)
        else:
            own = None
        tiles.append(TileCounts(tile.tile, constant, own, missed))
    return replace(scores, name=name, tiles=tuple(tiles), role="control", clusters=None)


def write_scores(
    path: Path,
    entries: Sequence[Scores],
    *,
    command: str = "",
    seed: int = 0,
    overwrite: bool = False,
) -> None:
    """Write the scores of several predictions to a JSON file.

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
