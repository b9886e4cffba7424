"""Reading of vector files by GDAL, each with the drivers of its suffix.

The content of a file never chooses the driver. So a virtual layer of OGR that is named
``.gpkg`` is refused, and so is GeoJSON with a CRS at an address.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from geoseg.core.addresses import file_name, is_remote, user_name
from geoseg.geo.sources.gdal_limits import limited_vectors

if TYPE_CHECKING:
    import fiona

#: Suffix → drivers. Local GeoJSON is read without GDAL (geojson_files.py), which would
#: fetch a linked CRS; these drivers read other kinds of JSON.
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
    """Open a layer of a vector file for reading.

    Args:
        path: GDAL's name of the file.
        layer: Name of the layer; None: the first.
        options: Further options of ``fiona.open``.

    Raises:
        fiona.errors.FionaError: If the content does not match the suffix.
        ValueError: If geoseg reads no format with this suffix.
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
    """List the names of the layers of a vector file.

    Raises:
        fiona.errors.FionaError: As :func:`open_vectors`.
        ValueError: Likewise.
    """
    import fiona

    # listlayers accepts any driver, so opening checks the format first
    open_vectors(path).close()
    with limited_vectors():
        return list(fiona.listlayers(path))
