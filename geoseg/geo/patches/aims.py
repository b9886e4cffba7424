"""Positions of patches in tiles with a small labelled part.

Random patches would miss a few labelled points in a large image, so supervised methods
would see no label.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from geoseg.core.patches import IGNORE
from geoseg.geo.labels.areas import area_tile
from geoseg.geo.labels.labels import read_labels
from geoseg.geo.labels.masks import ROWS
from geoseg.geo.rasters.description import PixelWindow, RasterDescription
from geoseg.geo.tiles.tiles import Tile

Pixels = npt.NDArray[np.int64]

#: Most labelled pixels of a tile that patches are cut around.
MOST_PLACES = 4096


def aims_of(
    tiles: Sequence[Tile], grids: Sequence[RasterDescription]
) -> dict[int, Pixels]:
    """Return labelled pixels of the tiles with a small labelled part.

    Returns:
        Number of the tile → ``(m, 2)`` rows and columns in its image, evenly spaced, at
        most :data:`MOST_PLACES`. Tiles with a labelled quarter or more are left out,
        and so are tiles without sparse labels and labelled area.
    """
    pairs = enumerate(zip(tiles, grids, strict=True))
    labelled = {number: _few_labelled(tile, grid) for number, (tile, grid) in pairs}
    return {number: pixels for number, pixels in labelled.items() if pixels is not None}


def corner_around(
    pixels: Pixels, place: npt.NDArray[np.float64], size: int
) -> npt.NDArray[np.float64]:
    """Return row and column of the corner of a patch that contains one of the pixels.

    Args:
        pixels: ``(m, 2)`` rows and columns.
        place: Two random numbers in [0, 1).
        size: Side of the patch in pixels.
    """
    chosen = place[0] * len(pixels)
    offset = np.array((chosen % 1.0, place[1])) * size
    return np.asarray(pixels[int(chosen)] - np.floor(offset))


def _few_labelled(tile: Tile, grid: RasterDescription) -> Pixels | None:
    """Return labelled pixels of a tile; None if patches may lie anywhere in it."""
    if tile.labels is None or not (tile.classes.sparse or area_tile(tile) is not None):
        return None
    row, col, height, width = tile.extent(grid)
    parts = []
    for top in range(0, height, ROWS):
        part = PixelWindow(row + top, col, min(ROWS, height - top), width)
        own = np.argwhere(read_labels(replace(tile, window=part), grid) != IGNORE)
        parts.append(own + (row + top, col))
    pixels = np.concatenate(parts)
    if not 0 < 4 * len(pixels) < height * width:
        return None
    return pixels[:: -(-len(pixels) // MOST_PLACES)]
