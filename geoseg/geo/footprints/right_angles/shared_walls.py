"""Topology of polygons that share walls: nodes, and stretches of wall between them.

A stretch shared by two polygons is stored once and moves for both, so the rebuilt polygons
share their walls corner by corner.
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

#: Largest distance (pixels) at which a corner lies on a neighbour's wall.
ON = 1e-6


class Side(NamedTuple):
    """A stretch with the direction in which a ring passes it.

    Attributes:
        stretch: index of the stretch.
        forward: False where the ring runs from its last point to its first.
    """

    stretch: int
    forward: bool


class SharedWalls(NamedTuple):
    """The walls of adjacent polygons.

    Attributes:
        nodes: ``(K, 2)`` ends of stretches: where polygons or walls meet, on the border of
            the image, and one on every ring that has neither.
        held: ``(K,)``, True on the border of the image.
        free: ``(K,)``, True for a ring's only node.
        ends: ``(E, 2)`` first and last node of each stretch.
        lines: ``(M, 2)`` points of each stretch, both ends included.
        rings: rings of each polygon, the exterior first, as stretches in order.
    """

    nodes: _Floats
    held: npt.NDArray[np.bool_]
    free: npt.NDArray[np.bool_]
    ends: _Index
    lines: list[_Floats]
    rings: list[list[list[Side]]]

    def owners(self) -> list[set[int]]:
        """Return the polygons on the sides of each stretch."""
        owners: list[set[int]] = [set() for _ in self.lines]
        for polygon, rings in enumerate(self.rings):
            for ring in rings:
                for side in ring:
                    owners[side.stretch].add(polygon)
        return owners

    def around(self, members: set[int]) -> list[list[Side]]:
        """Return the rings around the union of some polygons."""
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
        """Build the polygons from a new line for each stretch.

        Args:
            lines: one for each stretch; lines that meet have equal ends.

        Returns:
            Polygons, valid or not; None where a ring has fewer than three corners.
        """
        polygons = np.empty(len(self.rings), dtype=object)
        for i, rings in enumerate(self.rings):
            points = [ring_of(ring, lines) for ring in rings]
            if min(map(len, points)) >= 3:
                polygons[i] = Polygon(points[0], points[1:])
        return polygons


def ring_of(ring: Sequence[Side], lines: Sequence[_Floats]) -> _Floats:
    """Return the points along a ring, without repeating the first."""
    return np.concatenate([along(side, lines)[:-1] for side in ring])


def along(side: Side, lines: Sequence[_Floats]) -> _Floats:
    """Return the points of a stretch in the ring's direction."""
    line = lines[side.stretch]
    return line if side.forward else line[::-1]


def share_walls(polygons: _Outlines) -> _Index:
    """Return a group number for each polygon, equal for those linked by shared walls."""
    first, second = shapely.STRtree(polygons).query(polygons, predicate="intersects")
    once = first < second
    first, second = first[once], second[once]
    walls = shapely.relate_pattern(polygons[first], polygons[second], "****1****")
    return components(len(polygons), first[walls], second[walls])


def find_walls(polygons: _Outlines, extent: Extent) -> SharedWalls:
    """Cut the rings of polygons at the points where they meet.

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
    """Count the edges at each corner."""
    first = np.concatenate(rings)
    second = np.concatenate([np.roll(ring, -1) for ring in rings])
    edges = np.sort(np.stack((first, second), axis=1), axis=1)
    return np.bincount(np.unique(edges, axis=0).ravel(), minlength=count)


def _sides(
    ring: list[int],
    is_node: npt.NDArray[np.bool_],
    numbers: dict[tuple[int, ...], int],
) -> Iterator[Side]:
    """Cut a ring at its nodes; number new stretches."""
    cuts = np.flatnonzero(is_node[ring]).tolist()
    turned = ring[cuts[0] :] + ring[: cuts[0] + 1]
    cuts = [cut - cuts[0] for cut in cuts] + [len(ring)]
    for begin, end in zip(cuts, cuts[1:], strict=False):
        line = tuple(turned[begin : end + 1])
        same = min(line, line[::-1])
        yield Side(numbers.setdefault(same, len(numbers)), line == same)


def follow(line: _Floats, outline: Polygon, reach: float) -> _Floats:
    """Return the part of an outline that a simplified line represents.

    Args:
        line: ``(M, 2)``.
        outline: the polygon.
        reach: largest Hausdorff distance of the two.

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
        ways = [
            way for way in ways if shapely.is_ccw(shapely.linearrings(way)) == turning
        ]
    candidates = []
    for way in ways:
        way[[0, -1]] = line[[0, -1]]
        off = shapely.hausdorff_distance(*map(shapely.linestrings, (line, way)))
        candidates.append((off, way))
    # A ring that became flat when its steps were cut has no such part.
    off, way = min(candidates, key=lambda pair: pair[0], default=(np.inf, line))
    return way if off <= reach else line


def _ways_between(ring: shapely.LinearRing, begin: float, end: float) -> list[_Floats]:
    """Return both lines along a ring between two distances from its start."""
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
