"""Objects of class rasters, tracked from strip to strip.

An object is a 4-connected set of pixels of one class. It is kept as runs of pixels until it
is complete and only then outlined, so 1 strip and N strips give the same objects.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from geoseg.geo.footprints.complete_objects import Complete
from geoseg.geo.footprints.neighbourhoods import (
    Known,
    Links,
    Settled,
    components,
    settle,
)
from geoseg.geo.footprints.pixel_runs import (
    PixelRuns,
    ScoredRuns,
    join_runs,
    levels_of,
    meeting,
    near,
    pixels_of,
    runs_of,
)
from geoseg.geo.footprints.tracing import trace
from geoseg.geo.rasters.strips import ClassStrip

#: Objects at most so many pixels apart are neighbours by default (2: a gap of one pixel).
REACH = 2

_Ints = npt.NDArray[np.int64]
_Bools = npt.NDArray[np.bool_]

# Kinds of pairs, by distance.
_WALL, _NEAR, _AROUND = range(3)
# Row and column of a pixel in one number that sorts in raster order.
_ROW = 2**32


class _Objects(NamedTuple):
    """Attributes of objects; all arrays ``(K,)``."""

    class_id: _Ints
    pixels: _Ints
    score_sum: _Ints
    first: _Ints  # pixel: row * _ROW + column
    bottom: _Ints  # one past the last row
    piece: _Ints  # number of one of its pieces
    long: _Ints  # 1 where its neighbourhood is known to be long
    given: _Ints  # 1 where it was returned


class _Pieces(NamedTuple):
    """Parts of objects within one strip; all arrays ``(P,)``."""

    number: _Ints  # ascending; never changes
    owner: _Ints  # the object


class _Pairs(NamedTuple):
    """Pairs of pieces that are near each other; all arrays ``(Q,)``."""

    first: _Ints  # numbers of pieces
    second: _Ints
    kind: _Ints

    def take(self, which: _Bools) -> "_Pairs":
        return _Pairs(*(values[which] for values in self))


def _none() -> _Ints:
    return np.zeros(0, dtype=np.int64)


class SeamMerger:
    """Merge objects across the seams of strips, and return the complete ones.

    Memory holds only the objects that touch the last rows seen, those to be drawn together
    with them, and those needed for that.
    """

    def __init__(
        self,
        min_pixels: float,
        around: int = 0,
        *,
        reach: int = REACH,
        with_runs: bool = False,
    ) -> None:
        """Start at the top.

        Args:
            min_pixels: objects with fewer pixels are left out.
            around: largest distance in pixels at which others are listed in ``around``.
            reach: largest distance in pixels between neighbours.
            with_runs: return also the pixel runs of objects, with their scores.
        """
        self._min_pixels = min_pixels
        self._near = reach
        self._reach = max(reach, around)
        self._all_around = around > 0
        self._runs = PixelRuns(*(_none() for _ in PixelRuns._fields))
        self._owner = _none()  # of each run
        self._with_runs = with_runs
        self._sums = _none()  # of the scores of each run, if runs are returned
        self._levels = np.zeros(0, dtype=np.uint8)  # of their pixels, likewise
        self._objects = _Objects(*(_none() for _ in _Objects._fields))
        self._pieces = _Pieces(_none(), _none())
        self._pairs = _Pairs(_none(), _none(), _none())
        self._used = 0  # numbers of pieces given so far
        self._open: frozenset[int] = frozenset()

    @property
    def open_top(self) -> float:
        """First row of all objects not returned yet; infinite if there are none."""
        first = self._objects.first[self._objects.given == 0]
        return float(first.min() // _ROW) if len(first) else np.inf

    @property
    def open_pieces(self) -> frozenset[int]:
        """Numbers of the pieces of objects not returned yet, if those around are listed."""
        return self._open

    def feed(self, strip: ClassStrip) -> Complete:
        """Add the next strip; return the objects that it completed."""
        end = strip.row + len(strip.classes)
        tail = np.flatnonzero(self._runs.row >= strip.row - self._reach)
        old = len(self._objects.class_id)
        runs, sums = runs_of(strip)
        recent = join_runs(self._runs.take(tail), runs)
        nodes = np.append(self._owner[tail], np.arange(old, old + len(sums)))
        above, below = meeting(recent)
        label = components(old + len(sums), nodes[above], nodes[below])
        self._extend(runs, sums, label)
        if self._with_runs:
            self._sums = np.append(self._sums, sums)
            self._levels = np.append(self._levels, levels_of(strip))
        self._pair(recent, label[nodes], len(tail), end)
        return self._close(self._objects.bottom > end - self._reach)

    def finish(self) -> Complete:
        """Return the remaining objects after the last strip."""
        return self._close(np.zeros(len(self._objects.class_id), dtype=np.bool_))

    def _extend(self, runs: PixelRuns, sums: _Ints, label: _Ints) -> None:
        """Add new runs to objects; ``label`` holds the old objects, then the runs."""
        old = self._objects
        fresh = label[len(old.class_id) :]
        count = int(label.max(initial=-1)) + 1
        pieces = np.unique(fresh)
        piece = np.zeros(count, dtype=np.int64)
        piece[label[: len(old.piece)]] = old.piece
        piece[pieces] = self._used + np.arange(len(pieces))
        first, none = runs.row * _ROW + runs.start, np.zeros_like(runs.row)
        self._objects = _Objects(
            _gather(np.maximum, 0, label, old.class_id, runs.class_id, count),
            _gather(np.add, 0, label, old.pixels, runs.stop - runs.start, count),
            _gather(np.add, 0, label, old.score_sum, sums, count),
            _gather(np.minimum, 2**62, label, old.first, first, count),
            _gather(np.maximum, 0, label, old.bottom, runs.row + 1, count),
            piece,
            _gather(np.maximum, 0, label, old.long, none, count),
            _gather(np.maximum, 0, label, old.given, none, count),
        )
        self._pieces = _Pieces(
            np.append(self._pieces.number, piece[pieces]),
            np.append(label[self._pieces.owner], pieces),
        )
        self._used += len(pieces)
        self._runs = join_runs(self._runs, runs)
        self._owner = np.append(label[self._owner], fresh)

    def _pair(self, recent: PixelRuns, owner: _Ints, tail: int, end: int) -> None:
        """Record the pairs of near objects that the new runs show."""
        objects = self._objects
        # An object that touches the seam may still grow.
        counts = (objects.pixels >= self._min_pixels) | (objects.bottom == end)
        use = counts[owner]
        known = int(np.count_nonzero(use[:tail]))
        owner = owner[use]
        keys = []
        for first, second, apart in near(recent.take(use), owner, self._reach):
            fresh = second >= known
            first, second = owner[first[fresh]], owner[second[fresh]]
            kind = np.where(apart > self._near, _AROUND, np.minimum(apart, _NEAR))[
                fresh
            ]
            low, high = np.minimum(first, second), np.maximum(first, second)
            # Three numbers in one: np.unique is much faster on it than on rows.
            keys.append((low * len(counts) + high) * 3 + kind)
        pair, kind = np.divmod(np.unique(np.concatenate(keys)), 3)
        first, second = np.divmod(pair, max(len(counts), 1))
        new = _Pairs(objects.piece[first], objects.piece[second], kind)
        self._pairs = _Pairs(*map(np.append, self._pairs, new))

    def _close(self, unfinished: _Bools) -> Complete:
        """Remove and return the objects that are ready."""
        links = self._links()
        objects = self._objects
        known = Known(
            objects.pixels >= self._min_pixels,
            unfinished,
            objects.first // _ROW,
            objects.bottom,
            objects.long > 0,
            objects.given > 0,
        )
        settled = settle(known, links)
        complete = self._complete(settled, links)
        self._objects = objects._replace(
            long=settled.long.astype(np.int64),
            given=(known.given | settled.ready).astype(np.int64),
        )
        self._keep(settled.keep)
        return complete

    def _links(self) -> Links:
        """Return the links between neighbours among the kept objects."""
        first, second = self._owners(self._pairs.first), self._owners(
            self._pairs.second
        )
        use = (first >= 0) & (second >= 0) & (self._pairs.kind != _AROUND)
        links = Links(first, second, self._pairs.kind == _WALL)
        return links.take(use & (first != second))

    def _keep(self, which: _Bools) -> None:
        """Forget all objects but those where ``which`` is True."""
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
        waits = self._objects.given[self._pieces.owner] == 0
        waiting = self._pieces.number[waits] if self._all_around else _none()
        self._open = frozenset(waiting.tolist())

    def _owners(self, pieces: _Ints) -> _Ints:
        """Return the objects of pieces; -1 where they are no longer kept."""
        if not len(self._pieces.number):
            return np.full(len(pieces), -1)
        place = np.searchsorted(self._pieces.number, pieces)
        place = np.minimum(place, len(self._pieces.number) - 1)
        known = self._pieces.number[place] == pieces
        return np.where(known, self._pieces.owner[place], -1)

    def _complete(self, settled: Settled, links: Links) -> Complete:
        """Outline the ready objects and those beside them."""
        ready, group = settled.ready, settled.group
        which = np.flatnonzero(ready | settled.beside)
        order = np.lexsort((self._objects.first[which], group[which], ~ready[which]))
        which = which[order]
        objects = _Objects(*(values[which] for values in self._objects))
        place = np.full(len(ready), -1)
        place[which] = np.arange(len(which))
        neighbourhood = np.cumsum(np.diff(group[which], prepend=group[which[:1]]) != 0)
        links = links.take((place[links.first] >= 0) & (place[links.second] >= 0))
        shared = np.zeros(len(which), dtype=np.bool_)
        shared[neighbourhood[place[links.first[links.wall]]]] = True
        apart = group[links.first] != group[links.second]
        row, column = np.divmod(objects.first, _ROW)
        pieces, around = self._surroundings(which)
        outlines, runs = self._outlines(place)
        return Complete(
            objects.class_id,
            objects.pixels,
            objects.score_sum,
            row,
            column,
            outlines,
            neighbourhood,
            shared[neighbourhood],
            ready[which],
            place[np.stack((links.first, links.second))[:, apart]],
            pieces,
            around,
            runs,
        )

    def _outlines(
        self, place: _Ints
    ) -> tuple[npt.NDArray[np.object_], list[ScoredRuns]]:
        """Outline the objects whose place is not negative, in the order of places."""
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
        """Return the pieces of each object and the pieces around it."""
        if not self._all_around:
            return [], []
        pieces: dict[int, set[int]] = {owner: set() for owner in which.tolist()}
        around: dict[int, set[int]] = {owner: set() for owner in which.tolist()}
        use = np.isin(self._pieces.owner, which)
        for number, owner in zip(
            self._pieces.number[use].tolist(),
            self._pieces.owner[use].tolist(),
            strict=True,
        ):
            pieces[owner].add(number)
        first, second = self._owners(self._pairs.first), self._owners(
            self._pairs.second
        )
        for mine, other, numbers in (
            (first, second, self._pairs.second),
            (second, first, self._pairs.first),
        ):
            use = np.isin(mine, which) & (mine != other)
            for owner, number in zip(
                mine[use].tolist(), numbers[use].tolist(), strict=True
            ):
                around[owner].add(number)
        return list(pieces.values()), list(around.values())


def _gather(
    how: np.ufunc, start: int, label: _Ints, old: _Ints, new: _Ints, count: int
) -> _Ints:
    """Reduce the values of old objects and of runs to one value for each label."""
    result = np.full(count, start, dtype=np.int64)
    how.at(result, label, np.append(old, new))
    return result
