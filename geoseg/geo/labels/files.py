"""Vector files of labels, whatever their format: geometries, values and CRS."""

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

#: Layer beside the labels whose polygons say where those hold.
AREA_LAYER = "labelled"

_NO_AREA = {*("Point", "MultiPoint", "LineString", "MultiLineString", "LinearRing")}
#: Formats of which GDAL decodes chosen attributes alone.
_SELECTIVE = ("GPKG", "FlatGeobuf", "ESRI Shapefile")


class Shapes(NamedTuple):
    """What a file holds.

    Attributes:
        geometries: Of the features that have one, in the file's order; may have Z.
        values: Of the class field, one a geometry; None without a field.
        crs: None if the file names none.
        numbers: Of the features in the file, one a geometry: the fid of a GeoPackage, of
            others their place from 1.
        unreadable: Number of a feature → what is wrong with it; parts of it may have
            been read all the same.
    """

    geometries: list[shapely.Geometry]
    values: list[Any]
    crs: CRS | None
    numbers: list[int]
    unreadable: dict[int, str]


def read_shapes(path: str, classes: LabelClasses) -> Shapes:
    """Read a vector file that is not empty.

    Curves come as fine polygons, features without a geometry are left out. Of the
    attributes the class field alone is looked at.

    Args:
        path: GeoJSON, also a feature a line, GeoPackage, FlatGeobuf, Shapefile,
            GeoParquet, or CSV with WKT.
        classes: Name the field and the layer.

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
            f"labels {path} cannot be read: of {len(shapes.unreadable)} features none is "
            f"readable, the first is feature {number} ({wrong}), expected polygons: check "
            "it with ogrinfo"
        )
    if not classes.sparse:
        _check_kinds(path, shapes.geometries)
    return shapes


def _with_geometry(path: str, columns: Columns, classes: LabelClasses) -> Shapes:
    """Take the rows of a table that have a geometry."""
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
    """Return the options that make GDAL decode the class field alone, if it can."""
    if source.driver not in _SELECTIVE:
        return {}
    names = source.schema["properties"]
    return {"include_fields": [name for name in names if name == classes.field]}


def _read_features(source: "fiona.Collection", classes: LabelClasses) -> Shapes:
    """Read the features of an open file one by one; what cannot be read is named."""
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


def _need_all(source: "fiona.Collection", found: int) -> None:
    """Refuse a FlatGeobuf whose end is missing, of which GDAL reads what is there."""
    try:
        promised = len(source) if source.driver == "FlatGeobuf" else found
    except TypeError:  # a file that does not say how many there are
        return
    if found != promised:
        raise OSError(f"{found} of {promised} features are there")


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
    if suffix_of(path) != ".gpkg":
        return None
    names = list_layers(path)
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
