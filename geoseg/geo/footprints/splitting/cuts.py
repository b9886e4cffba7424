"""Cutting of footprints along straight lines fitted to points."""

import numpy as np
import numpy.typing as npt
import shapely
from shapely import LineString, Polygon

from geoseg.geo.footprints.shared_corners import with_corners
from geoseg.geo.footprints.sound_outlines import sound

_Floats = npt.NDArray[np.float64]

# Number of directions tried, and the weight of the points' deviation against the cut's
# length.
_DIRECTIONS = 36
_OFF = 4.0

#: Largest distance (pixels) at which a point lies on a line; below coordinate precision.
ON = 1e-9


def cut_along(
    parts: list[Polygon],
    lines: list[_Floats],
    metres: _Floats,
    *,
    min_area_m2: float,
    tolerance_m: float,
) -> list[Polygon]:
    """Cut polygons along lines of points, one line after another.

    Args:
        parts: valid polygons in pixel coordinates, without overlaps.
        lines: ``(M, 2)`` unordered points each; a line may consist of separate pieces.
        metres: ``(2, 2)``, metres east and north per column and row.
        min_area_m2: smallest part; a cut that would make a smaller one is left out.
        tolerance_m: largest distance at which cuts snap to corners.

    Returns:
        Valid polygons that cover the same ground.
    """
    least = min_area_m2 / abs(np.linalg.det(metres))
    for points in lines:
        shapely.prepare(parts)
        inside = shapely.covers(parts, shapely.points(points)[:, None])
        i = int(np.argmax(np.count_nonzero(inside, axis=0)))
        # Try one cut through all points, then one per piece, as around a courtyard.
        for pieces in ([points], _pieces(points)):
            cuts = [_cut(parts[i], piece, metres, tolerance_m) for piece in pieces]
            faces = _faces(parts[i], [cut for cut in cuts if cut is not None])
            if len(faces) > 1 and min(shapely.area(faces)) >= least:
                parts = [*parts[:i], *faces, *parts[i + 1 :]]
                break
    return parts


def _pieces(points: _Floats) -> list[_Floats]:
    """Group points into connected pieces."""
    from scipy.sparse.csgraph import connected_components
    from scipy.spatial import cKDTree

    tree = cKDTree(points)
    nearest = tree.query(points, k=min(2, len(points)))[0].reshape(len(points), -1)
    links = tree.sparse_distance_matrix(tree, 1.5 * max(nearest.max(), 1.0))
    label = connected_components(links, directed=False)[1]
    return [points[label == i] for i in range(label.max() + 1)]


def _cut(
    part: Polygon, points: _Floats, metres: _Floats, tolerance_m: float
) -> LineString | None:
    """Return a short cut from wall to wall near all points; None if there is none."""
    middle = points.mean(axis=0)
    if not shapely.contains_xy(part, *middle):
        middle = points[np.hypot(*((points - middle) @ metres.T).T).argmin()]
        if not shapely.contains_xy(part, *middle):
            return None
    angle = np.arange(_DIRECTIONS) * (np.pi / _DIRECTIONS)
    along = np.stack((np.cos(angle), np.sin(angle)), axis=1)
    steps = along @ np.linalg.inv(metres).T
    reach = _walls_along(part, middle, steps)
    across = np.stack((-along[:, 1], along[:, 0]), axis=1)
    off = np.sqrt((((points - middle) @ metres.T @ across.T) ** 2).mean(axis=0))
    best = int(np.argmin(reach[1] - reach[0] + _OFF * off))
    if not np.isfinite(reach[:, best]).all():
        return None
    cut = shapely.linestrings(middle + reach[:, best, None] * steps[best])
    return _settle(part, cut, metres, tolerance_m)


def _walls_along(part: Polygon, start: _Floats, steps: _Floats) -> _Floats:
    """Return the distance to the nearest wall, backwards (negative) and forwards.

    Args:
        part: a polygon that contains the start.
        start: ``(2,)``.
        steps: ``(D, 2)`` step of each direction, the unit of its distances.

    Returns:
        ``(2, D)``.
    """
    rings = [shapely.get_coordinates(ring) for ring in (part.exterior, *part.interiors)]
    begin = np.concatenate([ring[:-1] for ring in rings]) - start
    wall = np.concatenate([np.diff(ring, axis=0) for ring in rings])
    turn = steps[:, :1] * wall[:, 1] - steps[:, 1:] * wall[:, 0]  # (D, walls)
    turn[turn == 0] = np.nan  # parallel
    there = (begin[:, 0] * wall[:, 1] - begin[:, 1] * wall[:, 0]) / turn
    share = (begin[:, 0] * steps[:, 1:] - begin[:, 1] * steps[:, :1]) / turn
    met = (share >= 0) & (share <= 1)
    back = np.where(met & (there <= 0), there, -np.inf).max(axis=1)
    forth = np.where(met & (there >= 0), there, np.inf).min(axis=1)
    return np.stack((back, forth))


def _settle(
    part: Polygon, cut: LineString, metres: _Floats, tolerance_m: float
) -> LineString:
    """Snap the ends of a cut to near corners."""
    ends = shapely.get_coordinates(cut)[[0, -1]]
    corners = shapely.get_coordinates(part)
    settled = ends.copy()
    for end in settled:
        apart = np.hypot(*((corners - end) @ metres.T).T)
        if apart.min() <= tolerance_m:
            end[:] = corners[apart.argmin()]
    line = shapely.linestrings(settled)
    inside = line.length > 0 and shapely.length(line.difference(part)) <= ON
    return line if inside else shapely.linestrings(ends)


def _faces(part: Polygon, cuts: list[LineString]) -> list[Polygon]:
    """Divide a polygon by cuts that end on its walls."""
    if not cuts:
        return [part]
    ends = np.concatenate([shapely.get_coordinates(cut) for cut in cuts])
    walls = shapely.get_parts(shapely.boundary(with_corners(part, ends, ON)))
    lines = shapely.union_all([*walls, *cuts])
    faces = shapely.get_parts(shapely.polygonize([lines]))
    inside = shapely.contains(part, shapely.point_on_surface(faces))
    parts = faces[inside]
    area = shapely.area(part)
    whole = abs(shapely.area(parts).sum() - area) <= 1e-9 * area
    return list(parts) if whole and sound(parts).all() else [part]
