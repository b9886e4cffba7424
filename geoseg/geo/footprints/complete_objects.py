"""Complete objects of class rasters, with their attributes."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from geoseg.geo.footprints.pixel_runs import SCORE_UNITS, ScoredRuns

_Ints = npt.NDArray[np.int64]
_Bools = npt.NDArray[np.bool_]


class Complete(NamedTuple):
    """Complete objects; all arrays ``(N,)``.

    Fresh ones come first; then they are ordered by neighbourhood, row and column.

    Attributes:
        class_id: 1 to C - 1.
        pixels: number of pixels of each object.
        score_sum: sum of their scores, in units of 1 / ``SCORE_UNITS``.
        row: row of the first pixel in raster order.
        column: column of that pixel.
        outline: polygons; x = column, y = row, integers, along pixel edges.
        neighbourhood: number from 0, ascending; objects with the same one are simplified
            together.
        shared: True where objects of the neighbourhood share a wall.
        fresh: True where the object is to be returned now. Others are returned at another
            time, but constrain the outlines near them.
        near: ``(2, Q)`` index pairs of near objects of different neighbourhoods; complete
            for fresh objects.
        pieces: piece numbers of each object; empty unless requested.
        around: piece numbers of other objects around each object, in any neighbourhood;
            some of these may turn out too small to count. Empty unless requested.
        runs: pixel runs of each object; empty unless requested.
    """

    class_id: _Ints
    pixels: _Ints
    score_sum: _Ints
    row: _Ints
    column: _Ints
    outline: npt.NDArray[np.object_]
    neighbourhood: _Ints
    shared: _Bools
    fresh: _Bools
    near: _Ints
    pieces: list[set[int]]
    around: list[set[int]]
    runs: list[ScoredRuns]

    @property
    def score(self) -> npt.NDArray[np.float64]:
        """Mean score of each object's pixels, in [0, 1]."""
        return self.score_sum / self.pixels / SCORE_UNITS

    def some(self, which: _Bools) -> "Complete":
        """Return the objects where ``which`` is True."""
        number = np.cumsum(which) - 1
        near = self.near[:, which[self.near].all(axis=0)]
        places = np.flatnonzero(which)
        return Complete(
            self.class_id[places],
            self.pixels[places],
            self.score_sum[places],
            self.row[places],
            self.column[places],
            self.outline[places],
            self.neighbourhood[places],
            self.shared[places],
            self.fresh[places],
            number[near],
            [self.pieces[i] for i in places if self.pieces],
            [self.around[i] for i in places if self.around],
            [self.runs[i] for i in places if self.runs],
        )
