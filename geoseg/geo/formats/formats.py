"""Formats of footprint files and their properties."""

from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

from geoseg.core.errors import ParameterError


class Format(NamedTuple):
    """A format of footprints.

    Attributes:
        name: Name for display.
        driver: GDAL's driver; None if pyarrow writes the format.
        suffixes: Extensions, in lower case.
        media_type: Media type for catalogues.
        longitude_latitude: Whether its standard requires WGS 84, cut at the
            antimeridian; else coordinates are in the raster's CRS.
        describes_itself: Whether an empty file has fields, geometry type and CRS.
        style_inside: Whether the style is in the file, not beside it.
        options: Options of GDAL's driver.
    """

    name: str
    driver: str | None
    suffixes: tuple[str, ...]
    media_type: str
    longitude_latitude: bool = False
    describes_itself: bool = True
    style_inside: bool = False
    options: Mapping[str, str] = MappingProxyType({})


FORMATS = (
    Format(
        "GeoJSON",
        "GeoJSON",
        (".geojson",),
        "application/geo+json",
        longitude_latitude=True,
        describes_itself=False,
        options={"RFC7946": "YES", "COORDINATE_PRECISION": "7"},
    ),
    Format(
        "GeoPackage",
        "GPKG",
        (".gpkg",),
        "application/geopackage+sqlite3",
        style_inside=True,
        # older QGIS warns about newer versions
        options={"VERSION": "1.2", "SPATIAL_INDEX": "YES"},
    ),
    Format(
        "FlatGeobuf",
        "FlatGeobuf",
        (".fgb",),
        "application/vnd.flatgeobuf",
        options={"SPATIAL_INDEX": "YES"},
    ),
    Format(
        "GeoParquet",
        None,
        (".parquet", ".geoparquet"),
        "application/vnd.apache.parquet",
    ),
    Format(
        "newline-delimited GeoJSON",
        "GeoJSONSeq",
        (".geojsonl", ".ndjson"),
        "application/x-ndjson",
        longitude_latitude=True,
        describes_itself=False,
        # one feature per line, without the record separators of RFC 8142
        options={"RS": "NO", "COORDINATE_PRECISION": "7"},
    ),
)
_BY_SUFFIX = {suffix: how for how in FORMATS for suffix in how.suffixes}
#: Extensions of footprints.
SUFFIXES = tuple(_BY_SUFFIX)

#: Characters that may not begin the name of a layer in a GeoPackage, for GDAL.
_NO_BEGINNING = frozenset("`~!@#$%^&*()+-={}|[]\\:\";'<>?,./")

#: Why geoseg does not write some usual formats, and what to take instead.
_REFUSED = {
    ".shp": "a Shapefile, which cuts names at 10 characters and files at 2 GB and "
    "scatters over four files: take .gpkg, which opens wherever it does",
    ".json": "GeoJSON or anything else: call it .geojson",
    ".geojsons": "a text sequence of RFC 8142, which few programs read: take .geojsonl",
    ".geojsonseq": "a text sequence of RFC 8142, which few programs read: take "
    ".geojsonl",
    **dict.fromkeys(
        (".kml", ".kmz"),
        "KML, whose attributes are texts and whose readers draw few polygons: take "
        ".geojson, which Google Earth opens too",
    ),
    ".csv": "a table without CRS and geometry type: take .gpkg or .geojson",
    ".gml": "GML, which needs a schema beside it: take .gpkg",
    ".dxf": "a drawing without attributes and CRS: take .gpkg and convert it",
    ".gdb": "a geodatabase of ESRI's: take .gpkg, which ArcGIS opens",
    ".sqlite": "a database: take .gpkg, which is one of SQLite",
}


def check_format(path: Path) -> Format:
    """Return a file's format by its extension.

    Raises:
        ParameterError: If footprints cannot be written in it, or pyarrow is missing.
    """
    suffix = path.suffix.lower()
    how = _BY_SUFFIX.get(suffix)
    if how is None:
        reason = _REFUSED.get(suffix)
        what = f" ({reason})" if reason else ""
        raise ParameterError(
            f"{path.name} {_ending(path.suffix)}{what}, expected one "
            f"of {', '.join(SUFFIXES)}; rename the output"
        )
    if how.driver is None and find_spec("pyarrow") is None:
        raise ParameterError(
            f"{path.name} is {how.name}, which needs pyarrow: pip install "
            '"geoseg[parquet]", or take .fgb'
        )
    if how.driver == "GPKG":
        _check_layer_name(path)
    return how


def _check_layer_name(path: Path) -> None:
    """Raise if a GeoPackage's file name cannot be the name of its layer."""
    name = path.stem
    reserved = name.lower().startswith(("gpkg", "sqlite_", "rtree_"))
    if reserved or name.lower() == "layer_styles" or name[:1] in _NO_BEGINNING:
        why = (
            "GeoPackages reserve"
            if reserved or name[:1] not in _NO_BEGINNING
            else f"may not begin with {name[:1]!r}"
        )
        raise ParameterError(
            f"{path.name} would hold a layer {name!r}, a name that {why}: give the file "
            "another name"
        )


def _ending(suffix: str) -> str:
    return f"ends in {suffix!r}" if suffix else "has no extension"
