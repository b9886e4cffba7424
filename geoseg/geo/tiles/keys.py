"""Which image a tile is of: known again elsewhere, and told from others of its name."""

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from geoseg.core.addresses import is_remote, redact
from geoseg.geo.rasters.description import PixelWindow, RasterDescription
from geoseg.geo.rasters.raster import describe
from geoseg.geo.tiles.tiles import Tile

#: Of a large file, bytes that are looked at: at its beginning, in its middle, at its end.
SAMPLED_BYTES = 2**16


class TileKey(NamedTuple):
    """What a tile is known by.

    Attributes:
        place: Hash of where the image is, which tells nothing of other files, and of its
            grid: another image may come to lie there.
        content: Hash of the file, wherever it is; None of an image that is no local file.
        window: The part of the image that is the tile; None: all of it.
    """

    place: str
    content: str | None
    window: PixelWindow | None = None

    def meets(self, other: "TileKey") -> bool:
        """Return whether two tiles share pixels of one image."""
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
        """Return plain JSON values."""
        return [self.place, self.content, self.window and list(self.window)]

    @classmethod
    def from_json(cls, values: Any) -> "TileKey":
        """Rebuild a key.

        Raises:
            TypeError: If a value is of another kind.
            ValueError: If there are more or fewer.
        """
        place, content, window = values
        if not isinstance(place, str) or not isinstance(content, str | None):
            raise TypeError(f"a tile is known by {values!r}, expected texts")
        return cls(place, content, None if window is None else window_of(window))


def window_of(values: Any) -> PixelWindow:
    """Read a window from plain JSON values.

    Raises:
        TypeError: If these are no four whole numbers.
    """
    if (
        not isinstance(values, list)
        or len(values) != 4
        or not all(type(value) is int for value in values)
    ):
        raise TypeError(f"a window is {values!r}, expected four whole numbers")
    return PixelWindow(*values)


def tile_keys(tiles: Sequence[Tile]) -> list[TileKey]:
    """Return what each tile is known by."""
    images = {
        image: _image_key(image) for image in dict.fromkeys(t.image for t in tiles)
    }
    return [images[tile.image]._replace(window=tile.window) for tile in tiles]


def image_address(image: str) -> str:
    """Return where an image is, the same from any folder and without secrets."""
    return redact(image) if is_remote(image) else str(Path(image).resolve())


def _image_key(image: str) -> TileKey:
    grid = _grid_words(describe(image))
    place = _digest(f"{image_address(image)} {grid}".encode())
    if is_remote(image) or not os.path.isfile(image):
        return TileKey(place, None)
    # names of sources in a VRT may be relative
    beside = grid if image.lower().endswith(".vrt") else ""
    return TileKey(place, content_of(image, beside))


def content_of(path: str, beside: str = "") -> str:
    """Hash a file: its size and bytes; of a large one, some of them.

    Args:
        path: Of the file.
        beside: Hashed with it.
    """
    return _digest(beside.encode(), _sampled(path))


def _grid_words(grid: RasterDescription) -> str:
    crs = grid.crs.to_wkt() if grid.crs else ""
    return f"{grid.width} {grid.height} {tuple(grid.transform)[:6]} {crs}"


def _sampled(path: str) -> bytes:
    """Return a file's size and its bytes; of a large one, some."""
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
