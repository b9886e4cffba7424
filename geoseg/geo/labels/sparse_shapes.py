"""Sparse labels: points, lines and polygons; the ground between them is unlabelled.

A point becomes a disc and a line a strip, of a radius in metres on the ground in any
CRS (degrees and units of Web Mercator are not metres on the ground).
"""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import shapely
from rasterio.crs import CRS

from geoseg.core.errors import LabelError
from geoseg.geo.coordinates.crs import (
    WGS84,
    crs_name,
    full_turn,
    has_longitude_latitude,
    metres_per_unit,
    transform_points,
)
from geoseg.geo.rasters.longitudes import Longitudes

Array = np.ndarray[Any, Any]

#: Size in degrees of the cells whose shapes share a local CRS, which errs by a
#: millionth over 10 km.
_CELL = 0.1
#: Number of corners in a quarter of a disc.
_QUARTER = 16


def simple_parts(geometry: shapely.Geometry) -> Iterator[shapely.Geometry]:
    """Yield the points, lines and polygons in a geometry that are not empty."""
    if hasattr(geometry, "geoms"):
        for part in geometry.geoms:
            yield from simple_parts(part)
    elif not geometry.is_empty:
        yield geometry


def widened(path: str, shapes: Array, crs: CRS | None, radius_m: float) -> Array:
    """Buffer points and lines by a radius; return polygons unchanged.

    Args:
        path: The file, for messages.
        shapes: ``(n,)`` points, lines and polygons.
        crs: CRS of the shapes.
        radius_m: Radius on the ground in metres.

    Returns:
        ``(n,)`` polygons.

    Raises:
        LabelError: If there are points or lines, and the CRS has no lengths.
    """
    wide = shapes.copy()
    thin = np.flatnonzero(shapely.get_dimensions(shapes) < 2)
    if not len(thin):
        return wide
    if crs is None:
        raise LabelError(
            f"labels {path} hold points or lines, and their radius of {radius_m:g} m "
            "needs a CRS: set one for image and labels, or draw polygons"
        )
    for members, local in _local_systems(path, shapes[thin], crs):
        chosen = thin[members]
        if local is None:
            wide[chosen] = _zone(shapes[chosen], radius_m / _unit_m(path, crs))
            continue
        there = shapely.transform(shapes[chosen], _mover(crs, local))
        zones = shapely.transform(_zone(there, radius_m), _mover(local, crs))
        if turn := full_turn(crs):
            middle = float(shapely.get_coordinates(shapes[chosen])[0, 0])
            near = Longitudes(middle, turn).near
            zones = shapely.transform(
                zones, lambda x, y: (near(x), y), interleaved=False
            )
        wide[chosen] = zones
    return wide


def _zone(shapes: Array, radius: float) -> Array:
    return np.asarray(shapely.buffer(shapes, radius, quad_segs=_QUARTER))


def _local_systems(
    path: str, shapes: Array, crs: CRS
) -> Iterator[tuple[Array, CRS | None]]:
    """Yield the numbers of neighbouring shapes, and a local CRS with true lengths.

    The CRS is None if the shapes' own has no position on Earth; its units are used
    then.
    """
    if not has_longitude_latitude(crs):
        yield np.arange(len(shapes)), None
        return
    middles = shapely.get_coordinates(shapely.centroid(shapes))
    cells = np.floor(transform_points(middles, crs, WGS84) / _CELL)
    _, group = np.unique(cells, axis=0, return_inverse=True)
    for number in range(int(group.max()) + 1):
        members = np.flatnonzero(group.ravel() == number)
        lon, lat = (cells[members[0]] + 0.5) * _CELL
        lat = min(max(lat, -90), 90)
        yield members, CRS.from_proj4(
            f"+proj=aeqd +lat_0={lat} +lon_0={lon} +datum=WGS84"
        )


def _unit_m(path: str, crs: CRS) -> float:
    """Return the unit in metres of a CRS without a position on Earth."""
    unit = metres_per_unit(crs)
    if unit is None:
        raise LabelError(
            f"labels {path} hold points or lines, and {crs_name(crs)} has no lengths "
            "in metres: give image and labels another CRS, or draw polygons"
        )
    return unit


def _mover(source: CRS, target: CRS) -> Callable[[Array], Array]:
    """Return a function that transforms ``(n, 2)`` coordinates between CRSs."""

    def move(points: Array) -> Array:
        return transform_points(points, source, target)

    return move
