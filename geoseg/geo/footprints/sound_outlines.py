"""Fallback to the previous stage's outline where a stage gives no valid polygon.

Outlines go through stages: along the pixels, simplified, with right angles, split. GEOS may
return another type, nothing, a flat or self-intersecting polygon, or raise. Every stage
uses these functions, so a footprint is always a valid polygon.
"""

import contextlib
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import shapely
from shapely.errors import GEOSException

Outlines = npt.NDArray[np.object_]


def sound(outlines: Outlines) -> npt.NDArray[np.bool_]:
    """Tell which outlines are valid polygons with a positive area; None is not.

    Example:
        >>> flat = shapely.Polygon([(0, 0), (1, 0), (0, 0)])
        >>> sound(np.array([shapely.box(0, 0, 1, 1), flat, None], dtype=object))
        array([ True, False, False])
    """
    kind = shapely.get_type_id(outlines) == shapely.GeometryType.POLYGON
    return np.asarray(kind & shapely.is_valid(outlines) & (shapely.area(outlines) > 0))


def each_or_before(draw: Callable[[slice], Outlines], before: Outlines) -> Outlines:
    """Draw outlines one by one; an unsound one keeps its previous outline.

    Args:
        draw: draws a slice of the outlines, each independent of the others.
        before: ``(N,)`` outlines of the previous stage.
    """
    try:
        drawn = draw(slice(len(before)))
    except GEOSException:
        # GEOS does not report which outline failed, so try each.
        drawn = before.copy()
        for i in range(len(before)):
            with contextlib.suppress(GEOSException):
                drawn[i] = draw(slice(i, i + 1))[0]
    return np.where(sound(drawn), drawn, before)


def all_or_before(draw: Callable[[], Outlines], before: Outlines) -> Outlines:
    """Draw outlines together; if one is unsound, all keep their previous outlines."""
    try:
        drawn = draw()
    except GEOSException:
        return before
    return drawn if sound(drawn).all() else before
