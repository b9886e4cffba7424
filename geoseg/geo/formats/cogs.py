"""Cloud-optimised GeoTIFFs (COGs).

A COG cannot be written row by row, because its overviews and the list of all blocks
come before the pixels. So a tiled GeoTIFF is written first, and GDAL's COG driver
copies it block by block.
"""

from pathlib import Path
from typing import Literal

import rasterio
import rasterio.shutil
from rasterio._err import CPLE_BaseError
from rasterio.errors import RasterioError

from geoseg.core.errors import OutputError
from geoseg.geo.rasters.raster import block_cache

#: Side of the blocks in pixels.
BLOCK = 512
#: Resampling of the overviews.
Overviews = Literal["mode", "average"]

#: GDAL's cache of decoded blocks for copying and verifying, in MiB.
CACHE = 64


def optimise(source: Path, target: Path, overviews: Overviews) -> None:
    """Copy a tiled GeoTIFF to a cloud-optimised one.

    Palette, nodata, descriptions, scales and tags are copied. Memory does not grow with
    the raster. The disk holds the source, its overviews and the copy at once.

    Args:
        source: The GeoTIFF; it is kept.
        target: The copy; temporary files are beside it, with its name and another
            suffix.
        overviews: ``mode`` (the most frequent value) for classes, ``average`` for
            quantities. Nodata is ignored.

    Raises:
        OutputError: If it cannot be written.
    """
    try:
        with block_cache(CACHE):
            rasterio.shutil.copy(
                source,
                target,
                driver="COG",
                blocksize=BLOCK,
                compress="deflate",
                overview_resampling=overviews,
                bigtiff="IF_SAFER",
            )
    except (RasterioError, CPLE_BaseError) as error:
        raise OutputError(
            f"the raster could not be copied into a cloud-optimised GeoTIFF "
            f"({' '.join(str(error).split())}); check the free space: the rows and the "
            "copy are on the disk at once"
        ) from error


def is_cog(path: Path) -> bool:
    """Tell whether GDAL recognises the layout of a GeoTIFF as cloud-optimised."""
    with rasterio.open(path) as dataset:
        layout = dataset.tags(ns="IMAGE_STRUCTURE").get("LAYOUT")
    return bool(layout == "COG")
