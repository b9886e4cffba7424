"""Stream a raster of any size through a model, strip by strip.

Windows overlap and their probabilities are blended with weights that are zero nowhere.
Memory grows with the raster's width and the window, never with its height: a row is
handed on as soon as no later window touches it.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple, Protocol, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from geoseg.errors import ParameterError
from geoseg.geo import raster
from geoseg.geo.class_rasters import RasterTags, class_raster, probability_raster
from geoseg.geo.raster import PixelWindow
from geoseg.geo.strips import ClassStrip, Strip, classify
from geoseg.normalization import Normalization
from geoseg.windows import blend_profile, window_starts

T = TypeVar("T")

#: Rows read beyond a strip, so that gradient channels are the same as without strips.
HALO = 1

#: A batch that fills slowly is run after so many rows of windows.
MOST_ROWS = 8


class ModelCard(Protocol):
    """What prediction needs to know about a model."""

    @property
    def normalization(self) -> Normalization: ...

    @property
    def nodata(self) -> str: ...

    @property
    def class_names(self) -> tuple[str, ...]: ...


class ClassModel(Protocol):
    """What turns normalised pixels into class probabilities."""

    @property
    def card(self) -> ModelCard: ...

    def class_probabilities(self, image: Tensor, valid: Tensor) -> Tensor:
        """Map ``(N, channels, H, W)`` and ``(N, H, W)`` bool to ``(N, C, H, W)``."""
        ...


class Tiling(NamedTuple):
    """Where the windows lie within the region, and how they are weighted.

    Attributes:
        size: side of a window, pixels.
        rows: first row of each row of windows; ``columns`` likewise.
        row_weights: ``(len(rows), size)`` float32. Per pixel row, the weights of all
            windows that hold it sum to one, so no division is left for the end;
            ``column_weights`` likewise. The 2-D weight is the outer product.
    """

    size: int
    rows: list[int]
    columns: list[int]
    row_weights: npt.NDArray[np.float32]
    column_weights: npt.NDArray[np.float32]


def tile(height: int, width: int, *, window: int = 256, overlap: int = 32) -> Tiling:
    """Lay windows over a region.

    Args:
        height: rows of the region.
        width: columns of the region.
        window: side of a window, pixels.
        overlap: least overlap of neighbouring windows, pixels; less than ``window``.

    Raises:
        ParameterError: If the overlap is negative or does not fit into the window.
    """
    if window < 1 or not 0 <= overlap < window:
        raise ParameterError(
            f"window {window} with overlap {overlap} cannot tile a raster; expected "
            "0 <= overlap < window, for example 256 and 32"
        )
    rows = window_starts(height, window, overlap)
    columns = window_starts(width, window, overlap)
    profile = blend_profile(window, overlap)
    return Tiling(
        window,
        rows,
        columns,
        _partition_of_unity(rows, profile),
        _partition_of_unity(columns, profile),
    )


def _partition_of_unity(
    starts: list[int], profile: npt.NDArray[np.float32]
) -> npt.NDArray[np.float32]:
    """Scale the profile at each start so that the weights of a pixel sum to one."""
    size = len(profile)
    total = np.zeros(starts[-1] + size)
    for start in starts:
        total[start : start + size] += profile
    scaled = [profile / total[start : start + size] for start in starts]
    return np.stack(scaled).astype(np.float32)


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
    last is padded), and overlaps are summed row by row, left to right. While the
    network runs, the next strip is read and normalised in a thread with a dataset
    handle of its own.

    Args:
        model: the model; its card names the bands, the normalisation and nodata.
        path: the raster; any size, also smaller than a window (then it is mirrored
            at its edge, with ``valid`` False there).
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
    if batch_size < 1:
        raise ParameterError(f"batch size is {batch_size}, expected at least 1")
    description = raster.describe(path)
    region = region or PixelWindow(0, 0, description.height, description.width)
    tiling = tile(region.height, region.width, window=window, overlap=overlap)
    numbers = raster.band_numbers(description, model.card.normalization.bands)
    strips = _ahead(_normalised_strips(model.card, path, numbers, region, tiling))
    return _stitch(model, strips, tiling, region, batch_size)


def _stitch(
    model: ClassModel,
    strips: Iterator[tuple[Tensor, Tensor]],
    tiling: Tiling,
    region: PixelWindow,
    batch_size: int,
) -> Iterator[Strip]:
    """Run the windows row by row; those without a valid pixel are left out."""
    classes = len(model.card.class_names)
    sums = _Sums(tiling, (classes, region.height, region.width))
    batch = _Batch(model, batch_size)
    for row, (image, valid) in enumerate(strips):
        sums.learn(row, valid.numpy())
        for column, left in enumerate(tiling.columns):
            columns = slice(left, left + tiling.size)
            if not bool(valid[:, columns].any()):
                continue
            batch.append(row, column, image[:, :, columns], valid[:, columns])
            if len(batch.places) == batch_size:
                sums.add_all(batch.run())
        # Where little is valid a batch fills slowly: it may not hold up many rows.
        if batch.places and row - batch.places[0][0] >= MOST_ROWS:
            sums.add_all(batch.run())
        yield from sums.finished(batch.places[0][0] if batch.places else row + 1)
    if batch.places:
        sums.add_all(batch.run())
    yield from sums.finished(len(tiling.rows))


def _normalised_strips(
    card: ModelCard,
    path: str,
    numbers: tuple[int, ...],
    region: PixelWindow,
    tiling: Tiling,
) -> Iterator[tuple[Tensor, Tensor]]:
    """Read and normalise the rows of each row of windows, reading every row once."""
    size = tiling.size
    have = 0  # rows of the region read so far
    with raster.open_raster(path) as dataset:
        pixels: npt.NDArray[Any] | None = None
        valid: npt.NDArray[np.bool_] | None = None
        for start in tiling.rows:
            top = max(start - HALO, 0)
            bottom = min(start + size + HALO, region.height)
            rows = PixelWindow(
                region.row + have, region.col, bottom - have, region.width
            )
            if bottom > have:
                fresh = raster.read_window(dataset, numbers, rows, nodata=card.nodata)
            if pixels is None or valid is None:
                pixels, valid = fresh
            elif bottom > have:
                keep = have - top
                pixels = np.concatenate((pixels[:, -keep:], fresh[0]), axis=1)
                valid = np.concatenate((valid[-keep:], fresh[1]), axis=0)
            else:
                pixels, valid = pixels[:, top - bottom :], valid[top - bottom :]
            have = bottom
            image = card.normalization(pixels, valid)
            inner = slice(start - top, min(start + size, region.height) - top)
            yield _pad(image[:, inner], torch.from_numpy(valid[inner].copy()), size)


def _pad(image: Tensor, valid: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """Mirror a raster smaller than a window at its lower and right edge."""
    below = max(size - image.shape[1], 0)
    right = max(size - image.shape[2], 0)
    if below or right:
        widths = ((0, 0), (0, below), (0, right))
        image = torch.from_numpy(np.pad(image.numpy(), widths, mode="reflect"))
        valid = torch.nn.functional.pad(valid, (0, right, 0, below), value=False)
    return image, valid


def _ahead(items: Iterator[T]) -> Iterator[T]:
    """Make the next item in one background thread while the present one is used."""
    end = object()
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="reader") as reader:
        coming = reader.submit(next, items, end)
        try:
            while (item := coming.result()) is not end:
                coming = reader.submit(next, items, end)
                yield item  # type: ignore[misc]
        finally:
            # An abandoned iterator closes its dataset in the thread that opened it.
            coming.cancel()
            reader.submit(items.close)  # type: ignore[attr-defined]


class _Batch:
    """Windows on their way to the network, always as many as the batch holds.

    One shape for all batches: the same kernels run, so the same bits come out.
    """

    def __init__(self, model: ClassModel, size: int) -> None:
        self._model = model
        self._size = size
        self._image = torch.zeros(0)
        self._valid = torch.zeros(0, dtype=torch.bool)
        self.places: list[tuple[int, int]] = []  # (row, column) of the tiling

    def append(self, row: int, column: int, image: Tensor, valid: Tensor) -> None:
        """Copy a window in, so that the strip it was cut from can go."""
        if not self.places:
            self._image = torch.zeros((self._size, *image.shape))
            self._valid = torch.zeros((self._size, *valid.shape), dtype=torch.bool)
        self._image[len(self.places)] = image
        self._valid[len(self.places)] = valid
        self.places.append((row, column))

    def run(self) -> list[tuple[tuple[int, int], npt.NDArray[np.float32]]]:
        """Empty the batch: places and their ``(C, size, size)`` probabilities."""
        with torch.no_grad():
            result = self._model.class_probabilities(self._image, self._valid)
        places, self.places = self.places, []
        return list(zip(places, result.float().cpu().numpy(), strict=False))


class _Sums:
    """Sum weighted windows and hand out the rows that no later window touches."""

    def __init__(self, tiling: Tiling, shape: tuple[int, int, int]) -> None:
        self._tiling = tiling
        self._classes, self._height, self._width = shape
        self._done = 0  # rows handed out; the arrays below start there
        self._sums = np.zeros((self._classes, 0, self._width), dtype=np.float32)
        self._valid = np.zeros((0, self._width), dtype=np.bool_)

    def learn(self, row: int, valid: npt.NDArray[np.bool_]) -> None:
        """Note which pixels of a row of windows are valid."""
        known = self._done + len(self._valid)
        start = self._tiling.rows[row]
        end = min(start + self._tiling.size, self._height)
        fresh = valid[known - start : end - start, : self._width]
        self._valid = np.concatenate((self._valid, fresh))

    def add_all(
        self, windows: list[tuple[tuple[int, int], npt.NDArray[np.float32]]]
    ) -> None:
        """Add the probabilities of windows, in the order given."""
        for (row, column), probability in windows:
            self._add(row, column, probability)

    def _add(self, row: int, column: int, probability: npt.NDArray[np.float32]) -> None:
        tiling = self._tiling
        top = tiling.rows[row] - self._done
        left = tiling.columns[column]
        height = min(tiling.size, self._height - self._done - top)
        width = min(tiling.size, self._width - left)
        self._reserve(top + height)
        weight = np.outer(
            tiling.row_weights[row, :height], tiling.column_weights[column, :width]
        )
        sums = self._sums[:, top : top + height, left : left + width]
        sums += probability[:, :height, :width] * weight

    def _reserve(self, rows: int) -> None:
        missing = rows - self._sums.shape[1]
        if missing > 0:
            fresh = np.zeros((self._classes, missing, self._width), dtype=np.float32)
            self._sums = np.concatenate((self._sums, fresh), axis=1)

    def finished(self, row: int) -> Iterator[Strip]:
        """Hand out what lies above a row of windows (all, if past the last one)."""
        starts = self._tiling.rows
        end = starts[row] if row < len(starts) else self._height
        while self._done < end:
            # One row of windows at a time, so that a strip stays small.
            next_start = next((start for start in starts if start > self._done), end)
            yield self._hand_out(min(next_start, end) - self._done)

    def _hand_out(self, height: int) -> Strip:
        self._reserve(height)
        valid = self._valid[:height]
        strip = Strip(self._done, self._sums[:, :height] * valid, valid)
        # Copies, so that the rows handed out do not stay in memory behind a view.
        self._sums = self._sums[:, height:].copy()
        self._valid = self._valid[height:].copy()
        self._done += height
        return strip


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
) -> Iterator[ClassStrip]:
    """Predict a raster and write what is asked for on the way, in one pass.

    The strips that come out feed :func:`geoseg.geo.vectorize.footprints`; the rasters
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
    names = model.card.class_names
    grid = raster.describe(path)
    with ExitStack() as stack:
        write_classes = write_probability = None
        if classes is not None:
            write_classes = stack.enter_context(
                class_raster(
                    classes, grid, class_names=names, tags=tags, overwrite=overwrite
                )
            )
        if probability is not None:
            write_probability = stack.enter_context(
                probability_raster(
                    probability, grid, class_names=names, tags=tags, overwrite=overwrite
                )
            )
        for strip in predict_strips(
            model, path, window=window, overlap=overlap, batch_size=batch_size
        ):
            class_strip = classify(strip)
            if write_classes is not None:
                write_classes(class_strip)
            if write_probability is not None:
                write_probability(strip)
            yield class_strip
