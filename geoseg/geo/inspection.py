"""What an image looks like, measured on few of its pixels."""

from typing import Any

import numpy as np

from geoseg.geo.raster import NodataRule, RasterDescription, open_raster, read_window


def sample(
    grid: RasterDescription, *, nodata: NodataRule = "auto", side: int = 512
) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Read an image thinned out to ``side`` pixels a side at most.

    Takes overviews where there are some: then this is quick also over a network.

    Returns:
        Pixels ``(B, h, w)`` of all image bands, in one type; valid ``(h, w)`` bool.

    Raises:
        RasterError: If the file cannot be read.
    """
    shape = (min(side, grid.height), min(side, grid.width))
    with open_raster(grid.path) as dataset:
        return read_window(
            dataset, grid.band_indexes, grid.window, nodata=nodata, shape=shape
        )
