"""Vector files of labels, whatever their format: geometries, values and CRS."""

import csv
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

import shapely
from rasterio.crs import CRS
from shapely.geometry import shape

from geoseg.classes import LabelClasses
from geoseg.errors import LabelError
from geoseg.geo.remote import (
    explain,
    file_name,
    is_remote,
    remote_access,
    user_name,
)

if TYPE_CHECKING:
    import fiona

#: Columns of a CSV that may hold WKT in longitude and latitude; SpaceNet's first.
WKT_COLUMNS = ("PolygonWKT_Geo", "WKT", "geometry")


#: Layer beside the labels whose polygons say where those hold.
AREA_LAYER = "labelled"

_NO_AREA = {*("Point", "MultiPoint", "LineString", "MultiLineString", "LinearRing")}


class Shapes(NamedTuple):
    """What a file holds.

    Attributes:
        geometries: Of the features that have one, in the file's order; may have Z.
        values: Of the class field, one a geometry; None without a field.
        crs: None if the file names none.
    """

    geometries: list[shapely.Geometry]
    values: list[Any]
    crs: CRS | None


def read_shapes(path: str, classes: LabelClasses) -> Shapes:
    """Read a vector file that is not empty.

    Curves come as fine polygons, features without a geometry are left out.

    Args:
        path: GeoJSON, also a feature a line, GeoPackage, FlatGeobuf, Shapefile,
            GeoParquet, or CSV with WKT.
        classes: Name the field and the layer.

    Raises:
        LabelError: If the file cannot be read, or has no such layer, field or column.
    """
    reader = _READERS.get(_suffix(path), _read_fiona)
    with _named_errors(path):
        found = reader(path, classes)
    if not classes.sparse:
        _check_kinds(path, found.geometries)
    return found


@contextmanager
def _named_errors(path: str) -> Iterator[None]:
    """Turn what readers raise into errors that name the file."""
    try:
        yield
    except (
        *(OSError, ValueError, RecursionError),
        *(csv.Error, shapely.errors.ShapelyError),
    ) as error:
        reason = " ".join(str(error).split())
        remote = explain(path, reason)
        if remote is not None:
            raise LabelError(f"labels {remote}") from error
        raise LabelError(
            f"labels {path} cannot be read ({reason}), expected a vector file: check "
            "it with ogrinfo"
        ) from error


def _check_kinds(path: str, geometries: Sequence[shapely.Geometry]) -> None:
    """Refuse a file of points and lines alone; collections may hold polygons."""
    kinds = {geometry.geom_type for geometry in geometries}
    if kinds and kinds <= _NO_AREA:
        raise LabelError(
            f"labels {path} hold {', '.join(sorted(kinds))} and no polygon, expected "
            "the outlines of buildings: name another file, or give --sparse if each has "
            "a class"
        )


def _read_fiona(path: str, classes: LabelClasses) -> Shapes:
    # fiona brings a GDAL of its own and takes a while to import
    import fiona

    try:
        with (
            remote_access(path) as name,
            fiona.open(name, layer=_layer_name(name, classes.layer)) as source,
        ):
            wkt = source.crs_wkt
            everything = list(source)
            _need_all(source, len(everything))
            items = [item for item in everything if item.geometry]
            if items:
                _check_field(path, classes, source.schema["properties"])
            return Shapes(
                [shape(item.geometry) for item in items],
                [item.properties.get(classes.field) for item in items],
                CRS.from_wkt(wkt) if wkt else None,
            )
    except fiona.errors.FionaError as error:
        raise OSError(str(error.__cause__ or error)) from error


def _need_all(source: "fiona.Collection", found: int) -> None:
    """Refuse a FlatGeobuf whose end is missing, of which GDAL reads what is there."""
    try:
        promised = len(source) if source.driver == "FlatGeobuf" else found
    except TypeError:  # a file that does not say how many there are
        return
    if found != promised:
        raise OSError(f"{found} of {promised} features are there")


def _read_json(path: str, classes: LabelClasses) -> Shapes:
    # GDAL reads what it can of a truncated GeoJSON; half the labels would be missing
    if not is_remote(path):
        with open(path, encoding="utf-8") as file:
            json.load(file)
    return _read_fiona(path, classes)


def _read_lines(path: str, classes: LabelClasses) -> Shapes:
    # likewise: GDAL leaves out lines that it cannot read
    if not is_remote(path):
        with open(path, encoding="utf-8") as file:
            for line in file:
                json.loads(line.lstrip("\x1e") or "null")
    return _read_fiona(path, classes)


class Columns(NamedTuple):
    """All that a table holds.

    Attributes:
        geometries: One a row, or None.
        values: Name of each other column → a value a row.
        types: Name of each other column → type.
        crs: None if the file names none.
    """

    geometries: list[shapely.Geometry | None]
    values: dict[str, list[Any]]
    types: dict[str, str]
    crs: CRS | None


def read_columns(path: str) -> Columns:
    """Read a whole table: GeoParquet, or CSV with WKT.

    Raises:
        LabelError: If it cannot be read, or has no column of geometries.
    """
    with _named_errors(path):
        return _TABLES[_suffix(path)](path)


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
    )


def _csv_columns(path: str) -> Columns:
    with open(path, encoding="utf-8-sig", newline="") as file:
        rows = csv.DictReader(file)
        names = list(rows.fieldnames or [])
        column = next((name for name in WKT_COLUMNS if name in names), None)
        if column is None:
            raise LabelError(
                f"labels {path} have columns {', '.join(names) or 'none'}, expected "
                f"WKT in longitude and latitude in one of {', '.join(WKT_COLUMNS)}"
            )
        items = list(rows)
    names.remove(column)
    return Columns(
        [shapely.from_wkt(row[column]) if row[column] else None for row in items],
        {name: [row[name] for row in items] for name in names},
        dict.fromkeys(names, "str"),
        CRS.from_epsg(4326),
    )


def _read_table(path: str, classes: LabelClasses) -> Shapes:
    """Read the rows of a table that have a geometry."""
    found = _TABLES[_suffix(path)](path)
    there = [number for number, item in enumerate(found.geometries) if item is not None]
    if there:
        _check_field(path, classes, found.values)
    values = found.values.get(classes.field or "", [None] * len(found.geometries))
    return Shapes(
        [item for item in found.geometries if item is not None],
        [values[number] for number in there],
        found.crs,
    )


_TABLES: dict[str, Callable[[str], Columns]] = {
    **dict.fromkeys((".parquet", ".geoparquet"), _parquet_columns),
    ".csv": _csv_columns,
}
_READERS: dict[str, Callable[[str, LabelClasses], Shapes]] = {
    **dict.fromkeys((".geojson", ".json"), _read_json),
    **dict.fromkeys((".geojsonl", ".ndjson"), _read_lines),
    **dict.fromkeys(_TABLES, _read_table),
}


def _suffix(path: str) -> str:
    return file_name(user_name(path)).suffix.lower()


def _check_field(path: str, classes: LabelClasses, names: Iterable[str]) -> None:
    if classes.field is None or classes.field in names:
        return
    there = ", ".join(names) or "none at all"
    if classes.sparse:
        raise LabelError(
            f"labels {path} have no attribute {classes.field!r} (found: {there}), and of "
            "sparse labels each feature has a class, those on the background too: name "
            "it with --class-field"
        )
    raise LabelError(
        f"labels {path} have no attribute {classes.field!r}, expected one of {there}: "
        "give --class-field"
    )


def _layer_name(path: str, wanted: str | None) -> str | None:
    """The layer to read: the one that is wanted, or the only one with geometries."""
    import fiona

    if _suffix(path) != ".gpkg":
        return None
    names = fiona.listlayers(path)
    if wanted is not None:
        if wanted not in names:
            raise LabelError(
                f"labels {path} have no layer {wanted!r}, expected one of "
                f"{', '.join(names)}: give --label-layer"
            )
        return wanted
    found = [name for name in names if _has_geometries(path, name)]
    if len(found) > 1:  # a file named labelled.gpkg has its labels in such a layer
        found = [name for name in found if name.casefold() != AREA_LAYER]
    if len(found) > 1:
        raise LabelError(
            f"labels {path} have {len(found)} layers ({', '.join(found)}), expected one: "
            "name it with --label-layer"
        )
    return str(found[0] if found else names[0])


def area_layer(path: str, labels_layer: str | None, *, named: bool) -> str | None:
    """Return the layer of a file that says where labels hold; None if none does.

    Args:
        path: Of the labels, or a file that somebody named for the area alone.
        labels_layer: The layer of the labels, where it was named.
        named: Whether it is such a file, whose only layer may have any name.

    Raises:
        LabelError: If that one has several layers and none is called ``labelled``.
    """
    import fiona

    if _suffix(path) != ".gpkg":
        return None
    with _named_errors(path), remote_access(path) as name:
        try:
            layers = [x for x in fiona.listlayers(name) if _has_geometries(name, x)]
        except fiona.errors.FionaError as error:
            raise OSError(str(error.__cause__ or error)) from error
    for layer in layers:
        own = layer.casefold() == AREA_LAYER and layer != labels_layer
        if own and (named or len(layers) > 1):
            return str(layer)
    if named and len(layers) > 1:
        raise LabelError(
            f"labelled area {path} has layers {', '.join(layers)}, expected one, or one "
            f"called {AREA_LAYER}: rename it"
        )
    return None


def _has_geometries(path: str, layer: str) -> bool:
    import fiona

    with fiona.open(path, layer=layer) as source:
        return bool(source.schema["geometry"] != "None")
