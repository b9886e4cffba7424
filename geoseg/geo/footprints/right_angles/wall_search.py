"""Search for the cheapest division of outlines into walls, in batches.

An outline is cut into walls at some of its corners. Dynamic programming finds the cheapest
cut: each wall has a cost, and so has its misfit to the points (minimum description length).
Outlines with similar numbers of corners are processed together; that changes no result.

References:
    J. Rissanen, "Modeling by shortest data description", Automatica 14, 1978; the search
    is that of J. Perez and E. Vidal, "Optimum polygonal approximation of digitized
    curves", Pattern Recognition Letters 15, 1994. Differs from it: the cost of lines
    along two directions, whose corners are intersections.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from geoseg.geo.footprints.right_angles.walls import (
    ACROSS,
    ALONG,
    FREE,
    Arc,
    Walls,
    sums_to_marks,
)

_Floats = npt.NDArray[np.float64]
_Index = npt.NDArray[np.int64]
_Mask = npt.NDArray[np.bool_]

#: Cost of a wall of each kind.
_COST = np.array([1.0, 1.0, 2.0])

#: Cost of a wall as long as the tolerance with a deviation of the tolerance.
_MISFIT = 1.0

#: Which kinds may follow which; parallel walls would have no corner.
_FOLLOW = np.array([[np.inf, 0, 0], [0, np.inf, 0], [0, 0, 0]])

#: Pairs of marks per batch, chosen to fit the processor's cache.
_PAIRS = 20_000


class _Batch(NamedTuple):
    """B arcs, padded to K marks; two axes.

    Attributes:
        ends: ``(B, 2, K)`` coordinates of the marks.
        sums: ``(B, 2, 5, K)`` of :func:`sums_to_marks`.
        low: ``(B, 2, K - 1)`` lowest coordinate from each mark to the next.
        high: ``(B, 2, K - 1)`` highest coordinate likewise.
        last: ``(B,)`` index of the last mark.
        closed: ``(B,)``.
        held: ``(2, B, 2)``, for each axis and arc: whether lines pass through its first
            and its last point.
    """

    ends: _Floats
    sums: _Floats
    low: _Floats
    high: _Floats
    last: _Index
    closed: _Mask
    held: _Mask


def cut_into_walls(arcs: Sequence[Arc], tolerance: float) -> list[Walls | None]:
    """Find the cheapest walls of arcs whose buildings lie along the axes.

    Args:
        arcs: Rotated so that ALONG is x and ACROSS is y.
        tolerance: Largest distance of a point from the line of its wall.

    Returns:
        The walls of each arc; None where there are none, as for a closed arc with fewer
        than four marks.
    """
    result: list[Walls | None] = [None] * len(arcs)
    for numbers in _batches(arcs):
        batch = _pack([arcs[n] for n in numbers])
        walls = _search(*_costs(batch, tolerance), batch.last, batch.closed)
        for n, cheapest in zip(numbers, walls, strict=True):
            result[n] = cheapest if np.isfinite(cheapest.cost) else None
    return result


def _batches(arcs: Sequence[Arc]) -> Iterator[list[int]]:
    """Yield the indices of arcs of similar size, batch by batch."""
    batch: list[int] = []
    sizes = np.array([len(arc.marks) for arc in arcs], dtype=np.int64)
    for n in np.argsort(sizes, kind="stable").tolist():
        if arcs[n].closed and sizes[n] < 4:
            continue
        if batch and (len(batch) + 1) * sizes[n] ** 2 > _PAIRS:
            yield batch
            batch = []
        batch.append(n)
    if batch:
        yield batch


def _pack(arcs: list[Arc]) -> _Batch:
    """Pad arcs with copies of their last mark."""
    last = np.array([len(arc.marks) - 1 for arc in arcs], dtype=np.int64)
    count = int(last.max()) + 1
    ends = np.empty((len(arcs), 2, count))
    sums = np.empty((len(arcs), 2, 5, count))
    low, high = np.full((2, len(arcs), 2, count - 1), np.inf)
    high *= -1
    for b, (arc, end) in enumerate(zip(arcs, last.tolist(), strict=True)):
        ends[b, :, : end + 1] = arc.points[arc.marks].T
        ends[b, :, end + 1 :] = ends[b, :, end, None]
        for axis in (0, 1):
            sums[b, axis, :, : end + 1] = sums_to_marks(arc, axis)
        sums[b, :, :, end + 1 :] = sums[b, :, :, end, None]
        points = arc.points.T
        pair = np.stack((points[:, :-1], points[:, 1:]))
        starts = arc.marks[:-1]
        low[b, :, :end] = np.minimum.reduceat(pair.min(axis=0), starts, axis=1)
        high[b, :, :end] = np.maximum.reduceat(pair.max(axis=0), starts, axis=1)
    closed = np.array([arc.closed for arc in arcs])
    held = np.array([[arc.held(axis) for arc in arcs] for axis in (0, 1)])
    return _Batch(ends, sums, low, high, last, closed, held)


def _costs(batch: _Batch, tolerance: float) -> tuple[_Floats, _Index]:
    """Return cost and kind of a wall between any two marks, FREE excluded.

    Returns:
        Cost and kind, ``(B, K, K)`` each.
    """
    run = np.abs(batch.ends[:, :, None] - batch.ends[:, :, :, None])
    kind = np.where(run[:, 0] >= run[:, 1], ALONG, ACROSS)
    misfit = np.where(
        kind == ALONG, _misfit(batch, 1, tolerance), _misfit(batch, 0, tolerance)
    )
    return misfit * (_MISFIT / tolerance**3), kind


def _misfit(batch: _Batch, axis: int, tolerance: float) -> _Floats:
    """Return the integral of squared distances to lines of constant ``axis``."""
    ends, last = batch.ends[:, axis], batch.last
    number = np.arange(ends.shape[1])
    span, offset, length, first, second = (
        batch.sums[:, axis, n, None] - batch.sums[:, axis, n, :, None] for n in range(5)
    )
    upper = (number[:, None] < number) & (number <= last[:, None, None]) & (span > 0)
    line = np.divide(offset, span, out=np.zeros_like(span), where=upper)
    at_start, at_end = batch.held[axis].T
    line[at_start, 0] = ends[at_start, 0, None]
    (held,) = np.nonzero(at_end)
    line[held, :, last[held]] = ends[held, last[held], None]
    (held,) = np.nonzero(at_start & at_end)
    upper[held, 0, last[held]] &= ends[held, 0] == ends[held, last[held]]
    low, high = _reach(batch, axis)
    upper &= (high - line <= tolerance) & (line - low <= tolerance)
    misfit = second - 2 * line * first + line**2 * length
    return np.where(upper, np.maximum(misfit, 0), np.inf)


def _reach(batch: _Batch, axis: int) -> tuple[_Floats, _Floats]:
    """Return the ``(B, K, K)`` lowest and highest coordinate from mark to mark."""
    size, count = len(batch.last), batch.ends.shape[2]
    lows = np.full((size, count, count), np.inf)
    highs = np.full((size, count, count), -np.inf)
    after = np.triu(np.ones((count - 1, count - 1), dtype=bool))
    lows[:, :-1, 1:] = np.where(after, batch.low[:, axis, None], np.inf)
    highs[:, :-1, 1:] = np.where(after, batch.high[:, axis, None], -np.inf)
    return np.minimum.accumulate(lows, axis=2), np.maximum.accumulate(highs, axis=2)


def _search(
    misfit: _Floats, kind: _Index, last: _Index, closed: _Mask
) -> Iterator[Walls]:
    """Yield the cheapest walls from the first mark of each arc to its last.

    In a closed arc the last wall and the first must meet in a corner too, so the search
    keeps the best path for every kind of the first wall.
    """
    size, count, _ = misfit.shape
    # step[b, k, c, j, i]: a wall of kind c from mark i to mark j
    step = np.full((size, 1, 3, count, count), np.inf)
    for axis in (ALONG, ACROSS):
        cost = np.where(kind == axis, misfit + _COST[axis], np.inf)
        step[:, 0, axis] = cost.transpose(0, 2, 1)
    number = np.arange(count - 1)
    free = np.where(number < last[:, None], _COST[FREE], np.inf)
    step[:, 0, FREE, number + 1, number] = free
    # best[b, f, c, j]: a path to mark j whose first wall is of kind f, its last of kind c
    best = np.full((size, 3, 3, count), np.inf)
    back = np.zeros((size, 3, 3, count), dtype=np.int64)
    onward = np.full((size, 3, 3, count), np.inf)  # best, then a corner to kind c
    before = np.zeros((size, 3, 3, count), dtype=np.int64)
    onward[:, [0, 1, 2], [0, 1, 2], 0] = 0.0
    for j in range(1, count):
        ways = onward[..., :j] + step[..., j, :j]
        back[..., j] = ways.argmin(axis=3)
        best[..., j] = ways.min(axis=3)
        turned = best[..., j, None] + _FOLLOW
        before[..., j] = turned.argmin(axis=2)
        onward[..., j] = turned.min(axis=2)
    for b, end in enumerate(last.tolist()):
        final = best[b, :, :, end] + (_FOLLOW.T if closed[b] else 0.0)
        first, here = divmod(int(final.argmin()), 3)
        yield _way_back(
            back[b, first], before[b, first], end, here, float(final[first, here])
        )


def _way_back(back: _Index, before: _Index, end: int, kind: int, cost: float) -> Walls:
    """Trace the best path back from its last wall to its first."""
    walls: list[tuple[int, int, int]] = []
    j, c = end, kind
    while j > 0:
        i = int(back[c, j])
        walls.append((c, i, j))
        j, c = i, int(before[c, i])
    kinds, starts, ends = np.array(walls[::-1], dtype=np.int64).T
    return Walls(kinds, starts, ends, cost)
