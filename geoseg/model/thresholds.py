"""From how probable a building a pixel is when it counts as one.

What has learned the classes of labelled tiles says how probable a building each pixel
is. The most probable class makes the fewest errors, but where buildings are rare it
misses most of them: the F1 of the building pixels is best at a lower threshold, which
depends on the place and on the model. It is chosen where clusters get their meaning: on
the matching tiles.
"""

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from geoseg.core.classes import BACKGROUND, BUILDING
from geoseg.core.errors import ShapeError
from geoseg.model.matching import Matching, match_clusters

#: Thresholds are whole percents.
GRADES = 100


def grade(probability: Tensor) -> Tensor:
    """Return how probable a building pixels are, in steps.

    Args:
        probability: Of building, in [0, 1], any shape.

    Returns:
        Long, 0 to ``GRADES - 1``: the ``g`` with ``g < GRADES · p <= g + 1``, so that a
        pixel is above the threshold ``g / GRADES`` if its grade is ``g`` or more.
    """
    steps = torch.ceil(probability * GRADES).long() - 1
    return steps.clamp(0, GRADES - 1)


def best_threshold(counts: Tensor) -> float | None:
    """Return the threshold of the best F1 of the building pixels.

    Args:
        counts: ``(GRADES, 2)``, labelled pixels by grade and class.

    Returns:
        Above 0 and below 1; among equals the highest. None where no threshold tells
        pixels apart better than to call all of them building.

    Raises:
        ShapeError: If the counts have another shape.

    References:
        Z. C. Lipton, C. Elkan, B. Naryanaswamy, Optimal Thresholding of Classifiers to
        Maximize F1 Measure, ECML PKDD 2014, https://arxiv.org/abs/1402.1892: for
        calibrated probabilities it is half of the F1 that it reaches.
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
    """Return the matching of a head whose outputs are classes already.

    Args:
        tables: ``(T, C, C)`` counts, as for :func:`geoseg.model.matching.match_clusters`.
    """
    matching = match_clusters(tables)
    classes = tuple(range(matching.num_clusters))
    return replace(matching, cluster_to_class=classes, threshold=None)


def graded_matching(tables: Tensor) -> Matching:
    """Return the matching of a head of two classes, with the threshold of the best F1.

    Args:
        tables: ``(T, GRADES, 2)`` counts of grades, tile by tile.
    """
    threshold = best_threshold(tables.sum(0))
    matching = class_matching(fold_grades(tables, threshold))
    return replace(
        matching,
        threshold=threshold,
        objective="accuracy" if threshold is None else "f1",
    )


def fold_grades(tables: Tensor, threshold: float | None) -> Tensor:
    """Sum ``(T, GRADES, 2)`` counts of grades into ``(T, 2, 2)`` of classes.

    Args:
        tables: Counts, tile by tile.
        threshold: Pixels above it are building; None for one half.
    """
    split = GRADES // 2 if threshold is None else round(threshold * GRADES)
    below, above = tables[:, :split].sum(1), tables[:, split:].sum(1)
    return torch.stack((below, above), dim=1)


def move_threshold(probability: Tensor, threshold: float) -> Tensor:
    """Change the odds of two classes so that a threshold comes to lie at one half.

    All that follows (blending, the most probable class, the mean probability of a
    footprint) then needs to know of no threshold. The order of pixels stays.

    Args:
        probability: ``(N, 2, H, W)``, sums to one over classes.
        threshold: Of building, above 0 and below 1.

    Returns:
        ``(N, 2, H, W)``, sums to one; 0 and 1 stay 0 and 1.
    """
    background = probability[:, BACKGROUND] * threshold
    building = probability[:, BUILDING] * (1.0 - threshold)
    total = background + building
    return torch.stack((background / total, building / total), dim=1)
