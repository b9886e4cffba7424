"""What GDAL may do in this process: read and write a few formats, and no more.

GDAL has some 150 drivers. Some run programs, write files, fetch addresses or open other
files, and what a file holds (or one beside it) chooses among them: a mask, an overview,
the source of a mosaic, a layer that is a view. So all drivers but a few are taken off
before the first file is opened, and the network is closed until the user himself names
an address. rasterio and fiona each bring a GDAL of their own.
"""

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import rasterio._env
import rasterio.env

from geoseg.core.errors import DatasetError

#: The drivers that rasterio keeps; "Memory" is what polygons are traced into.
RASTER_DRIVERS = frozenset({"GTiff", "COG", "VRT", "MEM", "Memory"})
#: The drivers that fiona keeps.
VECTOR_DRIVERS = frozenset(
    {
        *("GeoJSON", "GeoJSONSeq", "ESRIJSON", "TopoJSON"),
        *("GPKG", "FlatGeobuf", "ESRI Shapefile", "MEM", "Memory"),
    }
)
#: The one address that GDAL may open: none, as no name of its file systems begins so.
_NETWORK = "CPL_VSIL_CURL_ALLOWED_FILENAME"
_NO_ADDRESS = "none"
#: Through the environment, which threads and child processes share.
_OPTIONS = {
    "GDAL_VRT_ENABLE_PYTHON": "NO",
    # files beside an image are looked for by their exact names, which sidecars.py checks,
    # and not in a listing of the folder, whatever their case
    "GDAL_DISABLE_READDIR_ON_OPEN": "TRUE",
    # views of a GeoPackage call no functions that reach out of it
    "OGR_SQLITE_PRAGMA": "trusted_schema=0",
    "OGR_SQLITE_ALLOW_EXTERNAL_ACCESS": "NO",
    "CPL_VSIL_GZIP_WRITE_PROPERTIES": "NO",
}
_lock = threading.RLock()
_network_allowed = False
_rasters_limited = False


def limit_rasters() -> None:
    """Take off all of rasterio's drivers but :data:`RASTER_DRIVERS`, once a process.

    Raises:
        DatasetError: If a driver stays.
    """
    global _rasters_limited
    if _rasters_limited:
        return
    with _lock, rasterio.env.env_ctx_if_needed():
        _set_options()
        _keep(
            RASTER_DRIVERS,
            lambda: set(rasterio.env.local._env.drivers()),
            _register_rasters,
        )
        _rasters_limited = True


@contextmanager
def limited_vectors() -> Iterator[None]:
    """While open, fiona has no drivers but :data:`VECTOR_DRIVERS`.

    fiona registers all of them again whenever one of its environments ends, so this
    encloses every opening of a file; one thread opens at a time.

    Raises:
        DatasetError: If a driver stays.
    """
    # fiona brings a GDAL of its own and takes a while to import
    import fiona.env

    with _lock:
        _set_options()
        if not fiona.env.hasenv():
            fiona.env.defenv()
        _keep(
            VECTOR_DRIVERS,
            lambda: set(fiona.env.local._env.drivers()),
            _register_vectors,
        )
        yield


def allow_network() -> None:
    """Let GDAL fetch addresses from now on, as the user himself has named one."""
    global _network_allowed
    _network_allowed = True
    os.environ.pop(_NETWORK, None)


def _set_options() -> None:
    os.environ.update(_OPTIONS)
    if not _network_allowed:
        os.environ[_NETWORK] = _NO_ADDRESS


def _keep(
    allowed: frozenset[str], names: Callable[[], set[str]], register: Callable[[], None]
) -> None:
    """Have a library register its drivers once more, without those not allowed."""
    excess = names() - allowed
    if not excess:
        return
    before = os.environ.get("GDAL_SKIP")
    users = (before or "").split("," if "," in (before or "") else None)
    # the comma at the end: without one GDAL splits at spaces, which names hold
    os.environ["GDAL_SKIP"] = ",".join([*users, *sorted(excess), ""])
    try:
        register()
    finally:
        if before is None:
            del os.environ["GDAL_SKIP"]
        else:
            os.environ["GDAL_SKIP"] = before
    if left := names() - allowed:
        raise DatasetError(
            f"GDAL keeps its drivers {', '.join(sorted(left))}, expected none but "
            f"{', '.join(sorted(allowed))}: files that were sent could make them run; "
            "install the versions of rasterio and fiona that setup.cfg names"
        )


def _register_rasters() -> None:
    # a flag of the module's own says that it has registered them
    rasterio._env._have_registered_drivers = False
    environment = rasterio._env.GDALEnv()
    environment.start()
    environment.stop()


def _register_vectors() -> None:
    from fiona._env import GDALEnv

    environment = GDALEnv()
    environment.start()
    environment.stop()
