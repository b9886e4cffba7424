"""Simplification of outlines along pixel edges.

Computed in pixel coordinates, where shared corners are equal numbers; metres enter as the
2×2 matrix of the raster's centre.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import shapely
from shapely import Polygon

from geoseg.geo.footprints.corner_fit import fit_corners
from geoseg.geo.footprints.rings import Rings, build, split
from geoseg.geo.footprints.sound_outlines import all_or_before, each_or_before
from geoseg.geo.footprints.tracing import closing

_Points = npt.NDArray[np.float64]
_Index = npt.NDArray[np.int64]

#: Steps up to this length (pixels) between two opposite turns belong to a staircase.
STEP = 1.0

#: Depth (pixels) of the rectangles that stand for the ground beyond the image; too deep
#: to be simplified away.
_FAR = 1000.0

#: Moved corners are rounded to this fraction of a pixel, so rounding errors vanish.
_PARTS = 1024


class Extent(NamedTuple):
    """Size of an image in pixels."""

    width: int
    height: int


def fill_holes(
    outlines: npt.NDArray[np.object_], min_area: float
) -> npt.NDArray[np.object_]:
    """Fill holes smaller than ``min_area`` (square pixels)."""
    holed = shapely.get_num_interior_rings(outlines) > 0
    if min_area <= 0 or not holed.any():
        return outlines
    rings = split(outlines[holed])
    result = outlines.copy()
    result[holed] = build(rings.some(~_small_holes(rings, min_area)))
    return result


def small_holes(
    outlines: npt.NDArray[np.object_], min_area: float
) -> npt.NDArray[np.object_]:
    """Return the holes that :func:`fill_holes` fills, as ``(H,)`` polygons."""
    rings = split(outlines[shapely.get_num_interior_rings(outlines) > 0])
    small = np.flatnonzero(_small_holes(rings, min_area))
    corners = np.compress(np.isin(rings.ring, small), rings.points, axis=0)
    ends = np.append(0, np.cumsum(rings.length[small]))
    return build(Rings(corners, ends, np.arange(len(small) + 1)))


def _small_holes(rings: Rings, min_area: float) -> npt.NDArray[np.bool_]:
    """Tell which rings are holes smaller than ``min_area`` (square pixels)."""
    small = _areas(rings) < min_area
    small[rings.polygon_ends[:-1]] = False
    return small


def soften(
    outlines: npt.NDArray[np.object_], extent: Extent
) -> npt.NDArray[np.object_]:
    """Replace every step of one pixel between two opposite turns by its midpoint.

    A sloping wall keeps its area. Rings start at a corner.

    Args:
        outlines: polygons in pixel coordinates, without points within their edges.
        extent: of the image; points on its border stay.
    """
    return build(_from_corner(_cut_steps(split(outlines), extent)))


def smooth_alone(
    outlines: npt.NDArray[np.object_],
    metres: npt.NDArray[np.float64],
    tolerance_m: float,
    extent: Extent,
) -> npt.NDArray[np.object_]:
    """Simplify polygons one by one.

    First, every step of one pixel between two opposite turns is replaced by its midpoint:
    a sloping wall, drawn as a staircase, becomes a straight line that keeps the area.
    Corners (two turns the same way) stay. Then points within the tolerance of the wall
    are dropped (Douglas-Peucker), and the remaining corners move to where the best-fitting
    walls meet. Points on the image's border stay, as a building may continue beyond it.

    Args:
        outlines: polygons in pixel coordinates, without points within their edges.
        metres: ``(2, 2)``, metres east and north per column and row.
        tolerance_m: largest deviation of the second step, and largest move of a corner.
        extent: of the image.

    Returns:
        Valid polygons; one that smoothing would make invalid keeps its outline.
    """
    if tolerance_m <= 0 or not len(outlines):
        return outlines
    how = metres, tolerance_m, extent
    return each_or_before(lambda part: _smooth(outlines[part], *how), outlines)


def _smooth(
    outlines: npt.NDArray[np.object_],
    metres: npt.NDArray[np.float64],
    tolerance_m: float,
    extent: Extent,
) -> npt.NDArray[np.object_]:
    rings = _cut_steps(split(outlines), extent)
    fixed = on_border(rings.points, extent)
    cut = _from_corner(rings, fixed)
    smooth, good = _drop_points(cut, metres, tolerance_m, extent)
    broken = np.flatnonzero(~good)
    if len(broken):
        border = _at_border(outlines[broken], extent)
        inside = broken[~border]
        whole = build(cut.some(np.isin(cut.polygon, inside)))
        smooth[inside] = [
            _simplify_carefully(outline, metres, tolerance_m) for outline in whole
        ]
        smooth[broken[border]] = outlines[broken[border]]
    return smooth


def smooth_together(
    outlines: npt.NDArray[np.object_],
    metres: npt.NDArray[np.float64],
    tolerance_m: float,
    extent: Extent,
) -> npt.NDArray[np.object_]:
    """Simplify polygons together, so that shared walls stay shared.

    Visvalingam-Whyatt on the common edges: its criterion, the area of triangles, is the
    same in pixels as in metres but for one factor. Points on the image's border stay.

    Args:
        outlines: polygons in pixel coordinates, without points within their edges, that
            do not overlap.
        metres: ``(2, 2)``, metres east and north per column and row.
        tolerance_m: square root of the area of the triangles that are removed.
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

    def draw() -> npt.NDArray[np.object_]:
        result = shapely.coverage_simplify(every, tolerance)[: len(outlines)]
        return np.asarray(result, dtype=object)

    return all_or_before(draw, outlines)


def _areas(rings: Rings) -> _Points:
    """Return the areas of rings with integer coordinates; the sums are exact."""
    x, y = rings.points[:, 0], rings.points[:, 1]
    twice = np.add.reduceat(
        x * rings.leaving[:, 1] - y * rings.leaving[:, 0], rings.starts[:-1]
    )
    return np.asarray(np.abs(twice) / 2)


def _turn(rings: Rings) -> _Points:
    """Return the sign of the turn at every point: 0 straight on, +1 and -1 the sides."""
    leaving, arriving = rings.leaving, rings.before(rings.leaving)
    cross = arriving[:, 0] * leaving[:, 1] - arriving[:, 1] * leaving[:, 0]
    return np.sign(cross)


def _cut_steps(rings: Rings, extent: Extent) -> Rings:
    """Replace every short edge between opposite turns by its midpoint."""
    turn = _turn(rings)
    short = np.abs(rings.leaving[:, 0]) + np.abs(rings.leaving[:, 1]) <= STEP
    fixed = on_border(rings.points, extent)
    step = short & (turn * rings.after(turn) < 0) & ~fixed & ~rings.after(fixed)
    keep = step | ~rings.before(step)
    points = rings.points + rings.leaving * (step[:, None] / 2)
    return rings.keep(keep, points)


def _from_corner(rings: Rings, fixed: npt.NDArray[np.bool_] | None = None) -> Rings:
    """Start every ring at its point farthest from the centroid, which is a corner.

    The first point of a ring is never dropped, so it should not lie within a wall. Rings
    with points among the ``(M,)`` fixed ones start at the first of these.
    """
    starts = rings.starts[:-1]
    middle = np.add.reduceat(rings.points, starts) / rings.length[:, None]
    # Squared distances are rounded to 1e-6, so that ties (a rectangle has four) are equal.
    x, y = (rings.points - np.take(middle, rings.ring, axis=0)).T
    distance = np.round(x * x + y * y, 6)
    if fixed is not None:
        distance[fixed] = np.inf
    farthest = distance == np.maximum.reduceat(distance, starts)[rings.ring]
    place = np.arange(len(distance))
    first = np.minimum.reduceat(np.where(farthest, place, len(place)), starts)
    turned = place + (first - starts)[rings.ring]
    turned -= np.where(
        turned < rings.starts[1:][rings.ring], 0, rings.length[rings.ring]
    )
    return Rings(
        np.take(rings.points, turned, axis=0), rings.starts, rings.polygon_ends
    )


def _drop_points(
    rings: Rings,
    metres: npt.NDArray[np.float64],
    tolerance_m: float,
    extent: Extent,
) -> tuple[npt.NDArray[np.object_], npt.NDArray[np.bool_]]:
    """Drop points of rings and fit the others; tell which polygons are then valid."""
    # Lengths are measured on the ground, as pixels need not be square.
    ground, back = rings.move(metres), np.linalg.inv(metres).astype(np.float64)
    fixed = on_border(rings.points, extent)
    stays = _far_points(ground, fixed, tolerance_m)
    flat = np.add.reduceat(stays, rings.starts[:-1], dtype=np.int64) < 3
    stays |= flat[rings.ring]
    fitted = fit_corners(ground, stays, tolerance_m).move(back)
    before = rings.keep(stays, rings.points)
    # A corner that would leave the image stays.
    points = np.round(fitted.points * _PARTS) / _PARTS
    x, y = points.T
    inside = (x > 0) & (x < extent.width) & (y > 0) & (y < extent.height)
    inside &= ~fixed[stays]
    points = np.where(inside[:, None], points, before.points)
    polygons = build(Rings(points, before.starts, before.polygon_ends))
    good = ~np.logical_or.reduceat(flat, rings.polygon_ends[:-1])
    return polygons, good & shapely.is_valid(polygons)


def _far_points(
    rings: Rings, fixed: npt.NDArray[np.bool_], tolerance: float
) -> npt.NDArray[np.bool_]:
    """Tell which points stay (Douglas-Peucker): fixed ones, first ones, far ones."""
    count = len(fixed)
    is_start = np.zeros(count + 1, dtype=np.bool_)
    is_start[rings.starts] = True
    # Lines go from one cut to the next; the last line of a ring ends at its first point.
    cuts = np.append(np.flatnonzero(fixed | is_start[:-1]), count)
    ends = cuts[1:].copy()
    ends[is_start[cuts[1:]]] = rings.starts[:-1]
    place = closing(cuts)
    bounds = cuts + np.arange(len(cuts))
    place[bounds[1:] - 1] = ends
    # Indices are stored as z, so the simplified lines tell which points stay.
    points = np.empty((len(place), 3))
    points[:, :2], points[:, 2] = np.take(rings.points, place, axis=0), place
    lines = shapely.from_ragged_array(
        shapely.GeometryType.LINESTRING, points, (bounds,)
    )
    simple = shapely.simplify(lines, tolerance, preserve_topology=False)
    stays = np.zeros(count, dtype=np.bool_)
    stays[shapely.get_coordinates(simple, include_z=True)[:, 2].astype(np.int64)] = True
    return stays


def _simplify_carefully(
    outline: Polygon, metres: npt.NDArray[np.float64], tolerance_m: float
) -> Polygon:
    """Drop points of a polygon, but none whose loss would make its walls cross."""
    smooth = shapely.transform(outline, lambda points: points @ metres.T)
    smooth = shapely.simplify(smooth, tolerance_m, preserve_topology=True)
    return shapely.transform(smooth, lambda points: points @ np.linalg.inv(metres).T)


def on_border(points: _Points, extent: Extent) -> npt.NDArray[np.bool_]:
    """Tell which of ``(M, 2)`` points lie on the border of the image."""
    x, y = points.T
    return np.asarray((x == 0) | (x == extent.width) | (y == 0) | (y == extent.height))


def _at_border(
    outlines: npt.NDArray[np.object_], extent: Extent
) -> npt.NDArray[np.bool_]:
    """Tell which polygons touch the border of the image."""
    bounds = shapely.bounds(outlines)
    touch = (bounds[:, :2] <= 0).any(axis=1) | (bounds[:, 2:] >= extent).any(axis=1)
    return np.asarray(touch)


def _beyond(
    outlines: npt.NDArray[np.object_], extent: Extent
) -> npt.NDArray[np.object_]:
    """Return a rectangle outside the image for every edge on the image's border."""
    if not len(outlines):
        return outlines
    rings = split(outlines)
    points, following = rings.points, rings.points + rings.leaving
    rectangles = []
    for axis, end in enumerate(extent):
        for side, outwards in ((0, -_FAR), (end, _FAR)):
            on = (points[:, axis] == side) & (following[:, axis] == side)
            away = np.zeros(2)
            away[axis] = outwards
            first, second = points[on], following[on]
            corners = (first, second, second + away, first + away)
            rectangles.append(shapely.polygons(np.stack(corners, axis=1)))
    return np.concatenate(rectangles)
