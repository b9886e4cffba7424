"""Labelled areas: pixels outside of them are unlabelled."""

import os
from dataclasses import replace
from functools import lru_cache
from typing import Any

import numpy as np
from rasterio import features

from geoseg.core.addresses import is_remote
from geoseg.core.classes import LabelClasses
from geoseg.geo.coordinates.georeference import shift
from geoseg.geo.labels.files import area_layer
from geoseg.geo.labels.vectors import polygons_of
from geoseg.geo.rasters.description import PixelWindow, RasterDescription
from geoseg.geo.tiles.tiles import Tile

#: Words instead of a file: every tile is labelled, or those that labels touch.
ALL, TOUCHED = "all", "touched"


def area_tile(tile: Tile) -> Tile | None:
    """Return a tile whose labels are the polygons of its labelled area.

    Return None if the whole tile is labelled.
    """
    area = tile.classes.area
    if tile.labels is None or area in (ALL, TOUCHED):
        return None
    path = tile.labels if area is None else area
    layer = _area_layer(path, _version(path), tile.classes.layer, area is not None)
    if area is None and layer is None:
        return None
    return replace(tile, labels=path, classes=LabelClasses(layer=layer))


def inside_area(
    tile: Tile, grid: RasterDescription, window: PixelWindow
) -> np.ndarray[Any, np.dtype[np.bool_]] | None:
    """Tell which pixels of a window have their centre in the labelled area.

    Returns:
        ``(height, width)`` bool; None if the whole tile is labelled.

    Raises:
        LabelError: If the area cannot be read.
    """
    area = area_tile(replace(tile, window=window))
    if area is None:
        return None
    polygons, *_ = polygons_of(area, grid)
    shape = (window.height, window.width)
    if not polygons:
        return np.zeros(shape, bool)
    return np.asarray(
        features.geometry_mask(
            polygons,
            out_shape=shape,
            transform=shift(grid.transform, window.col, window.row),
            invert=True,
        )
    )


def _version(path: str) -> tuple[int, int]:
    """Return a file's time of change and size, as part of the cache's key."""
    if is_remote(path) or not os.path.exists(path):
        return 0, 0
    status = os.stat(path)
    return status.st_mtime_ns, status.st_size


@lru_cache(maxsize=256)
def _area_layer(
    path: str, _version: tuple[int, int], labels_layer: str | None, named: bool
) -> str | None:
    return area_layer(path, labels_layer, named=named)
