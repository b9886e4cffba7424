"""Thresholds on the building probability.

Methods that learn from labels predict the probability of building for each pixel. The
most probable class makes the fewest errors, but misses most buildings where they are
rare. The F1 of the building pixels is best at a lower threshold, which depends on the
place and on the model. It is chosen on the matching tiles, as clusters are matched.
"""

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from geoseg.core.classes import BACKGROUND, BUILDING
from geoseg.core.errors import ShapeError
from geoseg.model.matching import Matching, match_clusters

#: Number of probability grades: thresholds are whole percents.
GRADES = 100


def grade(probability: Tensor) -> Tensor:
    """Return the building probability as whole grades.

    Args:
        probability: Of building, in [0, 1], any shape.

    Returns:
        Long, 0 to ``GRADES - 1``: the ``g`` with ``g < GRADES · p <= g + 1``, so that a
        pixel is above the threshold ``g / GRADES`` if its grade is ``g`` or more.
    """
    steps = torch.ceil(probability * GRADES).long() - 1
    return steps.clamp(0, GRADES - 1)


def best_threshold(counts: Tensor) -> float | None:
    """Return the threshold with the highest F1 of the building pixels.

    Args:
        counts: ``(GRADES, 2)``, labelled pixels by grade and class.

    Returns:
        In (0, 1), the highest among equals. None if no threshold is better than to call
        all pixels building.

    Raises:
        ShapeError: If the counts have another shape.

    References:
        Z. C. Lipton, C. Elkan, B. Naryanaswamy, Optimal Thresholding of Classifiers to
        Maximize F1 Measure, ECML PKDD 2014, https://arxiv.org/abs/1402.1892: for
        calibrated probabilities the best threshold is half of its F1.
    """
    if tuple(counts.shape) != (GRADES, 2):
        raise ShapeError(
            f"counts have shape {tuple(counts.shape)}, expected ({GRADES}, 2)"
        )
    pixels = counts.detach().cpu().numpy().astype(np.int64)
    claimed = pixels.sum(1)[::-1].cumsum()[::-1]  # of this grade or a higher one
    hits = pixels[::-1, BUILDING].cumsum()[::-1]
    f1 = 2.0 * hits / np.maximum(claimed + hits[0], 1)
    best = GRADES - 1 - int(np.argmax(f1[::-1]))
    if best == 0 or f1[best] <= f1[0]:
        return None
    return best / GRADES


def class_matching(tables: Tensor) -> Matching:
    """Return the matching of a head that outputs classes.

    Args:
        tables: ``(T, C, C)`` counts, as for :func:`geoseg.model.matching.match_clusters`.
    """
    matching = match_clusters(tables)
    classes = tuple(range(matching.num_clusters))
    return replace(matching, cluster_to_class=classes, threshold=None)


def graded_matching(tables: Tensor) -> Matching:
    """Return the matching of a head of two classes, with the threshold of highest F1.

    Args:
        tables: ``(T, GRADES, 2)`` counts of grades on each tile.
    """
    threshold = best_threshold(tables.sum(0))
    matching = class_matching(fold_grades(tables, threshold))
    return replace(
        matching,
        threshold=threshold,
        objective="accuracy" if threshold is None else "f1",
    )


def fold_grades(tables: Tensor, threshold: float | None) -> Tensor:
    """Sum ``(T, GRADES, 2)`` counts of grades to ``(T, 2, 2)`` counts of classes.

    Args:
        tables: Counts of grades on each tile.
        threshold: Pixels above it are building; None for 1/2.
    """
    split = GRADES // 2 if threshold is None else round(threshold * GRADES)
    below, above = tables[:, :split].sum(1), tables[:, split:].sum(1)
    return torch.stack((below, above), dim=1)


def move_threshold(probability: Tensor, threshold: float) -> Tensor:
    """Rescale the odds of two classes so that a threshold moves to 1/2.

    Later steps (blending, the most probable class, the mean probability of a footprint)
    then need no threshold. The order of pixels stays.

    Args:
        probability: ``(N, 2, H, W)``, sums to one over classes.
        threshold: Of building, in (0, 1).

    Returns:
        ``(N, 2, H, W)``, sums to one; 0 and 1 stay 0 and 1.
    """
    background = probability[:, BACKGROUND] * threshold
    building = probability[:, BUILDING] * (1.0 - threshold)
    total = background + building
    return torch.stack((background / total, building / total), dim=1)
