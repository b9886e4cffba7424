"""Polygons in longitude and latitude, where these have an end: 180° and the poles."""

import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import shapely
from shapely import MultiPolygon, Polygon

Points = npt.NDArray[np.float64]
Geometries = npt.NDArray[np.object_]

#: No building is as wide in degrees of longitude, but close to a pole.
WIDE = 1.0
#: Into how many pieces the outline of a wide polygon is cut.
PIECES = 256


def to_globe(geometries: Geometries, locate: Callable[[Points], Points]) -> Geometries:
    """Bring polygons to longitude and latitude, cut where they cross the antimeridian.

    A cut polygon is a multipolygon of parts that lie within ±180° (RFC 7946, section
    3.1.9). One without a place on Earth becomes empty. One around a pole goes along ±180° to it. Outlines that are wide in degrees
    follow the polygon's own edges, which are no straight lines there.

    Args:
        geometries: ``(n,)`` valid polygons in any CRS.
        locate: Maps ``(m, 2)`` x, y to longitude and latitude in degrees.
    """
    placed = np.asarray(shapely.transform(geometries, locate))
    bounds = shapely.bounds(placed)
    nowhere = ~np.isfinite(shapely.get_coordinates(placed)).all(axis=1)
    _, owners = shapely.get_coordinates(placed, return_index=True)
    placed[owners[nowhere]] = Polygon()
    west, east = bounds[:, 0], bounds[:, 2]
    odd = (east - west > WIDE) | (west < -180) | (east > 180)
    odd &= ~shapely.is_empty(placed)
    for i in np.flatnonzero(odd):
        placed[i] = _cut(geometries[i], locate)
    return np.asarray(placed)


def _cut(
    polygon: Polygon, locate: Callable[[Points], Points]
) -> Polygon | MultiPolygon:
    rings = [_unwrapped(ring, locate) for ring in _rings(polygon)]
    if np.ptp(rings[0][:, 0]) > WIDE:
        step = polygon.exterior.length / PIECES
        fine = shapely.segmentize(polygon, step)
        rings = [_unwrapped(ring, locate) for ring in _rings(fine)]
    shell, *holes = (_within_180(ring) for ring in rings)
    return only_polygons(shapely.difference(shell, shapely.union_all(holes)))


def _rings(polygon: Polygon) -> list[Points]:
    rings = [polygon.exterior, *polygon.interiors]
    return [shapely.get_coordinates(ring) for ring in rings]


def _unwrapped(ring: Points, locate: Callable[[Points], Points]) -> Points:
    """Locate a ring; its longitudes go on beyond 180° rather than jump."""
    located = locate(ring)
    return np.stack((np.unwrap(located[:, 0], period=360), located[:, 1]), axis=1)


def _within_180(ring: Points) -> shapely.Geometry:
    """Return what a ring encloses, in as many parts as it takes."""
    (first, _), (last, _) = ring[0], ring[-1]
    if round((last - first) / 360):
        pole = math.copysign(90, ring[:, 1].mean())
        ring = np.concatenate((ring, [(last, pole), (first, pole)]))
    area = shapely.make_valid(Polygon(ring))
    lowest, highest = ring[:, 0].min(), ring[:, 0].max()
    parts = []
    for turn in range(
        math.floor((lowest + 180) / 360), math.ceil((highest + 180) / 360)
    ):
        world = shapely.box(360 * turn - 180, -90, 360 * turn + 180, 90)
        part = shapely.intersection(area, world)
        parts.append(shapely.transform(part, lambda it: it - (360 * turn, 0)))
    return shapely.union_all(parts)


def only_polygons(geometry: shapely.Geometry) -> Polygon | MultiPolygon:
    """Drop the points and lines of a geometry; an empty multipolygon may be left."""
    parts = shapely.get_parts(shapely.get_parts(geometry))
    polygons = [part for part in parts if part.geom_type == "Polygon"]
    return polygons[0] if len(polygons) == 1 else shapely.multipolygons(polygons)
