"""Class strips to footprints: the same polygons from 1 strip or from N."""

import heapq
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import shapely
from pyproj import Transformer
from shapely import Polygon

from geoseg.errors import ParameterError
from geoseg.geo import raster
from geoseg.geo.clearing import Clearing, Drawn
from geoseg.geo.orientation import main_axes
from geoseg.geo.raster import RasterDescription
from geoseg.geo.regular import AROUND, draw_regular
from geoseg.geo.seams import Neighbourhood, SeamMerger
from geoseg.geo.simplify import (
    Extent,
    fill_holes,
    overlap,
    smooth_alone,
    smooth_together,
    straighten,
)
from geoseg.geo.strips import ClassStrip

_Outlines = npt.NDArray[np.object_]


@dataclass(frozen=True, slots=True)
class Footprint:
    """A building polygon.

    Attributes:
        geometry: in the raster's own CRS; valid, not empty, exterior first.
        class_id: 1 to C - 1.
        class_name: name of the class.
        score: mean probability of the class over the footprint's pixels, in [0, 1].
        area_m2: area of the polygon in the local metric CRS (UTM), square metres.
        perimeter_m: length of its outlines, holes included, metres.
        orientation: direction of its main axis, the long side of the smallest rectangle
            around it, degrees clockwise from grid north, in [0, 180).
    """

    geometry: Polygon
    class_id: int
    class_name: str
    score: float
    area_m2: float
    perimeter_m: float
    orientation: float


def footprints(
    strips: Iterable[ClassStrip],
    grid: RasterDescription,
    *,
    class_names: tuple[str, ...],
    min_area_m2: float = 10.0,
    min_hole_area_m2: float = 10.0,
    tolerance_m: float | None = None,
    regularize: bool = False,
) -> Iterator[Footprint]:
    """Turn class strips into footprints, ordered from the top, then from the left.

    Objects are 4-connected; pieces are joined across the seams of strips before
    anything else happens to them. Only what is open, or waits for something open above
    it, is in memory.

    Args:
        strips: the strips of a whole raster, top to bottom.
        grid: the raster's CRS and affine (rotated ones too).
        class_names: names of the classes, background first.
        min_area_m2: footprints of a smaller area are left out.
        min_hole_area_m2: smaller holes are filled; at most ``min_area_m2``, so that no
            footprint can lie in a filled hole.
        tolerance_m: how far simplified outlines may lie off; by default 0.75 GSD.
            0 keeps the outlines of the pixels.
        regularize: draw right angles where the evidence supports them: points may lie
            off their wall by four tolerances, see :mod:`geoseg.geo.regular`.

    Yields:
        Footprints in the raster's CRS.

    Raises:
        RasterError: If the raster has no CRS, so that metres are unknown.
        ParameterError: If an area or the tolerance makes no sense.
    """
    if min(min_area_m2, min_hole_area_m2, tolerance_m or 0) < 0:
        raise ParameterError("areas and tolerance of footprints must not be negative")
    if min_hole_area_m2 > min_area_m2:
        raise ParameterError(
            f"minimum hole area is {min_hole_area_m2:g} m², expected at most the "
            f"minimum area ({min_area_m2:g} m²); lower it"
        )
    ground = _Ground(grid)
    if tolerance_m is None:
        tolerance_m = 0.75 * float(np.sqrt(ground.pixel_area_m2))
    min_hole = min_hole_area_m2 / ground.pixel_area_m2
    rules = _Rules(class_names, min_area_m2, min_hole, tolerance_m, regularize)
    return _in_order(strips, _Finisher(ground, rules))


def _in_order(
    strips: Iterable[ClassStrip], finisher: "_Finisher"
) -> Iterator[Footprint]:
    """Hold footprints back until nothing further up can still be completed."""
    waiting: list[tuple[float, float, int, Footprint]] = []
    for strip in strips:
        for item in finisher.feed(strip):
            heapq.heappush(waiting, item)
        below = min(finisher.open_top, strip.row + len(strip.classes))
        while waiting and waiting[0][0] < below:
            yield heapq.heappop(waiting)[-1]
    for item in finisher.finish():
        heapq.heappush(waiting, item)
    while waiting:
        yield heapq.heappop(waiting)[-1]


class _Rules(NamedTuple):
    """What footprints are to be like; areas of holes in pixels."""

    class_names: tuple[str, ...]
    min_area_m2: float
    min_hole: float
    tolerance_m: float
    regularize: bool


class _Ground:
    """Where pixels lie on the ground."""

    def __init__(self, grid: RasterDescription) -> None:
        raster.require_crs(grid)
        self._transform = grid.transform
        self.extent = Extent(grid.width, grid.height)
        self._to_metres = Transformer.from_crs(
            grid.crs.to_wkt() if grid.crs else None,
            raster.metric_crs(grid).to_wkt(),
            always_xy=True,
        )
        column, row = grid.width / 2, grid.height / 2
        points = np.array(
            [(column, row), (column + 1, row), (column, row + 1)], dtype=np.float64
        )
        origin, right, down = self.metric(self.crs(points))
        #: (2, 2) metres east and north per column and row, at the raster's centre.
        self.metres = np.stack((right - origin, down - origin), axis=1)
        self.pixel_area_m2 = float(abs(np.linalg.det(self.metres)))

    def crs(self, points: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Map (column, row) to the raster's CRS through the full affine."""
        a, b, c, d, e, f = self._transform[:6]
        column, row = points[:, 0], points[:, 1]
        x, y = a * column + b * row + c, d * column + e * row + f
        return np.stack((x, y), axis=1)

    def metric(self, points: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Map coordinates of the raster's CRS to the metric one."""
        return np.stack(self._to_metres.transform(points[:, 0], points[:, 1]), axis=1)


class _Finisher:
    """Make footprints of objects as soon as they are complete."""

    def __init__(self, ground: _Ground, rules: _Rules) -> None:
        self._ground = ground
        self._rules = rules
        self._how = ground.metres, rules.tolerance_m, ground.extent
        min_pixels = 0.5 * rules.min_area_m2 / ground.pixel_area_m2
        self._merger = SeamMerger(min_pixels, AROUND if rules.regularize else 0)
        self._clearing = Clearing(self._merger.is_open)

    @property
    def open_top(self) -> float:
        """First row of what may go on, or may look different when more is known."""
        return min(self._merger.open_top, self._clearing.open_top)

    def feed(self, strip: ClassStrip) -> Iterator[tuple[float, float, int, Footprint]]:
        """Yield row and column of the first pixel, class, and the footprint."""
        self._draw(self._merger.feed(strip))
        return self._footprints()

    def finish(self) -> Iterator[tuple[float, float, int, Footprint]]:
        """Yield what was still open: there are no more strips."""
        self._draw(self._merger.finish())
        return self._footprints()

    def _footprints(self) -> Iterator[tuple[float, float, int, Footprint]]:
        decided = list(self._clearing.decide())
        if not decided:
            return
        objects = [item for item, _ in decided]
        outlines = np.array([outline for _, outline in decided], dtype=object)
        located = shapely.transform(outlines, self._ground.crs)
        metric = shapely.transform(located, self._ground.metric)
        area, length = shapely.area(metric), shapely.length(metric)
        large = np.flatnonzero(area >= self._rules.min_area_m2)
        axes = main_axes(metric[large])
        for i, axis in zip(large, axes.tolist(), strict=True):
            footprint = Footprint(
                geometry=located[i],
                class_id=objects[i].class_id,
                class_name=self._rules.class_names[objects[i].class_id],
                score=objects[i].score,
                area_m2=float(area[i]),
                perimeter_m=float(length[i]),
                orientation=axis,
            )
            yield *objects[i].first_pixel, objects[i].class_id, footprint

    def _draw(self, neighbourhoods: list[Neighbourhood]) -> None:
        """Draw the outlines of objects; which ones stay, their surroundings decide."""
        if not neighbourhoods:
            return
        objects = [it for group in neighbourhoods for it in group.objects]
        pieces = [it for group in neighbourhoods for it in group.pieces]
        around = [it for group in neighbourhoods for it in group.around]
        shared = [group.shared for group in neighbourhoods for _ in group.objects]
        outlines = np.array([it.outline for it in objects], dtype=object)
        outlines = fill_holes(straighten(outlines), self._rules.min_hole)
        simple = self._simplify(neighbourhoods, outlines)
        regular = simple.copy()
        if self._rules.regularize:
            alone = ~np.array(shared)
            regular[alone] = draw_regular(outlines[alone], simple[alone], *self._how)
        for i, item in enumerate(objects):
            near = around[i] if self._rules.regularize else set()
            drawn = Drawn(item, simple[i], regular[i])
            self._clearing.add(drawn, pieces[i], near)

    def _simplify(
        self, neighbourhoods: list[Neighbourhood], outlines: _Outlines
    ) -> _Outlines:
        simple = smooth_alone(outlines, *self._how)
        end = 0
        for group in neighbourhoods:
            part = slice(end, end + len(group.objects))
            end = part.stop
            if len(group.objects) > 1 and (group.shared or overlap(simple[part])):
                simple[part] = smooth_together(outlines[part], *self._how)
        return simple
