"""Keys that identify the image of a tile by its place and its content."""

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from geoseg.core.addresses import is_remote, redact
from geoseg.geo.rasters.description import PixelWindow, RasterDescription
from geoseg.geo.rasters.raster import describe
from geoseg.geo.tiles.tiles import Tile

#: Number of bytes hashed at the beginning, in the middle and at the end of a large
#: file.
SAMPLED_BYTES = 2**16


class TileKey(NamedTuple):
    """The identity of a tile.

    Attributes:
        place: Hash of the image's address and its grid, as another image may replace
            it.
        content: Hash of the file's content; None if the image is not a local file.
        window: The part of the image that is the tile; None: all of it.
    """

    place: str
    content: str | None
    window: PixelWindow | None = None

    def meets(self, other: "TileKey") -> bool:
        """Tell whether two tiles share pixels of one image."""
        same = self.content is not None and self.content == other.content
        if not same and self.place != other.place:
            return False
        if self.window is None or other.window is None:
            return True
        own, others = self.window, other.window
        apart = (
            own.row + own.height <= others.row
            or others.row + others.height <= own.row
            or own.col + own.width <= others.col
            or others.col + others.width <= own.col
        )
        return not apart

    def to_json(self) -> list[Any]:
        """Return the key as plain JSON values."""
        return [self.place, self.content, self.window and list(self.window)]

    @classmethod
    def from_json(cls, values: Any) -> "TileKey":
        """Return the key from plain JSON values.

        Raises:
            TypeError: If a value has the wrong type.
            ValueError: If the number of values is not three.
        """
        place, content, window = values
        if not isinstance(place, str) or not isinstance(content, str | None):
            raise TypeError(f"the key of a tile is {values!r}, expected texts")
        return cls(place, content, None if window is None else window_of(window))


def window_of(values: Any) -> PixelWindow:
    """Read a window from plain JSON values.

    Raises:
        TypeError: If they are not four whole numbers.
    """
    if (
        not isinstance(values, list)
        or len(values) != 4
        or not all(type(value) is int for value in values)
    ):
        raise TypeError(f"a window is {values!r}, expected four whole numbers")
    return PixelWindow(*values)


def tile_keys(tiles: Sequence[Tile]) -> list[TileKey]:
    """Return the key of each tile."""
    images = {
        image: _image_key(image) for image in dict.fromkeys(t.image for t in tiles)
    }
    return [images[tile.image]._replace(window=tile.window) for tile in tiles]


def image_address(image: str) -> str:
    """Return the absolute path, or the address without secrets, of an image."""
    return redact(image) if is_remote(image) else str(Path(image).resolve())


def _image_key(image: str) -> TileKey:
    grid = _grid_words(describe(image))
    place = _digest(f"{image_address(image)} {grid}".encode())
    if is_remote(image) or not os.path.isfile(image):
        return TileKey(place, None)
    # a VRT's text may name other sources in another folder, so hash the grid as well
    beside = grid if image.lower().endswith(".vrt") else ""
    return TileKey(place, content_of(image, beside))


def content_of(path: str, beside: str = "") -> str:
    """Hash a file's size and bytes; of a large file, a sample of them.

    Args:
        path: Path of the file.
        beside: Further text to hash.
    """
    return _digest(beside.encode(), _sampled(path))


def _grid_words(grid: RasterDescription) -> str:
    crs = grid.crs.to_wkt() if grid.crs else ""
    return f"{grid.width} {grid.height} {tuple(grid.transform)[:6]} {crs}"


def _sampled(path: str) -> bytes:
    """Return a file's size and its bytes; of a large file, a sample of them."""
    size = os.path.getsize(path)
    with open(path, "rb") as file:
        if size <= 3 * SAMPLED_BYTES:
            parts = [file.read()]
        else:
            parts = []
            for start in (0, (size - SAMPLED_BYTES) // 2, size - SAMPLED_BYTES):
                file.seek(start)
                parts.append(file.read(SAMPLED_BYTES))
    return b"".join([f"{size} ".encode(), *parts])


def _digest(*parts: bytes) -> str:
    return hashlib.sha256(b" ".join(parts)).hexdigest()[:16]
