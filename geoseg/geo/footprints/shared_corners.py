"""Polygons side by side that have the same corners along their shared walls."""

import numpy as np
import numpy.typing as npt
import shapely
from shapely import Polygon

_Floats = npt.NDArray[np.float64]


def share_corners(
    polygons: npt.NDArray[np.object_], near: float
) -> npt.NDArray[np.object_]:
    """Give polygons the corners of their neighbours that lie on their walls.

    Args:
        polygons: whose interiors do not meet.
        near: a corner so near a wall lies on it.

    Returns:
        The same polygons; those that share a part of a wall share its corners.
    """
    points = np.unique(shapely.get_coordinates(polygons), axis=0)
    around = shapely.bounds(polygons) + (-near, -near, near, near)
    tree = shapely.STRtree(shapely.points(points))
    polygon, point = tree.query(shapely.box(*around.T))
    found = np.empty(len(polygons), dtype=object)
    for i, it in enumerate(polygons):
        found[i] = with_corners(it, points[point[polygon == i]], near)
    return found


def with_corners(polygon: Polygon, points: _Floats, near: float) -> Polygon:
    """Make corners of those of ``(M, 2)`` points that are on the walls of a polygon."""
    kind, corners, (ring_ends, polygon_ends) = shapely.to_ragged_array([polygon])
    begin = np.delete(np.arange(len(corners)), ring_ends[1:] - 1)
    ring = np.searchsorted(ring_ends, begin, side="right")
    walls = np.stack((corners[begin], corners[begin + 1]), axis=1)
    point, wall = shapely.STRtree(shapely.linestrings(walls)).query(
        shapely.points(points), predicate="dwithin", distance=near
    )
    # On two walls of a ring is who is next to a corner, or is one already.
    known = (walls[wall] == points[point][:, None]).all(axis=2).any(axis=1)
    place = point * len(ring_ends) + ring[wall]
    there = place[known]
    place, first = np.unique(place, return_index=True)
    first = first[~np.isin(place, there)]
    wall, new = wall[first], points[point[first]]
    order = np.lexsort((np.hypot(*(new - walls[wall, 0]).T), wall))
    at = begin[wall[order]] + 1
    corners = np.insert(corners, at, new[order], axis=0)
    ring_ends = ring_ends + np.searchsorted(at, ring_ends)
    found = shapely.from_ragged_array(kind, corners, (ring_ends, polygon_ends))
    return found[0]
