"""Objects of class rasters that are complete, with what is known of each."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from geoseg.geo.footprints.pixel_runs import SCORE_UNITS, ScoredRuns

_Ints = npt.NDArray[np.int64]
_Bools = npt.NDArray[np.bool_]


class Complete(NamedTuple):
    """Complete objects, new ones first, by neighbourhood, from the top, from the left.

    All arrays are ``(N,)``.

    Attributes:
        class_id: 1 to C - 1.
        pixels: how many each has.
        score_sum: sum of their scores, in parts of 1 / ``SCORE_UNITS``.
        row: of the first pixel, from the top, then from the left; ``column`` likewise.
        outline: polygons; x = column, y = row, integers, along pixel edges.
        neighbourhood: ascending from 0; objects that are simplified together have one.
        shared: True where objects of different classes in it share a wall.
        fresh: False where objects come at another time, but have a say in the outlines of
            those near them.
        near: ``(2, Q)`` places of objects of different neighbourhoods that are near each
            other; of those that are fresh all.
        pieces: numbers of the pieces of each object; empty unless asked for.
        around: numbers of the pieces of others not far from each object, of any
            neighbourhood; some of them may turn out too small to count. Likewise.
        runs: the pixels of each; empty unless asked for.
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
        """Mean score of the pixels of each, in [0, 1]."""
        return self.score_sum / self.pixels / SCORE_UNITS

    def some(self, which: _Bools) -> "Complete":
        """Return some of them."""
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
