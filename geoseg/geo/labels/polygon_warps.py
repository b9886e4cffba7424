"""Reprojection of polygons to the CRS of an image, accurate to a fraction of a pixel.

An edge is a straight line in the CRS of its file (RFC 7946, 3.1.1), and a curve in
another CRS. It gets vertices until the line through them deviates by less than a
fraction of a pixel. Polygons that reach far beyond the image, where the projection may
be undefined, are clipped around it first.
"""

from typing import Any, NamedTuple

import numpy as np
import shapely
from affine import Affine
from rasterio.crs import CRS

from geoseg.geo.coordinates.crs import (
    WGS84,
    full_turn,
    metres_per_unit,
    same_crs,
    transform_points,
)
from geoseg.geo.labels.loose_geometries import valid_polygons

Array = np.ndarray[Any, Any]

#: Largest deviation of an edge from its curve, in pixels.
TOLERANCE = 0.05
#: Edges shorter than this many pixels, and than this many metres or degrees, deviate
#: less than that in any usual projection.
_SHORT, _SHORT_M, _SHORT_DEGREES = 20, 10_000, 0.1
#: Positions along an edge where the deviation is measured; an S-shaped curve may cross
#: it in the middle.
_ALONG = (0.3, 0.5)
#: Most parts that an edge is cut into per round, and number of rounds.
_MOST_PARTS, _ROUNDS = 64, 6
#: Number of points a side of an image's outline, and of the grid of points in it.
_SIDE = 32
#: Polygons are reprojected whole if their bounds are within this many sizes of the
#: image, and within this distance: metres, or degrees.
_NEAR, _NEAR_M, _NEAR_DEGREES = 4, 100_000, 1.0
#: Largest size, in degrees, of a polygon that crosses 180° uncut and, if it is higher
#: than 1°, its largest height over width. Others may go around the world.
_CROSSING, _SLENDER = 30.0, 10


class ImageGrid(NamedTuple):
    """Grid of an image: its CRS, its transform and its size in pixels."""

    crs: CRS
    transform: Affine
    width: int
    height: int


class Placed(NamedTuple):
    """Polygons in the CRS of an image.

    Attributes:
        polygons: ``(n,)`` valid polygons or multipolygons.
        rows: ``(n,)`` position of each among the input polygons.
        sizes: ``(n,)`` areas; of a clipped polygon, about the area of the whole.
    """

    polygons: Array
    rows: Array
    sizes: Array


def across_180(polygons: Array) -> Array:
    """Unwrap small polygons in degrees that cross 180° without being cut there.

    Their outlines jump between -180° and 180°. The part beyond 180° gets longitudes
    beyond it.

    Example:
        >>> island = shapely.Polygon([(179, 1), (-179, 1), (-179, 0), (179, 0)])
        >>> across_180(np.array([island], object))[0].bounds
        (179.0, 0.0, 181.0, 1.0)
    """
    joined = np.array(polygons, dtype=object)
    west, _, east, _ = shapely.bounds(joined).T
    for row in np.flatnonzero(east - west > 180):
        turned = shapely.transform(joined[row], _unwrapped)
        left, low, right, high = turned.bounds
        width, height = right - left, high - low
        slender = height > max(1.0, _SLENDER * width)
        if max(width, height) <= _CROSSING and not slender:
            joined[row] = turned
    return joined


def rejoined_at_180(geometry: shapely.Geometry) -> shapely.Geometry:
    """Join the parts of a polygon in degrees that was cut at 180° (RFC 7946, 3.1.9).

    The parts east of 180° get longitudes beyond it.

    Example:
        >>> west, east = shapely.box(179, 0, 180, 1), shapely.box(-180, 0, -179, 1)
        >>> rejoined_at_180(shapely.MultiPolygon([west, east])).bounds
        (179.0, 0.0, 181.0, 1.0)
    """
    if geometry.geom_type != "MultiPolygon" or geometry.is_empty:
        return geometry
    parts = np.array(geometry.geoms, dtype=object)
    west, _, east, _ = shapely.bounds(parts).T
    beyond = (west == -180) & (east < 0)
    if not (beyond.any() and (east == 180).any() and np.isfinite(west).all()):
        return geometry
    parts[beyond] = shapely.transform(parts[beyond], _shifted(360))
    return shapely.union_all(parts) if shapely.is_valid(parts).all() else geometry


def _unwrapped(points: Array) -> Array:
    points = points.copy()
    points[points[:, 0] < np.median(points[:, 0]) - 180, 0] += 360
    points[:, 0] = points[0, 0] + _turn(points[:, 0] - points[0, 0])
    return points


def _turn(longitudes: Array, turn: float = 360.0) -> Array:
    """Wrap differences of longitudes to within half a turn."""
    return np.asarray((longitudes + turn / 2) % turn - turn / 2)


def place(
    polygons: Array,
    tree: shapely.STRtree,
    source: CRS,
    image: ImageGrid,
) -> Placed:
    """Reproject the polygons that meet an image to its CRS.

    Longitudes of polygons and image may run from -180 to 180 or from 0 to 360.

    Args:
        polygons: ``(n,)`` valid polygons.
        tree: Spatial index of the polygons.
        source: CRS of the polygons.
        image: Grid of the image.
    """
    area = _search_area(image, source)
    if area is None:
        return _nothing()
    hits, shifts = _hits(tree, area, source)
    chosen = polygons[hits]
    for turn in np.unique(shifts[shifts != 0]):
        own = shifts == turn
        chosen[own] = shapely.transform(chosen[own], _shifted(turn))
    if same_crs(source, image.crs):
        return Placed(chosen, hits, shapely.area(chosen))
    return _move(chosen, hits, area, source, image)


def _move(
    chosen: Array, rows: Array, area: shapely.Geometry, source: CRS, image: ImageGrid
) -> Placed:
    """Reproject polygons that meet the search area: near ones whole, others clipped."""
    near = shapely.covers(
        _surroundings(area, source), shapely.box(*shapely.bounds(chosen).T)
    )
    moved = np.full(len(chosen), None, dtype=object)
    moved[near] = _along_edges(chosen[near], source, image)
    lost = ~_finite(moved)
    moved[lost] = _along_edges(
        valid_polygons(shapely.intersection(chosen[lost], area)), source, image
    )
    sizes = shapely.area(moved)
    # estimate the area of a clipped polygon's whole, which may be undefined in this CRS
    outline = shapely.Polygon(_around(image, 0)).area
    sizes[lost] = shapely.area(chosen[lost]) * outline / area.area
    there = _finite(moved)
    moved, rows, sizes = valid_polygons(moved[there]), rows[there], sizes[there]
    full = ~shapely.is_empty(moved)
    return Placed(moved[full], rows[full], sizes[full])


def _nothing() -> Placed:
    return Placed(np.empty(0, object), np.empty(0, np.intp), np.empty(0))


def _shifted(turn: float) -> Any:
    return lambda points: points + (turn, 0)


def _finite(polygons: Array) -> Array:
    """Tell which polygons have points that are all finite."""
    points, owners = shapely.get_coordinates(polygons, return_index=True)
    bad = np.bincount(owners[~np.isfinite(points).all(axis=1)], minlength=len(polygons))
    there = ~(shapely.is_missing(polygons) | shapely.is_empty(polygons))
    return np.asarray(there & (bad == 0))


def _hits(
    tree: shapely.STRtree, area: shapely.Geometry, source: CRS
) -> tuple[Array, Array]:
    """Return the polygons in an area, in the file's order, and the shift of each."""
    turn = full_turn(source)
    turns = (0.0,) if turn is None else (0.0, -turn, turn)
    hits_by_turn = [
        tree.query(shapely.transform(area, _shifted(-turn)), predicate="intersects")
        for turn in turns
    ]
    hits = np.concatenate(hits_by_turn)
    shifts = np.repeat(turns, [len(own) for own in hits_by_turn])
    order = np.argsort(hits, kind="stable")
    return hits[order], shifts[order]


def _surroundings(area: shapely.Geometry, source: CRS) -> shapely.Polygon:
    """Return the rectangle in which polygons are reprojected whole."""
    west, south, east, north = area.bounds
    most = _in_units(source, _NEAR_M, _NEAR_DEGREES)
    pad = min(_NEAR * max(east - west, north - south), most)
    if source.is_geographic and east - west >= 360:
        return shapely.box(west, south - pad, east, north + pad)
    return shapely.box(west - pad, south - pad, east + pad, north + pad)


def _in_units(crs: CRS, metres: float, degrees: float) -> float:
    """Return a length in the units of a CRS."""
    return degrees if crs.is_geographic else metres / (metres_per_unit(crs) or 1.0)


def _search_area(image: ImageGrid, source: CRS) -> shapely.Geometry | None:
    """Return an area in a CRS that contains the image; None if it is undefined there.

    In degrees it is centred on the image, and may reach beyond 180.
    """
    centre = np.array([_at(image, image.width / 2, image.height / 2)])
    if same_crs(source, image.crs):
        return shapely.Polygon(_around(image, 0))
    margin = 2 + 0.01 * max(image.width, image.height)
    ring = transform_points(
        np.vstack([_around(image, margin), centre]), image.crs, source
    )
    if not np.isfinite(ring).all():
        return _sampled_area(image, source)
    ring, middle = ring[:-1], ring[-1]
    if turn := full_turn(source):
        ring[:, 0] = middle[0] + _turn(ring[:, 0] - middle[0], turn)
    if turn and source.is_geographic:
        pole = _pole_in(image, margin) * turn / 360
        if pole:
            edge = ring[:, 1].min() if pole > 0 else ring[:, 1].max()
            low, high = sorted((edge, pole))
            return shapely.box(middle[0] - turn / 2, low, middle[0] + turn / 2, high)
    outline = shapely.Polygon(ring)
    inner = affine_box(outline.bounds, 0.8)
    if outline.is_valid and inner.contains(shapely.Point(middle)):
        return outline
    return _sampled_area(image, source)


def affine_box(bounds: tuple[float, ...], share: float) -> shapely.Polygon:
    """Return a rectangle shrunk about its centre to a share of its sides."""
    west, south, east, north = bounds
    x, y = (1 - share) / 2 * (east - west), (1 - share) / 2 * (north - south)
    return shapely.box(west + x, south + y, east - x, north - y)


def _sampled_area(image: ImageGrid, source: CRS) -> shapely.Geometry | None:
    """Return the bounds of those points of an image that are defined in a CRS."""
    cols, rows = np.meshgrid(
        np.linspace(0, image.width, _SIDE + 1), np.linspace(0, image.height, _SIDE + 1)
    )
    points = transform_points(
        _at_all(image, cols.ravel(), rows.ravel()), image.crs, source
    )
    points = points[np.isfinite(points).all(axis=1)]
    if not len(points):
        return None
    turn = full_turn(source)
    if turn:
        middle = points[len(points) // 2, 0]
        points[:, 0] = middle + _turn(points[:, 0] - middle, turn)
    (west, south), (east, north) = points.min(axis=0), points.max(axis=0)
    x, y = (east - west) / _SIDE, (north - south) / _SIDE
    area = (west - x, south - y, east + x, north + y)
    if turn and area[2] - area[0] > turn * 5 / 6:
        area = (middle - turn / 2, area[1], middle + turn / 2, area[3])
    return shapely.box(*area)


def _pole_in(image: ImageGrid, margin: float) -> int:
    """Return the latitude of the pole in a projected image, or 0 without a pole."""
    if image.crs.is_geographic:
        return 0
    for latitude in (90, -90):
        ((x, y),) = transform_points(np.array([[0.0, latitude]]), WGS84, image.crs)
        if not np.isfinite([x, y]).all():
            continue
        a, b, c, d, e, f = (~image.transform)[:6]
        col, row = a * x + b * y + c, d * x + e * y + f
        if (
            -margin < col < image.width + margin
            and -margin < row < image.height + margin
        ):
            return latitude
    return 0


def _at(image: ImageGrid, col: float, row: float) -> tuple[float, float]:
    a, b, c, d, e, f = image.transform[:6]
    return a * col + b * row + c, d * col + e * row + f


def _at_all(image: ImageGrid, cols: Array, rows: Array) -> Array:
    """Return coordinates of points of the pixel grid; latitudes are clipped to ±90°."""
    points: Array = np.column_stack(_at(image, cols, rows))  # type: ignore[arg-type]
    if image.crs.is_geographic:
        points[:, 1] = points[:, 1].clip(-90, 90)
    return points


def _around(image: ImageGrid, margin: float) -> Array:
    """Return points along an image's outline, ``margin`` pixels outside, ``(n, 2)``."""
    along = np.linspace(0, 1, _SIDE, endpoint=False)
    zero, one = np.zeros(_SIDE), np.ones(_SIDE)
    cols = np.concatenate([along, one, 1 - along, zero])
    rows = np.concatenate([zero, along, one, 1 - along])
    return _at_all(
        image,
        cols * (image.width + 2 * margin) - margin,
        rows * (image.height + 2 * margin) - margin,
    )


def _along_edges(polygons: Array, source: CRS, image: ImageGrid) -> Array:
    """Reproject polygons, with more vertices where an edge deviates from its curve."""
    pixel = np.sqrt(abs(image.transform.determinant))
    fine = np.array(polygons, dtype=object)
    pending = np.arange(len(fine))
    for _ in range(_ROUNDS):
        lengths = _longest(fine[pending], source, image, pixel)
        bent = np.isfinite(lengths)
        if not bent.any():
            break
        pending = pending[bent]
        fine[pending] = shapely.segmentize(fine[pending], lengths[bent])
    return np.asarray(
        shapely.transform(fine, lambda points: _in_image(points, source, image))
    )


def move_points(shapes: Array, source: CRS, image: ImageGrid) -> Array:
    """Reproject the vertices of shapes ``(n,)`` of any kind, for sparse labels."""
    return np.asarray(
        shapely.transform(shapes, lambda points: _in_image(points, source, image))
    )


def _in_image(points: Array, source: CRS, image: ImageGrid) -> Array:
    """Transform points to the CRS of an image, with longitudes near the image's."""
    moved = transform_points(points, source, image.crs)
    if turn := full_turn(image.crs):
        middle, _ = _at(image, image.width / 2, image.height / 2)
        with np.errstate(invalid="ignore"):
            turns = np.round((middle - moved[:, 0]) / turn)
        moved = moved + np.column_stack((turn * turns, np.zeros(len(turns))))
    return moved


def _longest(polygons: Array, source: CRS, image: ImageGrid, pixel: float) -> Array:
    """Return the maximum length of edges in the source CRS, or infinity."""
    rings, owners = shapely.get_rings(polygons, return_index=True)
    points, ring = shapely.get_coordinates(rings, return_index=True)
    starts = np.flatnonzero(ring[1:] == ring[:-1])
    first, last = points[starts], points[starts + 1]
    moved = _in_image(points, source, image)
    begin, end = moved[starts], moved[starts + 1]
    with np.errstate(invalid="ignore"):
        long = ~(np.hypot(*(end - begin).T) < _SHORT * pixel)
    long |= np.hypot(*(last - first).T) > _in_units(source, _SHORT_M, _SHORT_DEGREES)
    strays = np.zeros(len(starts))
    for share in _ALONG:
        curve = _in_image(
            first[long] + share * (last[long] - first[long]), source, image
        )
        line = begin[long] + share * (end[long] - begin[long])
        with np.errstate(invalid="ignore"):
            strays[long] = np.fmax(strays[long], np.hypot(*(curve - line).T) / pixel)
    parts = np.ceil(np.sqrt(strays / TOLERANCE)).clip(1, _MOST_PARTS)
    lengths = np.full(len(polygons), np.inf)
    bent = strays > TOLERANCE
    edges = np.hypot(*(last - first).T)[bent] / np.maximum(parts[bent], 2)
    np.minimum.at(lengths, owners[ring[starts[bent]]], edges)
    return lengths
