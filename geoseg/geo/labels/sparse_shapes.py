"""Sparse labels: points, lines and polygons that say what is there, and nothing else.

A point stands for a disc and a line for a strip, of a width in metres on the ground
whatever the CRS: degrees and the pixels of Web Mercator are no metres.
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

#: Shapes whose middles lie in one cell of so many degrees share a local CRS: over 10 km
#: that errs by a millionth.
_CELL = 0.1
#: Corners in a quarter of a disc.
_QUARTER = 16


def simple_parts(geometry: shapely.Geometry) -> Iterator[shapely.Geometry]:
    """Yield the points, lines and polygons in a geometry that are not empty."""
    if hasattr(geometry, "geoms"):
        for part in geometry.geoms:
            yield from simple_parts(part)
    elif not geometry.is_empty:
        yield geometry


def widened(path: str, shapes: Array, crs: CRS | None, radius_m: float) -> Array:
    """Return polygons as they are, and around points and lines a zone of a radius.

    Args:
        path: Of their file, for messages.
        shapes: ``(n,)`` points, lines and polygons.
        crs: Theirs.
        radius_m: On the ground where they lie, in metres.

    Returns:
        ``(n,)`` polygons.

    Raises:
        LabelError: If there are points or lines, and the CRS does not say how long a
            metre is.
    """
    wide = shapes.copy()
    thin = np.flatnonzero(shapely.get_dimensions(shapes) < 2)
    if not len(thin):
        return wide
    if crs is None:
        raise LabelError(
            f"labels {path} hold points or lines, whose {radius_m:g} m are of no known "
            "length without a CRS: set one for image and labels, or draw polygons"
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
    """Yield the numbers of shapes that lie together, and a CRS of true lengths there.

    None where the CRS has no place on the Earth: then its own units hold.
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
    """Return the length of a unit of a CRS that has no place on the Earth."""
    unit = metres_per_unit(crs)
    if unit is None:
        raise LabelError(
            f"labels {path} hold points or lines, and {crs_name(crs)} does not say how "
            "long a metre is: give image and labels another CRS, or draw polygons"
        )
    return unit


def _mover(source: CRS, target: CRS) -> Callable[[Array], Array]:
    """Return what brings ``(n, 2)`` coordinates from one CRS to another."""

    def move(points: Array) -> Array:
        return transform_points(points, source, target)

    return move
