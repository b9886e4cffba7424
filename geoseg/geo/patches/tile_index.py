"""TorchGeo's index of tiles: a table of files and outlines in one CRS."""

from collections.abc import Sequence

import geopandas
import numpy as np
import pandas as pd
import shapely
from rasterio.crs import CRS

from geoseg.core.errors import DatasetError, RasterError
from geoseg.geo.coordinates.crs import WGS84, same_crs
from geoseg.geo.coordinates.georeference import locate, warp
from geoseg.geo.rasters.description import PixelWindow, RasterDescription
from geoseg.geo.tiles.tiles import Tile


def common_crs(
    descriptions: Sequence[RasterDescription], extents: Sequence[PixelWindow]
) -> CRS | None:
    """Return the first tile's CRS, or WGS 84 if another tile has no position in it."""
    first = descriptions[0].crs
    for description, extent in zip(descriptions, extents, strict=True):
        if outline_in(first, description, extent).is_empty:
            return WGS84
    return first


def outline_in(
    crs: CRS | None, description: RasterDescription, window: PixelWindow
) -> shapely.Polygon:
    """Return a window's outline in a CRS; empty if it has no position there."""
    row, col, height, width = window
    corners = ((0, 0), (width, 0), (width, height), (0, height))
    points = [locate(description.transform, col + x, row + y) for x, y in corners]
    try:
        moved = warp(points, description.crs, crs)
    except RasterError:  # no transformation
        return shapely.Polygon()
    return shapely.Polygon(moved if np.isfinite(moved).all() else None)


def resolution_in(
    crs: CRS | None, description: RasterDescription
) -> tuple[float, float]:
    """Return the sides of an image's pixel in a CRS, along its rows and columns."""
    transform = description.transform
    if same_crs(crs, description.crs):
        a, b, _, d, e, _ = transform[:6]
        return float(np.hypot(a, d)), float(np.hypot(b, e))
    points = [locate(transform, *step) for step in ((0, 0), (1, 0), (0, 1))]
    origin, right, below = np.array(warp(points, description.crs, crs))
    return float(np.hypot(*(right - origin))), float(np.hypot(*(below - origin)))


def index_tiles(
    tiles: Sequence[Tile],
    descriptions: Sequence[RasterDescription],
    extents: Sequence[PixelWindow],
    crs: CRS | None,
) -> geopandas.GeoDataFrame:
    """Return TorchGeo's index: files, outlines in a CRS, and unlimited times.

    Raises:
        DatasetError: If some tiles have a CRS and others none.
    """
    first = descriptions[0]
    for tile, description in zip(tiles, descriptions, strict=True):
        if (description.crs is None) != (first.crs is None):
            raise DatasetError(
                f"of {tiles[0].image} and {tile.image} one has a CRS, expected both or "
                "neither: set it with gdal_edit.py -a_srs"
            )
    outlines = [
        outline_in(crs, description, extent)
        for description, extent in zip(descriptions, extents, strict=True)
    ]
    always = pd.Interval(pd.Timestamp.min, pd.Timestamp.max, closed="both")
    times = pd.IntervalIndex([always] * len(tiles), closed="both", name="datetime")
    return geopandas.GeoDataFrame(
        {"filepath": [tile.image for tile in tiles]},
        geometry=outlines,
        index=times,
        crs=crs.to_wkt() if crs else None,
    )
