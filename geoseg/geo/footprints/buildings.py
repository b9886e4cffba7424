"""Building outlines with their class, score and first pixel."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt


class Buildings(NamedTuple):
    """Drawn buildings; all arrays ``(N, …)``.

    Attributes:
        first: ``(N, 2)`` row and column of the first pixel, ordered by row, then column.
        class_id: 1 to C - 1.
        score: mean score of each building's pixels, in [0, 1].
        outline: polygons in pixel coordinates.
        is_part: True where the building is one part of a split object.
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
    """Return each object as one building; arguments as in :class:`Buildings`."""
    return Buildings(
        first, class_id, score, outline, np.zeros(len(outline), dtype=np.bool_)
    )


def join(buildings: Sequence[Buildings]) -> Buildings:
    """Concatenate several sets of buildings."""
    return Buildings(
        np.concatenate([each.first for each in buildings]),
        np.concatenate([each.class_id for each in buildings]),
        np.concatenate([each.score for each in buildings]),
        np.concatenate([each.outline for each in buildings]),
        np.concatenate([each.is_part for each in buildings]),
    )


def one_by_one(buildings: Buildings) -> list[Buildings]:
    """Return each building alone."""
    first, class_id, score, outline, is_part = buildings
    slices = [slice(i, i + 1) for i in range(len(outline))]
    return [
        Buildings(first[one], class_id[one], score[one], outline[one], is_part[one])
        for one in slices
    ]
