"""Footprints cut along straight lines through scattered points."""

import numpy as np
import numpy.typing as npt
import shapely
from shapely import LineString, Polygon

_Floats = npt.NDArray[np.float64]

# Directions that are tried, and how much a point off the line counts beside the line's
# length.
_DIRECTIONS = 36
_OFF = 4.0

# Points nearer to a line than that are on it, pixels: less than any coordinate tells.
_ON = 1e-9


def cut_along(
    parts: list[Polygon],
    lines: list[_Floats],
    metres: _Floats,
    *,
    min_area_m2: float,
    tolerance_m: float,
) -> list[Polygon]:
    """Cut polygons along lines of points, one line after the other.

    Args:
        parts: valid, in pixel coordinates, side by side.
        lines: ``(M, 2)`` points each, in no order; a line may have pieces apart.
        metres: ``(2, 2)``, metres east and north per column and row.
        min_area_m2: no part is smaller; a cut that would make one is left out.
        tolerance_m: cuts end at corners that are so near.

    Returns:
        Valid polygons that make up the same ground.
    """
    least = min_area_m2 / abs(np.linalg.det(metres))
    for points in lines:
        middle = shapely.points(points)
        most = [np.count_nonzero(it) for it in shapely.covers(parts, middle[:, None]).T]
        i = int(np.argmax(most))
        # A hole in the middle of a line is none of the outline, or makes two cuts.
        for pieces in ([points], _pieces(points)):
            cuts = [_cut(parts[i], it, metres, tolerance_m) for it in pieces]
            faces = _faces(parts[i], [it for it in cuts if it is not None])
            if len(faces) > 1 and min(shapely.area(faces)) >= least:
                parts = [*parts[:i], *faces, *parts[i + 1 :]]
                break
    return parts


def _pieces(points: _Floats) -> list[_Floats]:
    """Part points where they are apart."""
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
    """Return the cut through points: short, near to all of them, from wall to wall."""
    metric = points @ metres.T
    centre = metric.mean(axis=0)
    angle = np.arange(_DIRECTIONS) * (np.pi / _DIRECTIONS)
    along = np.stack((np.cos(angle), np.sin(angle)), axis=1)
    inverse = np.linalg.inv(metres)
    far = np.ptp(shapely.get_coordinates(part) @ metres.T, axis=0).sum()
    ends = np.stack((centre - far * along, centre + far * along), axis=1) @ inverse.T
    rays = shapely.intersection(shapely.linestrings(ends), part)
    across = np.stack((-along[:, 1], along[:, 0]), axis=1)
    off = np.sqrt((((metric - centre) @ across.T) ** 2).mean(axis=0))
    best, found = np.inf, None
    where = shapely.points(centre @ inverse.T)
    for i, ray in enumerate(rays):
        pieces = shapely.get_parts(ray)
        if not len(pieces):
            continue
        piece = pieces[shapely.distance(pieces, where).argmin()]
        steps = np.diff(shapely.get_coordinates(piece)[[0, -1]] @ metres.T, axis=0)
        cost = float(np.hypot(*steps[0])) + _OFF * off[i]
        if cost < best and piece.length > 0:
            best, found = cost, piece
    return None if found is None else _settle(part, found, metres, tolerance_m)


def _settle(
    part: Polygon, cut: LineString, metres: _Floats, tolerance_m: float
) -> LineString:
    """Let a cut end at corners that are near."""
    ends = shapely.get_coordinates(cut)[[0, -1]]
    corners = shapely.get_coordinates(part)
    settled = ends.copy()
    for end in settled:
        apart = np.hypot(*((corners - end) @ metres.T).T)
        if apart.min() <= tolerance_m:
            end[:] = corners[apart.argmin()]
    line = shapely.linestrings(settled)
    inside = line.length > 0 and shapely.length(line.difference(part)) <= _ON
    return line if inside else shapely.linestrings(ends)


def _faces(part: Polygon, cuts: list[LineString]) -> list[Polygon]:
    """Part a polygon by cuts that end on its walls."""
    if not cuts:
        return [part]
    ends = np.concatenate([shapely.get_coordinates(it) for it in cuts])
    walls = shapely.get_parts(shapely.boundary(with_corners(part, ends)))
    lines = shapely.union_all([*walls, *cuts])
    faces = shapely.get_parts(shapely.polygonize([lines]))
    inside = shapely.contains(part, shapely.point_on_surface(faces))
    found = faces[inside]
    area = shapely.area(part)
    whole = abs(shapely.area(found).sum() - area) <= 1e-9 * area
    return list(found) if whole and shapely.is_valid(found).all() else [part]


def share_corners(parts: list[Polygon]) -> list[Polygon]:
    """Give polygons side by side the corners of their neighbours on their walls."""
    points = np.unique(shapely.get_coordinates(parts), axis=0)
    return [with_corners(part, points) for part in parts]


def with_corners(part: Polygon, points: _Floats) -> Polygon:
    """Make corners of the points that are on the walls of a polygon."""
    rings = [
        _ring_with(shapely.get_coordinates(ring), points)
        for ring in (part.exterior, *part.interiors)
    ]
    return Polygon(rings[0], rings[1:])


def _ring_with(ring: _Floats, points: _Floats) -> _Floats:
    known = ring[:, 0] + 1j * ring[:, 1]
    points = points[~np.isin(points[:, 0] + 1j * points[:, 1], known)]
    step = np.diff(ring, axis=0)
    offset = points[:, None] - ring[:-1]
    square = (step**2).sum(axis=1)
    share = np.clip((offset * step).sum(axis=2) / square, 0, 1)
    apart = np.linalg.norm(offset - share[..., None] * step, axis=2)
    point = np.flatnonzero((apart <= _ON).any(axis=1))
    wall = apart[point].argmin(axis=1)
    order = np.lexsort((share[point, wall], wall))
    return np.insert(ring, wall[order] + 1, points[point[order]], axis=0)
