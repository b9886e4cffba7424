"""Footprints to the files that GDAL writes feature by feature, and back."""

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
    """Create a file, and give what writes chunks of footprints to it.

    Args:
        path: A new file.
        how: A format that GDAL writes.
        layer: Its name, where the format has names.
        crs: Of the footprints.
        tags: Metadata; left out where the format has no place for it.

    Raises:
        OutputError: If it cannot be written.
    """
    # a multipolygon is what crosses the antimeridian
    kinds = ["Polygon", "MultiPolygon"] if how.longitude_latitude else "Polygon"
    fields = {ID: "int", **{it.name: it.kind for it in ATTRIBUTES}}
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
        # Only here: the network runs in the same loop and has RuntimeErrors of its own.
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
    """Return geometries as GeoJSON has them; polygons ten times as fast as shapely."""
    simple = shapely.get_type_id(geometries) == shapely.GeometryType.POLYGON
    if not simple.all():
        return [it.__geo_interface__ for it in geometries]
    _, points, ends = shapely.to_ragged_array(geometries)
    parts: list[Any] = list(zip(*points.T.tolist(), strict=True))
    for ends_of_parts in ends:
        cuts = pairwise(ends_of_parts.tolist())
        parts = [parts[begin:end] for begin, end in cuts]
    return [{"type": "Polygon", "coordinates": rings} for rings in parts]


def read_features(path: Path) -> Contents:
    """Say what is in a file; what is cut off at the end is not overlooked.

    Raises:
        OutputError: If it does not open.
    """
    try:
        with fiona.open(path) as collection:
            count = _count(collection)
            wkt = collection.crs_wkt  # empty where its PROJ does not know it
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
    """Count features, those alone that can be read."""
    if collection.driver != "FlatGeobuf":
        return len(collection)
    try:
        count = len(collection)
    except TypeError:  # so it says that there is none
        return 0
    # its header tells the number even if the end of the file is missing
    return count if collection[count - 1] is not None else count - 1
