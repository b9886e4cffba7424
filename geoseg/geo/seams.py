"""Objects of class rasters, followed from strip to strip.

Objects are 4-connected pixels of one class. They are kept as runs of pixels until they
are complete, and only then outlined: the same objects come out of 1 strip or of N.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import shapely
from shapely import Polygon

from geoseg.geo.pixel_runs import (
    SCORE_UNITS,
    PixelRuns,
    ScoredRuns,
    join_runs,
    levels_of,
    meeting,
    near,
    pixels_of,
    runs_of,
)
from geoseg.geo.strips import ClassStrip
from geoseg.geo.tracing import trace

#: Objects at most so many pixels apart are simplified together (2: a gap of one pixel).
REACH = 2

_Ints = npt.NDArray[np.int64]
_Bools = npt.NDArray[np.bool_]

# How near two objects are to each other.
_WALL, _NEAR, _AROUND = range(3)
# Row and column of a pixel in one number, by which pixels are in order.
_ROW = 2**32


class PixelObject(NamedTuple):
    """4-connected pixels of one class.

    Attributes:
        class_id: 1 to C - 1.
        pixels: how many.
        score_sum: sum of their scores, in parts of 1 / ``SCORE_UNITS``.
        outline: its boundary; x = column, y = row, integers, along pixel edges.
        runs: its pixels, if they are kept.
    """

    class_id: int
    pixels: int
    score_sum: int
    outline: Polygon
    runs: ScoredRuns | None = None

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


class Complete(NamedTuple):
    """Complete objects, by neighbourhood, then from the top, then from the left.

    All arrays are ``(N,)``.

    Attributes:
        class_id: 1 to C - 1.
        pixels: how many each has.
        score_sum: sum of their scores, in parts of 1 / ``SCORE_UNITS``.
        row: of the first pixel, from the top, then from the left; ``column`` likewise.
        outline: polygons; x = column, y = row, integers, along pixel edges.
        neighbourhood: ascending from 0; objects that are near each other have one.
        shared: True where objects of different classes in it share a wall.
        pieces: numbers of the pieces of each object; empty unless asked for.
        around: numbers of the pieces of others not far from each object, of any
            neighbourhood; some of them may turn out too small to count. Likewise.
        runs: the pixels of each; empty unless asked for.
    """

    class_id: _Ints
    pixels: _Ints
    score_sum: _Ints
    row: _Ints
    column: _Ints
    outline: npt.NDArray[np.object_]
    neighbourhood: _Ints
    shared: _Bools
    pieces: list[set[int]]
    around: list[set[int]]
    runs: list[ScoredRuns]

    @property
    def score(self) -> npt.NDArray[np.float64]:
        """Mean score of the pixels of each, in [0, 1]."""
        return self.score_sum / self.pixels / SCORE_UNITS

    def item(self, i: int) -> PixelObject:
        """Return one of them."""
        return PixelObject(
            int(self.class_id[i]),
            int(self.pixels[i]),
            int(self.score_sum[i]),
            self.outline[i],
            self.runs[i] if self.runs else None,
        )


class _Objects(NamedTuple):
    """What is known of objects; all arrays ``(K,)``."""

    class_id: _Ints
    pixels: _Ints
    score_sum: _Ints
    first: _Ints  # pixel: row * _ROW + column
    bottom: _Ints  # one past the last row
    piece: _Ints  # number of one of the pieces


class _Pieces(NamedTuple):
    """What an object has of a strip; all arrays ``(P,)``."""

    number: _Ints  # ascending; never changes
    owner: _Ints  # the object


class _Pairs(NamedTuple):
    """Pieces of objects that are not far from each other; all arrays ``(Q,)``."""

    first: _Ints  # numbers of pieces
    second: _Ints
    kind: _Ints

    def take(self, which: _Bools) -> "_Pairs":
        return _Pairs(*(values[which] for values in self))


def _none() -> _Ints:
    return np.zeros(0, dtype=np.int64)


class SeamMerger:
    """Take strips from top to bottom and give back what is complete.

    Only objects that touch the last rows seen, and those near them, are kept.
    """

    def __init__(
        self, min_pixels: float, around: int = 0, *, with_runs: bool = False
    ) -> None:
        """Start at the top.

        Args:
            min_pixels: objects of fewer pixels are left out.
            around: up to how many pixels apart objects know of each other.
            with_runs: return the pixels of objects, too, with their scores.
        """
        self._min_pixels = min_pixels
        self._reach = max(REACH, around)
        self._all_around = around > 0
        self._runs = PixelRuns(*(_none() for _ in PixelRuns._fields))
        self._owner = _none()  # of each run
        self._with_runs = with_runs
        self._sums = _none()  # of the scores of each run, if they are to be returned
        self._levels = np.zeros(0, dtype=np.uint8)  # of their pixels, likewise
        self._objects = _Objects(*(_none() for _ in _Objects._fields))
        self._pieces = _Pieces(_none(), _none())
        self._pairs = _Pairs(_none(), _none(), _none())
        self._used = 0  # numbers of pieces given so far
        self._open: frozenset[int] = frozenset()

    @property
    def open_top(self) -> float:
        """First row of what may go on below; infinite where nothing may."""
        first = self._objects.first
        return float(first.min() // _ROW) if len(first) else np.inf

    def is_open(self, number: int) -> bool:
        """Tell whether a piece belongs to something that may go on."""
        return number in self._open

    def feed(self, strip: ClassStrip) -> Complete:
        """Take the next strip; return what it completed."""
        end = strip.row + len(strip.classes)
        tail = np.flatnonzero(self._runs.row >= strip.row - self._reach)
        old = len(self._objects.class_id)
        runs, sums = runs_of(strip)
        recent = join_runs(self._runs.take(tail), runs)
        nodes = np.append(self._owner[tail], np.arange(old, old + len(sums)))
        above, below = meeting(recent)
        label = _components(old + len(sums), nodes[above], nodes[below])
        self._extend(runs, sums, label)
        if self._with_runs:
            self._sums = np.append(self._sums, sums)
            self._levels = np.append(self._levels, levels_of(strip))
        self._pair(recent, label[nodes], len(tail), end)
        return self._close(self._objects.bottom > end - self._reach)

    def finish(self) -> Complete:
        """Return what was still open: there are no more strips."""
        return self._close(np.zeros(len(self._objects.class_id), dtype=np.bool_))

    def _extend(self, runs: PixelRuns, sums: _Ints, label: _Ints) -> None:
        """Let new runs become parts of objects, as they are labelled after the old ones."""
        old = self._objects
        fresh = label[len(old.class_id) :]
        count = int(label.max(initial=-1)) + 1
        pieces = np.unique(fresh)
        piece = np.zeros(count, dtype=np.int64)
        piece[label[: len(old.piece)]] = old.piece
        piece[pieces] = self._used + np.arange(len(pieces))
        first = runs.row * _ROW + runs.start
        self._objects = _Objects(
            _gather(np.maximum, 0, label, old.class_id, runs.class_id, count),
            _gather(np.add, 0, label, old.pixels, runs.stop - runs.start, count),
            _gather(np.add, 0, label, old.score_sum, sums, count),
            _gather(np.minimum, 2**62, label, old.first, first, count),
            _gather(np.maximum, 0, label, old.bottom, runs.row + 1, count),
            piece,
        )
        self._pieces = _Pieces(
            np.append(self._pieces.number, piece[pieces]),
            np.append(label[self._pieces.owner], pieces),
        )
        self._used += len(pieces)
        self._runs = join_runs(self._runs, runs)
        self._owner = np.append(label[self._owner], fresh)

    def _pair(self, recent: PixelRuns, owner: _Ints, tail: int, end: int) -> None:
        """Note which objects are near each other, as far as new runs tell."""
        objects = self._objects
        # What touches a seam may be part of something large.
        counts = (objects.pixels >= self._min_pixels) | (objects.bottom == end)
        use = counts[owner]
        known = int(np.count_nonzero(use[:tail]))
        owner = owner[use]
        keys = []
        for first, second, apart in near(recent.take(use), owner, self._reach):
            fresh = second >= known
            first, second = owner[first[fresh]], owner[second[fresh]]
            kind = np.where(apart > REACH, _AROUND, np.minimum(apart, _NEAR))[fresh]
            low, high = np.minimum(first, second), np.maximum(first, second)
            # Three numbers in one, which is much faster to make distinct than rows.
            keys.append((low * len(counts) + high) * 3 + kind)
        pair, kind = np.divmod(np.unique(np.concatenate(keys)), 3)
        first, second = np.divmod(pair, max(len(counts), 1))
        found = _Pairs(objects.piece[first], objects.piece[second], kind)
        self._pairs = _Pairs(*map(np.append, self._pairs, found))

    def _close(self, unfinished: _Bools) -> Complete:
        """Take out the objects that are near nothing unfinished."""
        pairs = self._pairs.take(self._pairs.kind != _AROUND)
        first, second = self._owners(pairs.first), self._owners(pairs.second)
        count = len(unfinished)
        group = _components(count, first, second)
        still_open = np.zeros(count, dtype=np.bool_)
        still_open[group[unfinished]] = True
        still_open = still_open[group]
        complete = self._complete(
            np.flatnonzero(~still_open & (self._objects.pixels >= self._min_pixels)),
            (first, second, pairs.kind),
        )
        self._keep(still_open)
        return complete

    def _keep(self, which: _Bools) -> None:
        """Forget all objects but some."""
        number = np.cumsum(which) - 1
        keep = which[self._owner]
        if self._with_runs:
            self._sums = self._sums[keep]
            self._levels = self._levels[np.repeat(keep, self._runs.length)]
        self._runs = self._runs.take(keep)
        self._owner = number[self._owner[keep]]
        self._objects = _Objects(*(values[which] for values in self._objects))
        keep = which[self._pieces.owner]
        self._pieces = _Pieces(
            self._pieces.number[keep], number[self._pieces.owner[keep]]
        )
        self._pairs = self._pairs.take(
            (self._owners(self._pairs.first) >= 0)
            | (self._owners(self._pairs.second) >= 0)
        )
        self._open = frozenset(self._pieces.number.tolist() if self._all_around else ())

    def _owners(self, pieces: _Ints) -> _Ints:
        """Return the objects of pieces; -1 where they are not open any more."""
        if not len(self._pieces.number):
            return np.full(len(pieces), -1)
        place = np.searchsorted(self._pieces.number, pieces)
        place = np.minimum(place, len(self._pieces.number) - 1)
        found = self._pieces.number[place] == pieces
        return np.where(found, self._pieces.owner[place], -1)

    def _complete(self, which: _Ints, links: tuple[_Ints, _Ints, _Ints]) -> Complete:
        """Outline objects that are large enough, by neighbourhood."""
        objects = _Objects(*(values[which] for values in self._objects))
        place = np.full(len(self._objects.first), -1)
        place[which] = np.arange(len(which))
        first, second = place[links[0]], place[links[1]]
        use = (first >= 0) & (second >= 0)
        first, second, kind = first[use], second[use], links[2][use]
        neighbourhood = _components(len(which), first, second)
        order = np.lexsort((objects.first, neighbourhood))
        shared = np.zeros(len(which), dtype=np.bool_)
        shared[neighbourhood[first[kind == _WALL]]] = True
        place[which[order]] = np.arange(len(which))
        row, column = np.divmod(objects.first[order], _ROW)
        pieces, around = self._surroundings(which[order])
        outlines, runs = self._outlines(place)
        return Complete(
            objects.class_id[order],
            objects.pixels[order],
            objects.score_sum[order],
            row,
            column,
            outlines,
            neighbourhood[order],
            shared[neighbourhood[order]],
            pieces,
            around,
            runs,
        )

    def _outlines(
        self, place: _Ints
    ) -> tuple[npt.NDArray[np.object_], list[ScoredRuns]]:
        """Outline the objects that have a place, in the order of the places."""
        places = place[self._owner]
        runs = np.flatnonzero(places >= 0)
        runs = runs[np.argsort(places[runs], kind="stable")]
        outlines = trace(self._runs.take(runs), places[runs])
        if not self._with_runs:
            return outlines, []
        length = self._runs.length
        levels = self._levels[pixels_of(length, runs)]
        ends = np.cumsum(np.bincount(places[runs], minlength=len(outlines)))
        last = np.append(0, np.cumsum(length[runs]))[ends]
        return outlines, [
            ScoredRuns(self._runs.take(own), self._sums[own], own_levels)
            for own, own_levels in zip(
                np.split(runs, ends[:-1]), np.split(levels, last[:-1]), strict=True
            )
            if len(own)
        ]

    def _surroundings(self, which: _Ints) -> tuple[list[set[int]], list[set[int]]]:
        """Return the pieces of objects, and pieces of those around them."""
        if not self._all_around:
            return [], []
        pieces: dict[int, set[int]] = {owner: set() for owner in which.tolist()}
        around: dict[int, set[int]] = {owner: set() for owner in which.tolist()}
        for number, owner in zip(*map(np.ndarray.tolist, self._pieces), strict=True):
            if owner in pieces:
                pieces[owner].add(number)
        numbers = self._pairs.first.tolist(), self._pairs.second.tolist()
        owners = [self._owners(np.array(it, dtype=np.int64)).tolist() for it in numbers]
        for mine, other in ((0, 1), (1, 0)):
            for owner, of, number in zip(
                owners[mine], owners[other], numbers[other], strict=True
            ):
                if owner in around and owner != of:
                    around[owner].add(number)
        return list(pieces.values()), list(around.values())


def _gather(
    how: np.ufunc, start: int, label: _Ints, old: _Ints, new: _Ints, count: int
) -> _Ints:
    """Put values of old objects and of runs together for every new object."""
    result = np.full(count, start, dtype=np.int64)
    how.at(result, label, np.append(old, new))
    return result


def _components(count: int, first: _Ints, second: _Ints) -> _Ints:
    """Number the connected components of ``count`` things, linked in pairs."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    if not count:
        return _none()
    links = np.ones(len(first), dtype=np.bool_)
    graph = coo_array((links, (first, second)), shape=(count, count))
    numbers: _Ints = connected_components(graph, directed=False)[1].astype(np.int64)
    return numbers
