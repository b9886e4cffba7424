"""Buildings with right angles, where their pixels say so.

Each building has one direction. Its walls are drawn along it and across it, unless the
result would say something else than the pixels (:mod:`geoseg.geo.footprints.right_angles.evidence`): then the
simplified outline stays. Points on the image's border stay where they are, as in
:mod:`geoseg.geo.footprints.simplify`. Buildings that share a wall are drawn together, by
:mod:`geoseg.geo.footprints.right_angles.groups`: each would move the wall its own way.
"""

import numpy as np
import numpy.typing as npt
import shapely
from shapely import LinearRing, Polygon

from geoseg.geo.footprints.right_angles.evidence import speaks_for_right_angles
from geoseg.geo.footprints.right_angles.wall_search import cut_into_walls
from geoseg.geo.footprints.right_angles.walls import (
    FREE,
    Arc,
    Walls,
    corners,
    tilt,
    turn,
)
from geoseg.geo.footprints.simplify import Extent, on_border, soften
from geoseg.geo.footprints.sound_outlines import each_or_before, sound

_Floats = npt.NDArray[np.float64]
_Outlines = npt.NDArray[np.object_]

#: How far points may lie off their wall, in tolerances of simplified outlines.
WALL_TOLERANCE = 4.0

#: Least share of a building's outline that lies along its direction or across it.
REGULAR_SHARE = 0.6

#: Least IoU of a regular outline with the pixels' outline.
LEAST_IOU = 0.8

#: Largest change of area (share).
AREA_CHANGE = 0.05

#: How many pixels an outline may reach out.
OUTREACH = 3

#: What lies up to so many pixels away may be met by an outline that reaches out.
AROUND = 2 * OUTREACH

#: Edges so far apart (radians) do not speak for the same direction.
_SAME = np.radians(12)

# Directions are the same after a quarter of a turn.
_QUARTER = np.pi / 2

#: The walls are cut, then turned to fit, then cut again.
_ROUNDS = 2


def draw_regular(
    outlines: _Outlines,
    simple: _Outlines,
    metres: _Floats,
    tolerance_m: float,
    extent: Extent,
) -> _Outlines:
    """Draw buildings with right angles where the evidence supports them.

    Args:
        outlines: polygons in pixel coordinates, with points at corners alone.
        simple: the same, simplified; returned where right angles are not supported.
        metres: ``(2, 2)``, metres east and north per column and row.
        tolerance_m: that of the simplified outlines; points may lie off their wall by
            :data:`WALL_TOLERANCE` times as much.
        extent: of the image.

    Returns:
        Valid polygons, none of them with more corners than the simplified one.
    """
    if tolerance_m <= 0 or not len(outlines):
        return simple
    how = metres, tolerance_m, extent
    return each_or_before(lambda it: _draw(outlines[it], simple[it], *how), simple)


def _draw(
    outlines: _Outlines,
    simple: _Outlines,
    metres: _Floats,
    tolerance_m: float,
    extent: Extent,
) -> _Outlines:
    result = simple.copy()
    soft = soften(outlines, extent)
    walls_m = WALL_TOLERANCE * tolerance_m
    buildings = [_Building(it, metres, tolerance_m, extent) for it in soft]
    for building in buildings:
        building.find_direction(walls_m)
    for _ in range(_ROUNDS):
        _cut(buildings, walls_m)
    for i, building in enumerate(buildings):
        if building.angle is not None:
            result[i] = building.polygon()
    good = np.flatnonzero(supported(result, simple, outlines, soft))
    good = good[speaks_for_right_angles(soft[good], result[good], simple[good])]
    drawings = simple.copy()
    drawings[good] = result[good]
    return drawings


def directions(
    outlines: _Outlines, metres: _Floats, tolerance_m: float, extent: Extent
) -> list[float | None]:
    """Return the direction that fits the walls of each building best.

    Args:
        outlines: of the pixels, their steps cut; in pixel coordinates.
        metres: ``(2, 2)``, metres east and north per column and row.
        tolerance_m: that of simplified outlines.
        extent: of the image.

    Returns:
        Radians, counter-clockwise from east; None where there is none.
    """
    turned = [
        Polygon(
            _from_corner(it.exterior), [_from_corner(ring) for ring in it.interiors]
        )
        for it in outlines
    ]
    buildings = [_Building(it, metres, tolerance_m, extent) for it in turned]
    for building in buildings:
        building.find_direction(WALL_TOLERANCE * tolerance_m)
    for _ in range(_ROUNDS):
        _cut(buildings, WALL_TOLERANCE * tolerance_m)
    return [building.angle for building in buildings]


def supported(
    regular: _Outlines, simple: _Outlines, outlines: _Outlines, soft: _Outlines
) -> npt.NDArray[np.bool_]:
    """Tell which regular polygons say the same as the outlines of the pixels.

    Args:
        regular: ``(N,)`` polygons in pixel coordinates, perhaps not valid; None where
            there is none.
        simple: ``(N,)`` the same, simplified.
        outlines: ``(N,)`` along the pixels.
        soft: ``(N,)`` along the pixels, their steps cut.
    """
    good = sound(regular)
    good &= shapely.get_num_coordinates(regular) <= shapely.get_num_coordinates(simple)
    good &= regular != simple
    place = np.flatnonzero(good)
    drawn, pixels = regular[place], outlines[place]
    area, before = shapely.area(drawn), shapely.area(pixels)
    shared = shapely.area(shapely.intersection(drawn, pixels))
    fits = np.abs(area - before) <= AREA_CHANGE * before
    fits &= shared >= LEAST_IOU * (area + before - shared)
    place, drawn, pixels = place[fits], drawn[fits], pixels[fits]
    near = shapely.covers(_surely_near(soft[place]), drawn)
    far = np.flatnonzero(~near)
    around = shapely.buffer(pixels[far], OUTREACH, join_style="mitre")
    near[far] = shapely.covers(around, drawn[far])
    good[:] = False
    good[place[near]] = True
    return np.asarray(good)


def _surely_near(soft: _Outlines) -> _Outlines:
    """Return what is surely not further than OUTREACH from pixels, of fewer points.

    A step that is cut moves an outline by half a pixel, and so does simplification.
    """
    few = shapely.simplify(soft, 0.5)
    return np.asarray(shapely.buffer(few, OUTREACH - 1, join_style="bevel"))


def _cut(buildings: list["_Building"], tolerance_m: float) -> None:
    """Cut buildings into walls along their directions; turn them to fit."""
    cut = [building for building in buildings if building.angle is not None]
    turned = [building.turned() for building in cut]
    walls = iter(cut_into_walls([arc for arcs in turned for arc in arcs], tolerance_m))
    for building, arcs in zip(cut, turned, strict=True):
        building.take([(arc, next(walls)) for arc in arcs])


class _Building:
    """A polygon cut at the points that must stay.

    Attributes:
        angle: its direction, radians; None where it has none, or too few right angles.
    """

    def __init__(
        self, polygon: Polygon, metres: _Floats, tolerance_m: float, extent: Extent
    ) -> None:
        self.angle: float | None = None
        self._before = 0.0  # the direction along which the walls were cut
        self._metres = metres
        self._rings: list[list[Arc]] = []
        self._pairs: list[tuple[Arc, Walls]] = []
        for ring in (polygon.exterior, *polygon.interiors):
            points = shapely.get_coordinates(ring)
            fixed = np.flatnonzero(on_border(points[:-1], extent))
            self._rings.append(_arcs(points @ metres.T, fixed, tolerance_m))
        self._arcs = [arc for ring in self._rings for arc in ring]

    def find_direction(self, walls_m: float) -> None:
        """Start with the direction of the outline; behind noise, of a coarser one.

        Args:
            walls_m: How far points may lie off their wall.
        """
        self.angle = main_direction(self._arcs, walls_m / 2)
        if self.angle is None:
            self.angle = main_direction(self._arcs, walls_m)

    def turned(self) -> list[Arc]:
        """Return the arcs, the building's direction along x."""
        angle = self.angle or 0.0
        return [arc._replace(points=turn(arc.points, angle)) for arc in self._arcs]

    def take(self, pairs: list[tuple[Arc, Walls | None]]) -> None:
        """Take the walls of the turned arcs."""
        found = [(arc, walls) for arc, walls in pairs if walls is not None]
        if self.angle is None or len(found) < len(pairs):
            self.angle = None
            return
        self._pairs = found
        self._before = self.angle
        self.angle += tilt(found)

    def polygon(self) -> Polygon | None:
        """Return the polygon with right angles; None where it has too few."""
        if _regular_share(self._pairs) < REGULAR_SHARE:
            return None
        back = -self._before
        drawn = iter([turn(corners(*pair), back) for pair in self._pairs])
        rings = [
            np.concatenate([next(drawn)[:-1] for _ in ring]) for ring in self._rings
        ]
        to_pixels = np.linalg.inv(self._metres).T
        rings = [ring @ to_pixels for ring in rings]
        if min(len(ring) for ring in rings) < 3:
            return None
        return Polygon(rings[0], rings[1:])


def main_direction(arcs: list[Arc], tolerance_m: float) -> float | None:
    """Return the direction that the walls of a building run along or across.

    Long walls say more: a direction counts the squared lengths of those near it.

    Args:
        arcs: the building's outline.
        tolerance_m: points so near a wall say nothing of its direction.

    Returns:
        Radians, counter-clockwise from x; None where too little of the outline runs in
        one direction, as that of a disc.
    """
    lines = [shapely.linestrings(arc.points) for arc in arcs if _is_wall(arc)]
    coarse = shapely.simplify(lines, tolerance_m, preserve_topology=False)
    walls = [np.diff(shapely.get_coordinates(line), axis=0) for line in coarse]
    steps = np.concatenate(walls or [np.zeros((0, 2))])
    if not steps.any():
        return None
    length = np.hypot(steps[:, 0], steps[:, 1])
    angles = np.arctan2(steps[:, 1], steps[:, 0])
    said = support(angles, length**2)
    # Sums differ by rounding: of walls that say as much the first.
    best = int((said >= (1 - 1e-9) * said.max()).argmax())
    apart = (angles - angles[best] + _QUARTER / 2) % _QUARTER - _QUARTER / 2
    if length[np.abs(apart) < _SAME].sum() < REGULAR_SHARE * length.sum():
        return None
    near = np.maximum(0.0, 1 - (apart / _SAME) ** 2) * length**2
    return float(angles[best] + (near * apart).sum() / near.sum())


def support(angles: _Floats, weight: _Floats) -> _Floats:
    """Return how much weight is near each angle or across it.

    What is ``_SAME`` apart counts nothing, and ``1 - (apart / _SAME)**2`` of what is
    nearer. Sums of that are differences of running sums of three powers, so time and
    memory hardly grow faster than the number of angles.

    Args:
        angles: ``(M,)`` radians.
        weight: ``(M,)``, not negative.

    Returns:
        ``(M,)``.
    """
    angles = angles % _QUARTER
    order = np.argsort(angles)
    turns = np.repeat((-_QUARTER, 0.0, _QUARTER), len(angles))
    around = np.tile(angles[order], 3) + turns
    powers = around ** np.arange(3)[:, None] * np.tile(weight[order], 3)
    running = np.pad(np.cumsum(powers, axis=1), ((0, 0), (1, 0)))
    begin = np.searchsorted(around, angles - _SAME)
    end = np.searchsorted(around, angles + _SAME)
    total, first, second = running[:, end] - running[:, begin]
    spread = second - 2 * angles * first + angles**2 * total
    return np.asarray(total - spread / _SAME**2)


def _is_wall(arc: Arc) -> bool:
    """Tell whether an arc is more than an edge on the image's border."""
    return len(arc.points) > 2


def _regular_share(pairs: list[tuple[Arc, Walls]]) -> float:
    """Return the share of the length of all walls that is not free."""
    regular = total = 0.0
    for arc, walls in pairs:
        if not _is_wall(arc):
            continue
        ends = arc.points[arc.marks]
        step = ends[walls.end] - ends[walls.start]
        length = np.hypot(step[:, 0], step[:, 1])
        total += float(length.sum())
        regular += float(length[walls.kind != FREE].sum())
    # No walls but those on the image's border: nothing says that they are regular.
    return regular / total if total else 0.0


def _arcs(
    points: _Floats, fixed: npt.NDArray[np.int64], tolerance_m: float
) -> list[Arc]:
    """Cut a closed ``(M + 1, 2)`` ring at the fixed points."""
    if not len(fixed):
        return [_arc(points, tolerance_m, closed=True)]
    turned = np.roll(points[:-1], -fixed[0], axis=0)
    turned = np.concatenate((turned, turned[:1]))
    cuts = np.append(fixed - fixed[0], len(turned) - 1)
    return [
        _arc(turned[a : b + 1], tolerance_m, closed=False)
        for a, b in zip(cuts, cuts[1:], strict=False)
    ]


def _arc(points: _Floats, tolerance_m: float, *, closed: bool) -> Arc:
    return Arc(points, kept_points(points, tolerance_m), closed)


def kept_points(points: _Floats, tolerance_m: float) -> npt.NDArray[np.int64]:
    """Return the places of the points that a simplified line keeps (Douglas-Peucker)."""
    places = np.arange(len(points))
    line = shapely.linestrings(np.column_stack((points, places)))
    kept = shapely.simplify(line, tolerance_m, preserve_topology=False)
    heights = shapely.get_coordinates(kept, include_z=True)[:, 2]
    return np.asarray(heights, dtype=np.int64)


def far_corner(points: _Floats) -> int:
    """Return the place of a closed line's point farthest from its middle, a corner."""
    ring = points[:-1]
    # Sums of squares in whole parts of a millionth: ties are ties.
    return int(np.round(((ring - ring.mean(axis=0)) ** 2).sum(axis=1), 6).argmax())


def _from_corner(ring: LinearRing) -> _Floats:
    """Return the points of a ring from a corner on; walls are cut at the first one."""
    points = shapely.get_coordinates(ring)
    return np.roll(points[:-1], -far_corner(points), axis=0)
