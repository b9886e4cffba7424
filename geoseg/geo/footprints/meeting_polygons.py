"""Tests for overlapping polygons, quick where one has thousands of neighbours."""

import numpy as np
import numpy.typing as npt
import shapely

_Index = npt.NDArray[np.int64]
_Bools = npt.NDArray[np.bool_]
_Polygons = npt.NDArray[np.object_]


def overlap(polygons: _Polygons) -> bool:
    """Tell whether the interiors of any two polygons intersect."""
    pairs = shapely.STRtree(polygons).query(polygons)
    return bool(meet(polygons, polygons, pairs[:, pairs[0] < pairs[1]]).any())


def meet(first: _Polygons, second: _Polygons, pairs: _Index) -> _Bools:
    """Tell which pairs of valid polygons have intersecting interiors.

    Args:
        first: polygons.
        second: polygons.
        pairs: ``(2, Q)`` indices into ``first`` and into ``second``.

    Returns:
        ``(Q,)``.
    """
    result = np.zeros(pairs.shape[1], dtype=np.bool_)
    # Bounding boxes settle most pairs.
    one, other = shapely.bounds(first)[pairs[0]], shapely.bounds(second)[pairs[1]]
    near = (one[:, :2] < other[:, 2:]).all(axis=1)
    near &= (other[:, :2] < one[:, 2:]).all(axis=1)
    place = np.flatnonzero(near)
    every = np.concatenate((first, second))
    couple: _Index = pairs[:, place] + np.array([[0], [len(first)]])
    # Prepare the polygon with more points: a large one may contain many small ones.
    size = shapely.get_num_coordinates(every)[couple]
    couple = np.take_along_axis(couple, np.argsort(-size, axis=0), axis=0)
    shapely.prepare(every[couple[0]])
    touch = np.flatnonzero(shapely.intersects(*every[couple]))
    filled = _without_holes(every, couple[:, touch])
    touch = touch[~_in_holes(every, filled, couple[:, touch])]
    # This test's time grows with the points of both, so polygons with holes come last.
    for polygons in (filled, every):
        touch = touch[~shapely.touches(*polygons[couple[:, touch]])]
    result[place[touch]] = True
    return result


def _without_holes(polygons: _Polygons, which: _Index) -> _Polygons:
    """Return all polygons, those at ``which`` without their holes."""
    once = np.unique(which)
    filled = polygons.copy()
    filled[once] = shapely.polygons(shapely.get_exterior_ring(polygons[once]))
    return np.asarray(filled)


def _in_holes(polygons: _Polygons, filled: _Polygons, pairs: _Index) -> _Bools:
    """Tell for which of ``(2, Q)`` pairs the second lies in a hole of the first."""
    once = np.unique(pairs[0])
    rings, owner = shapely.get_rings(polygons[once], return_index=True)
    is_hole = np.diff(owner, prepend=-1) == 0
    holes, owner = shapely.polygons(rings[is_hole]), once[owner[is_hole]]
    pair, hole = shapely.STRtree(holes).query(filled[pairs[1]], predicate="covered_by")
    inside = np.zeros(pairs.shape[1], dtype=np.bool_)
    inside[pair[owner[hole] == pairs[0, pair]]] = True
    return inside
