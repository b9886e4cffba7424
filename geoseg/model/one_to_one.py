"""One-to-one matching of clusters to classes."""

from dataclasses import replace

import torch
from torch import Tensor

from geoseg.core.errors import MatchingError, ShapeError
from geoseg.model.matching import Matching


def one_to_one(matching: Matching) -> Matching:
    """Return the one-to-one matching of the same counts by :func:`hungarian`.

    Raises:
        MatchingError: If there are fewer clusters than classes.
    """
    classes = hungarian(torch.tensor(matching.counts))
    return replace(
        matching, cluster_to_class=classes, threshold=None, objective="accuracy"
    )


def hungarian(table: Tensor) -> tuple[int, ...]:
    """Match clusters to classes one-to-one, with the most pixels in agreement.

    With more clusters than classes, each class takes one cluster so that the total is
    best. Each remaining cluster takes the class of most of its pixels (ties and empty
    clusters: the lower id), so that every pixel still counts.

    Args:
        table: ``(K, C)`` counts with ``K >= C``.

    Returns:
        ``K`` class ids.

    Raises:
        ShapeError: If the table is not ``(K, C)``.
        MatchingError: If there are fewer clusters than classes.

    References:
        H. W. Kuhn, The Hungarian method for the assignment problem, Naval Research
        Logistics 2, 1955, https://doi.org/10.1002/nav.3800020109
    """
    from scipy.optimize import linear_sum_assignment

    if table.ndim != 2:
        raise ShapeError(f"table has shape {tuple(table.shape)}, expected (K, C)")
    clusters, classes = table.shape
    if clusters < classes:
        raise MatchingError(
            f"{clusters} clusters cannot take {classes} classes one-to-one: train with "
            "as many clusters as classes at least"
        )
    counts = table.detach().cpu().numpy()
    matched = counts.argmax(1)
    rows, columns = linear_sum_assignment(counts, maximize=True)
    matched[rows] = columns
    return tuple(int(c) for c in matched)
