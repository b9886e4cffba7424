"""From pixel outlines to outlines a cartographer would draw.

Everything happens in pixel coordinates, where shared corners are equal numbers; metres
come in as the 2×2 matrix of the raster's centre.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt
import shapely
from shapely import Polygon

from geoseg.geo.tracing import closing

_Points = npt.NDArray[np.float64]
_Index = npt.NDArray[np.int64]
_Values = TypeVar("_Values", bound=npt.NDArray[Any])

#: Steps up to this length (pixels) between two opposite turns are staircase.
STEP = 1.0

#: Depth of what stands for the world beyond the image (pixels): more than is ever
#: simplified away.
_FAR = 1000.0


class Extent(NamedTuple):
    """Size of an image in pixels."""

    width: int
    height: int


@dataclass(frozen=True)
class _Rings:
    """Rings of many polygons in flat arrays, without the repeated last point."""

    points: _Points  # (M, 2)
    starts: _Index  # of the rings, and M at the end
    polygon_ends: _Index  # offsets into the rings, one more than polygons

    @cached_property
    def length(self) -> _Index:
        """Points of each ring."""
        return np.diff(self.starts)

    @cached_property
    def ring(self) -> _Index:
        """Ring of each point, ascending."""
        return np.repeat(np.arange(len(self.length)), self.length)

    def before(self, values: _Values) -> _Values:
        """Return what the point before each one has; much faster than by places."""
        shifted: _Values = np.empty_like(values)
        shifted[1:] = values[:-1]
        shifted[self.starts[:-1]] = values[self.starts[1:] - 1]
        return shifted

    def after(self, values: _Values) -> _Values:
        """Return what the point after each one has."""
        shifted: _Values = np.empty_like(values)
        shifted[:-1] = values[1:]
        shifted[self.starts[1:] - 1] = values[self.starts[:-1]]
        return shifted

    @cached_property
    def leaving(self) -> _Points:
        """From each point to the next."""
        return np.asarray(self.after(self.points) - self.points)

    def keep(self, which: npt.NDArray[np.bool_], points: _Points) -> "_Rings":
        """Return the rings of some points, which may lie elsewhere; three of each stay."""
        length = np.add.reduceat(which, self.starts[:-1], dtype=np.int64)
        return _Rings(points[which], _ends(length), self.polygon_ends)

    def some(self, which: npt.NDArray[np.bool_]) -> "_Rings":
        """Return some rings, and no polygon that has none of them."""
        count = np.add.reduceat(which, self.polygon_ends[:-1], dtype=np.int64)
        ends = _ends(self.length[which])
        return _Rings(self.points[which[self.ring]], ends, _ends(count[count > 0]))


def _ends(count: _Index) -> _Index:
    """Return where each of so many things begins, and the last one ends."""
    return np.append(0, np.cumsum(count))


def fill_holes(
    outlines: npt.NDArray[np.object_], min_area: float
) -> npt.NDArray[np.object_]:
    """Fill holes smaller than ``min_area`` (square pixels)."""
    holed = shapely.get_num_interior_rings(outlines) > 0
    if min_area <= 0 or not holed.any():
        return outlines
    rings = _split(outlines[holed])
    large = _areas(rings) >= min_area
    large[rings.polygon_ends[:-1]] = True
    result = outlines.copy()
    result[holed] = _build(rings.some(large))
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
    return _build(_from_corner(_cut_steps(_split(outlines), extent)))


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
    if tolerance_m <= 0 or not len(outlines):
        return outlines
    cut = _from_corner(_cut_steps(_split(outlines), extent))
    smooth, good = _drop_points(cut, metres, tolerance_m)
    at_border = _at_border(outlines, extent)
    again = ~good | at_border
    if again.any():
        whole = _build(cut.some(np.repeat(again, np.diff(cut.polygon_ends))))
        smooth[again] = [
            (
                _simplify_at_border(polygon, metres, tolerance_m, extent)
                if border
                else _simplify_carefully(polygon, metres, tolerance_m)
            )
            for polygon, border in zip(whole, at_border[again], strict=True)
        ]
        good = shapely.is_valid(smooth[again]) & (shapely.area(smooth[again]) > 0)
        smooth[again] = np.where(good, smooth[again], outlines[again])
    return smooth


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
    keep = np.ones(len(points), dtype=bool)
    keep[ring_ends[1:] - 1] = False
    starts = ring_ends - np.arange(len(ring_ends))
    return _Rings(points[keep], starts.astype(np.int64), polygon_ends.astype(np.int64))


def _build(rings: _Rings) -> npt.NDArray[np.object_]:
    result = shapely.from_ragged_array(
        shapely.GeometryType.POLYGON,
        rings.points[_closed(rings)],
        (rings.starts + np.arange(len(rings.starts)), rings.polygon_ends),
    )
    return np.asarray(result, dtype=object)


def _closed(rings: _Rings) -> _Index:
    """Return the places of the points of every ring, and of its first one again."""
    return closing(rings.starts)


def _areas(rings: _Rings) -> _Points:
    """Areas of rings in pixel coordinates; whole numbers, so the sums are exact."""
    x, y = rings.points[:, 0], rings.points[:, 1]
    twice = np.add.reduceat(
        x * rings.leaving[:, 1] - y * rings.leaving[:, 0], rings.starts[:-1]
    )
    return np.asarray(np.abs(twice) / 2)


def _turn(rings: _Rings) -> _Points:
    """Sign of the turn at every point: 0 straight on, +1 and -1 the two sides."""
    leaving, arriving = rings.leaving, rings.before(rings.leaving)
    cross = arriving[:, 0] * leaving[:, 1] - arriving[:, 1] * leaving[:, 0]
    return np.sign(cross)


def _cut_steps(rings: _Rings, extent: Extent) -> _Rings:
    """Replace every short edge between opposite turns by its middle."""
    turn = _turn(rings)
    short = np.abs(rings.leaving).sum(axis=1) <= STEP
    fixed = on_border(rings.points, extent)
    step = short & (turn * rings.after(turn) < 0) & ~fixed & ~rings.after(fixed)
    keep = step | ~rings.before(step)
    points = rings.points + rings.leaving * (step[:, None] / 2)
    return rings.keep(keep, points)


def _from_corner(rings: _Rings) -> _Rings:
    """Start every ring at its point farthest from the middle, surely a corner.

    The first point of a ring is never dropped, so it should not lie within a wall.
    """
    starts = rings.starts[:-1]
    middle = np.add.reduceat(rings.points, starts) / rings.length[:, None]
    # Sums of squares in whole parts of a millionth: ties (a rectangle has four) are ties.
    distance = np.round(((rings.points - middle[rings.ring]) ** 2).sum(axis=1), 6)
    farthest = distance == np.maximum.reduceat(distance, starts)[rings.ring]
    place = np.arange(len(distance))
    first = np.minimum.reduceat(np.where(farthest, place, len(place)), starts)
    turned = place + (first - starts)[rings.ring]
    turned -= np.where(
        turned < rings.starts[1:][rings.ring], 0, rings.length[rings.ring]
    )
    return _Rings(rings.points[turned], rings.starts, rings.polygon_ends)


def _drop_points(
    rings: _Rings, metres: npt.NDArray[np.float64], tolerance_m: float
) -> tuple[npt.NDArray[np.object_], npt.NDArray[np.bool_]]:
    """Drop points of rings (Douglas-Peucker); tell where that leaves a valid polygon."""
    x, y = rings.points[:, 0], rings.points[:, 1]
    places = np.arange(len(x))
    # The places travel along as heights, and tell which points stay. Lengths are those
    # of the ground: pixels need not be square.
    points = np.stack((*(a * x + b * y for a, b in metres), places), axis=1)
    lines = shapely.from_ragged_array(
        shapely.GeometryType.LINESTRING,
        points[_closed(rings)],
        (rings.starts + np.arange(len(rings.starts)),),
    )
    simple = shapely.simplify(lines, tolerance_m, preserve_topology=False)
    stays = np.zeros(len(x), dtype=np.bool_)
    stays[shapely.get_coordinates(simple, include_z=True)[:, 2].astype(np.int64)] = True
    flat = np.add.reduceat(stays, rings.starts[:-1], dtype=np.int64) < 3
    stays |= flat[rings.ring]
    found = _build(rings.keep(stays, rings.points))
    good = ~np.logical_or.reduceat(flat, rings.polygon_ends[:-1])
    return found, good & shapely.is_valid(found)


def _simplify_carefully(
    outline: Polygon, metres: npt.NDArray[np.float64], tolerance_m: float
) -> Polygon:
    """Drop points of a polygon as long as none of its walls meets another."""
    smooth = shapely.transform(outline, lambda points: points @ metres.T)
    smooth = shapely.simplify(smooth, tolerance_m, preserve_topology=True)
    return shapely.transform(smooth, lambda points: points @ np.linalg.inv(metres).T)


def on_border(points: _Points, extent: Extent) -> npt.NDArray[np.bool_]:
    """Tell which of ``(M, 2)`` points lie on the border of the image."""
    return np.asarray(((points == 0) | (points == extent)).any(axis=1))


def _at_border(
    outlines: npt.NDArray[np.object_], extent: Extent
) -> npt.NDArray[np.bool_]:
    """Tell which polygons touch the border of the image."""
    bounds = shapely.bounds(outlines)
    touch = (bounds[:, :2] <= 0).any(axis=1) | (bounds[:, 2:] >= extent).any(axis=1)
    return np.asarray(touch)


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
    points, following = rings.points, rings.points + rings.leaving
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
