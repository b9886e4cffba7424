"""Position and direction of walls at right angles along one outline.

A wall runs along one of the building's two directions, or stays as it was.
:mod:`geoseg.geo.footprints.right_angles.wall_search` finds them. All units are metres.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

_Floats = npt.NDArray[np.float64]
_Index = npt.NDArray[np.int64]

#: Kinds of walls: along the building's direction, across it, unchanged.
ALONG, ACROSS, FREE = 0, 1, 2

#: Smallest sine of the angle between a wall and the direction in which its end slides.
_STEEP = 0.5


class Arc(NamedTuple):
    """A part of an outline between two fixed points, or a whole outline.

    Attributes:
        points: ``(M, 2)`` metres. A closed outline repeats its first point.
        marks: ``(K,)`` ascending indices of the points where walls may meet: the first,
            the last, and some between.
        closed: True for a whole outline without fixed points.
        slides: ``(2, 2)`` unit vectors along which the first and the last point may move;
            zero where they stay.
    """

    points: _Floats
    marks: _Index
    closed: bool
    slides: _Floats = np.zeros((2, 2))

    def held(self, axis: int) -> tuple[bool, bool]:
        """Tell whether lines of constant ``axis`` must pass through the two ends.

        An end slides to a wall that crosses its direction, not to one along it.
        """
        first, last = np.abs(self.slides[:, axis]) < _STEEP
        return (False, False) if self.closed else (bool(first), bool(last))


class Walls(NamedTuple):
    """Walls of an arc.

    Attributes:
        kind: ``(S,)`` of :data:`ALONG`, :data:`ACROSS`, :data:`FREE`.
        start: ``(S,)`` index among the marks where each wall starts.
        end: ``(S,)`` index where it ends.
        cost: total cost.
    """

    kind: _Index
    start: _Index
    end: _Index
    cost: float


def turn(points: _Floats, angle: float) -> _Floats:
    """Rotate ``(M, 2)`` points clockwise by an angle in radians."""
    cos, sin = np.cos(angle), np.sin(angle)
    x, y = points[:, 0], points[:, 1]
    return np.stack((cos * x + sin * y, cos * y - sin * x), axis=1)


def corners(arc: Arc, walls: Walls) -> _Floats:
    """Return the ``(S + 1, 2)`` points where walls meet, both ends included.

    Walls preserve the area. The ends of an open arc stay, or slide to their walls.
    """
    ends = arc.points[arc.marks]
    line = _offsets(arc, walls)
    count = len(walls.kind)
    places = ends[np.append(walls.start, walls.end[-1])].copy()
    for i in range(count + 1):
        if not arc.closed and i in (0, count):
            places[i] = _end(arc, walls, line, min(i, 1))
            continue
        for wall in ((i - 1) % count, i % count):
            if walls.kind[wall] != FREE:
                places[i, 1 - walls.kind[wall]] = line[wall]
    return np.asarray(places, dtype=np.float64)


def _end(arc: Arc, walls: Walls, line: _Floats, end: int) -> _Floats:
    """Return the start of an open arc's first wall, or the end of its last one."""
    place, slide, kind = arc.points[-end], arc.slides[end], walls.kind[-end]
    if kind == FREE or arc.held(1 - kind)[end]:
        return np.asarray(place)
    axis = 1 - kind
    moved = place + (line[-end] - place[axis]) / slide[axis] * slide
    moved[axis] = line[-end]
    return np.asarray(moved)


def tilt(arcs: list[tuple[Arc, Walls]]) -> float:
    """Return the rotation that fits the building to its walls best.

    Least squares: the principal axis of the points about their wall's centre, with ACROSS
    walls rotated by a right angle.

    Returns:
        Radians, counter-clockwise from the arcs' x.
    """
    covariance = np.zeros(3)
    for arc, walls in arcs:
        scatter = _scatter(arc.points, arc.marks[walls.start])
        along = scatter[:, walls.kind == ALONG].sum(axis=1)
        across = scatter[:, walls.kind == ACROSS].sum(axis=1)
        covariance += along + (across[2], -across[1], across[0])
    xx, xy, yy = covariance
    return 0.5 * float(np.arctan2(2 * xy, xx - yy))


def _scatter(points: _Floats, starts: _Index) -> _Floats:
    """Return the second moments of a line's parts about their centres, by length.

    Returns:
        ``(3, S)``: xx, xy, yy of the part from each start to the next.
    """
    step = np.diff(points, axis=0).T
    length = np.hypot(*step)
    middle = ((points[1:] + points[:-1]) / 2).T
    total = np.add.reduceat(length, starts)
    mean = np.add.reduceat(middle * length, starts, axis=1) / total
    count = np.diff(np.append(starts, len(length)))
    (x, y), (dx, dy) = middle - np.repeat(mean, count, axis=1), step
    moments = np.stack(
        (x * x + dx * dx / 12, x * y + dx * dy / 12, y * y + dy * dy / 12)
    )
    return np.asarray(np.add.reduceat(moments * length, starts, axis=1))


def _offsets(arc: Arc, walls: Walls) -> _Floats:
    """Return the coordinate of each wall's line; walls at held ends pass through them."""
    result = np.full(len(walls.kind), np.nan)
    for axis in (0, 1):
        span, offset = sums_to_marks(arc, axis)[:2]
        mine = np.flatnonzero(walls.kind == 1 - axis)
        start, end = walls.start[mine], walls.end[mine]
        result[mine] = (offset[end] - offset[start]) / (span[end] - span[start])
        held = arc.held(axis)
        if held[0]:
            result[mine[start == 0]] = arc.points[0, axis]
        if held[1]:
            result[mine[end == len(arc.marks) - 1]] = arc.points[-1, axis]
    return result


def sums_to_marks(arc: Arc, axis: int) -> _Floats:
    """Return running sums along an arc from which lines of constant ``axis`` are fitted.

    Returns:
        ``(5, K)``, over the edges before each mark: extent at right angles to the
        coordinate; coordinate × that; length; coordinate × length; coordinate² × length.
    """
    step = np.diff(arc.points, axis=0)
    length = np.hypot(step[:, 0], step[:, 1])
    middle = (arc.points[1:, axis] + arc.points[:-1, axis]) / 2
    span = np.abs(step[:, 1 - axis])
    second = (middle**2 + step[:, axis] ** 2 / 12) * length
    terms = np.stack((span, middle * span, length, middle * length, second))
    total = np.concatenate((np.zeros((5, 1)), np.cumsum(terms, axis=1)), axis=1)
    return np.asarray(total[:, arc.marks])
