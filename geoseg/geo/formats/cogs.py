"""Cloud-optimised GeoTIFFs: tiles and overviews in the order that readers want them.

A COG cannot be written row by row: its overviews and the list of all tiles stand before
the pixels. So a tiled GeoTIFF is written first, and GDAL's COG driver copies it tile by
tile.
"""

from pathlib import Path
from typing import Literal

import rasterio
import rasterio.shutil
from rasterio._err import CPLE_BaseError
from rasterio.errors import RasterioError

from geoseg.core.errors import OutputError
from geoseg.geo.rasters.raster import block_cache

#: Side of the tiles, pixels.
BLOCK = 512
#: How the pixels of an overview are made of four.
Overviews = Literal["mode", "average"]

#: MiB of decoded tiles that GDAL keeps while it copies or compares.
CACHE = 64


def optimise(source: Path, target: Path, overviews: Overviews) -> None:
    """Copy a tiled GeoTIFF into a cloud-optimised one.

    Palette, nodata, descriptions, scales and tags come along. Memory does not grow with
    the raster. While it runs, the disk holds the source, its overviews and the copy.

    Args:
        source: The GeoTIFF; it stays.
        target: The copy; what is made on the way lies beside it, its name going on with
            other extensions.
        overviews: ``mode`` for classes, the most frequent value; ``average`` for what
            is a quantity. Nodata counts for neither.

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
    """Tell whether GDAL finds the mark of a cloud-optimised layout in a GeoTIFF."""
    with rasterio.open(path) as dataset:
        layout = dataset.tags(ns="IMAGE_STRUCTURE").get("LAYOUT")
    return bool(layout == "COG")
