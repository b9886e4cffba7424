"""Buildings that share walls, drawn one after the other.

What a building shares with those that are drawn stays; its other walls begin and end
there. An end that lies within a neighbour's straight wall slides along it, so that the
wall that ends there lies where its own points say.
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

#: A corner so near (tolerances) where walls of neighbours meet becomes one with it.
_ONE = 2.0

#: Points are on one line that lie off by no more (metres).
_STRAIGHT = 1e-6


class _Piece(NamedTuple):
    """A part of a ring that is not drawn yet, or all of it.

    Attributes:
        sides: its stretches in their order.
        closed: True for a ring of which no node is settled.
    """

    sides: list[Side]
    closed: bool


class _Laid(NamedTuple):
    """How a piece is drawn.

    Attributes:
        nodes: ``(2,)`` where each of its nodes comes to lie, in their order; of a closed
            piece the first is the last again.
        lines: ``(M, 2)`` points between the nodes.
    """

    nodes: list[_Floats]
    lines: list[_Floats]


class Drawing:
    """Some buildings with right angles among others that keep their walls."""

    def __init__(
        self,
        shared: SharedWalls,
        details: Sequence[_Floats],
        metres: _Floats,
        tolerance_m: float,
    ) -> None:
        """Start with no building.

        Args:
            shared: the walls of all buildings, simplified.
            details: of each stretch the points along the pixels, in metres.
            metres: ``(2, 2)``, metres east and north per column and row.
            tolerance_m: that of simplified outlines.
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
        """Return all buildings; stretches that are not drawn stay simplified."""
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
        """Draw rings; return False, and change nothing, where that fails.

        Args:
            rings: of a building, or around some.
            angle: its direction, radians counter-clockwise from x.
        """
        pieces = [piece for ring in rings for piece in self._pieces(ring)]
        laid = self._lay(pieces, angle)
        if laid is None:
            return False
        for piece, found in zip(pieces, laid, strict=True):
            self._take(piece, found)
        return True

    def _pieces(self, ring: list[Side]) -> list[_Piece]:
        """Cut a ring into what is not drawn, between the nodes that are settled."""
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
        """Cut pieces into walls; ends slide along walls of neighbours where they can."""
        prepared = [self._arc(piece, angle) for piece in pieces]
        found = self._laid(prepared)
        if found is None:
            return None
        far = False
        for i, (piece, laid) in enumerate(zip(pieces, found, strict=True)):
            arc, nodes = prepared[i]
            slides = arc.slides.copy()
            for end in (0, 1):
                if slides[end].any() and not self._may_slide(piece, end, laid, angle):
                    slides[end] = 0.0
                    far = True
            prepared[i] = arc._replace(slides=slides), nodes
        if far:
            found = self._laid(prepared)
        if found is None:
            return None
        return [
            _Laid(*([turn(it.reshape(-1, 2), -angle) for it in of] for of in laid))
            for laid in found
        ]

    def _laid(self, prepared: list[tuple[Arc, _Index]]) -> list[_Laid] | None:
        arcs = [arc for arc, _ in prepared]
        walls = cut_into_walls(arcs, WALL_TOLERANCE * self._tolerance_m)
        found = []
        for (arc, nodes), cut in zip(prepared, walls, strict=True):
            laid = cut and _place(arc, cut, nodes, _ONE * self._tolerance_m)
            if laid is None:
                return None
            found.append(laid)
        return found

    def _arc(self, piece: _Piece, angle: float) -> tuple[Arc, _Index]:
        """Return the points of a piece, turned, and which of its marks are nodes within."""
        chains = [along(side, self._details)[:-1] for side in piece.sides]
        ends = [self._shared.nodes_of(side) for side in piece.sides]
        last = self._nodes[[ends[-1][1]]]
        points = np.concatenate((*chains, last))
        inner = np.cumsum([len(it) for it in chains])[:-1]
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
        found = []
        for stretch in self._stretches[node]:
            line = self._lines[stretch]
            if line is not None:
                first, last = self._shared.ends[stretch]
                chain = np.concatenate(
                    (self._nodes[[first]], line, self._nodes[[last]])
                )
                found.append(chain[1] if first == node else chain[-2])
        return found

    def _slide(self, node: int) -> _Floats:
        """Return the direction of the straight wall that a node lies within; else zero."""
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
        """Tell whether an end that slid is still within its wall, and near."""
        node = self._shared.nodes_of(piece.sides[-end])[end]
        place = turn(laid.nodes[-end].reshape(1, 2), -angle)[0]
        one, other = self._beside(node)
        wall = other - one
        share = np.dot(place - one, wall) / np.dot(wall, wall)
        apart = np.hypot(*(place - self._nodes[node]))
        margin = _ONE * self._tolerance_m / np.hypot(*wall)
        if apart <= _STRAIGHT:
            return True
        return bool(
            margin < share < 1 - margin and apart <= WALL_TOLERANCE * self._tolerance_m
        )

    def _take(self, piece: _Piece, laid: _Laid) -> None:
        """Settle the nodes and stretches of a piece."""
        nodes = [node[0] for node in laid.nodes]
        for i, side in enumerate(piece.sides):
            first, last = self._shared.nodes_of(side)
            self._nodes[first], self._nodes[last] = nodes[i], nodes[i + 1]
            self._settled[[first, last]] = True
            line = laid.lines[i]
            self._lines[side.stretch] = line if side.forward else line[::-1]


def _from_corner(points: _Floats, nodes: _Index) -> tuple[_Floats, _Index]:
    """Start a closed line at a corner; tell where its nodes are then."""
    start = far_corner(points)
    turned = np.roll(points[:-1], -start, axis=0)
    return np.concatenate((turned, turned[:1])), (nodes - start) % len(turned)


def _place(arc: Arc, walls: Walls, nodes: _Index, one_m: float) -> _Laid | None:
    """Find where the nodes within an arc lie on its walls.

    Args:
        arc: the arc.
        walls: of it.
        nodes: marks that are nodes, in their order along the arc.
        one_m: a node so near a corner takes its place.

    Returns:
        None where nodes would change places, or two corners are one.
    """
    line, count = corners(arc, walls), len(walls.kind)
    if (np.hypot(*np.diff(line, axis=0).T) <= _STRAIGHT).any():
        return None
    places = _places(line, arc, walls, nodes, one_m)
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
    return _Laid(list(points), [line[it] for it in cuts])


def _places(
    line: _Floats, arc: Arc, walls: Walls, nodes: _Index, one_m: float
) -> _Floats:
    """Return the place of each node: number of its wall, and share of that before it."""
    count = len(walls.kind)
    at = np.append(walls.start, walls.end[-1])
    taken = set() if arc.closed else {0, count}
    places = np.empty(len(nodes))
    # Corners that are nodes already first: no other node takes them.
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
                abs(share - round(share)) * np.hypot(*wall) <= one_m
            ):
                place = float(nearest)
        if place.is_integer():
            place = place % count if arc.closed else place
            taken.add(int(place))
        places[n] = place
    return places
