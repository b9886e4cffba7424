"""Cross-entropy with cluster labels, for frozen prototypes (PiCIE) or any logits.

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
    """Return the similarity of every pixel's feature to every prototype.

    Args:
        features: ``(N, D, h, w)``.
        centroids: ``(K, D)``; without gradient.
        similarity: ``distance``: ``-|z - μ|²`` as in the paper, up to a constant per
            pixel, which does not change the softmax. ``dot``: ``z · μ``, as released.

    Returns:
        ``(N, K, h, w)`` in the features' dtype.

    Raises:
        ParameterError: If the similarity is unknown.
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
    """Return the cross-entropy of labels under the softmax over prototypes.

    There is no temperature: with unit features and K prototypes the loss has a minimum
    well above 0, about ``ln(1 + (K - 1) / e)`` for orthogonal ones and ``dot``. A value
    near it means that training is complete, not stuck.

    Args:
        features: ``(N, D, h, w)`` float; computed in float32 at least.
        labels: ``(N, h, w)`` integers in [0, K), or -1 where there is none.
        centroids: ``(K, D)``; without gradient.
        weights: ``(K,)`` weights of the clusters, or None for 1.
        similarity: As in :func:`prototype_logits`.

    Returns:
        Scalar, see :func:`label_cross_entropy`.

    Raises:
        ParameterError: If the similarity is unknown.
        ShapeError: If the shapes do not match.
    """
    with torch.autocast(features.device.type, enabled=False):
        wide = features if features.dtype == torch.float64 else features.float()
        logits = prototype_logits(wide, centroids, similarity)
        return label_cross_entropy(logits, labels, weights)


def label_cross_entropy(
    logits: Tensor, labels: Tensor, weights: Tensor | None = None
) -> Tensor:
    """Return the cross-entropy of the labelled pixels; some may have no label.

    Args:
        logits: ``(N, K, h, w)`` float, of the clusters.
        labels: ``(N, h, w)`` integers in [0, K), or -1 where there is none.
        weights: ``(K,)`` weights of the clusters, or None for 1.

    Returns:
        Scalar: the sum of ``w_y (-ln softmax)`` over labelled pixels, divided by their
        number (not by the sum of their weights, so that batches have equal weight); 0
        without any. In a distributed run the number is the mean over the processes, so
        that the mean of their losses equals that of all pixels.

    Raises:
        ShapeError: If the shapes do not match.
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
    """Return weights of clusters by their size, with a mean of 1 over pixels.

    Args:
        counts: ``(K,)`` pixels per cluster.
        balance: ``none``: all 1. ``inverse``: one over the size, as the paper describes,
            so that all clusters have the same influence. ``as_released``: the size, as in
            the authors' code (issue 28 of their repository).

    Returns:
        ``(K,)`` float32; 0 for a cluster without pixels unless ``none``.

    Raises:
        ParameterError: If the balance is unknown.
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
    """Raise if the similarity is unknown.

    Raises:
        ParameterError: If it is not in :data:`Similarity`.
    """
    if similarity not in get_args(Similarity):
        raise ParameterError(
            f"similarity is {similarity!r}, expected one of {get_args(Similarity)}"
        )


def check_balance(balance: str) -> None:
    """Raise if the balance is unknown.

    Raises:
        ParameterError: If it is not in :data:`Balance`.
    """
    if balance not in get_args(Balance):
        raise ParameterError(
            f"balance is {balance!r}, expected one of {get_args(Balance)}"
        )
