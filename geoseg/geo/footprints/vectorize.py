"""Vectorisation of class strips to footprints.

1 strip and N strips give the same polygons.
"""

import heapq
import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import shapely
from shapely import Polygon

from geoseg.core.errors import ParameterError
from geoseg.geo.footprints.buildings import Buildings, join, one_by_one, whole
from geoseg.geo.footprints.complete_objects import Complete
from geoseg.geo.footprints.objects import REACH, SeamMerger
from geoseg.geo.footprints.orientation import main_axes
from geoseg.geo.footprints.pixel_runs import ScoredRuns
from geoseg.geo.footprints.right_angles.clearing import Clearing
from geoseg.geo.footprints.right_angles.drawing import draw_objects
from geoseg.geo.footprints.right_angles.single import AROUND, OUTREACH
from geoseg.geo.footprints.simplified_objects import simplify_objects, without_filled
from geoseg.geo.footprints.simplify import Extent
from geoseg.geo.footprints.splitting.touching import split_objects
from geoseg.geo.rasters.description import RasterDescription
from geoseg.geo.rasters.ground import Ground
from geoseg.geo.rasters.strips import ClassStrip

#: Objects farther apart (pixels) are never neighbours, whatever the tolerance.
_MOST = 48


@dataclass(frozen=True, slots=True)
class Footprint:
    """A building polygon.

    Attributes:
        geometry: in the raster's own CRS; valid, not empty, exterior first.
        class_id: 1 to C - 1.
        class_name: name of the class.
        score: mean probability of the class over the footprint's pixels, in [0, 1]; None
            where the method has no probabilities.
        area_m2: area of the polygon in the local metric CRS (the image's own, or UTM) or,
            in images too wide for one, on the ellipsoid; square metres.
        perimeter_m: length of its outlines, holes included, metres.
        orientation: direction of its main axis, the long side of the smallest enclosing
            rectangle, degrees clockwise from the north of that CRS, in [0, 180).
    """

    geometry: Polygon
    class_id: int
    class_name: str
    score: float | None
    area_m2: float
    perimeter_m: float
    orientation: float


def footprints(
    strips: Iterable[ClassStrip],
    grid: RasterDescription,
    *,
    class_names: tuple[str, ...],
    min_area_m2: float = 10.0,
    min_hole_area_m2: float | None = None,
    tolerance_m: float | None = None,
    regularize: bool = False,
    split_touching: bool = False,
) -> Iterator[Footprint]:
    """Yield the footprints of class strips, ordered by row, then by column.

    Objects are 4-connected; their pieces are first joined across the seams of strips. Memory
    holds only open objects and those that wait for an open one above.

    Args:
        strips: the strips of a whole raster, top to bottom.
        grid: the raster's CRS and affine (rotated ones too).
        class_names: names of the classes, background first.
        min_area_m2: smaller footprints are left out.
        min_hole_area_m2: smaller holes are filled; at most ``min_area_m2``, so that no
            footprint can lie in a filled hole; by default 10, or ``min_area_m2`` if
            that is smaller.
        tolerance_m: largest deviation of simplified outlines; by default 0.75 GSD. 0 keeps
            the outlines of the pixels.
        regularize: draw right angles where the pixels support them; see
            :mod:`geoseg.geo.footprints.right_angles`.
        split_touching: split objects along valleys of their scores and at narrow necks;
            see :mod:`geoseg.geo.footprints.splitting`.

    Yields:
        Footprints in the raster's CRS.

    Raises:
        RasterError: If the size of pixels in metres is unknown, as in
            :class:`geoseg.geo.rasters.ground.Ground`.
        ParameterError: If an area or the tolerance is negative, or the minimum hole area
            exceeds the minimum area.
    """
    if min_hole_area_m2 is None:
        min_hole_area_m2 = min(10.0, min_area_m2)
    if min(min_area_m2, min_hole_area_m2, tolerance_m or 0) < 0:
        raise ParameterError("areas and tolerance of footprints must not be negative")
    if min_hole_area_m2 > min_area_m2:
        raise ParameterError(
            f"minimum hole area is {min_hole_area_m2:g} m², expected at most the "
            f"minimum area ({min_area_m2:g} m²); lower it"
        )
    ground = Ground(grid)
    if tolerance_m is None:
        tolerance_m = 0.75 * float(np.sqrt(ground.pixel_area_m2))
    min_hole = min_hole_area_m2 / ground.pixel_area_m2
    rules = _Rules(
        class_names, min_area_m2, min_hole, tolerance_m, regularize, split_touching
    )
    extent = Extent(grid.width, grid.height)
    return _in_order(strips, _Finisher(ground, extent, rules))


def _in_order(
    strips: Iterable[ClassStrip], finisher: "_Finisher"
) -> Iterator[Footprint]:
    """Yield footprints in order, each once no footprint above it can still be completed."""
    # Parts of one object may begin at the same pixel: a counter keeps their order.
    number = itertools.count()
    waiting: list[tuple[float, float, int, int, Footprint]] = []
    for strip in strips:
        for row, column, class_id, footprint in finisher.feed(strip):
            heapq.heappush(waiting, (row, column, class_id, next(number), footprint))
        below = min(finisher.open_top, strip.row + len(strip.classes))
        while waiting and waiting[0][0] < below:
            yield heapq.heappop(waiting)[-1]
    for row, column, class_id, footprint in finisher.finish():
        heapq.heappush(waiting, (row, column, class_id, next(number), footprint))
    while waiting:
        yield heapq.heappop(waiting)[-1]


class _Rules(NamedTuple):
    """Options of footprints; ``min_hole`` is in square pixels."""

    class_names: tuple[str, ...]
    min_area_m2: float
    min_hole: float
    tolerance_m: float
    regularize: bool
    split_touching: bool


class _Finisher:
    """Draw footprints of objects as soon as these are complete."""

    def __init__(self, ground: Ground, extent: Extent, rules: _Rules) -> None:
        self._ground = ground
        self._rules = rules
        self._how = ground.metres, rules.tolerance_m, extent
        min_pixels = 0.5 * rules.min_area_m2 / ground.largest_pixel_m2
        reach = _reach(ground.metres, rules.tolerance_m)
        self._merger = SeamMerger(
            min_pixels,
            max(AROUND, reach + OUTREACH) if rules.regularize else 0,
            reach=reach,
            with_runs=rules.split_touching,
        )
        self._clearing = Clearing()

    @property
    def open_top(self) -> float:
        """First row of all objects that are open or whose drawing is undecided."""
        return min(self._merger.open_top, self._clearing.open_top)

    def feed(self, strip: ClassStrip) -> Iterator[tuple[float, float, int, Footprint]]:
        """Yield row and column of the first pixel, class, and the footprint."""
        return self._draw(self._merger.feed(strip))

    def finish(self) -> Iterator[tuple[float, float, int, Footprint]]:
        """Yield the remaining footprints after the last strip."""
        return self._draw(self._merger.finish())

    def _draw(self, objects: Complete) -> Iterator[tuple[float, float, int, Footprint]]:
        """Draw the outlines of objects; leave out those that are too small."""
        objects = without_filled(objects, self._rules.min_hole)
        simple = simplify_objects(objects, *self._how)
        simple, objects = simple[objects.fresh], objects.some(objects.fresh)
        first = np.stack((objects.row, objects.column), axis=1).astype(np.float64)
        buildings = whole(first, objects.class_id, objects.score, simple)
        if self._rules.regularize:
            return self._cleared(objects, buildings)
        return self._footprints(self._split(buildings, objects.runs))

    def _cleared(
        self, objects: Complete, buildings: Buildings
    ) -> Iterator[tuple[float, float, int, Footprint]]:
        """Draw right angles, and keep those that overlap nothing around."""
        parts = [
            self._split(building, objects.runs[i : i + 1])
            for i, building in enumerate(one_by_one(buildings))
        ]
        for drawn, pieces, around in draw_objects(
            objects, buildings.outline, parts, self._how
        ):
            self._clearing.add(drawn, pieces, around)
        decided = list(self._clearing.decide(self._merger.open_pieces))
        if decided:
            yield from self._footprints(join(decided))

    def _split(self, objects: Buildings, runs: list[ScoredRuns]) -> Buildings:
        """Split touching buildings, if requested."""
        if not self._rules.split_touching:
            return objects
        return split_objects(
            objects,
            runs,
            self._ground.metres,
            min_area_m2=self._rules.min_area_m2,
            tolerance_m=self._rules.tolerance_m,
        )

    def _footprints(
        self, buildings: Buildings
    ) -> Iterator[tuple[float, float, int, Footprint]]:
        """Measure outlines; leave out those that are too small."""
        if not len(buildings.outline):
            return
        first, class_id, score, outlines, is_part = buildings
        located, metric = self._ground.place(outlines)
        area, length = shapely.area(metric), shapely.length(metric)
        # Leaving out a part would tear a gap into an object that is large enough.
        large = np.flatnonzero((area >= self._rules.min_area_m2) | is_part)
        names = self._rules.class_names
        for (row, column), number, *values in zip(
            first[large].tolist(),
            class_id[large].tolist(),
            located[large],
            score[large].tolist(),
            area[large].tolist(),
            length[large].tolist(),
            main_axes(metric[large]).tolist(),
            strict=True,
        ):
            footprint = Footprint(values[0], number, names[number], *values[1:])
            yield row, column, number, footprint


def _reach(metres: npt.NDArray[np.float64], tolerance_m: float) -> int:
    """Return the largest distance in pixels at which simplified outlines may meet."""
    narrow_m = float(np.linalg.svd(metres, compute_uv=False)[-1])
    # Each outline moves by about one tolerance.
    return max(REACH, min(int(np.ceil(2 * tolerance_m / narrow_m)), _MOST))
