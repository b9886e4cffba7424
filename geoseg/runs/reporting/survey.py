"""Collect everything that a report shows of a tile in one prediction pass."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from geoseg.core.patches import IGNORE
from geoseg.geo.labels.labels import read_labels
from geoseg.geo.predict.deciding import NO_RULE, rule_for
from geoseg.geo.predict.head_views import ClusterStrip, ClusterView, fold_strip
from geoseg.geo.predict.regions import RegionClasses, class_strip
from geoseg.geo.rasters import raster
from geoseg.geo.rasters.description import PixelWindow, RasterDescription
from geoseg.geo.rasters.strips import ClassStrip
from geoseg.geo.tiles.tiles import Tile
from geoseg.model.file import Model
from geoseg.model.matching import contingency_table

#: Largest side of a shown tile in pixels; of larger tiles the middle is shown.
SHOWN_SIDE = 1024
#: Of a hard method, clusters with fewer pixels than this share of a place have none.
FILLS = 0.25
#: Side of a typical place in pixels, and most places per tile and cluster.
PLACE, MOST_PLACES = 64, 6


class Place(NamedTuple):
    """A window of a tile that a cluster fills.

    Attributes:
        share: Mean probability of the cluster over the window, in [0, 1].
        tile: The tile.
        window: In pixels of the tile's image.
    """

    share: float
    tile: Tile
    window: PixelWindow


class Survey(NamedTuple):
    """The prediction of a head for a tile, summarised.

    Attributes:
        table: ``(K, C)`` pixels of each cluster on each class; zeros without labels.
        places: Per cluster, the windows it fills most, the fullest first.
        clusters: ``(h, w)`` ids of the shown part, ``-1`` without data; or None.
        classes: Classes and scores of the shown part after matching; or None.
    """

    table: NDArray[np.int64]
    places: Sequence[Sequence[Place]]
    clusters: NDArray[np.int32] | None
    classes: ClassStrip | None


def shown_part(tile: Tile, grid: RasterDescription) -> Tile:
    """Return the tile, or its middle if it is too large to show."""
    row, col, height, width = tile.extent(grid)
    h, w = min(height, SHOWN_SIDE), min(width, SHOWN_SIDE)
    middle = PixelWindow(row + (height - h) // 2, col + (width - w) // 2, h, w)
    return replace(tile, window=middle)


def survey_tile(
    model: Model, tile: Tile, heads: Sequence[str], *, keep: bool
) -> dict[str, Survey]:
    """Predict a tile and return its surveys by head.

    Args:
        model: Matched for these heads.
        tile: Any tile; one without labels gives a table of zeros.
        heads: Heads of the method, predicted in one pass.
        keep: Whether to return the maps of the shown part.
    """
    surveyor = Surveyor(model, [tile], keep=keep)
    view, grid = ClusterView(model, *heads), raster.describe(tile.image)
    for strips in view.strips(grid, region=tile.extent(grid)):
        surveyor.feed(tile, strips)
    return surveyor.data[tile]


class Surveyor:
    """Surveys tiles while they are predicted for another purpose (an onlooker).

    It counts, finds typical places and, if ``keep`` is set, keeps the maps.

    Args:
        model: The predicting model.
        tiles: Tiles to survey; others are ignored.
        keep: Whether to keep the maps of the shown part; the model must be matched.
    """

    def __init__(self, model: Model, tiles: Sequence[Tile], *, keep: bool) -> None:
        self._model, self._keep = model, keep
        self._chosen = set(tiles)
        self._labels: Any = None  # of the current tile
        self._notes: dict[Tile, dict[str, _Notes]] = {}

    def feed(self, tile: Tile, parts: Mapping[str, ClusterStrip]) -> None:
        """Add the next strip of a tile; tiles must come one after another."""
        if tile not in self._chosen:
            return
        if tile not in self._notes:
            grid = raster.describe(tile.image)
            self._labels = _labels(tile, grid)
            self._notes[tile] = {
                head: _Notes(self._model, head, tile, grid) for head in parts
            }
        for head, part in parts.items():
            self._notes[tile][head].feed(part, self._labels, keep=self._keep)

    @property
    def data(self) -> dict[Tile, dict[str, Survey]]:
        """Surveys of each tile by head."""
        return {
            tile: {head: note.data for head, note in notes.items()}
            for tile, notes in self._notes.items()
        }


def surveys_of(*surveyors: Surveyor | None) -> dict[Tile, dict[str, Survey]]:
    """Return the surveys of several surveyors, which have different tiles."""
    there = [surveyor for surveyor in surveyors if surveyor is not None]
    return {tile: surveys for one in there for tile, surveys in one.data.items()}


class _Notes:
    """Collects the survey of a head strip by strip."""

    def __init__(
        self, model: Model, head: str, tile: Tile, grid: RasterDescription
    ) -> None:
        self.model, self.head = model, head
        self.tile, self.grid, self.extent = tile, grid, tile.extent(grid)
        self.part = shown_part(tile, grid).extent(grid)
        clusters = model.method.heads[head]
        # an unmatched model does not know the classes of the labels
        known = head in model.card.matchings
        names = model.card.class_names if known else tile.classes.names
        shape = (clusters, len(names))
        self.table = np.zeros(shape, dtype=np.int64)
        self.places: list[list[Place]] = [[] for _ in range(clusters)]
        self.clusters: list[NDArray[np.int32]] = []
        rule = rule_for(model.with_head(head), grid) if known else NO_RULE
        self.classes = RegionClasses(rule, self.part, self.extent)

    def feed(self, strip: ClusterStrip, labels: Any, *, keep: bool) -> None:
        """Count a strip, find places, and keep its part of the shown map."""
        if labels is not None:
            here = slice(strip.row, strip.row + len(strip.valid))
            self.table += _count(strip.ids, labels[here], self.table.shape)
        row, col, height, width = self.extent
        typical = _typical(strip, len(self.places), min(height, width))
        for spots, places in zip(typical, self.places, strict=True):
            places += [
                Place(share, self.tile, PixelWindow(row + y, col + x, s, s))
                for share, y, x, s in spots
            ]
        if keep:
            rows = _rows(self.part, self.extent, strip.row)
            cut = rows, _columns(self.part, self.extent)
            self.clusters.append(strip.ids[cut].astype(np.int32))
            self.classes.feed(fold_strip(self.model, self.head, strip))

    @property
    def data(self) -> Survey:
        """Survey of all strips."""
        best = [sorted(spots, key=_order)[:MOST_PLACES] for spots in self.places]
        if not self.clusters:
            return Survey(self.table, best, None, None)
        classes = self.classes.data
        combined = self.model.card.combined
        if combined is not None and combined.head == self.head:
            classes = class_strip(self.model.with_head(self.head), self.grid, self.part)
        return Survey(self.table, best, np.concatenate(self.clusters), classes)


def _order(place: Place) -> tuple[float, int, int]:
    return -place.share, place.window.row, place.window.col


def _rows(part: PixelWindow, extent: PixelWindow, row: int) -> slice:
    """Return the rows in the shown part of a strip that starts at ``row``."""
    top = part.row - extent.row - row
    return slice(max(0, top), max(0, top + part.height))


def _columns(part: PixelWindow, extent: PixelWindow) -> slice:
    left = part.col - extent.col
    return slice(left, left + part.width)


def _labels(tile: Tile, grid: RasterDescription) -> Any:
    if tile.labels is None:
        return None
    return read_labels(tile, grid)


def _count(
    ids: NDArray[Any], labels: NDArray[Any], shape: tuple[int, ...]
) -> NDArray[np.int64]:
    seen = ids >= 0
    counts = contingency_table(
        torch.from_numpy(ids[seen]),
        torch.from_numpy(labels[seen].astype(np.int64)),
        num_clusters=shape[0],
        num_classes=shape[1],
    )
    return counts.numpy()


def _typical(
    strip: ClusterStrip, clusters: int, shortest: int
) -> list[list[tuple[float, int, int, int]]]:
    """Return per cluster (share, row, column, side) of windows that do not overlap."""
    side = max(8, min(PLACE, shortest // 2))
    typical: list[list[tuple[float, int, int, int]]] = [[] for _ in range(clusters)]
    if min(strip.valid.shape) < side:
        return typical
    step = side // 4
    for cluster, plane in _planes(strip, side):
        # invalid pixels have probability 0, so windows over them have lower shares
        shares = F.avg_pool2d(torch.from_numpy(plane)[None, None], side, step)[0, 0]
        for _ in range(MOST_PLACES):
            share = float(shares.max())
            if share <= 0:
                break
            row, col = divmod(int(shares.argmax()), shares.shape[1])
            typical[cluster].append((share, strip.row + row * step, col * step, side))
            near = slice(max(0, row - 3), row + 4), slice(max(0, col - 3), col + 4)
            shares[near] = 0
    return typical


def _planes(
    strip: ClusterStrip, side: int
) -> Iterator[tuple[int, NDArray[np.float32]]]:
    """Yield clusters with their planes; of a hard method, those that fill windows."""
    if strip.probability is not None:
        yield from enumerate(strip.probability)
        return
    ids, counts = np.unique(strip.ids[strip.valid], return_counts=True)
    for cluster in ids[counts >= FILLS * side**2].tolist():
        yield cluster, (strip.ids == cluster).astype(np.float32)


def choose_places(places: Sequence[Place], count: int) -> list[Place]:
    """Choose the fullest windows from many different tiles.

    A window counts half as much for every window already chosen from its tile.
    """
    left, chosen = list(places), list[Place]()
    used: dict[str, int] = {}
    while left and len(chosen) < count:
        best = max(
            left, key=lambda p: (p.share / 2 ** used.get(p.tile.id, 0), p.tile.id)
        )
        left.remove(best)
        chosen.append(best)
        used[best.tile.id] = used.get(best.tile.id, 0) + 1
    return chosen


def truth_of(tile: Tile, valid: NDArray[Any]) -> NDArray[Any]:
    """Return ``(H, W)`` reference classes, IGNORE where the image has no data."""
    grid = raster.describe(tile.image)
    labels = read_labels(tile, grid)
    return np.where(valid, labels, np.uint8(IGNORE)).astype(np.uint8)


def evenly(tiles: Sequence[Tile], most: int) -> list[Tile]:
    """Return at most ``most`` tiles, evenly spaced."""
    if len(tiles) <= most:
        return list(tiles)
    return [tiles[number * len(tiles) // most] for number in range(most)]
