"""Tracing of objects' outlines from their runs, all objects at once.

A ring goes from corner to corner, alternately along a row and along a column. Where two
pixels of an object touch only at a corner, the ring separates them, so 4-connected objects
get simple rings; holes may touch these at corners.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import shapely

from geoseg.geo.footprints.pixel_runs import PixelRuns

_Ints = npt.NDArray[np.int64]
_Bools = npt.NDArray[np.bool_]

# Most edges of a ring that is walked together with others.
_STEPS = 256


def trace(runs: PixelRuns, owner: _Ints) -> npt.NDArray[np.object_]:
    """Return the outlines of 4-connected objects.

    Args:
        runs: of all objects, ordered by owner, then by row, then by column.
        owner: ``(M,)`` the object of each run; consecutive numbers from 0.

    Returns:
        A valid polygon for each object. x = column, y = row, integers, along the edges
        of pixels; the first ring is the exterior, and no point lies within a straight
        edge. Where a ring starts depends only on the object.
    """
    if not len(owner):
        return np.zeros(0, dtype=object)
    corners = _corners(runs, owner)
    order, ring_ends = _rings(_following(corners))
    rings_of = corners.owner[2 * order[ring_ends[:-1]]]
    # An edge along a row runs to the right where the object lies below it.
    first = 2 * order + ~corners.under[2 * order]
    ends = np.stack((first, first ^ 1), axis=1).ravel()
    ends = ends[closing(2 * ring_ends)]
    polygons = shapely.from_ragged_array(
        shapely.GeometryType.POLYGON,
        np.stack((corners.x[ends], corners.y[ends]), axis=1).astype(np.float64),
        (
            2 * ring_ends + np.arange(len(ring_ends)),
            np.searchsorted(rings_of, np.arange(owner[-1] + 2)),
        ),
    )
    return np.asarray(polygons, dtype=object)


def closing(starts: _Ints) -> _Ints:
    """Return the indices of every ring's points, its first one repeated at the end.

    Args:
        starts: start of each ring, then the end of the last one.

    Example:
        >>> closing(np.array([0, 3, 7]))
        array([0, 1, 2, 0, 3, 4, 5, 6, 3])
    """
    rings = np.arange(len(starts) - 1)
    place = np.arange(starts[-1] + len(rings)) - np.repeat(rings, np.diff(starts) + 1)
    place[starts[1:] + rings] = starts[:-1]
    return place


class _Corners(NamedTuple):
    """Corners by owner, row and column; each pair is an edge along a row.

    Attributes:
        owner: object of each corner.
        x: column.
        y: row.
        under: at an edge's first corner, True where the object lies below the edge.
        across: corner at the other end of the edge along the column.
    """

    owner: _Ints
    x: _Ints
    y: _Ints
    under: _Bools
    across: _Ints


def _corners(runs: PixelRuns, owner: _Ints) -> _Corners:
    """Return the corners: the ends of all runs, except within straight walls."""
    line = _lines(runs, owner)
    wide = runs.stop.max() + 1
    # Side 0: starts of runs, 1: stops. Ends at the same place sort so that rings
    # separate pixels that touch only at a corner.
    ends = [line * wide + runs.start, line * wide + runs.stop]
    keys, places, tops = [], [], []
    for side, key in enumerate(ends):
        top, bottom = _ends_of_walls(key, wide)
        keys += [2 * key[top] + side, 2 * (key[bottom] + wide) + side]
        places += [top, bottom]
        tops += [np.ones(len(top), np.bool_), np.zeros(len(bottom), np.bool_)]
    order = np.argsort(np.concatenate(keys))
    run, is_top = np.concatenate(places)[order], np.concatenate(tops)[order]
    is_stop = (np.concatenate(keys)[order] & 1).astype(np.bool_)
    x = np.where(is_stop, runs.stop[run], runs.start[run])
    y = runs.row[run] + ~is_top
    return _Corners(
        owner[run],
        x,
        y,
        is_top != is_stop,
        _across(owner[run], x, y, is_stop, is_top),
    )


def _lines(runs: PixelRuns, owner: _Ints) -> _Ints:
    """Number the rows of all objects consecutively, with one unused between objects."""
    begins = np.flatnonzero(np.diff(owner, prepend=-1))
    top = runs.row[begins]
    bottom = runs.row[np.append(begins[1:], len(owner)) - 1]
    height = bottom - top + 2
    offset = np.cumsum(height) - height - top
    line: _Ints = runs.row + offset[owner]
    return line


def _ends_of_walls(key: _Ints, wide: int) -> tuple[_Ints, _Ints]:
    """Return the runs where walls start and those where walls end."""
    place = np.searchsorted(key, key - wide)
    goes_on = key[place] == key - wide
    starts = ~goes_on
    ends = np.ones(len(key), dtype=np.bool_)
    ends[place[goes_on]] = False
    return np.flatnonzero(starts), np.flatnonzero(ends)


def _across(owner: _Ints, x: _Ints, y: _Ints, is_stop: _Bools, is_top: _Bools) -> _Ints:
    """Return the corner at the other end of each corner's wall."""
    # On one side of a column of an object, tops and bottoms of walls alternate.
    left = np.full(owner[-1] + 1, x.max())
    np.minimum.at(left, owner, x)
    right = np.zeros(owner[-1] + 1, dtype=np.int64)
    np.maximum.at(right, owner, x)
    width = right - left + 1
    column = x - left[owner] + (np.cumsum(width) - width)[owner]
    wall = (2 * column + is_stop) * (y.max() - y.min() + 1) + (y - y.min())
    tops, bottoms = np.flatnonzero(is_top), np.flatnonzero(~is_top)
    tops = tops[np.argsort(wall[tops])]
    bottoms = bottoms[np.argsort(wall[bottoms])]
    result = np.empty(len(x), dtype=np.int64)
    result[tops], result[bottoms] = bottoms, tops
    return result


def _following(corners: _Corners) -> _Ints:
    """Return the edge along a row that follows each one on its ring."""
    edge = np.arange(0, len(corners.x), 2)
    return corners.across[edge + corners.under[edge]] >> 1


def _rings(following: _Ints) -> tuple[_Ints, _Ints]:
    """Return the edges of all rings in order, and where each ring begins and ends."""
    first, length = _starts(following)
    ends = np.append(0, np.cumsum(length))
    order = np.empty(len(following), dtype=np.int64)
    # All short rings advance together, one edge per step; the few long ones follow alone.
    short = np.flatnonzero(length <= _STEPS)
    at, to = first[short], ends[short]
    for step in range(1, int(length[short].max(initial=0)) + 1):
        order[to] = at
        goes_on = length[short] > step
        short, at, to = short[goes_on], following[at[goes_on]], to[goes_on] + 1
    if (length > _STEPS).any():
        then = following.tolist()
        for ring in np.flatnonzero(length > _STEPS).tolist():
            order[ends[ring] : ends[ring + 1]] = _walk(then, int(first[ring]))
    return order, ends


def _starts(following: _Ints) -> tuple[_Ints, _Ints]:
    """Return the first edge and the number of edges of every ring, by first edge."""
    from scipy.sparse import csr_array
    from scipy.sparse.csgraph import connected_components

    count = len(following)
    links = np.ones(count, dtype=np.bool_), following, np.arange(count + 1)
    graph = csr_array(links, shape=(count, count))
    rings = connected_components(graph, directed=False)[1]
    _, first, length = np.unique(rings, return_index=True, return_counts=True)
    order = np.argsort(first)
    return first[order], length[order]


def _walk(then: list[int], first: int) -> list[int]:
    """Return the edges of a ring from its first edge on."""
    ring = [first]
    at = then[first]
    while at != first:
        ring.append(at)
        at = then[at]
    return ring
