"""Vector files that GDAL reads, each by the driver that its name promises.

What a file holds chooses no driver: a GeoPackage by name that is a virtual layer of
OGR, or a GeoJSON whose CRS is to be fetched, is none.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from geoseg.core.addresses import file_name, is_remote, user_name
from geoseg.geo.sources.gdal_limits import limited_vectors

if TYPE_CHECKING:
    import fiona

#: Suffix → drivers. GeoJSON on this disk is read without GDAL (geojson_files.py), which
#: would fetch a linked CRS; what comes here is JSON of other kinds.
_DRIVERS = {
    ".gpkg": ("GPKG",),
    ".fgb": ("FlatGeobuf",),
    ".shp": ("ESRI Shapefile",),
    **dict.fromkeys((".json", ".geojson"), ("ESRIJSON", "TopoJSON")),
}
_REMOTE_DRIVERS = {
    **_DRIVERS,
    **dict.fromkeys(
        (".json", ".geojson"), ("GeoJSON", "ESRIJSON", "TopoJSON", "GeoJSONSeq")
    ),
    **dict.fromkeys((".geojsonl", ".ndjson"), ("GeoJSONSeq", "GeoJSON")),
}


def open_vectors(
    path: str | Path, layer: str | None = None, **options: Any
) -> "fiona.Collection":
    """Open a layer of a vector file to read it.

    Args:
        path: GDAL's name.
        layer: Its name; None: the first.
        options: Of fiona.

    Raises:
        fiona.errors.FionaError: If it is not of the format that its name promises.
        ValueError: If no format that geoseg reads has such a suffix.
    """
    # fiona brings a GDAL of its own and takes a while to import
    import fiona

    suffix = file_name(user_name(str(path))).suffix.lower()
    drivers = (_REMOTE_DRIVERS if is_remote(path) else _DRIVERS).get(suffix)
    if drivers is None:
        raise ValueError(f"{suffix or 'no suffix'} is none of {', '.join(_DRIVERS)}")
    with limited_vectors():
        return fiona.open(path, layer=layer, enabled_drivers=list(drivers), **options)


def list_layers(path: str | Path) -> list[str]:
    """Name the layers of a vector file.

    Raises:
        fiona.errors.FionaError: As :func:`open_vectors`.
        ValueError: Likewise.
    """
    import fiona

    # listing takes no drivers: whether the file is of its format is asked for before
    open_vectors(path).close()
    with limited_vectors():
        return list(fiona.listlayers(path))
