"""Stream a raster of any size through a model, strip by strip.

Windows overlap and their probabilities are blended with weights that are zero nowhere.
Those at the region's border, where no neighbour could help, see some pixels more.
Memory grows with the raster's width and the window, never with its height: a row is
handed on as soon as no later window touches it.
"""

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

from geoseg.core.errors import ParameterError
from geoseg.geo.formats.class_rasters import (
    RasterTags,
    class_raster,
    probability_raster,
)
from geoseg.geo.predict.stitching import Tiling, WindowRow, stitch, tile
from geoseg.geo.predict.window_batches import (
    ClassModel,
    Found,
    ModelCard,
    WindowBatches,
)
from geoseg.geo.predict.window_rows import RowValid, WindowImage, window_images
from geoseg.geo.rasters import raster
from geoseg.geo.rasters.bands import band_numbers
from geoseg.geo.rasters.legend import class_legend
from geoseg.geo.rasters.raster import PixelWindow
from geoseg.geo.rasters.strips import ClassStrip, Strip, classify

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


def predict_raster(
    model: ClassModel,
    path: str,
    *,
    classes: Path | None = None,
    probability: Path | None = None,
    overwrite: bool = False,
    tags: RasterTags = RasterTags(),
    window: int = 256,
    overlap: int = 32,
    batch_size: int = 8,
) -> Generator[ClassStrip]:
    """Predict a raster and write what is asked for on the way, in one pass.

    The strips that come out feed :func:`geoseg.geo.footprints.vectorize.footprints`; the rasters
    are complete (verified and renamed) once the last strip has been taken. If the
    consumer stops early or fails, nothing is left behind.

    Args:
        model: the model.
        path: the raster.
        classes: class GeoTIFF to write: uint8, 0 background, 255 nodata.
        probability: probability GeoTIFF to write: uint8 percent, 255 nodata.
        overwrite: replace existing outputs.
        tags: provenance for the rasters' metadata.
        window: side of a window, pixels.
        overlap: least overlap of neighbouring windows, pixels.
        batch_size: windows per call of the network.

    Yields:
        The class strips, top to bottom.

    Raises:
        OutputExistsError: If an output exists and ``overwrite`` is False.
        OutputError: If an output cannot be written or does not verify.
        RasterError: As :func:`predict_strips`.
    """
    strips = predict_strips(
        model, path, window=window, overlap=overlap, batch_size=batch_size
    )
    yield from write_strips(
        strips,
        model.card,
        path,
        classes=classes,
        probability=probability,
        overwrite=overwrite,
        tags=tags,
    )


def write_strips(
    strips: Iterator[Strip],
    card: ModelCard,
    path: str,
    *,
    classes: Path | None,
    probability: Path | None,
    overwrite: bool,
    tags: RasterTags,
) -> Generator[ClassStrip]:
    """Write the strips of a raster on the way; see :func:`predict_raster`."""
    with _rasters(
        card, path, classes, probability, tags=tags, overwrite=overwrite
    ) as write:
        for strip in strips:
            class_strip = classify(strip)
            write(strip, class_strip)
            yield class_strip


@contextmanager
def _rasters(
    card: ModelCard,
    path: str,
    classes: Path | None,
    probability: Path | None,
    *,
    tags: RasterTags,
    overwrite: bool,
) -> Iterator[Callable[[Strip, ClassStrip], None]]:
    """Open the rasters that are wanted; yield what writes a strip to each of them."""
    names = card.class_names
    grid = raster.describe(path)
    with ExitStack() as stack:
        write_classes = write_probability = None
        if classes is not None:
            write_classes = stack.enter_context(
                class_raster(
                    classes,
                    grid,
                    legend=class_legend(names),
                    tags=tags,
                    overwrite=overwrite,
                )
            )
        if probability is not None:
            write_probability = stack.enter_context(
                probability_raster(
                    probability, grid, class_names=names, tags=tags, overwrite=overwrite
                )
            )

        def write(strip: Strip, class_strip: ClassStrip) -> None:
            if write_classes is not None:
                write_classes(class_strip)
            if write_probability is not None:
                write_probability(strip)

        yield write
