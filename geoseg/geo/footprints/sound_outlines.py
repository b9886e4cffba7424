"""What becomes of an outline that a stage cannot draw: it stays as the stage before had it.

Outlines go through stages: along the pixels, simplified, with right angles, cut apart.
GEOS may give another type for one, nothing, a polygon that is flat or meets itself, or an
error. Every stage comes through here, so that a footprint is always a valid polygon.
"""

import contextlib
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import shapely
from shapely.errors import GEOSException

Outlines = npt.NDArray[np.object_]


def sound(outlines: Outlines) -> npt.NDArray[np.bool_]:
    """Tell which outlines are valid polygons with an area; None is not.

    Example:
        >>> flat = shapely.Polygon([(0, 0), (1, 0), (0, 0)])
        >>> sound(np.array([shapely.box(0, 0, 1, 1), flat, None], dtype=object))
        array([ True, False, False])
    """
    kind = shapely.get_type_id(outlines) == shapely.GeometryType.POLYGON
    return np.asarray(kind & shapely.is_valid(outlines) & (shapely.area(outlines) > 0))


def each_or_before(draw: Callable[[slice], Outlines], before: Outlines) -> Outlines:
    """Draw outlines each by itself; one that is not sound stays as before.

    Args:
        draw: draws some of the outlines; what it makes of one depends on no other.
        before: ``(N,)`` what the stage before drew.
    """
    try:
        drawn = draw(slice(len(before)))
    except GEOSException:
        # It says nothing of which one it was.
        drawn = before.copy()
        for i in range(len(before)):
            with contextlib.suppress(GEOSException):
                drawn[i] = draw(slice(i, i + 1))[0]
    return np.where(sound(drawn), drawn, before)


def all_or_before(draw: Callable[[], Outlines], before: Outlines) -> Outlines:
    """Draw outlines that belong together; all stay as before if one is not sound."""
    try:
        drawn = draw()
    except GEOSException:
        return before
    return drawn if sound(drawn).all() else before
