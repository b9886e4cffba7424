"""Prediction of rasters of any size in strips.

Windows overlap and their probabilities are blended with weights above zero. Windows at
the region's border, which have no neighbour there, get some more pixels as context.
Memory grows with the raster's width and the window, never with its height: a row is
yielded as soon as no later window covers it.
"""

from collections import deque
from collections.abc import Generator, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

from geoseg.core.errors import ParameterError
from geoseg.geo.predict.stitching import Tiling, WindowRow, lay_windows, stitch
from geoseg.geo.predict.window_batches import (
    ClassModel,
    WindowBatches,
    WindowResult,
)
from geoseg.geo.predict.window_rows import RowPixels, WindowImage, window_images
from geoseg.geo.rasters.bands import band_numbers
from geoseg.geo.rasters.description import PixelWindow, RasterDescription
from geoseg.geo.rasters.strips import Strip

T = TypeVar("T")

# Number of windows read and normalised ahead: two batches.
_AHEAD = 16


def predict_strips(
    model: ClassModel,
    grid: RasterDescription,
    *,
    window: int = 256,
    overlap: int = 32,
    batch_size: int = 8,
    region: PixelWindow | None = None,
    blended: bool = True,
) -> Iterator[Strip]:
    """Predict class scores of a raster, in strips from top to bottom.

    The result does not depend on the order of windows: batches have one shape (the
    last is padded), and overlaps are summed in integers. While the network runs, a
    thread with its own dataset handle reads and normalises the next windows.

    Networks pad windows with zeros and err along their borders. Blending corrects this
    where windows overlap. Windows at the region's border get
    :data:`~geoseg.geo.predict.window_rows.MARGIN` more pixels on each side: pixels of
    the raster and, beyond its edge, its outermost pixels repeated, with ``valid``
    False.

    Args:
        model: the model; its card names the bands, the normalisation and nodata.
        grid: a raster of any size; if it is smaller than a window, its outermost pixels
            are repeated, with ``valid`` False.
        window: side of a window, pixels.
        overlap: least overlap of neighbouring windows, pixels.
        batch_size: windows per call of the network.
        region: part of the raster to predict; by default all of it.
        blended: Whether overlapping windows are blended, as for :func:`lay_windows`.

    Returns:
        Consecutive strips ``(C, h, W)`` that cover the region once.

    Raises:
        RasterError: If the raster cannot be read.
        BandMismatchError: If it lacks bands of the model.
        ParameterError: If window, overlap or batch size is out of range.
    """
    region = region or grid.window
    tiling = lay_windows(
        region.height, region.width, window=window, overlap=overlap, blended=blended
    )
    rows = predict_rows(model, grid, tiling, batch_size=batch_size, region=region)
    shape = len(model.card.class_names), region.height, region.width
    return stitch(rows, tiling, shape)


def predict_rows(
    model: ClassModel,
    grid: RasterDescription,
    tiling: Tiling,
    *,
    batch_size: int = 8,
    region: PixelWindow | None = None,
    rows: range | None = None,
) -> Generator[WindowRow]:
    """Predict rows of windows; the result does not depend on other rows.

    Args:
        model: as for :func:`predict_strips`.
        grid: the raster.
        tiling: windows of the region.
        batch_size: windows per call of the network.
        region: part of the raster that the tiling covers; by default all of it.
        rows: consecutive rows of the tiling, at least one; by default all.

    Returns:
        The rows, from top to bottom.

    Raises:
        RasterError: If the raster cannot be read.
        BandMismatchError: If it lacks bands of the model.
        ParameterError: If the batch size is less than 1.
    """
    if batch_size < 1:
        raise ParameterError(f"batch size is {batch_size}, expected at least 1")
    rows = rows or range(len(tiling.rows))
    images = window_images(
        grid,
        band_numbers(grid, model.card.normalization.bands),
        region or grid.window,
        tiling,
        normalization=model.card.normalization,
        nodata=model.card.nodata,
        rows=rows,
    )
    batches = WindowBatches(model, tiling, batch_size)
    return _run(batches, _prefetch(images), rows)


def _run(
    batches: WindowBatches, images: Iterator[RowPixels | WindowImage], rows: range
) -> Generator[WindowRow]:
    """Predict the windows row by row, without those that have no valid pixel."""
    waiting: dict[int, _PartOfRow] = {}  # rows with windows that may be in a batch

    def keep(results: Iterable[WindowResult]) -> None:
        for (row, column), probability in results:
            waiting[row].probabilities[column] = probability

    def complete(end: int) -> Iterator[WindowRow]:
        for row in [row for row in waiting if row < end]:
            yield waiting.pop(row).whole(row)

    for item in images:
        if isinstance(item, WindowImage):
            keep(batches.add(*item))
            continue
        if waiting:
            keep(batches.run_overdue(item.row - 1))
            yield from complete(batches.complete(item.row))
        waiting[item.row] = _PartOfRow(item, {})
    keep(batches.finish())
    yield from complete(rows.stop)


class _PartOfRow(NamedTuple):
    """An incomplete row of windows: its pixels, and probabilities by column."""

    pixels: RowPixels
    probabilities: dict[int, npt.NDArray[np.uint16]]

    def whole(self, row: int) -> WindowRow:
        columns = sorted(self.probabilities)
        probabilities = [self.probabilities[column] for column in columns]
        return WindowRow(
            row, self.pixels.valid, columns, probabilities, self.pixels.guide
        )


def _prefetch(items: Iterator[T]) -> Iterator[T]:
    """Yield items; a background thread computes the next ones in advance."""
    end = object()
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="reader") as reader:
        coming = deque(reader.submit(next, items, end) for _ in range(_AHEAD))
        try:
            while (item := coming.popleft().result()) is not end:
                coming.append(reader.submit(next, items, end))
                yield item  # type: ignore[misc]
        finally:
            # close an abandoned iterator's dataset in the thread that opened it
            for future in coming:
                future.cancel()
            reader.submit(items.close)  # type: ignore[attr-defined]
