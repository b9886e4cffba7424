"""Valleys of probability between touching buildings.

A classifier is less certain between two houses. The pixels of an object are grouped into
cells, and their scores are smoothed within the object and flooded from the peaks down:
where two floods meet far below the lower of their peaks, there is a valley between two
buildings. The height of peaks above their pass, their dynamics, separates valleys from
noise.

Only the object's own pixels are used: memory grows with these, and constant scores have no
valley.

References:
    Grimaud, "A new measure of contrast: the dynamics", Image Algebra and Morphological
    Image Processing III, SPIE 1769, 1992.
    Naylor, Laé, Reyal, Walter, "Segmentation of nuclei in histopathology images by deep
    regression of the distance map", IEEE TMI 38 (2), 2019 (the same for nuclei that
    touch).
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from geoseg.geo.footprints.pixel_runs import SCORE_LEVELS, ScoredRuns

_Floats = npt.NDArray[np.float64]
_Index = npt.NDArray[np.int64]

#: Smallest fall of the probability between two buildings. This and the smoothing were
#: chosen on predictions of Vegas and Zanzibar.
DIP = 0.2

#: Standard deviation of the smoothing, metres; a pixel where pixels are larger.
SMOOTH_M = 0.9

#: Largest side of a cell, metres; a pixel where pixels are larger.
_CELL_M = 0.6

# Share of the difference to each neighbour that a smoothing step transfers; it adds
# twice as much to the variance.
_STEP = 0.2

# Row and column of a cell in one number.
_ROW = 2**32


class Relief(NamedTuple):
    """Smoothed probability of one object, in cells: squares of pixels.

    Attributes:
        side: side of a cell, pixels.
        key: ``(N,)`` row and column of each cell in one number, ascending.
        centre: ``(N, 2)`` column and row, in pixel coordinates.
        pixels: ``(N,)`` number of the object's pixels in each cell.
        height: ``(N,)`` smoothed probability.
        first: ``(E,)`` first cells of pairs that share an edge.
        second: ``(E,)`` second cells of these.
    """

    side: int
    key: _Index
    centre: _Floats
    pixels: _Index
    height: _Floats
    first: _Index
    second: _Index

    def at(self, points: _Floats) -> _Floats:
        """Return the probability at ``(P, 2)`` points; 0 outside the object."""
        column, row = np.floor(points / self.side).astype(np.int64).T
        key = row * _ROW + column
        place = np.minimum(np.searchsorted(self.key, key), len(self.key) - 1)
        return np.where(self.key[place] == key, self.height[place], 0.0)


def may_have_valley(pixels: ScoredRuns) -> bool:
    """Tell whether an object's scores differ enough for a valley."""
    return bool(np.ptp(pixels.levels) >= DIP * SCORE_LEVELS)


def relief_of(pixels: ScoredRuns, pixel_m: float) -> Relief:
    """Return the smoothed scores of an object; ``pixel_m``: side of a pixel, metres."""
    side = max(int(_CELL_M / pixel_m), 1)
    runs = pixels.runs
    row = np.repeat(runs.row, runs.length)
    begin = np.cumsum(runs.length) - runs.length
    column = np.arange(len(row)) + np.repeat(runs.start - begin, runs.length)
    key = row // side * _ROW + column // side
    key, cell, count = np.unique(key, return_inverse=True, return_counts=True)
    height = np.bincount(cell, pixels.levels) / (count * float(SCORE_LEVELS))
    centre = np.stack((np.bincount(cell, column), np.bincount(cell, row)), axis=1)
    first, second = _side_by_side(key)
    smooth = max(SMOOTH_M / (pixel_m * side), 1.0)
    for _ in range(round(smooth**2 / (2 * _STEP))):
        flow = _STEP * (height[second] - height[first])
        height += np.bincount(first, flow, len(key))
        height -= np.bincount(second, flow, len(key))
    return Relief(
        side, key, centre / count[:, None] + 0.5, count, height, first, second
    )


def find_valleys(cells: Relief, min_pixels: float) -> list[_Floats]:
    """Find the valleys that divide an object into buildings.

    Args:
        cells: the relief of the object.
        min_pixels: smallest building.

    Returns:
        Lines of points in pixel coordinates, ``(M, 2)`` each, unordered along the line.
        The line that divides the most comes first.
    """
    basin = _basins(cells)
    if (basin == basin[0]).all():
        return []
    return _lines(cells, *_flood(cells, basin, min_pixels))


def _side_by_side(key: _Index) -> tuple[_Index, _Index]:
    """Return pairs of adjacent cells; ``key`` is ascending."""
    pairs = []
    for step in (1, _ROW):
        place = np.searchsorted(key, key + step)
        place = np.minimum(place, len(key) - 1)
        first = np.flatnonzero(key[place] == key + step)
        pairs.append((first, place[first]))
    first, second = (np.concatenate(side) for side in zip(*pairs, strict=True))
    return first, second


def _basins(cells: Relief) -> _Index:
    """Return the peak that steepest ascent reaches from each cell."""
    # Among equally high cells the first counts as higher.
    order = np.lexsort((-np.arange(len(cells.height)), cells.height))
    rank = np.empty(len(order), dtype=np.int64)
    rank[order] = np.arange(len(order))
    best = rank.copy()
    np.maximum.at(best, cells.first, rank[cells.second])
    np.maximum.at(best, cells.second, rank[cells.first])
    top = order[best]
    while (top[top] != top).any():
        top = top[top]
    return np.asarray(top)


def _flood(
    cells: Relief, basin: _Index, min_pixels: float
) -> tuple[_Index, list[tuple[int, int]]]:
    """Flood from the peaks down, joining basins without a valley between them.

    Returns:
        The building of each cell, numbered by one of its cells, and pairs of buildings with
        a valley between them, the highest pass first.
    """
    from scipy.cluster.hierarchy import DisjointSet

    peak = cells.height.tolist()
    size = np.bincount(basin, cells.pixels, len(basin)).tolist()
    sets = DisjointSet(np.unique(basin).tolist())
    root = sets.__getitem__

    def unite(i: int, j: int) -> None:
        sets.merge(i, j)
        both = root(i)
        peak[both] = max(peak[i], peak[j])
        size[both] = size[i] + size[j]

    valleys = []
    for height, *sides in _passes(cells, basin):
        one, other = map(root, sides)
        if one == other:
            continue
        if min(peak[one], peak[other]) - height >= DIP:
            valleys.append((one, other))
        else:
            unite(one, other)
    # A building that is too small joins across its highest pass.
    while small := [
        (size[root(i)], k)
        for k, sides in enumerate(valleys)
        for i in sides
        if size[root(i)] < min_pixels
    ]:
        unite(*map(root, valleys[min(small)[1]]))
        valleys = [(i, j) for i, j in valleys if root(i) != root(j)]
    building = np.array([root(i) for i in basin.tolist()], dtype=np.int64)
    return building, [(root(i), root(j)) for i, j in valleys]


def _passes(cells: Relief, basin: _Index) -> list[tuple[float, int, int]]:
    """Return the highest pass between any two basins, from the highest to the lowest."""
    one, other = basin[cells.first], basin[cells.second]
    across = np.flatnonzero(one != other)
    height = np.minimum(cells.height[cells.first], cells.height[cells.second])[across]
    low, high = np.minimum(one, other)[across], np.maximum(one, other)[across]
    across = np.lexsort((high, low, -height))
    _, first = np.unique((low * len(basin) + high)[across], return_index=True)
    across = across[np.sort(first)]
    height, low, high = height[across], low[across], high[across]
    return list(zip(height.tolist(), low.tolist(), high.tolist(), strict=True))


def _lines(
    cells: Relief, building: _Index, valleys: list[tuple[int, int]]
) -> list[_Floats]:
    """Return the valleys as lines of points, the lowest pass first."""
    one, other = building[cells.first], building[cells.second]
    across = np.flatnonzero(one != other)
    one, other = one[across], other[across]
    points = cells.centre[cells.first[across]] + cells.centre[cells.second[across]]
    lines = []
    # Join buildings from the highest pass down; the reverse order divides the most first.
    group = {i: {i} for pair in valleys for i in pair}
    for pair in valleys:
        left, right = (group[i] for i in pair)
        if left is right:
            continue
        between = np.isin(one, [*left]) & np.isin(other, [*right])
        between |= np.isin(one, [*right]) & np.isin(other, [*left])
        lines.append(points[between] / 2)
        left |= right
        for i in right:
            group[i] = left
    return lines[::-1]
