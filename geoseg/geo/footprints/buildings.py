"""The buildings that are made from objects: outlines with their scores and objects."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt


class Buildings(NamedTuple):
    """Buildings as drawn; all arrays ``(N, …)``.

    Attributes:
        first: ``(N, 2)`` row and column of the first pixel, from the top, then from the
            left.
        class_id: 1 to C - 1.
        score: mean score of the pixels of each, in [0, 1].
        outline: polygons in pixel coordinates.
        is_part: True where it is a part of an object.
    """

    first: npt.NDArray[np.float64]
    class_id: npt.NDArray[np.int64]
    score: npt.NDArray[np.float64]
    outline: npt.NDArray[np.object_]
    is_part: npt.NDArray[np.bool_]


def whole(
    first: npt.NDArray[np.float64],
    class_id: npt.NDArray[np.int64],
    score: npt.NDArray[np.float64],
    outline: npt.NDArray[np.object_],
) -> Buildings:
    """Return every object as one building; arguments as in :class:`Buildings`."""
    return Buildings(
        first, class_id, score, outline, np.zeros(len(outline), dtype=np.bool_)
    )


def join(buildings: Sequence[Buildings]) -> Buildings:
    """Return all buildings of some."""
    return Buildings(
        np.concatenate([it.first for it in buildings]),
        np.concatenate([it.class_id for it in buildings]),
        np.concatenate([it.score for it in buildings]),
        np.concatenate([it.outline for it in buildings]),
        np.concatenate([it.is_part for it in buildings]),
    )


def _take(buildings: Buildings, i: int) -> Buildings:
    """Return one of some buildings."""
    one = slice(i, i + 1)
    return Buildings(
        buildings.first[one],
        buildings.class_id[one],
        buildings.score[one],
        buildings.outline[one],
        buildings.is_part[one],
    )
