"""Class strips to footprints: the same polygons from 1 strip or from N."""

import heapq
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import shapely
from pyproj import Transformer
from shapely import Polygon

from geoseg.errors import ParameterError
from geoseg.geo import raster
from geoseg.geo.orientation import main_axes
from geoseg.geo.raster import RasterDescription
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
    finisher = _Finisher(
        ground, class_names, min_area_m2, min_hole_area_m2, tolerance_m
    )
    return _in_order(strips, finisher, 0.5 * min_area_m2 / ground.pixel_area_m2)


def _in_order(
    strips: Iterable[ClassStrip], finisher: "_Finisher", min_pixels: float
) -> Iterator[Footprint]:
    """Hold footprints back until nothing further up can still be completed."""
    merger = SeamMerger(min_pixels)
    waiting: list[tuple[float, float, int, Footprint]] = []
    for strip in strips:
        for item in finisher.finish(merger.feed(strip)):
            heapq.heappush(waiting, item)
        below = min(merger.open_top, strip.row + len(strip.classes))
        while waiting and waiting[0][0] < below:
            yield heapq.heappop(waiting)[-1]
    for item in finisher.finish(merger.finish()):
        heapq.heappush(waiting, item)
    while waiting:
        yield heapq.heappop(waiting)[-1]


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
    """Make footprints of complete objects."""

    def __init__(
        self,
        ground: _Ground,
        class_names: tuple[str, ...],
        min_area_m2: float,
        min_hole_area_m2: float,
        tolerance_m: float,
    ) -> None:
        self._ground = ground
        self._class_names = class_names
        self._min_area_m2 = min_area_m2
        self._min_hole = min_hole_area_m2 / ground.pixel_area_m2
        self._tolerance_m = tolerance_m

    def finish(
        self, neighbourhoods: list[Neighbourhood]
    ) -> Iterator[tuple[float, float, int, Footprint]]:
        """Yield row and column of the first pixel, class, and the footprint."""
        if not neighbourhoods:
            return
        objects = [it for group in neighbourhoods for it in group.objects]
        outlines = np.array([it.outline for it in objects], dtype=object)
        outlines = fill_holes(straighten(outlines), self._min_hole)
        simple = self._simplify(neighbourhoods, outlines)
        located = shapely.transform(simple, self._ground.crs)
        metric = shapely.transform(located, self._ground.metric)
        area, length = shapely.area(metric), shapely.length(metric)
        large = np.flatnonzero(area >= self._min_area_m2)
        axes = main_axes(metric[large])
        for i, axis in zip(large, axes.tolist(), strict=True):
            footprint = Footprint(
                geometry=located[i],
                class_id=objects[i].class_id,
                class_name=self._class_names[objects[i].class_id],
                score=objects[i].score_sum / objects[i].pixels,
                area_m2=float(area[i]),
                perimeter_m=float(length[i]),
                orientation=axis,
            )
            yield *objects[i].first_pixel, objects[i].class_id, footprint

    def _simplify(
        self, neighbourhoods: list[Neighbourhood], outlines: _Outlines
    ) -> _Outlines:
        how = self._ground.metres, self._tolerance_m, self._ground.extent
        simple = smooth_alone(outlines, *how)
        end = 0
        for group in neighbourhoods:
            part = slice(end, end + len(group.objects))
            end = part.stop
            if len(group.objects) > 1 and (group.shared or overlap(simple[part])):
                simple[part] = smooth_together(outlines[part], *how)
        return simple
