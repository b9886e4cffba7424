"""TorchGeo's index of tiles: a table of files and outlines, in one CRS."""

from collections.abc import Sequence

import geopandas
import numpy as np
import pandas as pd
import shapely

from geoseg.errors import DatasetError, RasterError
from geoseg.geo.aoi import Tile
from geoseg.geo.georeference import locate, warp
from geoseg.geo.raster import PixelWindow, RasterDescription


def outline_between(
    description: RasterDescription, window: PixelWindow, reference: RasterDescription
) -> shapely.Polygon:
    """A window's outline in the reference's CRS; empty where it has no place there."""
    row, col, height, width = window
    corners = ((0, 0), (width, 0), (width, height), (0, height))
    points = [locate(description.transform, col + x, row + y) for x, y in corners]
    try:
        moved = warp(points, description.crs, reference.crs)
    except RasterError:  # no transformation
        return shapely.Polygon()
    return shapely.Polygon(moved if np.isfinite(moved).all() else None)


def index_tiles(
    tiles: Sequence[Tile],
    descriptions: Sequence[RasterDescription],
    extents: Sequence[PixelWindow],
) -> geopandas.GeoDataFrame:
    """TorchGeo's index: files, outlines, and all of time."""
    first = descriptions[0]
    for tile, description in zip(tiles, descriptions, strict=True):
        if (description.crs is None) != (first.crs is None):
            raise DatasetError(
                f"of {tiles[0].image} and {tile.image} one has a CRS, expected both or "
                "neither: set it with gdal_edit.py -a_srs"
            )
    outlines = [
        outline_between(description, extent, first)
        for description, extent in zip(descriptions, extents, strict=True)
    ]
    always = pd.Interval(pd.Timestamp.min, pd.Timestamp.max, closed="both")
    times = pd.IntervalIndex([always] * len(tiles), closed="both", name="datetime")
    return geopandas.GeoDataFrame(
        {"filepath": [tile.image for tile in tiles]},
        geometry=outlines,
        index=times,
        crs=first.crs.to_wkt() if first.crs else None,
    )
