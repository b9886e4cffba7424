"""Objects with simplified outlines that meet none of their neighbours'."""

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


def without_filled(found: Complete, min_hole: float) -> Complete:
    """Fill holes smaller than ``min_hole`` (square pixels), and whatever lies in them.

    Areas on the ground differ a little from those of pixels: what lies in a hole that is
    too small may be just large enough.
    """
    filled = fill_holes(found.outline, min_hole)
    if filled is found.outline:
        return found
    pixels = shapely.points(found.column + 0.5, found.row + 0.5)
    holes = small_holes(found.outline, min_hole)
    inside = shapely.STRtree(pixels).query(holes, predicate="contains")[1]
    there = np.ones(len(filled), dtype=np.bool_)
    there[inside] = False
    return found._replace(outline=filled).some(there)


def simplify_objects(
    found: Complete,
    metres: npt.NDArray[np.float64],
    tolerance_m: float,
    extent: Extent,
) -> _Outlines:
    """Simplify objects alone where they keep apart, else with their neighbourhood.

    Args:
        found: complete objects, and others beside them.
        metres: ``(2, 2)``, metres east and north per column and row.
        tolerance_m: as :func:`geoseg.geo.footprints.simplify.smooth_alone` takes it.
        extent: of the image.

    Returns:
        Valid polygons that overlap nowhere, of those that are fresh; such as would meet a
        neighbour of another neighbourhood stay as they are.
    """
    outlines, how = found.outline, (metres, tolerance_m, extent)
    if not len(outlines) or tolerance_m <= 0:
        return outlines
    simple = smooth_alone(outlines, *how)
    begins = np.flatnonzero(np.diff(found.neighbourhood, prepend=-1, append=-2))
    for begin, end in zip(begins[:-1], begins[1:], strict=True):
        part = slice(begin, end)
        if end - begin > 1 and (found.shared[begin] or overlap(simple[part])):
            simple[part] = smooth_together(outlines[part], *how)
    return np.where(_meets(found, simple), outlines, simple)


def _meets(found: Complete, simple: _Outlines) -> _Bools:
    """Tell whose neighbourhood meets another near it, be that simplified or not."""
    first, second = found.near
    both = meet(simple, simple, found.near)
    group = found.neighbourhood
    meets = np.zeros(int(group.max(initial=-1)) + 1, dtype=np.bool_)
    meets[group[first[both | meet(simple, found.outline, found.near)]]] = True
    meets[group[second[both | meet(found.outline, simple, found.near)]]] = True
    return np.asarray(meets[group])
