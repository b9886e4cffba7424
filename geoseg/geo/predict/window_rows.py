"""Reading of a raster's windows row by row, with every row of pixels read once."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from geoseg.core.normalization import Normalization
from geoseg.geo.predict.stitching import Tiling
from geoseg.geo.rasters import raster
from geoseg.geo.rasters.description import PixelWindow, RasterDescription
from geoseg.geo.sources.remote import remote_access

#: Pixels of context around the windows. The receptive field of ``vgg`` reaches 19
#: pixels to each side; on tiles with known neighbours, 32 gave no better classes at the
#: border.
MARGIN = 16


class _Span(NamedTuple):
    """A range of pixels along an axis that may exceed the raster.

    Attributes:
        start: First pixel inside the raster.
        stop: One past the last pixel inside.
        before: Number of pixels before the raster's edge; ``after`` likewise.
    """

    start: int
    stop: int
    before: int
    after: int


class RowPixels(NamedTuple):
    """Properties of the pixels of a row of windows.

    Attributes:
        row: row of the tiling.
        valid: ``(size, W)`` bool; W is the region's width or, if larger, a window's.
        guide: ``(size, W)`` uint8, the image's brightness; 0 where invalid.
    """

    row: int
    valid: npt.NDArray[np.bool_]
    guide: npt.NDArray[np.uint8]


class WindowImage(NamedTuple):
    """A window with :data:`MARGIN` pixels around it, ready for a network.

    Attributes:
        row: row of the tiling; ``column`` likewise.
        image: ``(channels, size + 2 MARGIN, size + 2 MARGIN)``, normalised.
        valid: ``(size + 2 MARGIN, size + 2 MARGIN)`` bool.
    """

    row: int
    column: int
    image: Tensor
    valid: Tensor


def window_images(
    grid: RasterDescription,
    numbers: tuple[int, ...],
    region: PixelWindow,
    tiling: Tiling,
    *,
    normalization: Normalization,
    nodata: str,
    rows: range,
) -> Iterator[RowPixels | WindowImage]:
    """Read rows of windows and normalise the windows that have a valid pixel.

    The context around the region is the raster's own pixels and, beyond its edge, the
    outermost pixels repeated, with ``valid`` False. Repeating is better than
    reflecting, because a wall that the edge cuts continues straight.

    Args:
        grid: the raster.
        numbers: its bands, from 1.
        region: part of the raster that the tiling covers.
        tiling: the windows.
        normalization: normalization of the pixels.
        nodata: nodata rule of the model's card.
        rows: consecutive rows of windows, at least one.

    Yields:
        The valid mask and brightness of every row, then its windows from left to right.

    Raises:
        RasterError: If the raster cannot be read.
    """
    wide = tiling.size + 2 * MARGIN
    strips = _strips(grid.path, numbers, region, tiling, nodata=nodata, rows=rows)
    for row, strip in zip(rows, strips, strict=True):
        inside = np.s_[..., MARGIN:-MARGIN, MARGIN:-MARGIN]
        own = strip.valid[inside]
        yield RowPixels(row, own, normalization.brightness(strip.pixels[inside], own))
        any_valid: npt.NDArray[np.bool_] = np.any(own, axis=0)
        for column, left in enumerate(tiling.columns):
            if not any_valid[left : left + tiling.size].any():
                continue
            # normalise late, because normalised pixels take four bytes
            here = np.s_[..., left : left + wide]
            image = normalization(strip.pixels[here], strip.repeated[here])
            yield WindowImage(row, column, image, torch.from_numpy(strip.valid[here]))


class _Strip(NamedTuple):
    """A row of windows with margins.

    Attributes:
        pixels: ``(B, size + 2 MARGIN, W + 2 MARGIN)``.
        valid: ``(size + 2 MARGIN, W + 2 MARGIN)`` bool, False beyond the raster's edge.
        repeated: the same, but beyond the edge as the outermost pixels.
    """

    pixels: npt.NDArray[Any]
    valid: npt.NDArray[np.bool_]
    repeated: npt.NDArray[np.bool_]


def _strips(
    path: str,
    numbers: tuple[int, ...],
    region: PixelWindow,
    tiling: Tiling,
    *,
    nodata: str,
    rows: range,
) -> Iterator[_Strip]:
    """Read rows of windows, every row of pixels once."""
    size = tiling.size
    across = max(region.width, size)
    # rows are read once, so the cache needs only the blocks that a strip cuts
    cache = 64 + (_block_row_bytes(path) >> 20)
    with (
        raster.block_cache(cache),
        remote_access(path),  # GDAL opens the sources of a VRT when it reads them
        raster.open_raster(path) as dataset,
    ):
        columns = _span(region.col, across, region.col + region.width, dataset.width)

        def read(top: int, bottom: int) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
            part = PixelWindow(
                top, columns.start, bottom - top, columns.stop - columns.start
            )
            return raster.read_window(dataset, numbers, part, nodata=nodata)

        end, last = region.row + region.height, dataset.height
        starts = tiling.rows[rows.start : rows.stop]
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
            yield _extend(pixels, valid, (span, columns))


def _extend(
    pixels: npt.NDArray[Any], valid: npt.NDArray[np.bool_], spans: tuple[_Span, _Span]
) -> _Strip:
    """Repeat the outermost pixels beyond the raster's edge, with ``valid`` False."""
    widths = [(span.before, span.after) for span in spans]
    return _Strip(
        np.pad(pixels, ((0, 0), *widths), mode="edge"),
        np.pad(valid, widths),
        np.pad(valid, widths, mode="edge"),
    )


def _span(start: int, size: int, end: int, length: int) -> _Span:
    """Return the range of windows and their margins along an axis of the raster.

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
