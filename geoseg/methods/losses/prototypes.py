"""Cross-entropy of clusters as labels, against frozen prototypes (PiCIE) or any logits.

References:
    Cho, Mall, Bala, Hariharan: PiCIE: Unsupervised Semantic Segmentation using
    Invariance and Equivariance in Clustering, CVPR 2021, equations 4 to 8,
    https://arxiv.org/abs/2103.17070
"""

from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor

from geoseg.core.errors import ParameterError, ShapeError
from geoseg.core.processes import sum_over_ranks, world_size

Similarity = Literal["distance", "dot"]
Balance = Literal["none", "inverse", "as_released"]


def prototype_logits(
    features: Tensor, centroids: Tensor, similarity: str = "distance"
) -> Tensor:
    """Score every prototype at every pixel.

    Args:
        features: ``(N, D, h, w)``.
        centroids: ``(K, D)``; no gradient reaches them.
        similarity: ``distance``: ``-|z - μ|²`` as in the paper, up to a number that is
            the same for all prototypes of a pixel and so without effect on a softmax.
            ``dot``: ``z · μ``, as released.

    Returns:
        ``(N, K, h, w)`` in the features' dtype.

    Raises:
        ParameterError: If there is no such similarity.
        ShapeError: If the channels differ.
    """
    check_similarity(similarity)
    if features.ndim != 4 or features.shape[1:2] != centroids.shape[1:2]:
        raise ShapeError(
            f"features have shape {tuple(features.shape)} and centroids "
            f"{tuple(centroids.shape)}, expected (N, D, h, w) and (K, D)"
        )
    centroids = centroids.detach().to(features.dtype)
    if similarity == "dot":
        return F.conv2d(features, centroids[:, :, None, None])
    # -|z - μ|² + |z|² = 2 z·μ - |μ|²
    return F.conv2d(
        features, 2 * centroids[:, :, None, None], bias=-centroids.square().sum(1)
    )


def prototype_cross_entropy(
    features: Tensor,
    labels: Tensor,
    centroids: Tensor,
    weights: Tensor | None = None,
    *,
    similarity: str = "distance",
) -> Tensor:
    """Return how surely the pixels' features lie at the prototypes of their labels.

    There is no temperature: with unit features and K prototypes the loss has a floor
    well above 0, about ``ln(1 + (K - 1) / e)`` for orthogonal ones and ``dot``, and a
    value near it means that training is done, not stuck.

    Args:
        features: ``(N, D, h, w)`` float; computed with in float32 at least.
        labels: ``(N, h, w)`` integers in [0, K), or -1 where there is none.
        centroids: ``(K, D)``; no gradient reaches them.
        weights: ``(K,)`` of the clusters, or None for 1.
        similarity: As in :func:`prototype_logits`.

    Returns:
        Scalar, see :func:`label_cross_entropy`.

    Raises:
        ParameterError: If there is no such similarity.
        ShapeError: If the shapes do not belong together.
    """
    with torch.autocast(features.device.type, enabled=False):
        wide = features if features.dtype == torch.float64 else features.float()
        logits = prototype_logits(wide, centroids, similarity)
        return label_cross_entropy(logits, labels, weights)


def label_cross_entropy(
    logits: Tensor, labels: Tensor, weights: Tensor | None = None
) -> Tensor:
    """Return the cross-entropy of labels of which some may lack.

    Args:
        logits: ``(N, K, h, w)`` float, of the clusters.
        labels: ``(N, h, w)`` integers in [0, K), or -1 where there is none.
        weights: ``(K,)`` of the clusters, or None for 1.

    Returns:
        Scalar: the sum of ``w_y (-ln softmax)`` over labelled pixels, divided by their
        number (not by the sum of their weights, so that batches weigh alike); 0 without
        any. In a distributed run the number is the mean of the processes', so that the
        mean of their losses is that of all pixels together.

    Raises:
        ShapeError: If the shapes do not belong together.
    """
    if labels.shape != (logits.shape[0], *logits.shape[2:]):
        raise ShapeError(
            f"labels have shape {tuple(labels.shape)}, expected (N, h, w) of features "
            f"of shape {tuple(logits.shape)}"
        )
    total = F.cross_entropy(
        logits,
        labels.long(),
        weight=None if weights is None else weights.to(logits.dtype),
        ignore_index=-1,
        reduction="sum",
    )
    number = sum_over_ranks((labels >= 0).sum()).clamp(min=1)
    return total * world_size() / number


def balancing_weights(counts: Tensor, balance: str) -> Tensor:
    """Weigh clusters by their sizes, so that a mean pixel weighs 1.

    Args:
        counts: ``(K,)`` pixels per cluster.
        balance: ``none``: all weigh 1. ``inverse``: by one over their size, as the
            paper describes, so that all clusters pull alike. ``as_released``: by
            their size, as the authors' code does (issue 28 of their repository).

    Returns:
        ``(K,)`` float32; 0 for a cluster without pixels unless ``none``.

    Raises:
        ParameterError: If there is no such balance.
    """
    check_balance(balance)
    sizes = counts.double()
    if balance == "none" or not sizes.sum():
        return torch.ones_like(sizes, dtype=torch.float32)
    if balance == "inverse":
        weights = torch.where(sizes > 0, 1 / sizes.clamp(min=1), 0.0)
    else:
        weights = sizes
    return (weights * sizes.sum() / (weights * sizes).sum()).float()


def check_similarity(similarity: str) -> None:
    """Refuse a similarity that there is not.

    Raises:
        ParameterError: If it is none of :data:`Similarity`.
    """
    if similarity not in get_args(Similarity):
        raise ParameterError(
            f"similarity is {similarity!r}, expected one of {get_args(Similarity)}"
        )


def check_balance(balance: str) -> None:
    """Refuse a balance that there is not.

    Raises:
        ParameterError: If it is none of :data:`Balance`.
    """
    if balance not in get_args(Balance):
        raise ParameterError(
            f"balance is {balance!r}, expected one of {get_args(Balance)}"
        )
