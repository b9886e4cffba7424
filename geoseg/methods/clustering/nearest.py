"""The nearest of K centroids: one matrix product, a cache full of rows at a time."""

from collections.abc import Iterable

import torch
from torch import Tensor

from geoseg.core.errors import ShapeError

# Numbers of a product's rows and scores together, 8 MiB: enough for threads to share, and
# not much more than a processor's last cache.
_CACHED = 2**21
# Offset of all centroids over their spread from which scores would lose digits to it.
_FAR = 4.0

#: Rows of features with the ids of their nearest centroids.
Pieces = Iterable[tuple[Tensor, Tensor]]


def assign(features: Tensor, centroids: Tensor) -> Tensor:
    """Find the nearest centroid of each feature, by Euclidean distance.

    With unit centroids that is the one of largest cosine, whatever the features' norms.

    Args:
        features: ``(M, D)`` float.
        centroids: ``(K, D)`` float.

    Returns:
        ``(M,)`` long, in [0, K).

    Raises:
        ShapeError: If the shapes do not belong together.

    Example:
        >>> assign(torch.tensor([[0.9], [-3.0]]), torch.tensor([[0.0], [1.0]])).tolist()
        [1, 0]
    """
    _check_shapes(features, centroids)
    pieces = assigned([features], centroids.to(features.dtype))
    return torch.cat([ids for _, ids in pieces])


def assigned(blocks: Iterable[Tensor], centroids: Tensor) -> Pieces:
    """Cut features into small pieces and find the nearest centroids of each.

    Args:
        blocks: ``(m, D)`` float features each.
        centroids: ``(K, D)`` float.

    Yields:
        Rows of a block, of the centroids' type, and the ``(m,)`` long ids of their
        nearest centroids.

    Raises:
        ShapeError: If the shapes do not belong together.
    """
    points, origin = centroids, centroids.mean(0)
    spread = (centroids - origin).square().sum(1).max()
    # Distances do not change when all is moved; near 0 they round less.
    far = bool(origin.square().sum() > _FAR**2 * spread)
    if far:
        points = centroids - origin
    columns = points.t().contiguous()
    # argmin |z - μ|² = argmax z·μ - |μ|²/2
    bias = -points.square().sum(1) / 2
    most = max(1, _CACHED // sum(centroids.shape))
    for block in blocks:
        _check_shapes(block, centroids)
        for rows in torch.split(block.detach(), most):
            rows = rows.to(centroids.dtype)
            scores = rows.new_empty(len(rows), len(points))
            # With out, also inside autocast the product is of full precision.
            torch.addmm(bias, rows - origin if far else rows, columns, out=scores)
            if scores.device.type == "cpu":  # several times as fast as torch's argmax
                yield rows, torch.from_numpy(scores.numpy().argmax(axis=1))
            else:
                yield rows, scores.argmax(1)


def _check_shapes(features: Tensor, centroids: Tensor) -> None:
    """Raise if features and centroids are no tables of the same number of columns."""
    if features.ndim != 2 or centroids.ndim != 2 or not len(centroids):
        raise ShapeError(
            f"features have shape {tuple(features.shape)} and centroids "
            f"{tuple(centroids.shape)}, expected (M, D) and (K, D)"
        )
    if features.shape[1] != centroids.shape[1]:
        raise ShapeError(
            f"features have {features.shape[1]} channels, but the centroids have "
            f"{centroids.shape[1]}, expected the same number"
        )
