"""Runs: adjacent pixels of one class in a row, the parts of all objects.

There are a hundred times fewer runs than pixels, and NumPy handles them all at once.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from geoseg.core.patches import IGNORE
from geoseg.geo.rasters.strips import ClassStrip

#: Scores are summed as integers in units of float32's precision below 1.
SCORE_UNITS = 2**24

#: Scores of single pixels are stored in a byte, in units of 1 / 255.
SCORE_LEVELS = 255

_Ints = npt.NDArray[np.int64]
_Bools = npt.NDArray[np.bool_]
_Levels = npt.NDArray[np.uint8]


class PixelRuns(NamedTuple):
    """Runs in the order of rows, then of columns; all arrays ``(M,)``.

    Attributes:
        row: row in the raster.
        start: first column.
        stop: one past the last column.
        class_id: 1 to C - 1.
    """

    row: _Ints
    start: _Ints
    stop: _Ints
    class_id: _Ints

    @property
    def length(self) -> _Ints:
        """Number of pixels of each run."""
        return self.stop - self.start

    def take(self, which: _Ints | _Bools) -> "PixelRuns":
        """Return the runs at ``which``."""
        return PixelRuns(*(values[which] for values in self))


class ScoredRuns(NamedTuple):
    """Runs of one object.

    Attributes:
        runs: in order.
        score_sum: ``(M,)`` sums of their scores in units of 1 / ``SCORE_UNITS``.
        levels: ``(P,)`` score of each pixel, run by run, in units of 1 / ``SCORE_LEVELS``.
    """

    runs: PixelRuns
    score_sum: _Ints
    levels: _Levels


def join_runs(above: PixelRuns, below: PixelRuns) -> PixelRuns:
    """Append the runs of later rows."""
    return PixelRuns(*map(np.append, above, below))


def runs_of(strip: ClassStrip) -> tuple[PixelRuns, _Ints]:
    """Find the runs of a strip.

    Returns:
        The runs, and the sum of each one's scores in units of 1 / ``SCORE_UNITS``.
    """
    classes = np.ascontiguousarray(strip.classes)
    height, width = classes.shape
    flat = classes.ravel()
    begins = np.empty(flat.shape, dtype=np.bool_)
    np.not_equal(flat[1:], flat[:-1], out=begins[1:])
    begins[::width] = True
    first = np.flatnonzero(begins)
    class_id = flat[first].astype(np.int64)
    length = np.diff(first, append=flat.size)
    keep = (class_id > 0) & (class_id < IGNORE)
    first, length, class_id = first[keep], length[keep], class_id[keep]
    row, start = np.divmod(first, width)
    runs = PixelRuns(row + strip.row, start, start + length, class_id)
    return runs, _score_sums(strip, first, length)


def _score_sums(strip: ClassStrip, first: _Ints, length: _Ints) -> _Ints:
    """Sum the scores of each run as integers, so that order does not change the sum."""
    if not len(first):
        return np.zeros(0, dtype=np.int64)
    inside = (strip.classes > 0) & (strip.classes < IGNORE)
    units = strip.score[inside] * np.float64(SCORE_UNITS)
    np.rint(units, out=units)
    # A run is too short for a sum that float64 cannot hold exactly.
    return np.add.reduceat(units, np.cumsum(length) - length).astype(np.int64)


def levels_of(strip: ClassStrip) -> _Levels:
    """Return the scores of the pixels in a strip's runs, as in :class:`ScoredRuns`."""
    inside = (strip.classes > 0) & (strip.classes < IGNORE)
    levels = strip.score[inside] * np.float32(SCORE_LEVELS)
    np.rint(levels, out=levels)
    return levels.astype(np.uint8)


def pixels_of(length: _Ints, which: _Ints) -> _Ints:
    """Return the indices of some runs' pixels among the pixels of all runs.

    Args:
        length: ``(M,)`` number of pixels of every run.
        which: ``(K,)`` indices of runs.
    """
    ends = np.cumsum(length[which])
    shift = (np.cumsum(length) - length)[which] - (ends - length[which])
    return np.repeat(shift, length[which]) + np.arange(ends[-1] if len(ends) else 0)


def meeting(runs: PixelRuns) -> tuple[_Ints, _Ints]:
    """Return pairs of runs of the same class that share an edge, the upper run first."""
    upper, lower = _within(runs, down=1, reach=0)
    same = runs.class_id[upper] == runs.class_id[lower]
    return upper[same], lower[same]


def near(
    runs: PixelRuns, owner: _Ints, reach: int
) -> Iterator[tuple[_Ints, _Ints, _Ints]]:
    """Yield pairs of near runs of different owners.

    Args:
        runs: of any rows.
        owner: ``(M,)`` number of the object that each run belongs to.
        reach: largest distance in pixels; the larger of the distances in rows and in
            columns counts.

    Yields:
        First runs, second runs, and their distance in pixels: 0 if they share an edge.
    """
    for down in range(reach + 1):
        first, second = _within(runs, down=down, reach=reach)
        other = owner[first] != owner[second]
        first, second = first[other], second[other]
        across = np.maximum(
            runs.start[first] - runs.stop[second], runs.start[second] - runs.stop[first]
        )
        across = np.maximum(across + 1, 0)
        apart = np.where(down + across == 1, 0, np.maximum(across, down))
        yield first, second, apart


def _within(runs: PixelRuns, *, down: int, reach: int) -> tuple[_Ints, _Ints]:
    """Return pairs of runs, the second ``down`` rows below the first.

    Their columns are at most ``reach`` apart (1: they meet at a corner; 0: they share a
    column). In the same row the second run is to the right.
    """
    if not len(runs.row):
        return np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64)
    # Row and column in one number; the width leaves room for ``reach`` between rows.
    wide = runs.stop.max() + 2 * reach + 2
    starts, stops = runs.row * wide + runs.start, runs.row * wide + runs.stop
    below = down * wide
    end = np.searchsorted(starts, stops + (below + reach), "left")
    if down:
        begin = np.searchsorted(stops, starts + (below - reach), "right")
    else:
        begin = np.arange(len(starts)) + 1
    count = np.maximum(end - begin, 0)
    first = np.repeat(np.arange(len(starts)), count)
    place = np.arange(len(first)) - np.repeat(np.cumsum(count) - count, count)
    return first, begin[first] + place
