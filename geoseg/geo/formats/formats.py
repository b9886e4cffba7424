"""Formats of footprints: which there are, and what each of them can hold."""

from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

from geoseg.core.errors import ParameterError


class Format(NamedTuple):
    """A format of footprints.

    Attributes:
        name: What people call it.
        driver: What GDAL calls it; None where GDAL has no part in it.
        suffixes: Extensions, in lower case.
        media_type: For catalogues.
        longitude_latitude: Whether it is in WGS 84 by its standard, cut at the
            antimeridian; else it is in the raster's CRS.
        describes_itself: Whether an empty file has fields, geometry type and CRS.
        style_inside: Whether the style lies in the file, not beside it.
        options: Of GDAL's driver.
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
        # older QGIS warns of newer versions
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
        # a feature a line, not the text sequences of RFC 8142
        options={"RS": "NO", "COORDINATE_PRECISION": "7"},
    ),
)
_BY_SUFFIX = {suffix: it for it in FORMATS for suffix in it.suffixes}
#: Extensions of footprints.
SUFFIXES = tuple(_BY_SUFFIX)

#: What the name of a layer in a GeoPackage does not begin with, for GDAL.
_NO_BEGINNING = frozenset("`~!@#$%^&*()+-={}|[]\\:\";'<>?,./")

#: Why not, for formats that people may ask for.
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
    """Find a file's format by its extension.

    Raises:
        ParameterError: If footprints are not written so, or what writes it is not
            installed.
    """
    suffix = path.suffix.lower()
    found = _BY_SUFFIX.get(suffix)
    if found is None:
        reason = _REFUSED.get(suffix)
        what = f" ({reason})" if reason else ""
        raise ParameterError(
            f"{path.name} {_ending(path.suffix)}{what}, expected one "
            f"of {', '.join(SUFFIXES)}; rename the output"
        )
    if found.driver is None and find_spec("pyarrow") is None:
        raise ParameterError(
            f"{path.name} is {found.name}, which needs pyarrow: pip install "
            '"geoseg[parquet]", or take .fgb'
        )
    if found.driver == "GPKG":
        _check_layer_name(path)
    return found


def _check_layer_name(path: Path) -> None:
    """Refuse a GeoPackage whose layer, which has the file's name, could not have it."""
    name = path.stem
    kept = name.lower().startswith(("gpkg", "sqlite_", "rtree_"))
    if kept or name.lower() == "layer_styles" or name[:1] in _NO_BEGINNING:
        why = (
            "GeoPackages keep for themselves"
            if kept or name[:1] not in _NO_BEGINNING
            else f"may not begin with {name[:1]!r}"
        )
        raise ParameterError(
            f"{path.name} would hold a layer {name!r}, a name that {why}: give the file "
            "another name"
        )


def _ending(suffix: str) -> str:
    return f"ends in {suffix!r}" if suffix else "has no extension"
