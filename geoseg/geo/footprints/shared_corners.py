"""Common corners along the walls that adjacent polygons share."""

import numpy as np
import numpy.typing as npt
import shapely
from shapely import Polygon

_Floats = npt.NDArray[np.float64]


def share_corners(
    polygons: npt.NDArray[np.object_], near: float
) -> npt.NDArray[np.object_]:
    """Insert into each polygon the corners of its neighbours that lie on its walls.

    Args:
        polygons: with disjoint interiors.
        near: largest distance at which a corner lies on a wall.

    Returns:
        The same polygons; those that share a part of a wall share its corners.
    """
    points = np.unique(shapely.get_coordinates(polygons), axis=0)
    around = shapely.bounds(polygons) + (-near, -near, near, near)
    tree = shapely.STRtree(shapely.points(points))
    polygon, point = tree.query(shapely.box(*around.T))
    result = np.empty(len(polygons), dtype=object)
    for i, single in enumerate(polygons):
        result[i] = with_corners(single, points[point[polygon == i]], near)
    return result


def with_corners(polygon: Polygon, points: _Floats, near: float) -> Polygon:
    """Insert as corners those of ``(M, 2)`` points that lie on the polygon's walls."""
    kind, corners, (ring_ends, polygon_ends) = shapely.to_ragged_array([polygon])
    begin = np.delete(np.arange(len(corners)), ring_ends[1:] - 1)
    ring = np.searchsorted(ring_ends, begin, side="right")
    walls = np.stack((corners[begin], corners[begin + 1]), axis=1)
    point, wall = shapely.STRtree(shapely.linestrings(walls)).query(
        shapely.points(points), predicate="dwithin", distance=near
    )
    # A point at or near an existing corner lies on two walls of a ring: insert it once.
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
    return shapely.from_ragged_array(kind, corners, (ring_ends, polygon_ends))[0]
