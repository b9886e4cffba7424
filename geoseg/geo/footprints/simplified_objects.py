"""Simplification of objects' outlines without overlaps."""

import numpy as np
import numpy.typing as npt
import shapely

from geoseg.geo.footprints.complete_objects import Complete
from geoseg.geo.footprints.meeting_polygons import meet, overlap
from geoseg.geo.footprints.simplify import (
    Extent,
    fill_holes,
    small_holes,
    smooth_alone,
    smooth_together,
)

_Bools = npt.NDArray[np.bool_]
_Outlines = npt.NDArray[np.object_]


def without_filled(objects: Complete, min_hole: float) -> Complete:
    """Fill holes smaller than ``min_hole`` (square pixels); drop objects within them.

    Such objects exist because areas on the ground differ a little from those of pixels: an
    object in a hole that is too small may be just large enough.
    """
    filled = fill_holes(objects.outline, min_hole)
    if filled is objects.outline:
        return objects
    pixels = shapely.points(objects.column + 0.5, objects.row + 0.5)
    holes = small_holes(objects.outline, min_hole)
    inside = shapely.STRtree(pixels).query(holes, predicate="contains")[1]
    there = np.ones(len(filled), dtype=np.bool_)
    there[inside] = False
    return objects._replace(outline=filled).some(there)


def simplify_objects(
    objects: Complete,
    metres: npt.NDArray[np.float64],
    tolerance_m: float,
    extent: Extent,
) -> _Outlines:
    """Simplify objects one by one, or by neighbourhood where they would overlap.

    Args:
        objects: complete objects, and others beside them.
        metres: ``(2, 2)``, metres east and north per column and row.
        tolerance_m: as in :func:`geoseg.geo.footprints.simplify.smooth_alone`.
        extent: of the image.

    Returns:
        Valid polygons; fresh ones do not overlap. Neighbourhoods that would overlap another
        keep their outlines.
    """
    outlines, how = objects.outline, (metres, tolerance_m, extent)
    if not len(outlines) or tolerance_m <= 0:
        return outlines
    simple = smooth_alone(outlines, *how)
    begins = np.flatnonzero(np.diff(objects.neighbourhood, prepend=-1, append=-2))
    for begin, end in zip(begins[:-1], begins[1:], strict=True):
        part = slice(begin, end)
        if end - begin > 1 and (objects.shared[begin] or overlap(simple[part])):
            simple[part] = smooth_together(outlines[part], *how)
    return np.where(_meets(objects, simple), outlines, simple)


def _meets(objects: Complete, simple: _Outlines) -> _Bools:
    """Tell whose neighbourhood overlaps a near one, simplified or not."""
    first, second = objects.near
    both = meet(simple, simple, objects.near)
    group = objects.neighbourhood
    meets = np.zeros(int(group.max(initial=-1)) + 1, dtype=np.bool_)
    meets[group[first[both | meet(simple, objects.outline, objects.near)]]] = True
    meets[group[second[both | meet(objects.outline, simple, objects.near)]]] = True
    return np.asarray(meets[group])
