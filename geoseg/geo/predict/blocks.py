"""Blocks of rows of windows, which are predicted together and stored in one file.

A file holds the probabilities of the windows before blending, and the brightness of the
image, along which they may be smoothed. So blocks neither overlap
nor depend on one another, and reading a file returns the written rows bit for bit.
"""

import gzip
import json
import os
import secrets
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO, NamedTuple, cast

import numpy as np
import numpy.typing as npt

from geoseg.core.errors import OutputError
from geoseg.geo.predict.stitching import Tiling, WindowRow

#: Least number of windows of a block: a file has a few megabytes, a kill costs little.
WINDOWS = 64

_Steps = npt.NDArray[np.uint16]


class Block(NamedTuple):
    """Some rows of windows of one image.

    Attributes:
        image: number of the image, from 0.
        number: number of the block in the image, from 0.
        rows: rows of windows of the image's tiling.
    """

    image: int
    number: int
    rows: range

    @property
    def name(self) -> str:
        """Return the name of the block's file."""
        return f"{self.image:06d}-{self.number:06d}.block"


def blocks_of(image: int, tiling: Tiling) -> list[Block]:
    """Cut an image into blocks.

    Example:
        >>> from geoseg.geo.predict.stitching import lay_windows
        >>> [block.rows for block in blocks_of(0, lay_windows(1000, 5000))]
        [range(0, 3), range(3, 5)]
    """
    count, step = len(tiling.rows), -(-WINDOWS // len(tiling.columns))
    starts = range(0, count, step)
    return [
        Block(image, number, range(start, min(start + step, count)))
        for number, start in enumerate(starts)
    ]


def write_block(path: Path, rows: Sequence[WindowRow], signature: str) -> None:
    """Write rows of windows to a temporary file and rename it.

    There is no ``fsync``, which costs more than it saves: reading detects a file that a
    power cut left incomplete, and the block is computed again.

    Args:
        path: the block's file.
        rows: all rows of the block.
        signature: signature of the run.

    Raises:
        OutputError: If the file cannot be written.
    """
    header = {
        "signature": signature,
        "name": path.name,
        "width": rows[0].valid.shape[1],
        "size": rows[0].valid.shape[0],
        "rows": [(row.row, row.columns) for row in rows],
        "planes": next((len(window) for row in rows for window in row.probability), 0),
    }
    aside = path.with_name(f"{path.name}.{secrets.token_hex(4)}.aside")
    try:
        # store no time and no name, so that equal blocks make equal files
        with aside.open("wb") as raw, gzip.GzipFile("", "wb", 1, raw, mtime=0) as file:
            file.write(json.dumps(header).encode() + b"\n")
            for row in rows:
                file.write(np.packbits(row.valid).tobytes())
                file.write(row.guide.tobytes())
                for probability in row.probability:
                    file.write(_pack(probability))
        os.replace(aside, path)
    except OSError as error:
        raise OutputError.unwritable(path, error) from error
    finally:
        aside.unlink(missing_ok=True)


def read_block(path: Path, signature: str) -> list[WindowRow] | None:
    """Read the rows of a block; return None if it is damaged or of another run."""
    try:
        with gzip.open(path) as stream:
            file = cast(BinaryIO, stream)
            header = json.loads(file.readline())
            if (header["signature"], header["name"]) != (signature, path.name):
                return None
            shape = header["size"], header["width"]
            planes = header["planes"]
            rows = [
                _read_row(file, shape, planes, number, columns)
                for number, columns in header["rows"]
            ]
            # reading to the end compares the checksum
            return None if file.read(1) else rows
    except (OSError, EOFError, ValueError, KeyError, TypeError, ArithmeticError):
        return None
    except (AttributeError, MemoryError, RecursionError, zlib.error):
        return None


def _pack(probability: _Steps) -> bytes:
    """Return the bytes of a window in an order that compresses well.

    High bytes come before low bytes. The first plane becomes the sum of all planes,
    which hardly varies as probabilities sum to one.
    """
    planes = probability.copy()
    planes[0] = planes.sum(axis=0, dtype=np.uint16)
    return (planes >> 8).astype(np.uint8).tobytes() + planes.astype(np.uint8).tobytes()


def _read_row(
    file: BinaryIO,
    shape: tuple[int, int],
    planes: int,
    number: int,
    columns: list[int],
) -> WindowRow:
    valid = _read_valid(file, shape)
    guide = _read(file, shape[0] * shape[1]).reshape(shape)
    windows = [_read_window(file, planes, shape[0]) for _ in columns]
    return WindowRow(number, valid, columns, windows, guide)


def _read_window(file: BinaryIO, planes: int, size: int) -> _Steps:
    both = _read(file, 2 * planes * size * size).reshape(2, planes, size, size)
    probability: _Steps = both[0].astype(np.uint16) << 8 | both[1]
    probability[0] -= probability[1:].sum(axis=0, dtype=np.uint16)
    return probability


def _read_valid(file: BinaryIO, shape: tuple[int, int]) -> npt.NDArray[np.bool_]:
    pixels = shape[0] * shape[1]
    bits = np.unpackbits(_read(file, -(-pixels // 8)), count=pixels)
    return bits.reshape(shape).astype(np.bool_)


def _read(file: BinaryIO, count: int) -> npt.NDArray[np.uint8]:
    data = file.read(count)
    if len(data) < count:
        raise EOFError
    return np.frombuffer(data, dtype=np.uint8)
