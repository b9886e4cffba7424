"""Splitting of touching buildings at the necks between them.

An outline is triangulated (constrained Delaunay). Sides of triangles that are not walls are
chords; a chord measures the width of the building there, and so does the circumcircle of a
wide triangle. Chords are processed from the widest to the narrowest and join their two
sides. Where both sides are already much wider than the chord between them, it is a neck:
they stay separate, and the chord becomes their shared wall. This is a watershed of widths
without a raster: memory grows with the corners of a building, not with its area.

The wings of an L, T or cross are as wide as their chords and stay joined. Terraces are cut
where their walls step back on both sides. Where there is a probability, it also has to be
lower along a neck than on both sides.

References:
    Prasad, "Morphological analysis of shapes", CNLS Newsletter 139, 1997 (chords).
    Cousty, Bertrand, Najman, Couprie, "Watershed cuts: minimum spanning forests and the
    drop of water principle", IEEE TPAMI 31 (8), 2009.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import shapely
from shapely import Polygon

from geoseg.geo.footprints.sound_outlines import sound
from geoseg.geo.footprints.splitting.valleys import DIP, Relief

_Floats = npt.NDArray[np.float64]
_Index = npt.NDArray[np.int64]

#: Largest width of a neck relative to the narrower of its two buildings. This and the
#: smallest width were chosen on footprints of Vegas and Zanzibar drawn as masks.
NECK = 0.5

#: Smallest width of a building, metres.
LEAST_WIDTH_M = 2.0

# Largest difference of angles (radians) at which points lie on one circle.
_ANGLE = 1e-7

#: Spacing of the points along walls, metres; a pixel where pixels are larger.
SPACING_M = 0.5


class _Mesh(NamedTuple):
    """Triangulation of an outline.

    Attributes:
        points: ``(M, 2)`` along the walls, in pixel coordinates, ring by ring; each ring
            repeats its first point.
        metric: ``(M, 2)``, the same in metres.
        ring: ``(M,)`` index of each point's ring, ascending.
        corners: ``(M,)``, True where a point is a corner of the outline.
        ends: ``(E, 2)`` points of each chord.
        sides: ``(E, 2)`` triangles on its two sides.
        widths: ``(E,)`` its length, metres.
        reach: ``(T,)`` width of the building at each triangle, metres.
        areas: ``(T,)`` square metres.
    """

    points: _Floats
    metric: _Floats
    ring: _Index
    corners: npt.NDArray[np.bool_]
    ends: _Index
    sides: _Index
    widths: _Floats
    reach: _Floats
    areas: _Floats


def split_touching(
    outline: Polygon,
    metres: _Floats,
    *,
    min_area_m2: float,
    tolerance_m: float,
    relief: Relief | None = None,
) -> list[Polygon]:
    """Split a footprint at its necks.

    Args:
        outline: valid polygon in pixel coordinates.
        metres: ``(2, 2)``, metres east and north per column and row.
        min_area_m2: smallest part.
        tolerance_m: largest distance at which cuts snap to corners.
        relief: its smoothed probability; None: only the shape decides. A neck over which
            it falls by less than ``DIP`` has to be narrower in the same proportion.

    Returns:
        Valid polygons that cover the outline, share their walls corner by corner and do
        not overlap, ordered by row, then column; the outline itself if it has no neck or
        cannot be cut.
    """
    if not _may_have_necks(outline, metres, min_area_m2):
        return [outline]
    mesh = _triangulate(outline, metres)
    if mesh is None:
        return [outline]
    part = _join(mesh, min_area_m2, relief)
    necks = np.flatnonzero(part[mesh.sides[:, 0]] != part[mesh.sides[:, 1]])
    if not len(necks):
        return [outline]
    ends = mesh.ends[necks]
    for walls in (_settle(mesh, ends, metres, tolerance_m), (mesh.points, ends)):
        parts = _cut(outline, mesh, *walls)
        if len(parts) == len(np.unique(part)) and _cover(parts, outline):
            return parts
    return [outline]


def _may_have_necks(outline: Polygon, metres: _Floats, min_area_m2: float) -> bool:
    """Tell whether a building is large enough for two and not convex."""
    area = shapely.area(outline)
    if area * abs(np.linalg.det(metres)) < 2 * min_area_m2:
        return False
    return bool(shapely.area(shapely.convex_hull(outline)) > area)


def _triangulate(outline: Polygon, metres: _Floats) -> _Mesh | None:
    """Return the triangulation of an outline; None if rounding makes it invalid."""
    pixel_m = float(np.sqrt(abs(np.linalg.det(metres))))
    dense = shapely.segmentize(outline, max(SPACING_M / pixel_m, 1.0))
    if not sound(dense):
        return None
    _, points, (ring_ends, _) = shapely.to_ragged_array([dense])
    ring = np.repeat(np.arange(len(ring_ends) - 1), np.diff(ring_ends))
    given = _keys(shapely.get_coordinates(outline))
    metric = points @ metres.T
    triangles = _delaunay(dense, metric)
    if triangles is None:
        return None
    edges = _edges(triangles)
    corners = metric[triangles]
    steps = np.roll(corners, -1, axis=1) - corners
    lengths = np.hypot(steps[..., 0], steps[..., 1])
    areas = 0.5 * np.abs(_cross(steps[:, 0], steps[:, 1]))
    return _Mesh(
        points,
        metric,
        ring,
        np.isin(_keys(points), given),
        edges.ends,
        edges.sides,
        lengths.ravel()[edges.place],
        _reach(lengths, areas),
        areas,
    )


class _Edges(NamedTuple):
    """Edges between two triangles.

    Attributes:
        ends: ``(E, 2)`` points.
        sides: ``(E, 2)`` triangles.
        apexes: ``(E, 2)`` the third point of each of the two.
        place: ``(E,)`` index of the edge among the ``3 T`` edges of all triangles.
    """

    ends: _Index
    sides: _Index
    apexes: _Index
    place: _Index


def _edges(triangles: _Index) -> _Edges:
    ends = np.stack((triangles, np.roll(triangles, -1, axis=1)), axis=-1)
    ends = np.sort(ends.reshape(-1, 2), axis=1)
    code = ends[:, 0] << 32 | ends[:, 1]
    order = np.argsort(code, kind="stable")
    twice = np.flatnonzero(code[order][1:] == code[order][:-1])
    both = np.stack((order[twice], order[twice + 1]), axis=1)
    apexes = np.roll(triangles, 1, axis=1).ravel()[both]
    return _Edges(ends[both[:, 0]], both // 3, apexes, both[:, 0])


def _delaunay(dense: Polygon, metric: _Floats) -> _Index | None:
    """Return the ``(T, 3)`` points of the Delaunay triangles of a polygon.

    GEOS stops before all edges are flipped, so the rest is flipped here. None if rounding
    makes the polygon invalid, GEOS inserts points, or edges flip back and forth.
    """
    ground = shapely.transform(dense, lambda _: metric)
    if not sound(ground):
        return None
    faces = shapely.get_parts(shapely.constrained_delaunay_triangles(ground))
    keys, first = np.unique(_keys(metric), return_index=True)
    corners = shapely.get_coordinates(faces).reshape(-1, 4, 2)[:, :3]
    if not np.isin(_keys(corners), keys).all():
        return None
    triangles = first[np.searchsorted(keys, _keys(corners))]
    for _ in range(len(metric)):
        edges = _edges(triangles)
        wrong = np.flatnonzero(_angles(metric, edges) > np.pi + _ANGLE)
        if not len(wrong):
            return np.asarray(triangles)
        # Flip one edge per triangle at a time, the one with the lowest index.
        lowest = np.full(len(triangles), len(edges.ends))
        np.minimum.at(lowest, edges.sides[wrong], wrong[:, None])
        wrong = wrong[(lowest[edges.sides[wrong]] == wrong[:, None]).all(axis=1)]
        one, other = edges.sides[wrong].T
        (low, high), (left, right) = edges.ends[wrong].T, edges.apexes[wrong].T
        triangles[one] = np.stack((low, left, right), axis=1)
        triangles[other] = np.stack((high, left, right), axis=1)
    return None


def _angles(metric: _Floats, edges: _Edges) -> _Floats:
    """Return the sum of the angles opposite each edge; above pi it is not Delaunay."""
    total = np.zeros(len(edges.ends))
    for apex in edges.apexes.T:
        first, second = metric[edges.ends.T] - metric[apex]
        dot = (first * second).sum(axis=1)
        total += np.arctan2(np.abs(_cross(first, second)), dot)
    return np.asarray(total)


def _cross(first: _Floats, second: _Floats) -> _Floats:
    return first[..., 0] * second[..., 1] - first[..., 1] * second[..., 0]


def _keys(points: _Floats) -> npt.NDArray[np.complex128]:
    """Return a number for each point, equal only for equal points."""
    return np.asarray(points[..., 0] + 1j * points[..., 1])


def _reach(lengths: _Floats, areas: _Floats) -> _Floats:
    """Return the width of the building at triangles, from their sides and areas.

    The circumcircle of an acute triangle has its centre inside, so it lies in the building;
    for others the longest side is the width.
    """
    a, b, c = np.sort(lengths, axis=1).T
    acute = c**2 < a**2 + b**2
    reach: _Floats = np.where(acute, a * b * c / np.where(acute, 2 * areas, 1.0), c)
    return reach


def _join(mesh: _Mesh, min_area_m2: float, relief: Relief | None) -> _Index:
    """Return the part of each triangle, numbered by one of its triangles."""
    from scipy.cluster.hierarchy import DisjointSet

    sets = DisjointSet(range(len(mesh.areas)))
    root = sets.__getitem__
    reach, areas = mesh.reach.tolist(), mesh.areas.tolist()
    sides, widths = mesh.sides.tolist(), mesh.widths.tolist()
    passes, peak = _heights(mesh, relief)

    def unite(i: int, j: int) -> None:
        sets.merge(i, j)
        both = root(i)
        reach[both] = max(reach[i], reach[j])
        peak[both] = max(peak[i], peak[j])
        areas[both] = areas[i] + areas[j]

    necks = []
    for chord in np.argsort(-mesh.widths, kind="stable").tolist():
        one, other = map(root, sides[chord])
        narrower = min(reach[one], reach[other])
        if one == other:
            continue
        dip = min(peak[one], peak[other]) - passes[chord]
        widest = NECK * min(dip / DIP, 1.0) * narrower
        if narrower >= LEAST_WIDTH_M and widths[chord] <= widest:
            necks.append(chord)
        else:
            unite(one, other)
    # Necks are ordered by width: a part that is too small joins at its widest neck.
    while small := [
        (root(i), chord)
        for chord in necks
        for i in sides[chord]
        if areas[root(i)] < min_area_m2
    ]:
        smallest, chord = min(small, key=lambda pair: areas[pair[0]])
        unite(*map(root, sides[chord]))
        necks = [neck for neck in necks if len(set(map(root, sides[neck]))) == 2]
    return np.array([root(i) for i in range(len(areas))], dtype=np.int64)


def _heights(mesh: _Mesh, relief: Relief | None) -> tuple[list[float], list[float]]:
    """Return the highest probability on each chord and in each triangle."""
    if relief is None:
        # Values that give every chord a full dip, so that only shape decides.
        return [0.0] * len(mesh.ends), [DIP] * len(mesh.areas)
    begin, end = mesh.points[mesh.ends[:, 0]], mesh.points[mesh.ends[:, 1]]
    count = np.hypot(*(end - begin).T) // relief.side + 2
    count = count.astype(np.int64)
    chord = np.repeat(np.arange(len(count)), count)
    place = np.arange(len(chord)) - np.repeat(np.cumsum(count) - count, count)
    share = ((place + 0.5) / count[chord])[:, None]
    height = relief.at(begin[chord] + share * (end - begin)[chord])
    passes = np.zeros(len(count))
    np.maximum.at(passes, chord, height)
    peak = np.zeros(len(mesh.areas))
    np.maximum.at(peak, mesh.sides, passes[:, None])
    return passes.tolist(), peak.tolist()


def _settle(
    mesh: _Mesh, ends: _Index, metres: _Floats, tolerance_m: float
) -> tuple[_Floats, _Index]:
    """Snap cuts to near corners, else let them meet the wall at a right angle."""
    metric, settled = mesh.metric.copy(), ends.copy()
    before, after = _corners_around(mesh)
    for cut in settled:
        for i in (0, 1):
            near = [k for k in (before[cut[i]], after[cut[i]]) if k != cut[1 - i]]
            apart = np.hypot(*(metric[near] - metric[cut[i]]).T)
            if len(near) and apart.min() <= tolerance_m:
                cut[i] = near[int(apart.argmin())]
        here, there = cut if mesh.corners[cut[0]] else cut[::-1]
        if not mesh.corners[there]:
            wall = metric[after[there]] - metric[before[there]]
            wall /= np.hypot(*wall)
            # At most halfway to the next point, so that cuts do not cross.
            most = np.hypot(*(mesh.metric[there + 1] - mesh.metric[there])) / 2
            shift = np.dot(metric[here] - mesh.metric[there], wall)
            metric[there] = mesh.metric[there] + np.clip(shift, -most, most) * wall
    moved = (metric != mesh.metric).any(axis=1)
    points = mesh.points.copy()
    points[moved] = metric[moved] @ np.linalg.inv(metres).T
    return points, settled


def _corners_around(mesh: _Mesh) -> tuple[_Index, _Index]:
    """Return the last corner at or before each point, and the first at or after it."""
    number = np.arange(len(mesh.corners))
    # Rings start and end at the same corner.
    before = np.maximum.accumulate(np.where(mesh.corners, number, 0))
    after = np.where(mesh.corners, number, len(number))
    after = np.minimum.accumulate(after[::-1])[::-1]
    first = np.searchsorted(mesh.ring, mesh.ring)
    last = np.searchsorted(mesh.ring, mesh.ring, side="right") - 1
    return before, np.where(after == last, first, after)


def _cut(outline: Polygon, mesh: _Mesh, points: _Floats, ends: _Index) -> list[Polygon]:
    """Cut an outline along lines between its points; order parts by row, then column."""
    keep = mesh.corners.copy()
    keep[ends] = True
    walls = shapely.linestrings(points[keep], indices=mesh.ring[keep])
    lines = shapely.union_all([*walls, *shapely.linestrings(points[ends])])
    faces = shapely.get_parts(shapely.polygonize([lines]))
    inside = shapely.contains(outline, shapely.point_on_surface(faces))
    parts = shapely.normalize(faces[inside])
    return sorted(parts, key=lambda part: (part.bounds[1], part.bounds[0], part.wkb))


def _cover(parts: list[Polygon], outline: Polygon) -> bool:
    """Tell whether parts are valid and cover an outline."""
    area = shapely.area(outline)
    apart = abs(shapely.area(parts).sum() - area)
    return bool(sound(np.array(parts)).all() and apart <= 1e-9 * area)
