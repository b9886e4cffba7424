"""Walls at right angles along one outline, where its points say so.

An outline is cut into walls at some of its corners. A wall runs along one of the two
directions of the building, or it stays what it was. Of all the ways to cut, dynamic
programming finds the cheapest: each wall costs, and so does what it leaves out of the
points (a description of least length). Everything is in metres.

References:
    J. Rissanen, "Modeling by shortest data description", Automatica 14, 1978; the search
    is that of J. Perez and E. Vidal, "Optimum polygonal approximation of digitized
    curves", Pattern Recognition Letters 15, 1994. Differs from it: the cost of lines
    along two directions, whose corners are intersections.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

_Floats = npt.NDArray[np.float64]
_Index = npt.NDArray[np.int64]

#: Kinds of walls: along the first direction, along the second, as it was.
ALONG, ACROSS, FREE = 0, 1, 2

#: What a wall of each kind costs.
_COST = np.array([1.0, 1.0, 2.0])

#: Cost of a wall as long as the tolerance that lies off by the tolerance.
_MISFIT = 1.0

#: Which kinds may follow which; parallel walls would have no corner.
_FOLLOW = np.array([[np.inf, 0, 0], [0, np.inf, 0], [0, 0, 0]])


class Arc(NamedTuple):
    """A part of an outline between two points that must stay, or all of it.

    Attributes:
        points: ``(M, 2)`` metres. Of a closed outline the last is the first again.
        marks: ``(K,)`` ascending indices of the points where walls may meet: the first,
            the last, and some between.
        closed: True for all of an outline, of which no point must stay.
    """

    points: _Floats
    marks: _Index
    closed: bool


class Walls(NamedTuple):
    """How an arc was cut.

    Attributes:
        kind: ``(S,)`` of :data:`ALONG`, :data:`ACROSS`, :data:`FREE`.
        start: ``(S,)`` index among the marks where each wall starts.
        end: ``(S,)`` likewise.
        cost: of all walls.
    """

    kind: _Index
    start: _Index
    end: _Index
    cost: float


class _Sums(NamedTuple):
    """Sums over the edges before each mark, of one coordinate of an arc."""

    span: _Floats  # how far edges run at right angles to the coordinate
    offset: _Floats  # coordinate × span
    length: _Floats
    first: _Floats  # coordinate × length
    second: _Floats  # coordinate² × length


def turn(points: _Floats, angle: float) -> _Floats:
    """Turn ``(M, 2)`` points by an angle in radians, clockwise."""
    cos, sin = np.cos(angle), np.sin(angle)
    x, y = points[:, 0], points[:, 1]
    return np.stack((cos * x + sin * y, cos * y - sin * x), axis=1)


def cut_into_walls(arc: Arc, tolerance: float) -> Walls | None:
    """Find the cheapest walls of an arc whose building lies along the axes.

    Args:
        arc: Turned, so that ALONG is x and ACROSS is y.
        tolerance: How far a point of the arc may lie off the line of its wall.

    Returns:
        The walls; None where there are none (a closed arc of fewer than four marks).
    """
    if arc.closed and len(arc.marks) < 4:
        return None
    cost, kind = _costs(arc, tolerance)
    walls = _search(cost, kind, arc.closed)
    return walls if np.isfinite(walls.cost) else None


def corners(arc: Arc, walls: Walls) -> _Floats:
    """Return the ``(S + 1, 2)`` points where walls meet, the two ends included.

    Lines take in as much of the ground as they leave out. The ends of an open arc stay.
    """
    ends = arc.points[arc.marks]
    line = _offsets(arc, walls)
    count = len(walls.kind)
    places = ends[np.append(walls.start, walls.end[-1])].copy()
    for i in range(count + 1):
        if not arc.closed and i in (0, count):
            continue
        for wall in ((i - 1) % count, i % count):
            if walls.kind[wall] != FREE:
                places[i, 1 - walls.kind[wall]] = line[wall]
    return np.asarray(places, dtype=np.float64)


def tilt(arcs: list[tuple[Arc, Walls]]) -> float:
    """Return by how much the building should be turned to fit its walls best.

    Least squares: the principal axis of the points about the middle of their wall, walls
    across turned by a right angle.

    Returns:
        Radians, counter-clockwise from the arcs' x.
    """
    covariance = np.zeros(3)
    for arc, walls in arcs:
        for kind, start, end in zip(walls.kind, walls.start, walls.end, strict=True):
            if kind == FREE:
                continue
            part = arc.points[arc.marks[start] : arc.marks[end] + 1]
            xx, xy, yy = _scatter(part)
            covariance += (xx, xy, yy) if kind == ALONG else (yy, -xy, xx)
    xx, xy, yy = covariance
    return 0.5 * float(np.arctan2(2 * xy, xx - yy))


def _scatter(points: _Floats) -> tuple[float, float, float]:
    """Second moments of a line about its middle, by length."""
    step = np.diff(points, axis=0)
    middle = (points[1:] + points[:-1]) / 2
    length = np.hypot(step[:, 0], step[:, 1])
    middle = middle - (middle * length[:, None]).sum(axis=0) / length.sum()
    x, y = middle[:, 0], middle[:, 1]
    return (
        float((length * (x * x + step[:, 0] ** 2 / 12)).sum()),
        float((length * (x * y + step[:, 0] * step[:, 1] / 12)).sum()),
        float((length * (y * y + step[:, 1] ** 2 / 12)).sum()),
    )


def _sums(arc: Arc, axis: int) -> _Sums:
    """Sum up what lines of constant ``axis`` need."""
    step = np.diff(arc.points, axis=0)
    length = np.hypot(step[:, 0], step[:, 1])
    middle = (arc.points[1:, axis] + arc.points[:-1, axis]) / 2
    span = np.abs(step[:, 1 - axis])
    second = (middle**2 + step[:, axis] ** 2 / 12) * length
    terms = np.stack((span, middle * span, length, middle * length, second))
    total = np.concatenate((np.zeros((5, 1)), np.cumsum(terms, axis=1)), axis=1)
    return _Sums(*total[:, arc.marks])


def _offsets(arc: Arc, walls: Walls) -> _Floats:
    """Return where the line of each wall lies; walls that start or end an arc are held."""
    result = np.full(len(walls.kind), np.nan)
    for axis in (0, 1):
        sums = _sums(arc, axis)
        mine = np.flatnonzero(walls.kind == 1 - axis)
        start, end = walls.start[mine], walls.end[mine]
        moved = sums.offset[end] - sums.offset[start]
        result[mine] = moved / (sums.span[end] - sums.span[start])
        if not arc.closed:
            result[mine[start == 0]] = arc.points[0, axis]
            result[mine[end == len(arc.marks) - 1]] = arc.points[-1, axis]
    return result


def _costs(arc: Arc, tolerance: float) -> tuple[_Floats, _Index]:
    """Return ``(K, K)`` cost and kind of a wall from one mark to another, FREE left out."""
    ends = arc.points[arc.marks]
    run = np.abs(ends[None] - ends[:, None])
    kind = np.where(run[..., 0] >= run[..., 1], ALONG, ACROSS)
    misfit = np.where(
        kind == ALONG, _misfit(arc, 1, tolerance), _misfit(arc, 0, tolerance)
    )
    return misfit * (_MISFIT / tolerance**3), kind


def _misfit(arc: Arc, axis: int, tolerance: float) -> _Floats:
    """Integral of squared distances to lines of constant ``axis``, from mark to mark."""
    count = len(arc.marks)
    sums = _sums(arc, axis)
    span, offset, length, first, second = (s[None] - s[:, None] for s in sums)
    upper = np.triu(np.ones((count, count), dtype=bool), 1) & (span > 0)
    line = np.divide(offset, span, out=np.zeros_like(span), where=upper)
    if not arc.closed:
        line[0], line[:, -1] = arc.points[0, axis], arc.points[-1, axis]
        upper[0, -1] &= arc.points[0, axis] == arc.points[-1, axis]
    low, high = _reach(arc, axis)
    upper &= (high - line <= tolerance) & (line - low <= tolerance)
    misfit = second - 2 * line * first + line**2 * length
    return np.where(upper, np.maximum(misfit, 0), np.inf)


def _reach(arc: Arc, axis: int) -> tuple[_Floats, _Floats]:
    """Return the ``(K, K)`` lowest and highest coordinate from one mark to another."""
    values = arc.points[:, axis]
    pairs = np.stack((values[:-1], values[1:]))
    low = np.minimum.reduceat(pairs.min(axis=0), arc.marks[:-1])
    high = np.maximum.reduceat(pairs.max(axis=0), arc.marks[:-1])
    count = len(arc.marks)
    lows, highs = np.full((count, count), np.inf), np.full((count, count), -np.inf)
    after = np.triu(np.ones((count - 1, count - 1), dtype=bool))
    lows[:-1, 1:] = np.where(after, low, np.inf)
    highs[:-1, 1:] = np.where(after, high, -np.inf)
    return np.minimum.accumulate(lows, axis=1), np.maximum.accumulate(highs, axis=1)


def _search(misfit: _Floats, kind: _Index, closed: bool) -> Walls:
    """Find the cheapest way from the first mark to the last.

    Of a closed arc, the last wall and the first must have a corner too: there is a best
    way for every kind of the first wall.
    """
    count = len(misfit)
    number = np.arange(count)
    step = np.full((count, count, 3), np.inf)
    for axis in (ALONG, ACROSS):
        step[..., axis] = np.where(kind == axis, misfit + _COST[axis], np.inf)
    step[number[:-1], number[1:], FREE] = _COST[FREE]
    # best[f, j, c]: of a way to mark j whose first wall is of kind f, its last of kind c
    best = np.full((3, count, 3), np.inf)
    back = np.zeros((3, count, 3), dtype=np.int64)
    onward = np.full((3, count, 3), np.inf)  # best, and a corner to a wall of kind c
    before = np.zeros((3, count, 3), dtype=np.int64)
    for kind_of_first in range(3):
        onward[kind_of_first, 0, kind_of_first] = 0.0
    for j in range(1, count):
        ways = onward[:, :j] + step[:j, j]
        back[:, j] = ways.argmin(axis=1)
        best[:, j] = ways.min(axis=1)
        turned = best[:, j, :, None] + _FOLLOW
        before[:, j] = turned.argmin(axis=1)
        onward[:, j] = turned.min(axis=1)
    last = best[:, -1] + (_FOLLOW.T if closed else 0.0)
    first, here = divmod(int(last.argmin()), 3)
    found: list[tuple[int, int, int]] = []
    j, c = count - 1, here
    while j > 0:
        i = int(back[first, j, c])
        found.append((c, i, j))
        j, c = i, int(before[first, i, c])
    kinds, starts, ends = np.array(found[::-1], dtype=np.int64).T
    return Walls(kinds, starts, ends, float(last[first, here]))
