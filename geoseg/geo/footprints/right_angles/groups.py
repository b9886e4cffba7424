"""Joint drawing of right angles for buildings that share walls.

Each building has one direction, as in :mod:`geoseg.geo.footprints.right_angles.single`;
neighbours with almost the same direction get a common one. The largest building is drawn
first, then its neighbours: walls shared with drawn buildings stay, and their other walls
begin and end there. Where a wall meets a neighbour's, its end may slide along it. So shared
walls stay shared, corner by corner. A building whose right angles the pixels do not support
keeps its simplified walls, except those shared with buildings that have right angles.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import shapely
from shapely import Polygon

from geoseg.geo.footprints.right_angles.evidence import supports_right_angles
from geoseg.geo.footprints.right_angles.joint_drawing import Drawing
from geoseg.geo.footprints.right_angles.shared_walls import (
    ON,
    SharedWalls,
    find_walls,
    follow,
)
from geoseg.geo.footprints.right_angles.single import (
    AREA_CHANGE,
    REGULAR_SHARE,
    directions,
    kept_points,
    supported,
)
from geoseg.geo.footprints.shared_corners import share_corners
from geoseg.geo.footprints.simplify import Extent
from geoseg.geo.footprints.sound_outlines import all_or_before, sound

_Floats = npt.NDArray[np.float64]
_Outlines = npt.NDArray[np.object_]

#: Largest difference (radians) at which neighbours get a common direction.
_ALIKE = np.radians(5)

#: Largest difference (radians) at which an edge has its building's direction.
_EXACT = 1e-6


def draw_group(
    simple: _Outlines,
    soft: _Outlines,
    area: _Floats,
    metres: _Floats,
    tolerance_m: float,
    extent: Extent,
) -> _Outlines:
    """Draw buildings that share walls with right angles where the pixels support them.

    Args:
        simple: simplified polygons in pixel coordinates, with disjoint interiors.
        soft: outline of each building's pixels, its steps cut; parts of an object have
            that of the object.
        area: area of each building's pixels, square pixels; NaN for parts of an object.
        metres: ``(2, 2)``, metres east and north per column and row.
        tolerance_m: tolerance of the simplified outlines.
        extent: of the image.

    Returns:
        Valid polygons with disjoint interiors and their neighbours' corners on shared
        walls; ``simple`` where no building has right angles.
    """
    if tolerance_m <= 0:
        return simple

    def draw() -> _Outlines:
        shared = find_walls(share_corners(simple, ON), extent)
        group = _Group(shared, soft, area, metres, tolerance_m, extent)
        ways = [_draw(group, around_first=first) for first in (False, True)]
        able, _, result = max(ways, key=lambda way: way[:2])
        return result if able else simple

    return all_or_before(draw, simple)


def _draw(group: "_Group", *, around_first: bool) -> tuple[int, float, _Outlines]:
    """Draw the right angles that the pixels support.

    Args:
        group: the buildings.
        around_first: Draw the outer walls of neighbours with a common direction before
            the walls between them. This is better for a terrace with a straight front,
            and worse for houses that are set back.

    Returns:
        Number of buildings with right angles, length of their regular walls (pixels), and
        all polygons.
    """
    able = np.array([angle is not None for angle in group.angles])
    while able.any():
        drawing = Drawing(group.shared, group.details, group.metres, group.tolerance_m)
        if around_first:
            for members, angle in group.alike(able):
                drawing.draw(group.shared.around(members), angle)
        for i in group.in_order(able):
            able[i] = drawing.draw(group.shared.rings[i], group.angles[i] or 0.0)
        if not able.any():
            break
        result = drawing.polygons()
        bad = group.unsupported(result, able)
        if not bad.any():
            return int(able.sum()), group.regular_length(result), result
        able &= ~bad
    return 0, 0.0, np.empty(0, dtype=object)


class _Group:
    """Buildings that share walls, with their directions.

    Attributes:
        shared: their walls, simplified.
        details: each stretch's points along the pixels, in metres.
        metres: ``(2, 2)``, metres east and north per column and row.
        tolerance_m: tolerance of simplified outlines.
        angles: direction of each building, radians; None where it has none.
    """

    def __init__(
        self,
        shared: SharedWalls,
        soft: _Outlines,
        area: _Floats,
        metres: _Floats,
        tolerance_m: float,
        extent: Extent,
    ) -> None:
        self.shared = shared
        self.metres = metres
        self.tolerance_m = tolerance_m
        self._simple = shared.polygons(shared.lines)
        reach = 1 + 2 * tolerance_m / np.sqrt(abs(np.linalg.det(metres)))
        details = [
            follow(line, soft[min(of)], reach)
            for line, of in zip(shared.lines, shared.owners(), strict=True)
        ]
        self._pixels = self._sound(shared.polygons(details))
        self.details = [line @ metres.T for line in details]
        few = [
            line[kept_points(metric, tolerance_m)]
            for line, metric in zip(details, self.details, strict=True)
        ]
        self._few = self._sound(shared.polygons(few))
        self._area = np.where(np.isnan(area), shapely.area(self._pixels), area)
        both = (of for of in shared.owners() if len(of) == 2)
        self._neighbours = sorted({(min(of), max(of)) for of in both})
        own = directions(self._pixels, metres, tolerance_m, extent)
        self.angles = self._in_common(own)

    def _sound(self, polygons: _Outlines) -> _Outlines:
        """Replace invalid polygons by the simplified ones."""
        return np.where(sound(polygons), polygons, self._simple)

    def alike(self, able: npt.NDArray[np.bool_]) -> Iterator[tuple[set[int], float]]:
        """Yield neighbours with a common direction and that direction, largest first."""
        number = np.arange(len(able))
        for one, other in self._neighbours:
            first, second = self.angles[one], self.angles[other]
            if able[one] and able[other] and first is not None and second is not None:
                if abs(_apart(first, second)) <= _EXACT:
                    number[number == number[other]] = number[one]
        groups = [np.flatnonzero(able & (number == n)) for n in np.unique(number[able])]
        groups.sort(key=lambda members: (-self._area[members].sum(), members[0]))
        for members in groups:
            if len(members) > 1:
                yield set(members.tolist()), self.angles[members[0]] or 0.0

    def in_order(self, able: npt.NDArray[np.bool_]) -> list[int]:
        """Return buildings in drawing order.

        The largest comes first, then the largest neighbour of those drawn, and so on: a
        house between two drawn ones has no freedom left.
        """
        left = set(np.flatnonzero(able).tolist())
        beside: dict[int, set[int]] = {i: set() for i in left}
        for one, other in self._neighbours:
            if able[one] and able[other]:
                beside[one].add(other)
                beside[other].add(one)
        order: list[int] = []
        reached: set[int] = set()
        while left:
            best = max(reached & left or left, key=lambda i: (self._area[i], -i))
            order.append(best)
            left.remove(best)
            reached |= beside[best]
        return order

    def _in_common(self, own: list[float | None]) -> list[float | None]:
        """Return directions, equal for neighbours whose own differ little."""
        group = list(range(len(own)))
        for one, other in self._neighbours:
            first, second = own[one], own[other]
            if first is None or second is None:
                continue
            if abs(_apart(first, second)) <= _ALIKE and group[one] != group[other]:
                old, new = group[other], group[one]
                group = [new if number == old else number for number in group]
        length = shapely.length(self._pixels)
        total = np.zeros(len(own), dtype=np.complex128)
        for i, angle in enumerate(own):
            if angle is not None:
                total[group[i]] += length[i] * np.exp(4j * angle)
        common = np.angle(total)[group] / 4
        return [
            None if angle is None else float(angle + _apart(angle, common[i]))
            for i, angle in enumerate(own)
        ]

    def unsupported(
        self, result: _Outlines, regular: npt.NDArray[np.bool_]
    ) -> npt.NDArray[np.bool_]:
        """Tell which buildings to draw again without right angles."""
        bad = np.zeros(len(result), dtype=np.bool_)
        mine = np.flatnonzero(regular)
        drawn, few, pixels = result[mine], self._few[mine], self._pixels[mine]
        good = supported(drawn, few, pixels, pixels) & ~self._off(result)[mine]
        good[good] = [
            self._share(polygon, self.angles[i]) >= REGULAR_SHARE
            for polygon, i in zip(drawn[good], mine[good], strict=True)
        ]
        good[good] = supports_right_angles(pixels[good], drawn[good], few[good])
        bad[mine[~good]] = True
        if bad.any():
            return self._some_of(bad)
        spoiled = self._spoiled(result)
        # Where a moved corner spoiled a building, its neighbours are equally suspect.
        known = spoiled & regular
        return self._some_of(known) if known.any() else regular & spoiled.any()

    def _some_of(self, bad: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
        """Keep of each pair of bad neighbours the smaller one.

        Without it, the other may be drawn well.
        """
        some = bad.copy()
        for one, other in self._neighbours:
            if bad[one] and bad[other]:
                some[one if self._area[one] > self._area[other] else other] = False
        return some

    def _spoiled(self, result: _Outlines) -> npt.NDArray[np.bool_]:
        """Tell which buildings have a bad polygon or a neighbour with one."""
        valid = sound(result) & ~_repeats(result)
        bad = ~valid | (self._off(result) & (result != self._simple))
        place = np.flatnonzero(valid)
        tree = shapely.STRtree(result[place])
        first, second = tree.query(result[place], predicate="intersects")
        once = first < second
        first, second = place[first[once]], place[second[once]]
        meet = shapely.relate_pattern(result[first], result[second], "T********")
        bad[first[meet]] = bad[second[meet]] = True
        spoiled = bad.copy()
        for one, other in self._neighbours:
            spoiled[one] |= bad[other]
            spoiled[other] |= bad[one]
        return np.asarray(spoiled)

    def _off(self, result: _Outlines) -> npt.NDArray[np.bool_]:
        """Tell which polygons differ too much in area from their pixels."""
        change = np.abs(shapely.area(result) - self._area)
        return np.asarray(change > AREA_CHANGE * self._area)

    def regular_length(self, result: _Outlines) -> float:
        """Return the length of all walls in their building's direction, pixels."""
        total = 0.0
        for polygon, angle in zip(result, self.angles, strict=True):
            if angle is not None:
                total += self._share(polygon, angle) * float(polygon.length)
        return round(total, 6)

    def _share(self, polygon: Polygon, angle: float | None) -> float:
        """Return the share of an outline's length in the building's direction."""
        steps = np.concatenate(
            [
                np.diff(shapely.get_coordinates(ring) @ self.metres.T, axis=0)
                for ring in (polygon.exterior, *polygon.interiors)
            ]
        )
        length = np.hypot(steps[:, 0], steps[:, 1])
        off = _apart(np.arctan2(steps[:, 1], steps[:, 0]), angle or 0.0)
        return float(length[np.abs(off) <= _EXACT].sum() / length.sum())


def _apart(first: Any, second: Any) -> Any:
    """Return the difference of directions modulo a right angle, in ±45° (radians)."""
    quarter = np.pi / 2
    return (second - first + quarter / 2) % quarter - quarter / 2


def _repeats(polygons: _Outlines) -> npt.NDArray[np.bool_]:
    """Tell which polygons have repeated consecutive points."""
    once = shapely.remove_repeated_points(polygons)
    return np.asarray(
        shapely.get_num_coordinates(once) < shapely.get_num_coordinates(polygons)
    )
