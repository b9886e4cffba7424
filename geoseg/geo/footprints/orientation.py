"""Main axes of buildings."""

import numpy as np
import numpy.typing as npt
import shapely

#: Sides of a rectangle whose lengths differ by no more (share) are equally long.
_EQUAL = 1e-6


def main_axes(polygons: npt.NDArray[np.object_]) -> npt.NDArray[np.float64]:
    """Return the direction of each polygon's longer side, clockwise from grid north.

    It is the long axis of the smallest enclosing rectangle, as in QGIS's
    ``main_angle()``. A square has two; the smaller angle is returned.

    Args:
        polygons: ``(N,)``, not empty, in a metric CRS whose y points north.

    Returns:
        ``(N,)`` degrees in [0, 180).

    Example:
        >>> east_west = shapely.box(0, 0, 20, 10)
        >>> main_axes(np.array([east_west]))
        array([90.])
    """
    if not len(polygons):
        return np.zeros(0)
    boxes = shapely.oriented_envelope(_at_origin(polygons))
    corners = shapely.get_coordinates(boxes).reshape(-1, 5, 2)
    sides = corners[:, 1:3] - corners[:, :2]  # two sides that meet
    lengths = np.hypot(sides[..., 0], sides[..., 1])
    # Rounded first, so that 179.9999999 becomes 0.
    angles = np.round(np.degrees(np.arctan2(sides[..., 0], sides[..., 1])), 6) % 180.0
    longer = lengths >= lengths.max(axis=1, keepdims=True) * (1 - _EQUAL)
    return np.asarray(np.where(longer, angles, np.inf).min(axis=1))


def _at_origin(polygons: npt.NDArray[np.object_]) -> npt.NDArray[np.object_]:
    """Move polygons to the origin, because squared northings would cost four digits."""
    points, owner = shapely.get_coordinates(polygons, return_index=True)
    corner = shapely.bounds(polygons)[:, :2]
    moved = shapely.set_coordinates(polygons.copy(), points - corner[owner])
    return np.asarray(moved, dtype=object)
