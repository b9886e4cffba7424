"""Where patches are cut from tiles of which a small part is labelled.

Patches that lie anywhere would miss a few points in a large image, and what learns from
labels would see nothing.
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

#: Labelled pixels of a tile that patches are cut around, at most.
MOST_PLACES = 4096


def aims_of(
    tiles: Sequence[Tile], grids: Sequence[RasterDescription]
) -> dict[int, Pixels]:
    """Return labelled pixels of the tiles of which a small part is labelled.

    Returns:
        Number of the tile → ``(m, 2)`` rows and columns in its image, evenly spread, at
        most :data:`MOST_PLACES`. Tiles of which a quarter or more is labelled are left
        out, and those whose labels are not known to hold in a part.
    """
    pairs = enumerate(zip(tiles, grids, strict=True))
    found = {number: _few_labelled(tile, grid) for number, (tile, grid) in pairs}
    return {number: pixels for number, pixels in found.items() if pixels is not None}


def corner_around(
    pixels: Pixels, place: npt.NDArray[np.float64], size: int
) -> npt.NDArray[np.float64]:
    """Return row and column of the corner of a patch that shows one of some pixels.

    Args:
        pixels: ``(m, 2)`` rows and columns.
        place: Two random numbers in [0, 1).
        size: Of the patch.
    """
    chosen = place[0] * len(pixels)
    offset = np.array((chosen % 1.0, place[1])) * size
    return np.asarray(pixels[int(chosen)] - np.floor(offset))


def _few_labelled(tile: Tile, grid: RasterDescription) -> Pixels | None:
    """Return labelled pixels of a tile; None where it is none of those."""
    if tile.labels is None or not (tile.classes.sparse or area_tile(tile) is not None):
        return None
    row, col, height, width = tile.extent(grid)
    found = []
    for top in range(0, height, ROWS):
        part = PixelWindow(row + top, col, min(ROWS, height - top), width)
        own = np.argwhere(read_labels(replace(tile, window=part), grid) != IGNORE)
        found.append(own + (row + top, col))
    pixels = np.concatenate(found)
    if not 0 < 4 * len(pixels) < height * width:
        return None
    return pixels[:: -(-len(pixels) // MOST_PLACES)]
