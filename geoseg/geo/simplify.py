"""From pixel outlines to outlines a cartographer would draw.

Everything happens in pixel coordinates, where shared corners are equal numbers; metres
come in as the 2×2 matrix of the raster's centre.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import shapely
from shapely import Polygon

_Points = npt.NDArray[np.float64]
_Index = npt.NDArray[np.int64]

#: Steps up to this length (pixels) between two opposite turns are staircase.
STEP = 1.0

#: Depth of what stands for the world beyond the image (pixels): more than is ever
#: simplified away.
_FAR = 1000.0


class Extent(NamedTuple):
    """Size of an image in pixels."""

    width: int
    height: int


class _Rings(NamedTuple):
    """Rings of many polygons in flat arrays, without the repeated last point."""

    points: _Points  # (M, 2)
    ring: _Index  # (M,) number of each point's ring, ascending
    polygon_ends: _Index  # offsets into the rings, one more than polygons

    @property
    def previous(self) -> _Index:
        start, length = self._starts()
        index = np.arange(len(self.ring)) - 1
        index[start] += length
        return index

    @property
    def next(self) -> _Index:
        start, length = self._starts()
        index = np.arange(len(self.ring)) + 1
        index[start + length - 1] -= length
        return index

    def _starts(self) -> tuple[_Index, _Index]:
        length = np.bincount(self.ring)
        return np.cumsum(length) - length, length


def fill_holes(
    outlines: npt.NDArray[np.object_], min_area: float
) -> npt.NDArray[np.object_]:
    """Fill holes smaller than ``min_area`` (square pixels)."""
    if min_area <= 0:
        return outlines
    result = outlines.copy()
    for i in np.flatnonzero(shapely.get_num_interior_rings(outlines)):
        holes = [
            hole
            for hole in outlines[i].interiors
            if shapely.area(shapely.polygons(hole)) >= min_area
        ]
        result[i] = Polygon(outlines[i].exterior, holes)
    return result


def soften(
    outlines: npt.NDArray[np.object_], extent: Extent
) -> npt.NDArray[np.object_]:
    """Replace every step of one pixel between two opposite turns by its middle.

    What a sloping wall leaves out, it takes in. Rings start at a corner.

    Args:
        outlines: polygons in pixel coordinates, without points within their edges.
        extent: of the image; points on its border stay.
    """
    return _from_corner(_cut_steps(_split(outlines), extent))


def smooth_alone(
    outlines: npt.NDArray[np.object_],
    metres: npt.NDArray[np.float64],
    tolerance_m: float,
    extent: Extent,
) -> npt.NDArray[np.object_]:
    """Simplify polygons one by one.

    First every step of one pixel between two opposite turns gives way to its middle:
    a sloping wall, drawn as a staircase, becomes a straight line that leaves as much
    area out as it takes in. Corners (two turns the same way) are not touched. Then
    points closer than the tolerance to the wall are dropped (Douglas-Peucker). Points on
    the image's border stay where they are: a building goes on beyond it.

    Args:
        outlines: polygons in pixel coordinates, without points within their edges.
        metres: ``(2, 2)``, metres east and north per column and row.
        tolerance_m: largest deviation of the second step.
        extent: of the image.

    Returns:
        Valid polygons; where smoothing would make one invalid, it is left as it was.
    """
    if tolerance_m <= 0:
        return outlines
    # Lengths are those of the ground: pixels need not be square.
    cut = soften(outlines, extent)
    smooth = shapely.transform(cut, lambda points: points @ metres.T)
    smooth = shapely.simplify(smooth, tolerance_m, preserve_topology=True)
    back = np.linalg.inv(metres).T
    smooth = shapely.transform(smooth, lambda points: points @ back)
    for i in _at_border(outlines, extent):
        smooth[i] = _simplify_at_border(cut[i], metres, tolerance_m, extent)
    good = shapely.is_valid(smooth) & ~shapely.is_empty(smooth)
    good &= shapely.area(smooth) > 0
    return np.where(good, smooth, outlines)


def smooth_together(
    outlines: npt.NDArray[np.object_],
    metres: npt.NDArray[np.float64],
    tolerance_m: float,
    extent: Extent,
) -> npt.NDArray[np.object_]:
    """Simplify polygons that share walls, so that they go on sharing them.

    Visvalingam-Whyatt on the common edges: its criterion, the area of triangles, is the
    same in pixels as in metres but for one factor. Points on the image's border stay.

    Args:
        outlines: polygons in pixel coordinates, without points within their edges, that
            do not overlap.
        metres: ``(2, 2)``, metres east and north per column and row.
        tolerance_m: square root of the area of the triangles that go.
        extent: of the image.

    Returns:
        Valid polygons that do not overlap.
    """
    if tolerance_m <= 0:
        return outlines
    tolerance = tolerance_m / np.sqrt(abs(np.linalg.det(metres)))
    # Where a wall meets the border, three polygons meet: such points are never dropped.
    neighbours = _beyond(outlines[_at_border(outlines, extent)], extent)
    every = np.concatenate((outlines, neighbours))
    result = shapely.coverage_simplify(every, tolerance)[: len(outlines)]
    if not (shapely.is_valid(result) & (shapely.area(result) > 0)).all():
        return outlines
    return np.asarray(result, dtype=object)


def overlap(polygons: npt.NDArray[np.object_]) -> bool:
    """Tell whether the interiors of any two polygons meet."""
    first, second = shapely.STRtree(polygons).query(polygons, predicate="intersects")
    once = first < second
    touch = shapely.touches(polygons[first[once]], polygons[second[once]])
    return not bool(touch.all())


def _split(outlines: npt.NDArray[np.object_]) -> _Rings:
    _, points, (ring_ends, polygon_ends) = shapely.to_ragged_array(outlines)
    length = np.diff(ring_ends)
    ring = np.repeat(np.arange(len(length)), length)
    keep = np.ones(len(points), dtype=bool)
    keep[ring_ends[1:] - 1] = False
    return _Rings(points[keep], ring[keep], np.asarray(polygon_ends, dtype=np.int64))


def _build(rings: _Rings) -> npt.NDArray[np.object_]:
    length = np.bincount(rings.ring)
    ends = np.concatenate(([0], np.cumsum(length)))
    points = np.insert(rings.points, ends[1:], rings.points[ends[:-1]], axis=0)
    result = shapely.from_ragged_array(
        shapely.GeometryType.POLYGON,
        points,
        (ends + np.arange(len(ends)), rings.polygon_ends),
    )
    return np.asarray(result, dtype=object)


def _turn(rings: _Rings) -> _Points:
    """Sign of the turn at every point: 0 straight on, +1 and -1 the two sides."""
    arriving = rings.points - rings.points[rings.previous]
    leaving = rings.points[rings.next] - rings.points
    cross = arriving[:, 0] * leaving[:, 1] - arriving[:, 1] * leaving[:, 0]
    return np.sign(cross)


def _cut_steps(rings: _Rings, extent: Extent) -> _Rings:
    """Replace every short edge between opposite turns by its middle."""
    turn = _turn(rings)
    leaving = rings.points[rings.next] - rings.points
    short = np.abs(leaving).sum(axis=1) <= STEP
    fixed = on_border(rings.points, extent)
    step = short & (turn * turn[rings.next] < 0) & ~fixed & ~fixed[rings.next]
    keep = ~step & ~step[rings.previous]
    middles = rings.points + leaving / 2
    number = np.arange(len(turn))
    order = np.argsort(
        np.concatenate((number[keep], number[step] + 0.5)), kind="stable"
    )
    points = np.concatenate((rings.points[keep], middles[step]))[order]
    ring = np.concatenate((rings.ring[keep], rings.ring[step]))[order]
    return _Rings(points, ring, rings.polygon_ends)


def _from_corner(rings: _Rings) -> npt.NDArray[np.object_]:
    """Start every ring at its point farthest from the middle, surely a corner.

    The first point of a ring is never dropped, so it should not lie within a wall.
    """
    count = np.bincount(rings.ring)
    middle = np.stack(
        [np.bincount(rings.ring, rings.points[:, axis]) / count for axis in (0, 1)], 1
    )
    distance = ((rings.points - middle[rings.ring]) ** 2).sum(axis=1)
    # Ties (a rectangle has four) go to the first point.
    order = np.lexsort((np.arange(len(distance)), -np.round(distance, 6), rings.ring))
    starts = np.cumsum(count) - count
    first = order[starts]
    place = (np.arange(len(distance)) - first[rings.ring]) % count[rings.ring]
    order = np.lexsort((place, rings.ring))
    return _build(_Rings(rings.points[order], rings.ring, rings.polygon_ends))


def on_border(points: _Points, extent: Extent) -> npt.NDArray[np.bool_]:
    """Tell which of ``(M, 2)`` points lie on the border of the image."""
    return np.asarray(((points == 0) | (points == extent)).any(axis=1))


def _at_border(outlines: npt.NDArray[np.object_], extent: Extent) -> _Index:
    """Return the numbers of the polygons that touch the border of the image."""
    bounds = shapely.bounds(outlines)
    touch = (bounds[:, :2] <= 0).any(axis=1) | (bounds[:, 2:] >= extent).any(axis=1)
    return np.flatnonzero(touch)


def _simplify_at_border(
    outline: Polygon,
    metres: npt.NDArray[np.float64],
    tolerance_m: float,
    extent: Extent,
) -> Polygon:
    """Simplify the walls between the points on the border, which stay as they are."""
    rings = []
    for ring in (outline.exterior, *outline.interiors):
        points = shapely.get_coordinates(ring)[:-1]
        fixed = np.flatnonzero(on_border(points, extent))
        # A ring inside the image starts and ends at its first point, surely a corner.
        start = fixed[0] if len(fixed) else 0
        points = np.roll(points, -start, axis=0)
        cuts = np.append(fixed - start if len(fixed) else 0, len(points))
        closed = np.concatenate((points, points[:1]))
        kept = [
            _simplify_line(closed[a : b + 1], metres, tolerance_m)[:-1]
            for a, b in zip(cuts, cuts[1:], strict=False)
        ]
        simple = np.concatenate(kept)
        rings.append(simple if len(simple) > 2 else points)
    return Polygon(rings[0], rings[1:])


def _simplify_line(
    points: _Points, metres: npt.NDArray[np.float64], tolerance_m: float
) -> _Points:
    """Drop points of a line (Douglas-Peucker); its two ends stay."""
    line = shapely.linestrings(points @ metres.T)
    kept = shapely.get_coordinates(shapely.simplify(line, tolerance_m))
    simple = kept @ np.linalg.inv(metres).T
    simple[[0, -1]] = points[[0, -1]]
    return np.asarray(simple)


def _beyond(
    outlines: npt.NDArray[np.object_], extent: Extent
) -> npt.NDArray[np.object_]:
    """Return a rectangle beyond the border on every edge that lies on it."""
    if not len(outlines):
        return outlines
    rings = _split(outlines)
    points, following = rings.points, rings.points[rings.next]
    found = []
    for axis, end in enumerate(extent):
        for side, outwards in ((0, -_FAR), (end, _FAR)):
            on = (points[:, axis] == side) & (following[:, axis] == side)
            away = np.zeros(2)
            away[axis] = outwards
            first, second = points[on], following[on]
            corners = (first, second, second + away, first + away)
            found.append(shapely.polygons(np.stack(corners, axis=1)))
    return np.concatenate(found)
