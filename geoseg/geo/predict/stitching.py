"""Tiling of a region by windows, and blending of their probabilities."""

from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from geoseg.core.errors import ModelFileError, ParameterError
from geoseg.geo.predict.windows import blend_profile, window_starts
from geoseg.geo.rasters.strips import Strip

#: Number of steps between the probabilities 0 and 1 of a window. 16 bits take half of
#: float32's memory. The number is even, so that one half is exact and ties stay ties.
STEPS = 65534


class Tiling(NamedTuple):
    """Positions of the windows in a region, and their weights.

    Attributes:
        size: side of a window, pixels.
        rows: first pixel row of each row of windows; ``columns`` likewise.
        row_weights: ``(len(rows), size)`` float32. For each pixel row, the weights of
            all windows that contain it sum to one; ``column_weights`` likewise. The
            weight of a pixel is the product of both.
    """

    size: int
    rows: list[int]
    columns: list[int]
    row_weights: npt.NDArray[np.float32]
    column_weights: npt.NDArray[np.float32]


def lay_windows(
    height: int,
    width: int,
    *,
    window: int = 256,
    overlap: int = 32,
    blended: bool = True,
) -> Tiling:
    """Lay windows over a region.

    Args:
        height: rows of the region.
        width: columns of the region.
        window: side of a window, pixels.
        overlap: least overlap of neighbouring windows, pixels; less than ``window``.
        blended: Whether overlapping windows are blended; if not, a pixel has the values
            of the one window that it is deepest in.

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
    if blended:
        profile = blend_profile(window, overlap)
        weights = [_partition_of_unity(starts, profile) for starts in (rows, columns)]
    else:
        weights = [_one_window_each(starts, window) for starts in (rows, columns)]
    return Tiling(window, rows, columns, *weights)


def _one_window_each(starts: list[int], size: int) -> npt.NDArray[np.float32]:
    """Return weights of 1 up to the middle of each overlap, and of 0 beyond it."""
    middles = [(a + size + b) // 2 for a, b in pairwise(starts)]
    weights = np.zeros((len(starts), size), np.float32)
    bounds = zip(
        starts, [starts[0], *middles], [*middles, starts[-1] + size], strict=True
    )
    for weight, (start, first, end) in zip(weights, bounds, strict=True):
        weight[first - start : end - start] = 1
    return weights


def _partition_of_unity(
    starts: list[int], profile: npt.NDArray[np.float32]
) -> npt.NDArray[np.float32]:
    """Return the profile at each start, scaled so that a pixel's weights sum to one."""
    size = len(profile)
    total = np.zeros(starts[-1] + size)
    for start in starts:
        total[start : start + size] += profile
    scaled = [profile / total[start : start + size] for start in starts]
    return np.stack(scaled).astype(np.float32)


class WindowRow(NamedTuple):
    """Probabilities of a row of windows.

    Attributes:
        row: row of the tiling.
        valid: ``(size, W)`` bool; W is the region's width or, if larger, a window's.
        columns: columns of the windows with a valid pixel, from left to right.
        probability: ``(C, size, size)`` uint16 of each window, in :data:`STEPS`-ths.
        guide: ``(size, W)`` uint8, the image's brightness.
    """

    row: int
    valid: npt.NDArray[np.bool_]
    columns: list[int]
    probability: list[npt.NDArray[np.uint16]]
    guide: npt.NDArray[np.uint8]


def in_steps(probability: npt.NDArray[np.float32]) -> npt.NDArray[np.uint16]:
    """Round probabilities in [0, 1] to :data:`STEPS`-ths.

    Raises:
        ModelFileError: If one is NaN.
    """
    try:
        with np.errstate(invalid="raise"):
            steps: npt.NDArray[np.uint16] = np.rint(
                probability * np.float32(STEPS)
            ).astype(np.uint16)
    except FloatingPointError as error:
        raise ModelFileError(
            "the model gives NaN, expected probabilities: its training diverged; train "
            "again"
        ) from error
    return steps


def stitch(
    rows: Iterable[WindowRow], tiling: Tiling, shape: tuple[int, int, int]
) -> Iterator[Strip]:
    """Blend windows and yield each strip as soon as no later window covers it.

    Args:
        rows: all rows of the tiling, from top to bottom.
        tiling: positions and weights of the windows.
        shape: ``(C, H, W)`` of the region.
    """
    sums = WindowSums(tiling, shape)
    for row in rows:
        sums.add(row)
        yield from sums.finished(row.row + 1)


# Weighted probabilities are summed in fixed point, which gives the same sum in any
# order, so a rotated or mirrored raster gives the same bits. Sums are at most 1, which
# is this number; int32 holds it with a bit to spare, in finer steps than float32.
_FIXED_POINT_ONE = 2**30


class WindowSums:
    """Sums of weighted windows, from which rows are taken once they are complete."""

    def __init__(self, tiling: Tiling, shape: tuple[int, int, int]) -> None:
        self._tiling = tiling
        self._classes, self._height, self._width = shape
        self._done = 0  # rows taken; the arrays below start there
        # more rows than in use, because allocating costs as much as adding
        self._sums = np.zeros((self._classes, 0, self._width), dtype=np.int32)
        self._valid = np.zeros((0, self._width), dtype=np.bool_)
        self._guide = np.zeros((0, self._width), dtype=np.uint8)

    def add(self, windows: WindowRow) -> None:
        """Add the next row of windows, from left to right."""
        self._learn(windows)
        for column, probability in zip(
            windows.columns, windows.probability, strict=True
        ):
            self._add(windows.row, column, probability)

    def _learn(self, windows: WindowRow) -> None:
        """Append the valid mask and the brightness of a row of windows."""
        known = self._done + len(self._valid)
        start = self._tiling.rows[windows.row]
        end = min(start + self._tiling.size, self._height)
        fresh = np.s_[known - start : end - start, : self._width]
        self._valid = np.concatenate((self._valid, windows.valid[fresh]))
        self._guide = np.concatenate((self._guide, windows.guide[fresh]))

    def _add(self, row: int, column: int, probability: npt.NDArray[np.uint16]) -> None:
        tiling = self._tiling
        top = tiling.rows[row] - self._done
        left = tiling.columns[column]
        height = min(tiling.size, self._height - self._done - top)
        width = min(tiling.size, self._width - left)
        self._reserve(top + height)
        weight = np.outer(
            tiling.row_weights[row, :height], tiling.column_weights[column, :width]
        )
        # scale last, so that rows and columns are rounded alike
        weight *= np.float32(_FIXED_POINT_ONE / STEPS)
        share = np.empty((self._classes, height, width), dtype=np.int32)
        np.multiply(
            probability[:, :height, :width], weight, out=share, casting="unsafe"
        )
        self._sums[:, top : top + height, left : left + width] += share

    def _reserve(self, rows: int) -> None:
        missing = rows - self._sums.shape[1]
        if missing > 0:
            missing = max(missing, self._tiling.size)
            fresh = np.zeros((self._classes, missing, self._width), dtype=np.int32)
            self._sums = np.concatenate((self._sums, fresh), axis=1)

    def finished(self, row: int) -> Iterator[Strip]:
        """Yield the strips above a row of windows (all, if past the last one)."""
        starts = self._tiling.rows
        end = starts[row] if row < len(starts) else self._height
        while self._done < end:
            # one row of windows at a time, so that strips stay small
            next_start = next((start for start in starts if start > self._done), end)
            yield self._take(min(next_start, end) - self._done)

    def _take(self, height: int) -> Strip:
        self._reserve(height)
        valid = self._valid[:height]
        probability = self._sums[:, :height].astype(np.float32)
        probability *= valid * np.float32(1 / _FIXED_POINT_ONE)
        strip = Strip(self._done, probability, valid, self._guide[:height])
        rest = self._sums.shape[1] - height
        for sums in self._sums:
            # NumPy handles the overlap
            sums[:rest] = sums[height:]
            sums[rest:] = 0
        # copy, because a view would keep the taken rows in memory
        self._valid = self._valid[height:].copy()
        self._guide = self._guide[height:].copy()
        self._done += height
        return strip
