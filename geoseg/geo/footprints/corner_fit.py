"""Fitting the corners of simplified outlines.

Simplification picks corners among the points of an outline. The outermost points are noise
as often as corners, so a wall between two of them misses the points between. Here each wall
is the line that fits all its points best, and a corner is where two such lines meet.
"""

import numpy as np
import numpy.typing as npt

from geoseg.geo.footprints.rings import Rings

_Floats = npt.NDArray[np.float64]


def fit_corners(rings: Rings, stays: npt.NDArray[np.bool_], reach: float) -> Rings:
    """Fit a line to each wall by least squares; move corners to the intersections.

    Distances are perpendicular to the wall and weighted by length along the outline. A
    corner that would move farther than ``reach`` stays, such as one between almost
    parallel walls.

    Args:
        rings: outlines on the ground.
        stays: ``(M,)``, True where a point is a corner; each ring's first point is one.
        reach: largest move of a corner, in the units of the points.

    Returns:
        Rings of the corners alone.
    """
    corners = rings.keep(stays, rings.points)
    middle, along = _walls(rings, stays)
    before, arriving = corners.before(middle), corners.before(along)
    with np.errstate(divide="ignore", invalid="ignore"):
        place = _cross(middle - before, along) / _cross(arriving, along)
        met = before + place[:, None] * arriving
    moved = met - corners.points
    # Parallel walls have no intersection: NaN compares False, so the corner stays.
    near = (moved**2).sum(axis=1) <= reach**2
    points = np.where(near[:, None], met, corners.points)
    return Rings(points, corners.starts, corners.polygon_ends)


def _walls(rings: Rings, stays: npt.NDArray[np.bool_]) -> tuple[_Floats, _Floats]:
    """Return the centre and the direction of the best line from each corner to the next."""
    corner = np.flatnonzero(stays)
    count = np.diff(corner, append=len(stays))
    # Relative to the corner: moments about a far origin would lose digits.
    x, y = (
        values - np.repeat(values[corner], count) for values in _columns(rings.points)
    )
    dx, dy = _columns(rings.leaving)
    length = np.sqrt(dx * dx + dy * dy)
    mx, my = x + dx / 2, y + dy / 2

    def mean(values: _Floats) -> _Floats:
        return np.asarray(np.add.reduceat(values * length, corner) / total)

    total = np.add.reduceat(length, corner)
    cx, cy = mean(mx), mean(my)
    # The second moment of an edge about its own centre is length² / 12.
    xx = mean(mx * mx + dx * dx / 12) - cx * cx
    yy = mean(my * my + dy * dy / 12) - cy * cy
    xy = mean(mx * my + dx * dy / 12) - cx * cy
    angle = np.arctan2(2 * xy, xx - yy) / 2
    along = np.stack((np.cos(angle), np.sin(angle)), axis=1)
    middle = np.take(rings.points, corner, axis=0) + np.stack((cx, cy), axis=1)
    return middle, along


def _columns(points: _Floats) -> _Floats:
    """Return x and y, each contiguous in memory, which is several times as fast to read."""
    return np.ascontiguousarray(points.T)


def _cross(first: _Floats, second: _Floats) -> _Floats:
    return np.asarray(first[:, 0] * second[:, 1] - first[:, 1] * second[:, 0])
