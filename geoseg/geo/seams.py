"""Objects of class rasters, followed from strip to strip.

Objects are 4-connected pixels of one class. Pieces on both sides of the seam between
two strips are joined by union-find, and their outlines are united in integer pixel
coordinates, so that the same objects come out of 1 strip or of N.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import rasterio.features
import shapely
from affine import Affine
from scipy import ndimage
from shapely import Polygon

from geoseg.geo.strips import ClassStrip
from geoseg.patches import IGNORE

#: Objects at most so many pixels apart are simplified together (2: a gap of one pixel).
REACH = 2

#: Scores are summed up as multiples of the precision of float32 below 1.
SCORE_UNITS = 2**24

_Ids = npt.NDArray[np.int64]


class PixelObject(NamedTuple):
    """4-connected pixels of one class.

    Attributes:
        class_id: 1 to C - 1.
        pixels: how many.
        score_sum: sum of their scores, in parts of 1 / ``SCORE_UNITS``.
        outline: its boundary; x = column, y = row, integers, along pixel edges.
    """

    class_id: int
    pixels: int
    score_sum: int
    outline: Polygon

    @property
    def score(self) -> float:
        """Mean score of its pixels, in [0, 1]."""
        return self.score_sum / self.pixels / SCORE_UNITS

    @property
    def first_pixel(self) -> tuple[float, float]:
        """Row and column of its first pixel, from the top, then from the left."""
        points = shapely.get_coordinates(self.outline.exterior)
        row = points[:, 1].min()
        return float(row), float(points[points[:, 1] == row, 0].min())


class Neighbourhood(NamedTuple):
    """Complete objects, each near another one.

    Attributes:
        objects: from the top, then from the left.
        shared: True where objects of different classes share a wall.
        pieces: numbers of the pieces of each object.
        around: numbers of the pieces of others not far from each object, of any
            neighbourhood; some of them may turn out too small to count.
    """

    objects: list[PixelObject]
    shared: bool
    pieces: list[set[int]]
    around: list[set[int]]


@dataclass
class _Group:
    """Pieces that belong together or are near each other, by id."""

    top: int
    pieces: dict[int, PixelObject]
    same: list[tuple[int, int]] = field(default_factory=list)
    near: list[tuple[int, int]] = field(default_factory=list)
    walls: list[tuple[int, int]] = field(default_factory=list)
    around: list[tuple[int, int]] = field(default_factory=list)

    def absorb(self, other: "_Group") -> None:
        self.top = min(self.top, other.top)
        self.pieces.update(other.pieces)
        self.same += other.same
        self.near += other.near
        self.walls += other.walls
        self.around += other.around


class SeamMerger:
    """Take strips from top to bottom and give back what is complete.

    Only objects that touch the last rows seen, and those near them, are kept.
    """

    def __init__(self, min_pixels: float, around: int = 0) -> None:
        """Start at the top.

        Args:
            min_pixels: objects of fewer pixels are left out.
            around: up to how many pixels apart objects know of each other.
        """
        self._min_pixels = min_pixels
        self._reach = max(REACH, around)
        self._groups: dict[int, _Group] = {}  # by the id of any of their pieces
        self._tail = np.zeros((0, 0), dtype=np.int64)  # ids of the last rows
        self._tail_classes = np.zeros((0, 0), dtype=np.uint8)
        self._used = 0  # ids given so far

    @property
    def open_top(self) -> float:
        """First row of what may go on below; infinite where nothing may."""
        return min((group.top for group in self._groups.values()), default=np.inf)

    def is_open(self, number: int) -> bool:
        """Tell whether a piece belongs to something that may go on."""
        return number in self._groups

    def feed(self, strip: ClassStrip) -> list[Neighbourhood]:
        """Take the next strip; return what it completed."""
        if strip.classes.size == 0:
            return []
        labels, class_of = _label(strip.classes)
        counts = np.bincount(labels.ravel(), minlength=len(class_of))
        # Sums of integers are exact, in whatever order the strips bring them.
        scores = np.rint(strip.score.ravel() * np.float64(SCORE_UNITS))
        sums = np.bincount(labels.ravel(), scores, len(class_of))
        keep = counts >= self._min_pixels
        # What touches a seam may be part of something large.
        keep[labels[0]] = keep[labels[-1]] = True
        keep[0] = False
        ids = np.where(keep, np.arange(len(keep)) + self._used, 0)[labels]
        for label, outline in _outlines(labels, ids > 0, strip.row):
            piece = PixelObject(
                int(class_of[label]), int(counts[label]), int(sums[label]), outline
            )
            top = int(outline.bounds[1])
            self._groups[label + self._used] = _Group(top, {label + self._used: piece})
        self._used += len(class_of) - 1
        self._join(ids, strip.classes)
        return self._close(np.unique(self._tail))

    def finish(self) -> list[Neighbourhood]:
        """Return what was still open: there are no more strips."""
        return self._close(np.zeros(0, dtype=np.int64))

    def _join(self, ids: _Ids, classes: npt.NDArray[np.uint8]) -> None:
        """Unite groups across the seam and within the strip; remember the last rows."""
        if len(self._tail):
            ids = np.concatenate((self._tail, ids))
            classes = np.concatenate((self._tail_classes, classes))
            above, below = len(self._tail) - 1, len(self._tail)
            meets = classes[above] == classes[below]
            for pair in _pairs(ids[above][meets], ids[below][meets]):
                self._unite(*pair).same.append(pair)
        for apart, pair in _neighbours(ids, self._reach):
            if apart > REACH:
                for number in pair:
                    self._groups[number].around.append(pair)
                continue
            group = self._unite(*pair)
            (group.walls if apart == 0 else group.near).append(pair)
        self._tail = ids[-self._reach :].copy()
        self._tail_classes = classes[-self._reach :].copy()

    def _unite(self, first: int, second: int) -> _Group:
        one, other = self._groups[first], self._groups[second]
        if one is other:
            return one
        if len(one.pieces) < len(other.pieces):
            one, other = other, one
        # The smaller one is relabelled: every piece moves at most log2(n) times.
        one.absorb(other)
        for number in other.pieces:
            self._groups[number] = one
        return one

    def _close(self, open_ids: _Ids) -> list[Neighbourhood]:
        """Take out the groups that hold none of the ids."""
        still = {id(self._groups[i]) for i in open_ids.tolist() if i}
        done: dict[int, _Group] = {}
        for group in list(self._groups.values()):
            if id(group) not in still:
                done[id(group)] = group
        complete: list[Neighbourhood] = []
        for group in done.values():
            for number in group.pieces:
                del self._groups[number]
            complete += _assemble(group, self._min_pixels)
        return complete


def _label(
    classes: npt.NDArray[np.uint8],
) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.uint8]]:
    """Number the 4-connected objects from 1; return the class of each number too."""
    labels = np.zeros(classes.shape, dtype=np.int32)
    class_of = [np.zeros(1, dtype=np.uint8)]
    used = 0
    present = np.flatnonzero(np.bincount(classes.ravel(), minlength=IGNORE + 1))
    for class_id in present[(present > 0) & (present < IGNORE)]:
        mask = classes == class_id
        found, count = ndimage.label(mask, output=np.int32)
        if used:
            found[mask] += used
            labels += found
        else:
            labels = found
        class_of.append(np.full(count, class_id, dtype=np.uint8))
        used += count
    return labels, np.concatenate(class_of)


def _outlines(
    labels: npt.NDArray[np.int32], mask: npt.NDArray[np.bool_], row: int
) -> Iterator[tuple[int, Polygon]]:
    """Outlines of the labels in a mask, in pixel coordinates of the whole raster."""
    shapes = list(
        rasterio.features.shapes(
            labels,
            mask=mask,
            connectivity=4,
            transform=Affine.translation(0, row),
        )
    )
    if not shapes:
        return
    rings = [ring for shape, _ in shapes for ring in shape["coordinates"]]
    ring_ends = np.cumsum([0] + [len(ring) for ring in rings])
    shape_ends = np.cumsum([0] + [len(shape["coordinates"]) for shape, _ in shapes])
    points = np.array([point for ring in rings for point in ring], dtype=np.float64)
    polygons = shapely.from_ragged_array(
        shapely.GeometryType.POLYGON, points, (ring_ends, shape_ends)
    )
    for polygon, (_, label) in zip(polygons, shapes, strict=True):
        yield int(label), polygon


def _pairs(first: _Ids, second: _Ids) -> list[tuple[int, int]]:
    """Distinct pairs of ids, none of them 0, no id with itself."""
    use = (first > 0) & (second > 0) & (first != second)
    first, second = first[use], second[use]
    # Two ids in one number, which is much faster to make distinct than rows.
    both = np.minimum(first, second) << 32 | np.maximum(first, second)
    return [(int(pair) >> 32, int(pair) & 0xFFFFFFFF) for pair in np.unique(both)]


def _neighbours(ids: _Ids, reach: int) -> Iterator[tuple[int, tuple[int, int]]]:
    """Yield how far apart objects are that are near each other: 0 if they share a wall.

    The distance is the larger one of those in rows and in columns.
    """
    places = _edge_pixels(ids)
    height, width = ids.shape
    flat = ids.ravel()
    rows, columns = np.divmod(places, width)
    here = flat[places]
    for down in range(reach + 1):
        for right in range(-reach, reach + 1):
            if down == 0 and right <= 0:
                continue
            inside = (rows + down < height) & (columns + right >= 0)
            inside &= columns + right < width
            there = flat[places[inside] + (down * width + right)]
            apart = max(down, abs(right)) if down + abs(right) > 1 else 0
            for pair in _pairs(here[inside], there):
                yield apart, pair


def _edge_pixels(ids: _Ids) -> _Ids:
    """Flat places of object pixels next to something else; no others have neighbours."""
    width = ids.shape[1]
    flat = ids.ravel()
    below = np.flatnonzero(flat[width:] != flat[:-width])
    right = np.flatnonzero(flat[1:] != flat[:-1])
    places = np.concatenate((below, below + width, right, right + 1))
    return np.unique(places[flat[places] > 0])


def _assemble(group: _Group, min_pixels: float) -> list[Neighbourhood]:
    """Make objects of pieces, and neighbourhoods of those that are large enough."""
    numbers = {number: i for i, number in enumerate(group.pieces)}
    object_of = _components(
        len(numbers), [(numbers[a], numbers[b]) for a, b in group.same]
    )

    def owner(number: int) -> int | None:
        return int(object_of[numbers[number]]) if number in numbers else None

    owned: dict[int, set[int]] = {}
    for number in group.pieces:
        owned.setdefault(int(object_of[numbers[number]]), set()).add(number)
    whole = {
        i: _merge([group.pieces[number] for number in pieces])
        for i, pieces in owned.items()
    }
    large = {i: it for i, it in whole.items() if it.pixels >= min_pixels}
    place = {i: n for n, i in enumerate(large)}

    def links(pairs: list[tuple[int, int]]) -> list[tuple[int, int]]:
        ends = (
            (int(object_of[numbers[a]]), int(object_of[numbers[b]])) for a, b in pairs
        )
        return [
            (place[a], place[b])
            for a, b in ends
            if a != b and a in place and b in place
        ]

    walls = links(group.walls)
    component = _components(len(large), walls + links(group.near))
    shared = {int(component[a]) for a, _ in walls}
    around: dict[int | None, set[int]] = {i: set() for i in large}
    for pair in group.around + group.near + group.walls:
        for mine, other in (pair, pair[::-1]):
            if owner(mine) != owner(other):
                around.get(owner(mine), set()).add(other)
    result: dict[int, list[int]] = {}
    for i, number in zip(large, component.tolist(), strict=True):
        result.setdefault(number, []).append(i)
    for items in result.values():
        items.sort(key=lambda i: large[i].first_pixel)
    return [
        Neighbourhood(
            [large[i] for i in items],
            number in shared,
            [owned[i] for i in items],
            [around[i] for i in items],
        )
        for number, items in result.items()
    ]


def _components(count: int, links: list[tuple[int, int]]) -> npt.NDArray[np.int64]:
    """Number the connected components of ``count`` things."""
    parent = list(range(count))

    def root(i: int) -> int:
        while parent[i] != i:
            parent[i] = parent[parent[i]]
            i = parent[i]
        return i

    for first, second in links:
        parent[root(first)] = root(second)
    return np.array([root(i) for i in range(count)], dtype=np.int64)


def _merge(pieces: list[PixelObject]) -> PixelObject:
    if len(pieces) == 1:
        return pieces[0]
    # Integer coordinates and axis-parallel edges: the union is exact.
    outline = shapely.union_all([piece.outline for piece in pieces])
    return PixelObject(
        pieces[0].class_id,
        sum(piece.pixels for piece in pieces),
        sum(piece.score_sum for piece in pieces),
        outline,
    )
