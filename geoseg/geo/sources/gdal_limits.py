"""Limits on GDAL in this process: a few drivers, and no network unless requested.

GDAL has some 150 drivers. Some run programs, write files, fetch addresses or open other
files. The content of a file (or of one beside it: a mask, an overview, the source of a
mosaic, a layer that is a view) chooses among them. So all drivers but a few are removed
before the first file is opened, and the network is closed until the user names an
address. rasterio and fiona each bring a GDAL of their own.
"""

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import rasterio._env
import rasterio.env

from geoseg.core.errors import DatasetError

#: The drivers that rasterio keeps; polygons are traced into "Memory".
RASTER_DRIVERS = frozenset({"GTiff", "COG", "VRT", "MEM", "Memory"})
#: The drivers that fiona keeps.
VECTOR_DRIVERS = frozenset(
    {
        "GeoJSON",
        "GeoJSONSeq",
        "ESRIJSON",
        "TopoJSON",
        "GPKG",
        "FlatGeobuf",
        "ESRI Shapefile",
        "MEM",
        "Memory",
    }
)
#: Option with the only address that GDAL may open. The value matches no address.
_NETWORK = "CPL_VSIL_CURL_ALLOWED_FILENAME"
_NO_ADDRESS = "none"
#: Set in the environment, which threads and child processes share.
_OPTIONS = {
    "GDAL_VRT_ENABLE_PYTHON": "NO",
    # GDAL looks for files beside an image by their exact names, which sidecars.py
    # checks, instead of searching the folder without regard to case
    "GDAL_DISABLE_READDIR_ON_OPEN": "TRUE",
    # views of a GeoPackage must not call functions with side effects
    "OGR_SQLITE_PRAGMA": "trusted_schema=0",
    "OGR_SQLITE_ALLOW_EXTERNAL_ACCESS": "NO",
    "CPL_VSIL_GZIP_WRITE_PROPERTIES": "NO",
}
_lock = threading.RLock()
_network_allowed = False
_rasters_limited = False


def limit_rasters() -> None:
    """Remove all of rasterio's drivers but :data:`RASTER_DRIVERS`, once per process.

    Raises:
        DatasetError: If another driver remains.
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
    """Limit fiona to :data:`VECTOR_DRIVERS` inside a ``with`` block.

    fiona registers all drivers again whenever one of its environments ends, so every
    opening of a file needs such a block; one thread opens at a time.

    Raises:
        DatasetError: If another driver remains.
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
    """Allow GDAL to fetch addresses from now on, because the user named one."""
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
    """Register a library's drivers again, without those that are not allowed.

    Args:
        allowed: Names of the drivers to keep.
        names: Returns the names of the registered drivers.
        register: Registers the drivers.
    """
    excess = names() - allowed
    if not excess:
        return
    before = os.environ.get("GDAL_SKIP")
    users = (before or "").split("," if "," in (before or "") else None)
    # without a comma GDAL splits at spaces, which occur in names; so end with one
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
            f"{', '.join(sorted(allowed))}: files from others could run them; "
            "install the versions of rasterio and fiona that setup.cfg names"
        )


def _register_rasters() -> None:
    # the module's own flag prevents a second registration
    rasterio._env._have_registered_drivers = False
    environment = rasterio._env.GDALEnv()
    environment.start()
    environment.stop()


def _register_vectors() -> None:
    from fiona._env import GDALEnv

    environment = GDALEnv()
    environment.start()
    environment.stop()
