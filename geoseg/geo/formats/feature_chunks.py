"""Footprints on their way to a file: numbered, placed, a thousand at a time."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import rasterio.crs
import shapely

from geoseg.core.errors import RasterError
from geoseg.geo.coordinates.crs import (
    WGS84,
    crs_name,
    has_longitude_latitude,
    transform_points,
)
from geoseg.geo.footprints.vectorize import Footprint
from geoseg.geo.formats.antimeridian import Points, only_polygons, to_globe
from geoseg.geo.formats.attributes import ATTRIBUTES, ID

Geometries = npt.NDArray[np.object_]
#: West, south, east, north.
Bounds = tuple[float, float, float, float]

#: Footprints reprojected and written at a time.
CHUNK = 1000
#: Of GeoJSON: about a centimetre (RFC 7946, section 11.2, has 6 or 7).
DECIMALS = 7


class Chunk(NamedTuple):
    """Some footprints, as they are written.

    Attributes:
        geometries: ``(n,)``, valid, exterior rings counter-clockwise.
        columns: Name of each attribute → ``n`` values.
    """

    geometries: Geometries
    columns: dict[str, list[Any]]


@dataclass(frozen=True)
class Contents:
    """What a file of footprints holds.

    Attributes:
        count: Number of footprints.
        crs: None if nothing in the file says so.
        bounds: In the CRS; None if it is empty.
        fields: Names of the attributes; none if nothing in the file says so.
    """

    count: int
    crs: rasterio.crs.CRS | None
    bounds: Bounds | None
    fields: tuple[str, ...]


def chunks(
    footprints: Iterable[Footprint], place: Callable[[Geometries], Geometries]
) -> Iterator[Chunk]:
    """Number footprints from 1, and place them a chunk at a time.

    What is so small that placing leaves nothing of it is left out.
    """
    stream = iter(footprints)
    first = 1
    while some := list(islice(stream, CHUNK)):
        geometries = place(np.array([it.geometry for it in some], dtype=object))
        left = np.flatnonzero(~shapely.is_empty(geometries))
        columns: dict[str, list[Any]] = {ID: list(range(first, first + len(left)))}
        for attribute in ATTRIBUTES:
            columns[attribute.name] = [attribute.value(some[i]) for i in left]
        first += len(left)
        # exterior counter-clockwise: RFC 7946 wants it, GeoParquet promises it
        yield Chunk(shapely.orient_polygons(geometries[left]), columns)


def union(
    bounds: Bounds | None, geometries: Iterable[shapely.Geometry]
) -> Bounds | None:
    """Enlarge bounds so that they hold some geometries, too."""
    everything = [*([] if bounds is None else [shapely.box(*bounds)]), *geometries]
    return tuple(shapely.total_bounds(everything).tolist()) if everything else None


def to_longitude_latitude(
    crs: rasterio.crs.CRS,
) -> Callable[[Geometries], Geometries]:
    """Return what brings polygons of a CRS to WGS 84, rounded as GeoJSON has them.

    Raises:
        RasterError: If its points have no longitudes and latitudes.
    """
    if not has_longitude_latitude(crs):
        raise RasterError(
            f"footprints in {crs_name(crs)} have no longitudes and latitudes, expected a "
            "CRS that PROJ can place on Earth; write them in their own: take .gpkg"
        )

    def locate(points: Points) -> Points:
        return transform_points(points, crs, WGS84)

    def place(geometries: Geometries) -> Geometries:
        placed = to_globe(geometries, locate)
        rounded = shapely.transform(placed, lambda it: np.round(it, DECIMALS))
        # a centimetre may be enough to make an outline touch itself
        for i in np.flatnonzero(~shapely.is_valid(rounded)):
            rounded[i] = only_polygons(shapely.make_valid(rounded[i]))
        return np.asarray(rounded)

    return place
