"""Polygons that share walls, as stretches of walls between the points where they meet.

A stretch that two polygons share is kept once. Whoever moves it moves it for both: the
polygons put together again share their walls corner by corner.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import shapely
from shapely import Polygon

from geoseg.geo.footprints.neighbourhoods import components
from geoseg.geo.footprints.simplify import Extent, on_border

_Floats = npt.NDArray[np.float64]
_Index = npt.NDArray[np.int64]
_Outlines = npt.NDArray[np.object_]

#: A corner so near a neighbour's wall (pixels) lies on it.
ON = 1e-6


class Side(NamedTuple):
    """A stretch as a ring passes it.

    Attributes:
        stretch: its number.
        forward: False where the ring goes from its last point to its first.
    """

    stretch: int
    forward: bool


class SharedWalls(NamedTuple):
    """The walls of some polygons.

    Attributes:
        nodes: ``(K, 2)`` points where stretches end: where polygons or walls meet, on the
            border of the image, and one on every ring that has neither.
        held: ``(K,)``, True on the border of the image.
        free: ``(K,)``, True where a ring begins that has no other node.
        ends: ``(E, 2)`` nodes where each stretch begins and ends.
        lines: of each stretch, ``(M, 2)`` points, both ends among them.
        rings: of each polygon, the outer one first: its stretches in their order.
    """

    nodes: _Floats
    held: npt.NDArray[np.bool_]
    free: npt.NDArray[np.bool_]
    ends: _Index
    lines: list[_Floats]
    rings: list[list[list[Side]]]

    def owners(self) -> list[set[int]]:
        """Return the polygons on the sides of each stretch."""
        found: list[set[int]] = [set() for _ in self.lines]
        for polygon, rings in enumerate(self.rings):
            for ring in rings:
                for side in ring:
                    found[side.stretch].add(polygon)
        return found

    def around(self, members: set[int]) -> list[list[Side]]:
        """Return the rings around some polygons, taken as one."""
        owners = self.owners()
        outer = [
            side
            for polygon in sorted(members)
            for ring in self.rings[polygon]
            for side in ring
            if len(owners[side.stretch] & members) == 1
        ]
        leaving: dict[int, list[Side]] = {}
        for side in outer:
            leaving.setdefault(self.nodes_of(side)[0], []).append(side)
        rings = []
        for side in outer:
            ring = []
            node = begin = self.nodes_of(side)[0]
            while leaving[node]:
                ring.append(leaving[node].pop())
                node = self.nodes_of(ring[-1])[1]
                if node == begin:
                    break
            if ring:
                rings.append(ring)
        return rings

    def nodes_of(self, side: Side) -> tuple[int, int]:
        """Return the nodes where a ring enters and leaves a stretch."""
        first, last = self.ends[side.stretch].tolist()
        return (first, last) if side.forward else (last, first)

    def polygons(self, lines: Sequence[_Floats]) -> _Outlines:
        """Put polygons together from lines in the place of the stretches.

        Args:
            lines: one for each stretch; where some meet, their ends are equal.

        Returns:
            Polygons, valid or not; None where a ring has fewer than three corners.
        """
        found = np.empty(len(self.rings), dtype=object)
        for i, rings in enumerate(self.rings):
            points = [ring_of(ring, lines) for ring in rings]
            if min(map(len, points)) >= 3:
                found[i] = Polygon(points[0], points[1:])
        return found


def ring_of(ring: Sequence[Side], lines: Sequence[_Floats]) -> _Floats:
    """Return the points along a ring, the first one not repeated."""
    return np.concatenate([along(side, lines)[:-1] for side in ring])


def along(side: Side, lines: Sequence[_Floats]) -> _Floats:
    """Return the points of a stretch in the order in which a ring passes them."""
    line = lines[side.stretch]
    return line if side.forward else line[::-1]


def share_walls(polygons: _Outlines) -> _Index:
    """Return a number for each polygon, the same for those that are linked by walls."""
    first, second = shapely.STRtree(polygons).query(polygons, predicate="intersects")
    once = first < second
    first, second = first[once], second[once]
    walls = shapely.relate_pattern(polygons[first], polygons[second], "****1****")
    return components(len(polygons), first[walls], second[walls])


def find_walls(polygons: _Outlines, extent: Extent) -> SharedWalls:
    """Cut the rings of polygons where they meet.

    Args:
        polygons: in pixel coordinates; shared walls have the same corners in both.
        extent: of the image.
    """
    oriented = shapely.orient_polygons(polygons)
    _, points, (ring_ends, polygon_ends) = shapely.to_ragged_array(oriented)
    corners, number = np.unique(points, axis=0, return_inverse=True)
    rings = [
        number[a : b - 1].ravel().tolist()
        for a, b in zip(ring_ends, ring_ends[1:], strict=False)
    ]
    border = on_border(corners, extent)
    is_node = border | (_ways(rings, len(corners)) > 2)
    free = np.zeros(len(corners), dtype=np.bool_)
    free[[min(ring) for ring in rings if not is_node[ring].any()]] = True
    numbers: dict[tuple[int, ...], int] = {}
    sides = [list(_sides(ring, is_node | free, numbers)) for ring in rings]
    nodes = np.flatnonzero(is_node | free)
    ends = [(line[0], line[-1]) for line in numbers]
    return SharedWalls(
        corners[nodes],
        border[nodes],
        free[nodes],
        np.searchsorted(nodes, ends),
        [corners[list(line)] for line in numbers],
        [sides[a:b] for a, b in zip(polygon_ends, polygon_ends[1:], strict=False)],
    )


def _ways(rings: list[list[int]], count: int) -> _Index:
    """Count the corners that each corner has an edge to."""
    first = np.concatenate(rings)
    second = np.concatenate([np.roll(ring, -1) for ring in rings])
    edges = np.sort(np.stack((first, second), axis=1), axis=1)
    return np.bincount(np.unique(edges, axis=0).ravel(), minlength=count)


def _sides(
    ring: list[int],
    is_node: npt.NDArray[np.bool_],
    numbers: dict[tuple[int, ...], int],
) -> Iterator[Side]:
    """Cut a ring at its nodes; number the stretches that are new."""
    cuts = np.flatnonzero(is_node[ring]).tolist()
    turned = ring[cuts[0] :] + ring[: cuts[0] + 1]
    cuts = [cut - cuts[0] for cut in cuts] + [len(ring)]
    for begin, end in zip(cuts, cuts[1:], strict=False):
        line = tuple(turned[begin : end + 1])
        same = min(line, line[::-1])
        yield Side(numbers.setdefault(same, len(numbers)), line == same)


def follow(line: _Floats, outline: Polygon, reach: float) -> _Floats:
    """Return the part of an outline that a simplified line stands for.

    Args:
        line: ``(M, 2)``.
        outline: polygon.
        reach: largest distance of the two.

    Returns:
        ``(M', 2)`` with the ends of ``line``; the line itself where the outline has no such
        part, as along a cut.
    """
    rings = shapely.get_rings(outline)
    ends = shapely.points(line[[0, -1]])
    ring = rings[shapely.distance(rings[:, None], ends).max(axis=1).argmin()]
    ways = _ways_between(ring, *shapely.line_locate_point(ring, ends))
    if (line[0] == line[-1]).all():
        turning = shapely.is_ccw(shapely.linearrings(line))
        ways = [it for it in ways if shapely.is_ccw(shapely.linearrings(it)) == turning]
    found = []
    for way in ways:
        way[[0, -1]] = line[[0, -1]]
        off = shapely.hausdorff_distance(*map(shapely.linestrings, (line, way)))
        found.append((off, way))
    # Around a ring that its steps left flat there is no way.
    off, way = min(found, key=lambda it: it[0], default=(np.inf, line))
    return way if off <= reach else line


def _ways_between(ring: shapely.LinearRing, begin: float, end: float) -> list[_Floats]:
    """Return both ways along a ring from one place to another."""
    points = shapely.get_coordinates(ring)
    steps = np.hypot(*np.diff(points, axis=0).T)
    places = np.append(0.0, np.cumsum(steps))[:-1]
    first, last = shapely.get_coordinates(
        shapely.line_interpolate_point(ring, [begin, end])
    )

    def between(a: float, b: float) -> list[_Floats]:
        if a < b:
            return [points[:-1][(places > a) & (places < b)]]
        return [points[:-1][places > a], points[:-1][places < b]]

    onward = np.concatenate(([first], *between(begin, end), [last]))
    backward = np.concatenate(([last], *between(end, begin), [first]))[::-1]
    return [onward, backward.copy()]
