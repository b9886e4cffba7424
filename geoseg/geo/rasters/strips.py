"""Strips of raster rows, which the predictor passes to the maps from top to bottom."""

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from geoseg.core.classes import BACKGROUND
from geoseg.core.patches import IGNORE

#: Number of values counted at a time.
_COUNTED = 2**20


class Strip(NamedTuple):
    """Class scores or probabilities of some rows.

    Attributes:
        row: first row, counted from the top of the predicted region.
        probability: ``(C, h, W)`` float32; sums to one over C where valid, 0 elsewhere.
        valid: ``(h, W)`` bool, True where every band has data.
        guide: ``(h, W)`` uint8, the image's brightness.
        threshold: With two classes, a pixel is building if its probability is greater;
            None: the most probable class.
    """

    row: int
    probability: npt.NDArray[np.float32]
    valid: npt.NDArray[np.bool_]
    guide: npt.NDArray[np.uint8]
    threshold: float | None = None


class ClassStrip(NamedTuple):
    """Classes of some rows.

    Attributes:
        row: first row, counted from the top of the predicted region.
        classes: ``(h, W)`` uint8; 0 background, 255 where there is no data.
        score: ``(h, W)`` float32, the probability of that class, in [0, 1].
    """

    row: int
    classes: npt.NDArray[np.uint8]
    score: npt.NDArray[np.float32]


def classify(strip: Strip) -> ClassStrip:
    """Return the class of every pixel, and its probability.

    It is building above the strip's threshold or, without one, the most probable class;
    ties go to the lower class id.
    """
    if strip.threshold is not None:
        background, building = strip.probability
        above = building > np.float32(strip.threshold)
        classes = np.where(strip.valid, above, IGNORE).astype(np.uint8)
        return ClassStrip(strip.row, classes, np.where(above, building, background))
    score = strip.probability[0].copy()
    classes = np.zeros(score.shape, dtype=np.uint8)
    for class_id, probability in enumerate(strip.probability[1:], start=1):
        # Every class above background overwrites only where it is strictly larger.
        larger = probability > score
        classes[larger] = class_id
        np.maximum(score, probability, out=score)
    classes[~strip.valid] = IGNORE
    return ClassStrip(strip.row, classes, score)


def byte_histogram(values: npt.NDArray[np.uint8]) -> npt.NDArray[np.int64]:
    """Count the pixels of each of the 256 values."""
    flat = values.reshape(-1)
    counts = np.zeros(IGNORE + 1, dtype=np.int64)
    # bincount copies its input to eight bytes a value, so count in parts
    for start in range(0, len(flat), _COUNTED):
        counts += np.bincount(flat[start : start + _COUNTED], minlength=len(counts))
    return counts


def keep_classes(
    strips: Iterable[ClassStrip], class_ids: Sequence[int]
) -> Iterator[ClassStrip]:
    """Set all classes but the given ones to background; nodata stays nodata."""
    kept = [*class_ids, IGNORE]
    for strip in strips:
        classes = np.where(np.isin(strip.classes, kept), strip.classes, BACKGROUND)
        yield strip._replace(classes=classes.astype(np.uint8))
