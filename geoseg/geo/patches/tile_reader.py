"""Reading of windows of tiles with labels, with a cache of decoded tiles."""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from geoseg.core.patches import IGNORE
from geoseg.geo.labels.labels import read_labels
from geoseg.geo.rasters.bands import band_numbers
from geoseg.geo.rasters.description import PixelWindow
from geoseg.geo.rasters.nodata import NodataRule
from geoseg.geo.rasters.raster import describe, open_raster, read_window
from geoseg.geo.tiles.tiles import Tile

#: Memory for decoded tiles in MiB; without it decompression would dominate.
CACHE_MIB = 512.0


class Decoded(NamedTuple):
    """Pixels, valid mask and labels of a window."""

    pixels: np.ndarray[Any, Any]
    valid: np.ndarray[Any, Any]
    mask: np.ndarray[Any, Any]

    @property
    def nbytes(self) -> int:
        return sum(part.nbytes for part in self)


class TileReader:
    """Reader of windows of tiles, with a cache of the decoded tiles read last.

    A tile larger than a quarter of the cache is read window by window. So are all tiles
    if the cache holds less than half of them, because most would be decoded for one
    patch and dropped before the next.

    Args:
        tiles: The tiles; methods take their numbers.
        bands: Band names, in channel order.
        nodata: The nodata rule.
        cache_mib: Memory for decoded tiles, in MiB.

    Raises:
        RasterError: If an image cannot be opened or lacks a band.
    """

    def __init__(
        self,
        tiles: Sequence[Tile],
        bands: Sequence[str],
        *,
        nodata: NodataRule = "auto",
        cache_mib: float = CACHE_MIB,
    ) -> None:
        self.tiles = tuple(tiles)
        self.nodata = nodata
        self.cache_bytes = int(cache_mib * 2**20)
        self.descriptions = tuple(describe(tile.image) for tile in tiles)
        self.numbers = tuple(
            band_numbers(description, bands) for description in self.descriptions
        )
        self.extents = tuple(
            tile.extent(description)
            for tile, description in zip(tiles, self.descriptions, strict=True)
        )
        self.all_bytes = sum(self._size(tile) for tile in range(len(self.tiles)))
        self._decoded: OrderedDict[int, Decoded] = OrderedDict()

    def __getstate__(self) -> dict[str, Any]:
        # each worker has its own cache, so do not pickle this one
        return {**self.__dict__, "_decoded": OrderedDict()}

    def read(self, tile: int, window: PixelWindow) -> Decoded:
        """Read a window in the file's own values, invalid beyond the tile.

        Args:
            tile: Number of the tile.
            window: Pixels of the tile's image; may exceed the tile.

        Returns:
            Pixels ``(B, H, W)``, valid ``(H, W)``, mask ``(H, W)`` uint8 with IGNORE
            where a pixel is unlabelled or nodata.
        """
        extent = self.extents[tile]
        inner = _intersection(window, extent)
        if inner is None:
            return self._nothing(tile, window)
        whole = self._cached(tile)
        if whole is None:
            part = self._decode(tile, inner)
        else:
            rows, cols = _slices(inner, extent)
            part = Decoded(*(values[..., rows, cols] for values in whole))
        if inner == window:
            return Decoded(*(np.ascontiguousarray(values) for values in part))
        return _pad(part, inner, window)

    def _nothing(self, tile: int, window: PixelWindow) -> Decoded:
        """Return an invalid window, for a window outside of its tile."""
        shape = (window.height, window.width)
        kind = np.result_type(*self.descriptions[tile].dtypes)
        return Decoded(
            np.zeros((len(self.numbers[tile]), *shape), kind),
            np.zeros(shape, bool),
            np.full(shape, IGNORE, np.uint8),
        )

    def _cached(self, tile: int) -> Decoded | None:
        """Return the decoded tile; None if it, or all tiles, are too large to cache."""
        if tile in self._decoded:
            self._decoded.move_to_end(tile)
            return self._decoded[tile]
        size = self._size(tile)
        if size > self.cache_bytes // 4 or self.all_bytes > 2 * self.cache_bytes:
            return None
        while self._decoded and self._held() + size > self.cache_bytes:
            self._decoded.popitem(last=False)
        self._decoded[tile] = self._decode(tile, self.extents[tile])
        return self._decoded[tile]

    def _size(self, tile: int) -> int:
        """Return the size of a decoded tile in bytes."""
        _, _, height, width = self.extents[tile]
        itemsize = np.result_type(*self.descriptions[tile].dtypes).itemsize
        return height * width * (len(self.numbers[tile]) * itemsize + 2)

    def _held(self) -> int:
        return sum(decoded.nbytes for decoded in self._decoded.values())

    def _decode(self, number: int, window: PixelWindow) -> Decoded:
        tile = self.tiles[number]
        with open_raster(tile.image) as dataset:
            pixels, valid = read_window(
                dataset, self.numbers[number], window, nodata=self.nodata
            )
        if tile.labels is None:
            return Decoded(pixels, valid, np.full(valid.shape, IGNORE, np.uint8))
        part = replace(tile, window=window)
        mask = read_labels(part, self.descriptions[number])
        mask[~valid] = IGNORE
        return Decoded(pixels, valid, mask)


def _intersection(window: PixelWindow, extent: PixelWindow) -> PixelWindow | None:
    top, left = max(window.row, extent.row), max(window.col, extent.col)
    bottom = min(window.row + window.height, extent.row + extent.height)
    right = min(window.col + window.width, extent.col + extent.width)
    if bottom <= top or right <= left:
        return None
    return PixelWindow(top, left, bottom - top, right - left)


def _slices(inner: PixelWindow, outer: PixelWindow) -> tuple[slice, slice]:
    row, col = inner.row - outer.row, inner.col - outer.col
    return slice(row, row + inner.height), slice(col, col + inner.width)


def _pad(part: Decoded, inner: PixelWindow, window: PixelWindow) -> Decoded:
    shape = (window.height, window.width)
    pixels = np.zeros((part.pixels.shape[0], *shape), part.pixels.dtype)
    valid = np.zeros(shape, bool)
    mask = np.full(shape, IGNORE, np.uint8)
    rows, cols = _slices(inner, window)
    pixels[:, rows, cols] = part.pixels
    valid[rows, cols] = part.valid
    mask[rows, cols] = part.mask
    return Decoded(pixels, valid, mask)
