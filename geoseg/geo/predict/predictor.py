"""Stream a raster of any size through a model, strip by strip.

Windows overlap and their probabilities are blended with weights that are zero nowhere.
Those at the region's border, where no neighbour could help, see some pixels more.
Memory grows with the raster's width and the window, never with its height: a row is
handed on as soon as no later window touches it.
"""

from collections import deque
from collections.abc import Generator, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

from geoseg.core.errors import ParameterError
from geoseg.geo.predict.stitching import Tiling, WindowRow, stitch, tile
from geoseg.geo.predict.window_batches import (
    ClassModel,
    Found,
    WindowBatches,
)
from geoseg.geo.predict.window_rows import RowValid, WindowImage, window_images
from geoseg.geo.rasters import raster
from geoseg.geo.rasters.bands import band_numbers
from geoseg.geo.rasters.description import PixelWindow
from geoseg.geo.rasters.strips import Strip

T = TypeVar("T")

# Windows that are read and normalised before their turn: two batches.
_AHEAD = 16


def predict_strips(
    model: ClassModel,
    path: str,
    *,
    window: int = 256,
    overlap: int = 32,
    batch_size: int = 8,
    region: PixelWindow | None = None,
) -> Iterator[Strip]:
    """Predict class probabilities of a raster, in strips from top to bottom.

    The result does not depend on the order of windows: batches have one shape (the
    last is padded), and overlaps are summed in integers. While the network runs, the
    next windows are read and normalised in a thread with a dataset handle of its own.

    Networks take what lies beyond a window for zeros and err along its border. Blending
    makes up for it where windows overlap. Windows at the region's border go through the
    network with :data:`geoseg.geo.predict.window_rows.MARGIN` pixels around them: of the raster,
    and where it ends the outermost pixels repeated, with ``valid`` False.

    Args:
        model: the model; its card names the bands, the normalisation and nodata.
        path: the raster; any size, also smaller than a window (then its outermost
            pixels are repeated, with ``valid`` False there).
        window: side of a window, pixels.
        overlap: least overlap of neighbouring windows, pixels.
        batch_size: windows per call of the network.
        region: part of the raster to predict; by default all of it.

    Returns:
        Strips of ``(C, h, W)`` that follow each other and cover the region once.

    Raises:
        RasterError: If the raster cannot be read.
        BandMismatchError: If it lacks bands of the model.
        ParameterError: If window, overlap or batch size make no sense.
    """
    description = raster.describe(path)
    region = region or PixelWindow(0, 0, description.height, description.width)
    tiling = tile(region.height, region.width, window=window, overlap=overlap)
    rows = predict_rows(model, path, tiling, batch_size=batch_size, region=region)
    shape = len(model.card.class_names), region.height, region.width
    return stitch(rows, tiling, shape)


def predict_rows(
    model: ClassModel,
    path: str,
    tiling: Tiling,
    *,
    batch_size: int = 8,
    region: PixelWindow | None = None,
    rows: range | None = None,
) -> Generator[WindowRow]:
    """Predict rows of windows; what comes before and after them changes no bit.

    Args:
        model: as for :func:`predict_strips`, which says more.
        path: the raster.
        tiling: of the region.
        batch_size: windows per call of the network.
        region: part of the raster that the tiling lies on; by default all of it.
        rows: of the tiling, one or more that follow each other; by default all.

    Returns:
        The rows, from top to bottom.

    Raises:
        RasterError: If the raster cannot be read.
        BandMismatchError: If it lacks bands of the model.
        ParameterError: If the batch size makes no sense.
    """
    if batch_size < 1:
        raise ParameterError(f"batch size is {batch_size}, expected at least 1")
    description = raster.describe(path)
    rows = rows or range(len(tiling.rows))
    images = window_images(
        path,
        band_numbers(description, model.card.normalization.bands),
        region or PixelWindow(0, 0, description.height, description.width),
        tiling,
        normalization=model.card.normalization,
        nodata=model.card.nodata,
        rows=rows,
    )
    batches = WindowBatches(model, tiling, batch_size)
    return _run(batches, _ahead(images), rows)


def _run(
    batches: WindowBatches, images: Iterator[RowValid | WindowImage], rows: range
) -> Generator[WindowRow]:
    """Run the windows row by row; those without a valid pixel are left out."""
    waiting: dict[int, _PartOfRow] = {}  # rows of which windows may be in a batch

    def keep(found: Iterable[Found]) -> None:
        for (row, column), probability in found:
            waiting[row].found[column] = probability

    def complete(end: int) -> Iterator[WindowRow]:
        for row in [row for row in waiting if row < end]:
            yield waiting.pop(row).whole(row)

    for item in images:
        if isinstance(item, WindowImage):
            keep(batches.add(*item))
            continue
        if waiting:
            keep(batches.hurry(item.row - 1))
            yield from complete(batches.complete(item.row))
        waiting[item.row] = _PartOfRow(item.valid, {})
    keep(batches.finish())
    yield from complete(rows.stop)


class _PartOfRow(NamedTuple):
    """What is known of a row of windows: where it is valid, probabilities by column."""

    valid: npt.NDArray[np.bool_]
    found: dict[int, npt.NDArray[np.uint16]]

    def whole(self, row: int) -> WindowRow:
        columns = sorted(self.found)
        found = [self.found[column] for column in columns]
        return WindowRow(row, self.valid, columns, found)


def _ahead(items: Iterator[T]) -> Iterator[T]:
    """Make the next items in one background thread while the present one is used."""
    end = object()
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="reader") as reader:
        coming = deque(reader.submit(next, items, end) for _ in range(_AHEAD))
        try:
            while (item := coming.popleft().result()) is not end:
                coming.append(reader.submit(next, items, end))
                yield item  # type: ignore[misc]
        finally:
            # An abandoned iterator closes its dataset in the thread that opened it.
            for future in coming:
                future.cancel()
            reader.submit(items.close)  # type: ignore[attr-defined]
