"""Sequential drawing of buildings that share walls.

Walls shared with drawn buildings stay; a building's other walls begin and end there. An end
within a neighbour's straight wall slides along it, so that the wall ending there follows
its own points.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from geoseg.geo.footprints.right_angles.shared_walls import SharedWalls, Side, along
from geoseg.geo.footprints.right_angles.single import (
    WALL_TOLERANCE,
    far_corner,
    kept_points,
)
from geoseg.geo.footprints.right_angles.wall_search import cut_into_walls
from geoseg.geo.footprints.right_angles.walls import Arc, Walls, corners, turn

_Floats = npt.NDArray[np.float64]
_Index = npt.NDArray[np.int64]
_Outlines = npt.NDArray[np.object_]

#: Largest distance (tolerances) at which a node merges with a corner of its own wall.
_MERGE = 2.0

#: Largest deviation (metres) of points on a straight line.
_STRAIGHT = 1e-6


class _Piece(NamedTuple):
    """An undrawn part of a ring, or the whole ring.

    Attributes:
        sides: its stretches in order.
        closed: True for a ring without a settled node.
    """

    sides: list[Side]
    closed: bool


class _Laid(NamedTuple):
    """Coordinates of a drawn piece.

    Attributes:
        nodes: ``(2,)`` position of each node, in order; a closed piece repeats its first.
        lines: ``(M, 2)`` points between the nodes.
    """

    nodes: list[_Floats]
    lines: list[_Floats]


class Drawing:
    """Drawing in which some buildings have right angles and others keep their walls."""

    def __init__(
        self,
        shared: SharedWalls,
        details: Sequence[_Floats],
        metres: _Floats,
        tolerance_m: float,
    ) -> None:
        """Start with no building drawn.

        Args:
            shared: the walls of all buildings, simplified.
            details: each stretch's points along the pixels, in metres.
            metres: ``(2, 2)``, metres east and north per column and row.
            tolerance_m: tolerance of simplified outlines.
        """
        self._shared = shared
        self._details = details
        self._metres = metres
        self._tolerance_m = tolerance_m
        self._before = shared.nodes @ metres.T
        self._nodes = self._before.copy()
        self._settled = shared.held.copy()
        self._lines: list[_Floats | None] = [None] * len(shared.lines)
        self._stretches: list[list[int]] = [[] for _ in shared.nodes]
        for stretch, ends in enumerate(shared.ends.tolist()):
            for node in ends:
                self._stretches[node].append(stretch)

    def polygons(self) -> _Outlines:
        """Return all buildings; undrawn stretches stay simplified."""
        to_pixels = np.linalg.inv(self._metres).T
        moved = (self._nodes != self._before).any(axis=1)
        nodes = np.where(moved[:, None], self._nodes @ to_pixels, self._shared.nodes)
        lines = []
        for line, simple, (start, end) in zip(
            self._lines, self._shared.lines, self._shared.ends, strict=True
        ):
            inner = simple[1:-1] if line is None else line @ to_pixels
            lines.append(np.concatenate((nodes[[start]], inner, nodes[[end]])))
        return self._shared.polygons(lines)

    def draw(self, rings: list[list[Side]], angle: float) -> bool:
        """Draw rings; return False and change nothing if that fails.

        Args:
            rings: of a building, or around several.
            angle: its direction, radians counter-clockwise from x.
        """
        pieces = [piece for ring in rings for piece in self._pieces(ring)]
        laid = self._lay(pieces, angle)
        if laid is None:
            return False
        for piece, drawn in zip(pieces, laid, strict=True):
            self._take(piece, drawn)
        return True

    def _pieces(self, ring: list[Side]) -> list[_Piece]:
        """Return the undrawn pieces of a ring, cut at settled nodes."""
        drawn = [self._lines[side.stretch] is not None for side in ring]
        breaks = [
            i
            for i, side in enumerate(ring)
            if self._settled[self._shared.nodes_of(side)[0]] or drawn[i] or drawn[i - 1]
        ]
        if not breaks:
            return [_Piece(ring, closed=True)]
        turned = ring[breaks[0] :] + ring[: breaks[0]]
        cuts = [i - breaks[0] for i in breaks] + [len(ring)]
        parts = [turned[a:b] for a, b in zip(cuts, cuts[1:], strict=False)]
        return [
            _Piece(part, closed=False)
            for part in parts
            if self._lines[part[0].stretch] is None
        ]

    def _lay(self, pieces: list[_Piece], angle: float) -> list[_Laid] | None:
        """Cut pieces into walls; ends slide along neighbours' walls where possible."""
        prepared = [self._arc(piece, angle) for piece in pieces]
        drawn = self._laid(prepared)
        if drawn is None:
            return None
        far = False
        for i, (piece, laid) in enumerate(zip(pieces, drawn, strict=True)):
            arc, nodes = prepared[i]
            slides = arc.slides.copy()
            for end in (0, 1):
                if slides[end].any() and not self._may_slide(piece, end, laid, angle):
                    slides[end] = 0.0
                    far = True
            prepared[i] = arc._replace(slides=slides), nodes
        if far:
            drawn = self._laid(prepared)
        if drawn is None:
            return None
        return [
            _Laid(
                [turn(node.reshape(-1, 2), -angle) for node in laid.nodes],
                [turn(line.reshape(-1, 2), -angle) for line in laid.lines],
            )
            for laid in drawn
        ]

    def _laid(self, prepared: list[tuple[Arc, _Index]]) -> list[_Laid] | None:
        arcs = [arc for arc, _ in prepared]
        walls = cut_into_walls(arcs, WALL_TOLERANCE * self._tolerance_m)
        drawn = []
        for (arc, nodes), cut in zip(prepared, walls, strict=True):
            laid = cut and _place(arc, cut, nodes, _MERGE * self._tolerance_m)
            if laid is None:
                return None
            drawn.append(laid)
        return drawn

    def _arc(self, piece: _Piece, angle: float) -> tuple[Arc, _Index]:
        """Return a piece's rotated points, and which of its marks are inner nodes."""
        chains = [along(side, self._details)[:-1] for side in piece.sides]
        ends = [self._shared.nodes_of(side) for side in piece.sides]
        last = self._nodes[[ends[-1][1]]]
        points = np.concatenate((*chains, last))
        inner = np.cumsum([len(chain) for chain in chains])[:-1]
        slides = np.zeros((2, 2))
        if piece.closed:
            free = self._shared.free[ends[0][0]]
            inner = np.zeros(0, dtype=np.int64) if free else np.append(0, inner)
            points, inner = _from_corner(points, inner)
        else:
            points[0] = self._nodes[ends[0][0]]
            slides = np.stack([self._slide(ends[0][0]), self._slide(ends[-1][1])])
        marks = np.union1d(kept_points(points, self._tolerance_m), inner)
        arc = Arc(turn(points, angle), marks, piece.closed, turn(slides, angle))
        return arc, np.searchsorted(marks, inner)

    def _beside(self, node: int) -> list[_Floats]:
        """Return the drawn points next to a node."""
        points = []
        for stretch in self._stretches[node]:
            line = self._lines[stretch]
            if line is not None:
                first, last = self._shared.ends[stretch]
                chain = np.concatenate(
                    (self._nodes[[first]], line, self._nodes[[last]])
                )
                points.append(chain[1] if first == node else chain[-2])
        return points

    def _slide(self, node: int) -> _Floats:
        """Return the direction of the straight wall around a node; zero if there is none."""
        beside = self._beside(node)
        if self._shared.held[node] or len(beside) != 2:
            return np.zeros(2)
        one, other = beside
        if np.hypot(*(other - one)) <= _STRAIGHT:
            return np.zeros(2)
        wall = (other - one) / np.hypot(*(other - one))
        step = self._nodes[node] - one
        off = abs(step[0] * wall[1] - step[1] * wall[0])
        return wall if off <= _STRAIGHT else np.zeros(2)

    def _may_slide(self, piece: _Piece, end: int, laid: _Laid, angle: float) -> bool:
        """Tell whether a slid end is still within its wall and near its old place."""
        node = self._shared.nodes_of(piece.sides[-end])[end]
        place = turn(laid.nodes[-end].reshape(1, 2), -angle)[0]
        one, other = self._beside(node)
        wall = other - one
        share = np.dot(place - one, wall) / np.dot(wall, wall)
        apart = np.hypot(*(place - self._nodes[node]))
        margin = _MERGE * self._tolerance_m / np.hypot(*wall)
        if apart <= _STRAIGHT:
            return True
        return bool(
            margin < share < 1 - margin and apart <= WALL_TOLERANCE * self._tolerance_m
        )

    def _take(self, piece: _Piece, laid: _Laid) -> None:
        """Store the nodes and stretches of a piece."""
        nodes = [node[0] for node in laid.nodes]
        for i, side in enumerate(piece.sides):
            first, last = self._shared.nodes_of(side)
            self._nodes[first], self._nodes[last] = nodes[i], nodes[i + 1]
            self._settled[[first, last]] = True
            line = laid.lines[i]
            self._lines[side.stretch] = line if side.forward else line[::-1]


def _from_corner(points: _Floats, nodes: _Index) -> tuple[_Floats, _Index]:
    """Return a closed line that starts at a corner, and its nodes' new indices."""
    start = far_corner(points)
    turned = np.roll(points[:-1], -start, axis=0)
    return np.concatenate((turned, turned[:1])), (nodes - start) % len(turned)


def _place(arc: Arc, walls: Walls, nodes: _Index, merge_m: float) -> _Laid | None:
    """Place an arc's inner nodes on its walls.

    Args:
        arc: the arc.
        walls: its walls.
        nodes: marks that are nodes, in order along the arc.
        merge_m: largest distance at which a node merges with a corner.

    Returns:
        The drawn arc; None if nodes would swap, or two corners coincide.
    """
    line, count = corners(arc, walls), len(walls.kind)
    if (np.hypot(*np.diff(line, axis=0).T) <= _STRAIGHT).any():
        return None
    places = _places(line, arc, walls, nodes, merge_m)
    if arc.closed:
        begin = places[0] if len(places) else 0.0
        bounds = (
            np.append((places - begin) % count, count) if len(places) else [0, count]
        )
        number = (np.arange(count) - begin) % count
    else:
        begin = 0.0
        bounds = np.concatenate(([0.0], places, [float(count)]))
        number = np.arange(count, dtype=np.float64)
    bounds = np.asarray(bounds, dtype=np.float64)
    if (np.diff(bounds) <= 0).any():
        return None
    order = np.argsort(number)
    cuts = [
        order[(number[order] > low) & (number[order] < high)]
        for low, high in zip(bounds, bounds[1:], strict=False)
    ]
    wall, share = np.divmod(bounds + begin, 1)
    wall = wall.astype(np.int64) % count
    if not arc.closed:
        wall[-1], share[-1] = count - 1, 1.0
    points = line[wall] + share[:, None] * (line[wall + 1] - line[wall])
    return _Laid(list(points), [line[cut] for cut in cuts])


def _places(
    line: _Floats, arc: Arc, walls: Walls, nodes: _Index, merge_m: float
) -> _Floats:
    """Return each node's place: index of its wall plus the share of the wall before it."""
    count = len(walls.kind)
    at = np.append(walls.start, walls.end[-1])
    taken = set() if arc.closed else {0, count}
    places = np.empty(len(nodes))
    # Nodes that are corners already come first, so that no other node takes their corner.
    for n in sorted(range(len(nodes)), key=lambda n: nodes[n] not in at):
        corner = int(np.searchsorted(at, nodes[n]))
        place = float(corner)
        if at[corner] != nodes[n]:
            one, other = line[corner - 1], line[corner]
            wall = other - one
            step = arc.points[arc.marks[nodes[n]]] - one
            share = min(max(np.dot(step, wall) / np.dot(wall, wall), 0.0), 1.0)
            place = corner - 1 + share
            nearest = corner - 1 + round(share)
            if nearest % count not in taken and (
                abs(share - round(share)) * np.hypot(*wall) <= merge_m
            ):
                place = float(nearest)
        if place.is_integer():
            place = place % count if arc.closed else place
            taken.add(int(place))
        places[n] = place
    return places
