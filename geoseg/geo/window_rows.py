"""Read a region of a raster in rows of windows, every row of pixels once."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from geoseg.geo import raster
from geoseg.geo.raster import PixelWindow
from geoseg.geo.stitching import Tiling
from geoseg.normalization import Normalization

#: Pixels around the windows. A feature of the ``vgg`` sees 19 to each side; on tiles
#: whose neighbours are known, 32 made the classes along the border no better than 16.
MARGIN = 16


class _Span(NamedTuple):
    """Pixels along an axis, some of which the raster has.

    Attributes:
        start: First pixel that the raster has.
        stop: One past the last of those.
        before: Pixels that are wanted before the first; ``after`` likewise.
    """

    start: int
    stop: int
    before: int
    after: int


def window_rows(
    path: str,
    numbers: tuple[int, ...],
    region: PixelWindow,
    tiling: Tiling,
    *,
    normalization: Normalization,
    nodata: str,
    rows: range | None = None,
) -> Iterator[tuple[Tensor, Tensor]]:
    """Read and normalise each row of windows, with :data:`MARGIN` pixels around it.

    Around the region lie the raster's own pixels. Where it ends, its outermost pixels
    are repeated. That beats a reflection: a wall that the border cuts goes straight on.

    Args:
        path: the raster.
        numbers: its bands, from 1.
        region: part of the raster that the tiling lies on.
        tiling: the windows.
        normalization: of the pixels.
        nodata: rule of the model's card.
        rows: of windows, one or more that follow each other; by default all.

    Yields:
        ``(channels, size + 2 MARGIN, W + 2 MARGIN)`` and as many bool, ``valid``; W is
        the region's width or, if larger, a window's. Not valid where the raster ends.

    Raises:
        RasterError: If the raster cannot be read.
    """
    size = tiling.size
    across = max(region.width, size)
    # Rows are read once, so the blocks that a strip cuts in two are enough.
    cache = 64 + (_block_row_bytes(path) >> 20)
    with raster.block_cache(cache), raster.open_raster(path) as dataset:
        columns = _span(region.col, across, region.col + region.width, dataset.width)

        def read(top: int, bottom: int) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
            part = PixelWindow(
                top, columns.start, bottom - top, columns.stop - columns.start
            )
            return raster.read_window(dataset, numbers, part, nodata=nodata)

        end, last = region.row + region.height, dataset.height
        starts = tiling.rows if rows is None else tiling.rows[rows.start : rows.stop]
        spans = [_span(region.row + start, size, end, last) for start in starts]
        first, known = spans[0].start, spans[0].stop  # rows held
        pixels, valid = read(first, known)
        for span in spans:
            pixels, valid = pixels[:, span.start - first :], valid[span.start - first :]
            if span.stop > known:
                below = read(known, span.stop)
                pixels = np.concatenate((pixels, below[0]), axis=1)
                valid = np.concatenate((valid, below[1]))
            first, known = span.start, span.stop
            yield _normalized(pixels, valid, normalization, (span, columns))


def _normalized(
    pixels: npt.NDArray[Any],
    valid: npt.NDArray[np.bool_],
    normalization: Normalization,
    spans: tuple[_Span, _Span],
) -> tuple[Tensor, Tensor]:
    """Normalise rows; where the raster ends, repeat its outermost pixels, not valid."""
    widths = [(span.before, span.after) for span in spans]
    shape = [sum(sides) for sides in zip(valid.shape, map(sum, widths), strict=True)]
    own = np.zeros(shape, dtype=np.bool_)
    inside = tuple(
        slice(before, before + count)
        for (before, _), count in zip(widths, valid.shape, strict=True)
    )
    own[inside] = valid
    if not valid.any():
        # Nothing is computed of rows without data: they cost little here either.
        return torch.zeros((normalization.channels, *shape)), torch.from_numpy(own)
    # Pixels are smaller than what becomes of them, so they are what is copied.
    image = normalization(
        np.pad(pixels, ((0, 0), *widths), mode="edge"),
        np.pad(valid, widths, mode="edge"),
    )
    return image, torch.from_numpy(own)


def _span(start: int, size: int, end: int, length: int) -> _Span:
    """Return where windows and their margins lie along an axis of the raster.

    Args:
        start: First pixel of the windows.
        size: Pixels of the windows.
        end: One past the region's last pixel.
        length: Pixels of the raster.
    """
    first = max(start - MARGIN, 0)
    stop = min(start + size + MARGIN, end + MARGIN, length)
    return _Span(first, stop, first - (start - MARGIN), start + size + MARGIN - stop)


def _block_row_bytes(path: str) -> int:
    with raster.open_raster(path) as dataset:
        tall, wide = dataset.block_shapes[0]
        across = -(-dataset.width // wide) * wide
        items = sum(np.dtype(dtype).itemsize for dtype in dataset.dtypes)
    return int(across * tall * items)
