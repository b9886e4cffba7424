"""Reading of vector files without GDAL: GeoJSON, GeoParquet, CSV with WKT."""

import csv
import io
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import shapely
from rasterio.crs import CRS

from geoseg.core.addresses import file_name, is_remote, user_name
from geoseg.core.errors import LabelError, remedy
from geoseg.geo.labels.loose_geometries import readable_geometry
from geoseg.geo.sources.geojson_files import (
    Document,
    attribute_types,
    read_document,
    read_sequence,
)
from geoseg.geo.sources.remote import explain
from geoseg.geo.sources.text_files import read_text

#: Columns of a CSV that may hold WKT in longitude and latitude; SpaceNet's first.
WKT_COLUMNS = ("PolygonWKT_Geo", "WKT", "geometry")
#: Separators of CSV columns; Excel writes semicolons where the comma is the decimal
#: sign.
_SEPARATORS = ",;\t|"


class Columns(NamedTuple):
    """The content of a table with geometries.

    Attributes:
        geometries: Geometry of each row, or None.
        values: Name of each other column → its values.
        types: Name of each other column → its type.
        crs: CRS of the file, or None.
        unreadable: Row number, from 0, → what is wrong with its geometry; parts of it
            may be read.
        name: Name of the layer, or None.
    """

    geometries: list[shapely.Geometry | None]
    values: dict[str, list[Any]]
    types: dict[str, str]
    crs: CRS | None
    unreadable: dict[int, str]
    name: str | None = None


def read_columns(path: str) -> Columns | None:
    """Read a whole table; return None for a format that GDAL reads.

    Raises:
        LabelError: If it cannot be read, or has no column of geometries.
    """
    reader = _TABLES.get(suffix_of(path))
    if reader is None:
        return None
    with named_errors(path):
        return reader(path)


@contextmanager
def named_errors(path: str) -> Iterator[None]:
    """Convert errors of readers inside a ``with`` block to ones that name the file."""
    try:
        yield
    except (
        OSError,
        ValueError,
        RecursionError,
        csv.Error,
        shapely.errors.ShapelyError,
    ) as error:
        reason = " ".join(str(error).split())
        remote = explain(path, reason)
        if remote is not None:
            raise LabelError(f"labels {remote}") from error
        known = getattr(error, "errno", None) is not None
        what = remedy(error) if known else "check it with ogrinfo"
        raise LabelError(
            f"labels {path} cannot be read ({reason}), expected a vector file: {what}"
        ) from error


def suffix_of(path: str) -> str:
    """Return the suffix of a file's name, in lower case."""
    return file_name(user_name(path)).suffix.lower()


def _json_columns(path: str) -> Columns | None:
    document = None if is_remote(path) else read_document(path)
    return None if document is None else _of_features(document)


def _line_columns(path: str) -> Columns | None:
    return None if is_remote(path) else _of_features(read_sequence(path))


def _of_features(document: Document) -> Columns:
    geometries: list[shapely.Geometry | None] = []
    properties: list[dict[str, Any]] = []
    unreadable: dict[int, str] = {}
    for number, feature in enumerate(document.features):
        members = feature if isinstance(feature, dict) else {}
        own, item = members.get("properties"), members.get("geometry")
        properties.append(own if isinstance(own, dict) else {})
        geometry, wrong = readable_geometry(item) if item is not None else (None, "")
        geometries.append(geometry)
        if wrong:
            unreadable[number] = wrong
    types = attribute_types(properties)
    return Columns(
        geometries,
        {name: [item.get(name) for item in properties] for name in types},
        types,
        document.crs,
        unreadable,
        document.name,
    )


def _parquet_columns(path: str) -> Columns:
    import geopandas

    try:
        table = geopandas.read_parquet(path)
    except ImportError as error:
        raise LabelError(
            f"labels {path} are GeoParquet, which needs pyarrow: pip install pyarrow, or "
            "convert them with ogr2ogr labels.gpkg"
        ) from error
    rest = table.drop(columns=table.geometry.name)
    return Columns(
        list(table.geometry),
        {
            name: list(column.astype(object).where(column.notna(), None))
            for name, column in rest.items()
        },
        {name: str(dtype) for name, dtype in rest.dtypes.items()},
        CRS.from_wkt(table.crs.to_wkt()) if table.crs else None,
        {},
    )


def _csv_columns(path: str) -> Columns:
    text = read_text(path)
    header = text[: text.find("\n") + 1 or None]
    separator = max(_SEPARATORS, key=header.count)
    with _fields_of_any_size():
        rows = csv.DictReader(io.StringIO(text, newline=""), delimiter=separator)
        names = [name.strip() for name in rows.fieldnames or []]
        rows.fieldnames = names
        column = next((name for name in WKT_COLUMNS if name in names), None)
        if column is None:
            raise LabelError(
                f"labels {path} have columns {', '.join(names) or 'none'}, expected "
                f"WKT in longitude and latitude in one of {', '.join(WKT_COLUMNS)}"
            )
        items = list(rows)
    names.remove(column)
    geometries: list[shapely.Geometry | None] = []
    unreadable: dict[int, str] = {}
    for number, row in enumerate(items):
        geometry, wrong = _wkt_geometry(row[column])
        geometries.append(geometry)
        if wrong:
            unreadable[number] = wrong
    return Columns(
        geometries,
        {name: [row[name] for row in items] for name in names},
        dict.fromkeys(names, "str"),
        CRS.from_epsg(4326),
        unreadable,
    )


def _wkt_geometry(text: str | None) -> tuple[shapely.Geometry | None, str]:
    """Return a geometry from WKT, also with unclosed rings, and what is wrong or ""."""
    try:
        return shapely.from_wkt(text or None), ""
    except shapely.errors.ShapelyError as error:
        closed = shapely.from_wkt(text, on_invalid="fix")
        wrong = "" if closed is not None else " ".join(str(error).split())
        return closed, wrong


@contextmanager
def _fields_of_any_size() -> Iterator[None]:
    """Lift the csv module's limit on field size inside a ``with`` block."""
    limit = csv.field_size_limit(sys.maxsize)
    try:
        yield
    finally:
        csv.field_size_limit(limit)


_TABLES: dict[str, Callable[[str], Columns | None]] = {
    **dict.fromkeys((".parquet", ".geoparquet"), _parquet_columns),
    **dict.fromkeys((".geojson", ".json"), _json_columns),
    **dict.fromkeys((".geojsonl", ".ndjson"), _line_columns),
    ".csv": _csv_columns,
}
