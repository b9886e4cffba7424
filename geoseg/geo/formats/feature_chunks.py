"""Preparation of footprints for writing: numbers and coordinates, in chunks."""

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

#: Number of footprints reprojected and written at a time.
CHUNK = 1000
#: Decimals of degrees in GeoJSON: about a centimetre (RFC 7946, section 11.2, has 6 or
#: 7).
DECIMALS = 7


class Chunk(NamedTuple):
    """A chunk of footprints, ready to write.

    Attributes:
        geometries: ``(n,)``, valid, exterior rings counter-clockwise.
        columns: Name of each attribute → ``n`` values.
    """

    geometries: Geometries
    columns: dict[str, list[Any]]


@dataclass(frozen=True)
class Contents:
    """Summary of a footprint file.

    Attributes:
        count: Number of footprints.
        crs: CRS; None if the file names none.
        bounds: Bounds in the CRS; None if the file has no footprint.
        fields: Names of the attributes; empty if the file names none.
    """

    count: int
    crs: rasterio.crs.CRS | None
    bounds: Bounds | None
    fields: tuple[str, ...]


def chunks(
    footprints: Iterable[Footprint], place: Callable[[Geometries], Geometries]
) -> Iterator[Chunk]:
    """Number footprints from 1 and transform their coordinates, chunk by chunk.

    Footprints that become empty by the transformation are left out.

    Args:
        footprints: The footprints.
        place: Transforms polygons to the coordinates of the file.
    """
    stream = iter(footprints)
    first = 1
    while some := list(islice(stream, CHUNK)):
        polygons = [footprint.geometry for footprint in some]
        geometries = place(np.array(polygons, dtype=object))
        left = np.flatnonzero(~shapely.is_empty(geometries))
        columns: dict[str, list[Any]] = {ID: list(range(first, first + len(left)))}
        for attribute in ATTRIBUTES:
            columns[attribute.name] = [attribute.value(some[i]) for i in left]
        first += len(left)
        # RFC 7946 and our GeoParquet metadata require counter-clockwise exterior rings
        yield Chunk(shapely.orient_polygons(geometries[left]), columns)


def union(
    bounds: Bounds | None, geometries: Iterable[shapely.Geometry]
) -> Bounds | None:
    """Return bounds enlarged to contain some geometries."""
    everything = [*([] if bounds is None else [shapely.box(*bounds)]), *geometries]
    return tuple(shapely.total_bounds(everything).tolist()) if everything else None


def to_longitude_latitude(
    crs: rasterio.crs.CRS,
) -> Callable[[Geometries], Geometries]:
    """Return a function that transforms polygons to WGS 84, rounded for GeoJSON.

    Raises:
        RasterError: If the CRS's points have no longitudes and latitudes.
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
        rounded = shapely.transform(placed, lambda points: np.round(points, DECIMALS))
        # rounding may make an outline touch itself
        for i in np.flatnonzero(~shapely.is_valid(rounded)):
            rounded[i] = only_polygons(shapely.make_valid(rounded[i]))
        return np.asarray(rounded)

    return place
