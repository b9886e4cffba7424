"""Right angles for single buildings, where their pixels support them.

Each building has one direction. Its walls are drawn along it and across it, unless the
pixels contradict (:mod:`geoseg.geo.footprints.right_angles.evidence`): then the simplified
outline stays. Points on the image's border stay, as in
:mod:`geoseg.geo.footprints.simplify`. Buildings that share a wall are drawn together in
:mod:`geoseg.geo.footprints.right_angles.groups`, as each would move the wall differently.
"""

import numpy as np
import numpy.typing as npt
import shapely
from shapely import LinearRing, Polygon

from geoseg.geo.footprints.right_angles.evidence import supports_right_angles
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

#: Largest deviation of points from their wall, in tolerances of simplified outlines.
WALL_TOLERANCE = 4.0

#: Smallest share of a building's outline along or across its direction.
REGULAR_SHARE = 0.6

#: Smallest IoU of a regular outline with the pixels' outline.
LEAST_IOU = 0.8

#: Largest relative change of area.
AREA_CHANGE = 0.05

#: Largest distance (pixels) of a regular outline beyond the pixels.
OUTREACH = 3

#: Largest distance (pixels) at which two regular outlines may overlap.
AROUND = 2 * OUTREACH

#: Difference of angles (radians) from which an edge does not support a direction.
_SAME = np.radians(12)

# Directions are equal modulo a quarter turn.
_QUARTER = np.pi / 2

#: Number of rounds: walls are cut, rotated to fit, then cut again.
_ROUNDS = 2


def draw_regular(
    outlines: _Outlines,
    simple: _Outlines,
    metres: _Floats,
    tolerance_m: float,
    extent: Extent,
) -> _Outlines:
    """Draw buildings with right angles where the pixels support them.

    Args:
        outlines: polygons in pixel coordinates, with points only at corners.
        simple: the same, simplified; returned where right angles are not supported.
        metres: ``(2, 2)``, metres east and north per column and row.
        tolerance_m: tolerance of the simplified outlines; points may deviate from their
            wall by :data:`WALL_TOLERANCE` times as much.
        extent: of the image.

    Returns:
        Valid polygons with no more corners than the simplified ones.
    """
    if tolerance_m <= 0 or not len(outlines):
        return simple
    how = metres, tolerance_m, extent
    return each_or_before(
        lambda part: _draw(outlines[part], simple[part], *how), simple
    )


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
    buildings = [_Building(outline, metres, tolerance_m, extent) for outline in soft]
    for building in buildings:
        building.find_direction(walls_m)
    for _ in range(_ROUNDS):
        _cut(buildings, walls_m)
    for i, building in enumerate(buildings):
        if building.angle is not None:
            result[i] = building.polygon()
    good = np.flatnonzero(supported(result, simple, outlines, soft))
    good = good[supports_right_angles(soft[good], result[good], simple[good])]
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
        tolerance_m: tolerance of simplified outlines.
        extent: of the image.

    Returns:
        Radians, counter-clockwise from east; None where a building has none.
    """
    turned = [
        Polygon(
            _from_corner(outline.exterior),
            [_from_corner(ring) for ring in outline.interiors],
        )
        for outline in outlines
    ]
    buildings = [_Building(outline, metres, tolerance_m, extent) for outline in turned]
    for building in buildings:
        building.find_direction(WALL_TOLERANCE * tolerance_m)
    for _ in range(_ROUNDS):
        _cut(buildings, WALL_TOLERANCE * tolerance_m)
    return [building.angle for building in buildings]


def supported(
    regular: _Outlines, simple: _Outlines, outlines: _Outlines, soft: _Outlines
) -> npt.NDArray[np.bool_]:
    """Tell which regular polygons agree with the outlines of the pixels.

    Args:
        regular: ``(N,)`` polygons in pixel coordinates, possibly invalid or None.
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
    """Return polygons with few points, surely within OUTREACH of the pixels.

    Cutting a step moves an outline by half a pixel, and so does simplification.
    """
    few = shapely.simplify(soft, 0.5)
    return np.asarray(shapely.buffer(few, OUTREACH - 1, join_style="bevel"))


def _cut(buildings: list["_Building"], tolerance_m: float) -> None:
    """Cut buildings into walls along their directions; rotate these to fit."""
    cut = [building for building in buildings if building.angle is not None]
    turned = [building.turned() for building in cut]
    walls = iter(cut_into_walls([arc for arcs in turned for arc in arcs], tolerance_m))
    for building, arcs in zip(cut, turned, strict=True):
        building.take([(arc, next(walls)) for arc in arcs])


class _Building:
    """A polygon cut at the points that must stay.

    Attributes:
        angle: its direction, radians; None where it has none or cannot be cut.
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
        """Set the direction from the outline; in noise, from a coarser one.

        Args:
            walls_m: Largest deviation of points from their wall, metres.
        """
        self.angle = main_direction(self._arcs, walls_m / 2)
        if self.angle is None:
            self.angle = main_direction(self._arcs, walls_m)

    def turned(self) -> list[Arc]:
        """Return the arcs, rotated so that the building's direction is x."""
        angle = self.angle or 0.0
        return [arc._replace(points=turn(arc.points, angle)) for arc in self._arcs]

    def take(self, pairs: list[tuple[Arc, Walls | None]]) -> None:
        """Store the walls of the rotated arcs, and adjust the direction to them."""
        cut = [(arc, walls) for arc, walls in pairs if walls is not None]
        if self.angle is None or len(cut) < len(pairs):
            self.angle = None
            return
        self._pairs = cut
        self._before = self.angle
        self.angle += tilt(cut)

    def polygon(self) -> Polygon | None:
        """Return the polygon with right angles; None if it has too few."""
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
    """Return the direction that a building's walls run along or across.

    Walls are weighted by squared length.

    Args:
        arcs: the building's outline.
        tolerance_m: tolerance of the simplification before walls are measured.

    Returns:
        Radians, counter-clockwise from x; None where too little of the outline runs in
        one direction, as in a disc.
    """
    lines = [shapely.linestrings(arc.points) for arc in arcs if _is_wall(arc)]
    coarse = shapely.simplify(lines, tolerance_m, preserve_topology=False)
    walls = [np.diff(shapely.get_coordinates(line), axis=0) for line in coarse]
    steps = np.concatenate(walls or [np.zeros((0, 2))])
    if not steps.any():
        return None
    length = np.hypot(steps[:, 0], steps[:, 1])
    angles = np.arctan2(steps[:, 1], steps[:, 0])
    supported = support(angles, length**2)
    # Sums differ by rounding: among equal ones take the first.
    best = int((supported >= (1 - 1e-9) * supported.max()).argmax())
    apart = (angles - angles[best] + _QUARTER / 2) % _QUARTER - _QUARTER / 2
    if length[np.abs(apart) < _SAME].sum() < REGULAR_SHARE * length.sum():
        return None
    near = np.maximum(0.0, 1 - (apart / _SAME) ** 2) * length**2
    return float(angles[best] + (near * apart).sum() / near.sum())


def support(angles: _Floats, weight: _Floats) -> _Floats:
    """Return the weight near each angle, modulo a quarter turn.

    A weight at distance d counts ``1 - (d / _SAME)**2``, and nothing from ``_SAME`` on.
    These sums are differences of running sums of three powers, so time and memory grow
    hardly faster than the number of angles.

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
    squares = second - 2 * angles * first + angles**2 * total
    return np.asarray(total - squares / _SAME**2)


def _is_wall(arc: Arc) -> bool:
    """Tell whether an arc is more than an edge on the image's border."""
    return len(arc.points) > 2


def _regular_share(pairs: list[tuple[Arc, Walls]]) -> float:
    """Return the share of the walls' length that runs along or across the direction."""
    regular = total = 0.0
    for arc, walls in pairs:
        if not _is_wall(arc):
            continue
        ends = arc.points[arc.marks]
        step = ends[walls.end] - ends[walls.start]
        length = np.hypot(step[:, 0], step[:, 1])
        total += float(length.sum())
        regular += float(length[walls.kind != FREE].sum())
    # Without walls off the image's border, nothing supports right angles.
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
    """Return the indices of the points that Douglas-Peucker keeps."""
    places = np.arange(len(points))
    line = shapely.linestrings(np.column_stack((points, places)))
    kept = shapely.simplify(line, tolerance_m, preserve_topology=False)
    heights = shapely.get_coordinates(kept, include_z=True)[:, 2]
    return np.asarray(heights, dtype=np.int64)


def far_corner(points: _Floats) -> int:
    """Return the index of a closed line's point farthest from its centroid, a corner."""
    ring = points[:-1]
    # Squared distances are rounded to 1e-6, so that ties are equal.
    return int(np.round(((ring - ring.mean(axis=0)) ** 2).sum(axis=1), 6).argmax())


def _from_corner(ring: LinearRing) -> _Floats:
    """Return the points of a ring from a corner on, as walls are cut at the first point."""
    points = shapely.get_coordinates(ring)
    return np.roll(points[:-1], -far_corner(points), axis=0)
