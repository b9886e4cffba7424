"""The nearest of K centroids: one matrix product, a cache full of rows at a time."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from geoseg.errors import ShapeError

# Numbers of a product's rows and scores together: they stay in a processor's cache.
_CACHED = 2**20
# Offset of all centroids over their spread from which scores would lose digits to it.
_FAR = 4.0
# Bound of the error of a score in float32, of the squared lengths that it is made of.
_ROUNDING = 4e-6


class Nearest(NamedTuple):
    """What rows are nearest to.

    Attributes:
        ids: ``(m,)`` long, in [0, K).
        gaps: ``(m,)``, how much farther the second nearest centroid is, at least; beside
            rounding errors only where negative.
    """

    ids: Tensor
    gaps: Tensor


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
    search = Search(centroids.to(features.dtype))
    return torch.cat([search.ids(rows) for rows in cut(features, len(centroids))])


def cut(features: Tensor, k: int) -> Iterator[Tensor]:
    """Cut ``(M, D)`` features so that they and their scores stay in the cache."""
    rows = max(1, _CACHED // (k + features.shape[1]))
    return iter(torch.split(features, rows))


class Search:
    """Finds the nearest of given centroids.

    Args:
        centroids: ``(K, D)`` float.
    """

    def __init__(self, centroids: Tensor) -> None:
        # Distances do not change when all is moved; near the origin they round less.
        origin = centroids.mean(0)
        spread = (centroids - origin).square().sum(1).max()
        far = bool(origin.square().sum() > _FAR**2 * spread)
        self._origin = origin if far else None
        points = centroids - origin if far else centroids
        self._columns = points.t().contiguous()
        # argmin |z - μ|² = argmax z·μ - |μ|²/2
        self._bias = -points.square().sum(1) / 2
        self._scores = centroids.new_empty(0, len(centroids))

    def ids(self, rows: Tensor) -> Tensor:
        """Return the ``(m,)`` nearest centroids of ``(m, D)`` rows."""
        return _argmax(self._score(self._moved(rows)))

    def nearest(self, rows: Tensor) -> Nearest:
        """Return the nearest centroids of ``(m, D)`` rows, and by how much."""
        rows = self._moved(rows)
        scores = self._score(rows)
        ids = _argmax(scores)
        first = scores.gather(1, ids[:, None])
        second = _max(scores.scatter_(1, ids[:, None], -torch.inf))
        first = first.squeeze(1)
        # |z - μ|² = |z|² - 2 score, and b - a = (b² - a²) / (b + a)
        squares = torch.linalg.vector_norm(rows, dim=1).square()
        error = _ROUNDING * (squares - 2 * self._bias.min())
        total = (squares - 2 * first).clamp(min=0).sqrt() + error.sqrt()
        total += (squares - 2 * second).clamp(min=0).sqrt()
        gaps = (2 * (first - second) - error) / total.clamp(min=1e-30)
        return Nearest(ids, gaps.where(second > -torch.inf, torch.inf))

    def _moved(self, rows: Tensor) -> Tensor:
        return rows if self._origin is None else rows - self._origin

    def _score(self, rows: Tensor) -> Tensor:
        if len(rows) > len(self._scores):
            self._scores = rows.new_empty(len(rows), len(self._bias))
        out = self._scores[: len(rows)]
        return torch.addmm(self._bias, rows, self._columns, out=out)


def _argmax(scores: Tensor) -> Tensor:
    """Return the column of each row's first largest score."""
    if scores.device.type == "cpu":  # several times as fast as torch's
        return torch.from_numpy(np.argmax(scores.numpy(), axis=1))
    return scores.argmax(1)


def _max(scores: Tensor) -> Tensor:
    """Return each row's largest score."""
    if scores.device.type == "cpu":
        return torch.from_numpy(np.max(scores.numpy(), axis=1))
    return scores.amax(1)
