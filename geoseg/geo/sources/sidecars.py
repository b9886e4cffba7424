"""Checks of the files beside an image: masks and overviews must be GeoTIFFs.

GDAL opens ``tile.tif.msk`` and ``tile.tif.ovr`` with any driver that fits their
content. It also opens overviews that the image's metadata (in it, or in
``tile.tif.aux.xml``) name, wherever they are. Other files beside an image (statistics,
world files) are texts that name no files.
"""

import os
import warnings

import rasterio
from rasterio.errors import NotGeoreferencedWarning, RasterioError

from geoseg.core.addresses import is_remote
from geoseg.core.errors import RasterError

#: Suffixes that GDAL adds to an image's name.
SUFFIXES = (".msk", ".ovr")
#: First bytes of TIFF and BigTIFF, in either byte order.
TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
#: Most levels of sidecar files: a mask may have overviews, which may have a mask.
_DEEPEST = 4


def is_tiff(path: str) -> bool:
    """Tell by its first bytes whether a local file is a TIFF."""
    with open(path, "rb") as file:
        return file.read(4) in TIFF


def check_sidecars(name: str, depth: int = _DEEPEST) -> None:
    """Check the mask and the overviews beside an image, before GDAL opens them.

    Args:
        name: GDAL's name of an image on this disk or in an archive.
        depth: Levels of sidecar files still allowed.

    Raises:
        RasterError: If one is not a GeoTIFF, or names further files.
    """
    for suffix in SUFFIXES:
        sidecar = name + suffix
        if not is_remote(name) and not os.path.lexists(sidecar):
            continue
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", NotGeoreferencedWarning)
                dataset = rasterio.open(sidecar, driver="GTiff")
        except RasterioError as error:
            if "does not exist" in str(error):
                continue
            raise RasterError(
                f"{sidecar} beside {os.path.basename(name)} is no GeoTIFF, expected what "
                "GDAL writes there or no such file: remove or rename it"
            ) from error
        with dataset:
            check_overviews(dataset)
        if depth == 0:
            raise RasterError(
                f"{sidecar} belongs to a file that itself lies beside an image, "
                f"{_DEEPEST} times over: remove it"
            )
        check_sidecars(sidecar, depth - 1)


def check_overviews(dataset: rasterio.DatasetReader) -> None:
    """Raise if an image's metadata name an overview file.

    Raises:
        RasterError: If they do.
    """
    place = dataset.get_tag_item("OVERVIEW_FILE", dm="OVERVIEWS")
    if place is not None:
        raise RasterError(
            f"{dataset.name} names {place!r} as its overviews, in itself or in "
            f"{os.path.basename(dataset.name)}.aux.xml, which geoseg does not open: "
            "remove that OVERVIEW_FILE, or the .aux.xml, and make overviews with gdaladdo"
        )
