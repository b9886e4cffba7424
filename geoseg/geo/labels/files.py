"""Reading of vector labels in all formats: geometries, class values and CRS."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import shapely
from rasterio.crs import CRS

from geoseg.core.classes import LabelClasses
from geoseg.core.errors import LabelError
from geoseg.geo.labels.loose_geometries import each_feature, readable_geometry
from geoseg.geo.labels.tables import Columns, named_errors, read_columns, suffix_of
from geoseg.geo.sources.remote import remote_access
from geoseg.geo.sources.vector_files import list_layers, open_vectors

if TYPE_CHECKING:
    import fiona

#: Name of the layer of the labelled area, beside the labels in a GeoPackage.
AREA_LAYER = "labelled"

_NO_AREA = {"Point", "MultiPoint", "LineString", "MultiLineString", "LinearRing"}
#: Drivers that can skip the decoding of other attributes.
_SELECTIVE = ("GPKG", "FlatGeobuf", "ESRI Shapefile")


class Shapes(NamedTuple):
    """Geometries and class values of a vector file.

    Attributes:
        geometries: Geometries of the features that have one, in the file's order; they
            may have Z.
        values: Value of the class field of each geometry; None without a class field.
        crs: CRS of the file, or None.
        numbers: Feature number of each geometry: the fid in a GeoPackage, in other
            formats the position from 1.
        unreadable: Feature number → what is wrong; parts of the feature may be read.
    """

    geometries: list[shapely.Geometry]
    values: list[Any]
    crs: CRS | None
    numbers: list[int]
    unreadable: dict[int, str]


def read_shapes(path: str, classes: LabelClasses) -> Shapes:
    """Read the geometries and class values of a vector file that is not empty.

    Curves are converted to polygons, features without a geometry are skipped, and only
    the class field is read of the attributes.

    Args:
        path: GeoJSON, GeoJSON lines, GeoPackage, FlatGeobuf, Shapefile, GeoParquet, or
            CSV with WKT.
        classes: Names of the field and the layer.

    Raises:
        LabelError: If the file or all of its features cannot be read, or it has no such
            layer, field or column.
    """
    columns = read_columns(path)
    if columns is not None:
        shapes = _with_geometry(path, columns, classes)
    else:
        with named_errors(path):
            shapes = _read_fiona(path, classes)
    if shapes.unreadable and not shapes.geometries:
        number, wrong = next(iter(shapes.unreadable.items()))
        raise LabelError(
            f"labels {path} cannot be read: none of {len(shapes.unreadable)} features "
            f"is readable, the first is feature {number} ({wrong}), expected polygons: "
            "check it with ogrinfo"
        )
    if not classes.sparse:
        _check_kinds(path, shapes.geometries)
    return shapes


def _with_geometry(path: str, columns: Columns, classes: LabelClasses) -> Shapes:
    """Return the rows of a table that have a geometry."""
    rows = [i for i, item in enumerate(columns.geometries) if item is not None]
    if rows:
        _check_field(path, classes, columns.values)
    values = columns.values.get(classes.field or "", [None] * len(columns.geometries))
    return Shapes(
        [item for item in columns.geometries if item is not None],
        [values[row] for row in rows],
        columns.crs,
        [row + 1 for row in rows],
        {row + 1: wrong for row, wrong in columns.unreadable.items()},
    )


def _check_kinds(path: str, geometries: Sequence[shapely.Geometry]) -> None:
    """Raise if a file has only points and lines; collections may hold polygons."""
    kinds = {geometry.geom_type for geometry in geometries}
    if kinds and kinds <= _NO_AREA:
        raise LabelError(
            f"labels {path} hold {', '.join(sorted(kinds))} and no polygon, expected "
            "the outlines of buildings: name another file, or give --sparse if each "
            "feature has a class"
        )


def _read_fiona(path: str, classes: LabelClasses) -> Shapes:
    # fiona brings a GDAL of its own and takes a while to import
    import fiona

    try:
        with remote_access(path) as name:
            layer = _layer_name(name, classes.layer)
            with open_vectors(name, layer) as source:
                fields = list(source.schema["properties"])
                chosen = _chosen_fields(source, classes)
            with open_vectors(name, layer, **chosen) as source:
                shapes = _read_features(source, classes)
    except (fiona.errors.FionaError, fiona._err.CPLE_BaseError) as error:
        raise OSError(str(error.__cause__ or error)) from error
    if shapes.geometries:
        _check_field(path, classes, fields)
    return shapes


def _chosen_fields(source: "fiona.Collection", classes: LabelClasses) -> dict[str, Any]:
    """Return options of ``open_vectors`` to decode only the class field if possible."""
    if source.driver not in _SELECTIVE:
        return {}
    names = source.schema["properties"]
    return {"include_fields": [name for name in names if name == classes.field]}


def _read_features(source: "fiona.Collection", classes: LabelClasses) -> Shapes:
    """Read the features of an open file one by one, and record the unreadable ones."""
    wkt = source.crs_wkt
    shapes = Shapes([], [], CRS.from_wkt(wkt) if wkt else None, [], {})
    count = 0
    for count, item in enumerate(each_feature(source), start=1):
        if isinstance(item, Exception):
            shapes.unreadable[count] = " ".join(str(item).split())
            continue
        if item.geometry is None:
            continue
        number = int(item.id) if source.driver == "GPKG" else count
        geometry, wrong = readable_geometry(item.geometry.__geo_interface__)
        if wrong:
            shapes.unreadable[number] = wrong
        if geometry is not None:
            shapes.geometries.append(geometry)
            shapes.values.append(item.properties.get(classes.field))
            shapes.numbers.append(number)
    _need_all(source, count)
    return shapes


def _need_all(source: "fiona.Collection", count: int) -> None:
    """Raise if a FlatGeobuf is truncated, which GDAL does not report."""
    try:
        declared = len(source) if source.driver == "FlatGeobuf" else count
    except TypeError:  # the file does not declare its number of features
        return
    if count != declared:
        raise OSError(f"{count} of {declared} features are there")


def _check_field(path: str, classes: LabelClasses, names: Iterable[str]) -> None:
    if classes.field is None or classes.field in names:
        return
    present = ", ".join(names) or "none at all"
    if classes.sparse:
        raise LabelError(
            f"labels {path} have no attribute {classes.field!r} (found: {present}), "
            "expected a class for each feature of sparse labels, also on the "
            "background: name the attribute with --class-field"
        )
    raise LabelError(
        f"labels {path} have no attribute {classes.field!r}, expected one of "
        f"{present}: give --class-field"
    )


def _layer_name(path: str, named: str | None) -> str | None:
    """Return the layer to read: the named one, or the only one with geometries."""
    if suffix_of(path) != ".gpkg":
        return None
    names = list_layers(path)
    if named is not None:
        if named not in names:
            raise LabelError(
                f"labels {path} have no layer {named!r}, expected one of "
                f"{', '.join(names)}: give --label-layer"
            )
        return named
    layers = [name for name in names if _has_geometries(path, name)]
    if len(layers) > 1:  # the only layer of labelled.gpkg has the name of the area's
        layers = [name for name in layers if name.casefold() != AREA_LAYER]
    if len(layers) > 1:
        raise LabelError(
            f"labels {path} have {len(layers)} layers ({', '.join(layers)}), expected "
            "one: name it with --label-layer"
        )
    return str(layers[0] if layers else names[0])


def area_layer(path: str, labels_layer: str | None, *, named: bool) -> str | None:
    """Return the layer of the labelled area in a file, or None.

    Args:
        path: File of the labels, or of the labelled area alone.
        labels_layer: The layer of the labels, if named.
        named: Whether the file is of the area alone; its only layer may have any name.

    Raises:
        LabelError: If such a file has several layers and none is called ``labelled``.
    """
    import fiona

    if suffix_of(path) != ".gpkg":
        return None
    with named_errors(path), remote_access(path) as name:
        try:
            layers = [x for x in list_layers(name) if _has_geometries(name, x)]
        except (fiona.errors.FionaError, fiona._err.CPLE_BaseError) as error:
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
    with open_vectors(path, layer) as source:
        return bool(source.schema["geometry"] != "None")
