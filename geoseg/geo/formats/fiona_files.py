"""Writing and reading of footprint files by GDAL, feature by feature."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import fiona
import rasterio.crs
import shapely

from geoseg.core.errors import OutputError, remedy
from geoseg.geo.formats.attributes import ATTRIBUTES, ID
from geoseg.geo.formats.feature_chunks import Chunk, Contents, Geometries
from geoseg.geo.formats.formats import Format
from geoseg.geo.formats.layer_styles import DATE


@contextmanager
def open_features(
    path: Path,
    how: Format,
    *,
    layer: str,
    crs: rasterio.crs.CRS,
    tags: Mapping[str, str],
) -> Iterator[Callable[[Chunk], None]]:
    """Create a file and yield a function that writes chunks of footprints to it.

    Args:
        path: A new file.
        how: A format that GDAL writes.
        layer: Name of the layer, if the format has names.
        crs: CRS of the footprints.
        tags: Metadata, if the format has a place for them.

    Raises:
        OutputError: If it cannot be written.
    """
    # footprints across the antimeridian are multipolygons
    kinds = ["Polygon", "MultiPolygon"] if how.longitude_latitude else "Polygon"
    fields = {ID: "int", **{field.name: field.kind for field in ATTRIBUTES}}
    try:
        with (
            fiona.Env(OGR_CURRENT_DATE=DATE),
            fiona.open(
                path,
                "w",
                driver=how.driver,
                layer=layer,
                schema={"geometry": kinds, "properties": fields},
                crs_wkt=crs.to_wkt(),
                **how.options,
            ) as collection,
        ):
            if how.describes_itself:
                collection.update_tags(dict(tags))
            yield lambda chunk: _store(collection, chunk)
    except (fiona.errors.FionaError, fiona._err.CPLE_BaseError) as error:
        raise OutputError(
            f"{path.name} could not be written ({error}); {remedy(error)}"
        ) from error


def _store(collection: fiona.Collection, chunk: Chunk) -> None:
    try:
        collection.writerecords(_records(chunk))
    except RuntimeError as error:
        # caught only here, because the network in the same loop raises RuntimeErrors
        # too
        reason = str(error).split(":")[0]
        raise OutputError(
            f"{collection.name} could not be written ({reason}); {remedy(error)}"
        ) from error


def _records(chunk: Chunk) -> list[dict[str, Any]]:
    names = list(chunk.columns)
    rows = zip(*chunk.columns.values(), strict=True)
    return [
        {
            "type": "Feature",
            "geometry": geometry,
            "properties": dict(zip(names, row, strict=True)),
        }
        for geometry, row in zip(_mappings(chunk.geometries), rows, strict=True)
    ]


def _mappings(geometries: Geometries) -> list[dict[str, Any]]:
    """Return geometries as GeoJSON objects; polygons ten times as fast as shapely."""
    simple = shapely.get_type_id(geometries) == shapely.GeometryType.POLYGON
    if not simple.all():
        return [geometry.__geo_interface__ for geometry in geometries]
    _, points, ends = shapely.to_ragged_array(geometries)
    parts: list[Any] = list(zip(*points.T.tolist(), strict=True))
    for ends_of_parts in ends:
        cuts = pairwise(ends_of_parts.tolist())
        parts = [parts[begin:end] for begin, end in cuts]
    return [{"type": "Polygon", "coordinates": rings} for rings in parts]


def read_features(path: Path) -> Contents:
    """Return the summary of a file, also of a truncated one.

    Raises:
        OutputError: If the file does not open.
    """
    try:
        with fiona.open(path) as collection:
            count = _count(collection)
            wkt = collection.crs_wkt  # empty if fiona's PROJ does not know the CRS
            return Contents(
                count,
                rasterio.crs.CRS.from_wkt(wkt) if wkt else None,
                tuple(collection.bounds) if count else None,
                tuple(collection.schema["properties"]),
            )
    except (fiona.errors.FionaError, fiona._err.CPLE_BaseError, ValueError) as error:
        raise OutputError(
            f"the footprints just written do not open ({error}); check the free space"
        ) from error


def _count(collection: fiona.Collection) -> int:
    """Count the readable features."""
    if collection.driver != "FlatGeobuf":
        return len(collection)
    try:
        count = len(collection)
    except TypeError:  # the header declares no feature
        return 0
    # the header declares the number even if the end of the file is missing
    return count if collection[count - 1] is not None else count - 1
