"""Buildings with right angles, where their pixels say so.

Each building has one direction. Its walls are drawn along it and across it, unless the
result would say something else than the pixels: then the simplified outline stays.
Points on the image's border stay where they are, as in :mod:`geoseg.geo.simplify`.
"""

import numpy as np
import numpy.typing as npt
import shapely
from shapely import Polygon

from geoseg.geo.right_angles import (
    FREE,
    Arc,
    Walls,
    corners,
    cut_into_walls,
    tilt,
    turn,
)
from geoseg.geo.simplify import Extent, on_border, soften

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
        outlines: straightened polygons in pixel coordinates.
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
    result = simple.copy()
    soft = soften(outlines, extent)
    for i, polygon in enumerate(soft):
        building = _Building(polygon, metres, tolerance_m, extent)
        drawn = building.draw(WALL_TOLERANCE * tolerance_m)
        if drawn is not None:
            result[i] = drawn
    good = _supported(result, simple, outlines)
    return np.where(good, result, simple)


def _supported(
    regular: _Outlines, simple: _Outlines, outlines: _Outlines
) -> npt.NDArray[np.bool_]:
    """Tell which regular polygons say the same as the outlines of the pixels."""
    good = shapely.is_valid(regular) & ~shapely.is_empty(regular)
    good &= shapely.get_num_coordinates(regular) <= shapely.get_num_coordinates(simple)
    place = np.flatnonzero(good)
    drawn, pixels = regular[place], outlines[place]
    area, before = shapely.area(drawn), shapely.area(pixels)
    shared = shapely.area(shapely.intersection(drawn, pixels))
    fits = np.abs(area - before) <= AREA_CHANGE * before
    fits &= shared >= LEAST_IOU * (area + before - shared)
    around = shapely.buffer(pixels, OUTREACH, join_style="mitre")
    fits &= shapely.covers(around, drawn)
    good[place] = fits
    return np.asarray(good)


class _Building:
    """A polygon cut at the points that must stay."""

    def __init__(
        self, polygon: Polygon, metres: _Floats, tolerance_m: float, extent: Extent
    ) -> None:
        self._metres = metres
        self._rings: list[list[Arc]] = []
        for ring in (polygon.exterior, *polygon.interiors):
            points = shapely.get_coordinates(ring)
            fixed = np.flatnonzero(on_border(points[:-1], extent))
            self._rings.append(_arcs(points @ metres.T, fixed, tolerance_m))

    def draw(self, tolerance_m: float) -> Polygon | None:
        """Return the polygon with right angles, None where it has too few."""
        arcs = [arc for ring in self._rings for arc in ring]
        angle = main_direction(arcs, tolerance_m / 2)
        if angle is None:
            return None
        for _ in range(_ROUNDS):
            turned = [arc._replace(points=turn(arc.points, angle)) for arc in arcs]
            walls = [cut_into_walls(arc, tolerance_m) for arc in turned]
            pairs = [(a, w) for a, w in zip(turned, walls, strict=True) if w]
            if len(pairs) < len(arcs):
                return None
            angle += tilt(pairs)
        if _regular_share(pairs) < REGULAR_SHARE:
            return None
        drawn = iter([turn(corners(*pair), -angle + tilt(pairs)) for pair in pairs])
        rings = [
            np.concatenate([next(drawn)[:-1] for _ in ring]) for ring in self._rings
        ]
        back = np.linalg.inv(self._metres).T
        rings = [ring @ back for ring in rings]
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
    quarter = np.pi / 2
    apart = (angles[None] - angles[:, None] + quarter / 2) % quarter - quarter / 2
    near = np.maximum(0.0, 1 - (apart / _SAME) ** 2) * length**2
    best = int(near.sum(axis=1).argmax())
    if length[np.abs(apart[best]) < _SAME].sum() < REGULAR_SHARE * length.sum():
        return None
    return float(angles[best] + (near[best] * apart[best]).sum() / near[best].sum())


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
    return regular / total


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
    """Mark the points that the simplified line keeps."""
    line = shapely.linestrings(points)
    kept = shapely.get_coordinates(
        shapely.simplify(line, tolerance_m, preserve_topology=False)
    )
    marks = []
    place = 0
    for point in kept:
        while (points[place] != point).any():
            place += 1
        marks.append(place)
        place += 1
    return Arc(points, np.array(marks, dtype=np.int64), closed)
