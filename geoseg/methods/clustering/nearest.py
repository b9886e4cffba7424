"""The nearest of K centroids: one matrix product, a cache full of rows at a time."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from geoseg.core.errors import ShapeError

# Numbers of a product's rows and scores together, 32 MiB: enough for threads to share, and
# not much more than a processor's last cache. A quarter takes a fifth longer with two.
_CACHED = 2**23
# Offset of all centroids over their spread from which scores would lose digits to it.
_FAR = 4.0
# Bound of the error of a score in float32, of the squared lengths that it is made of.
_ROUNDING = 4e-6


class Nearest(NamedTuple):
    """What rows are nearest to.

    Attributes:
        ids: ``(m,)`` long, in [0, K).
        upper: ``(m,)``, no less than the distance to that centroid.
        lower: ``(m,)``, no more than the distance to any other centroid.
    """

    ids: Tensor
    upper: Tensor
    lower: Tensor


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
    centroids = centroids.to(features.dtype)
    search = Search(centroids, origin_of(centroids))
    return torch.cat([search.ids(rows) for rows in cut(features, len(centroids))])


def cut(features: Tensor, k: int) -> Iterator[Tensor]:
    """Cut ``(M, D)`` features so that they and their scores stay in the cache."""
    rows = max(1, _CACHED // (k + features.shape[1]))
    return iter(torch.split(features, rows))


def origin_of(centroids: Tensor) -> Tensor | None:
    """Return the ``(D,)`` middle of centroids that are far from 0, else None.

    Distances do not change when all is moved; near the origin they round less.
    """
    origin = centroids.mean(0)
    spread = (centroids - origin).square().sum(1).max()
    far = bool(origin.square().sum() > _FAR**2 * spread)
    return origin if far else None


class Search:
    """Finds the nearest of given centroids.

    Args:
        centroids: ``(K, D)`` float.
        origin: ``(D,)``, from :func:`origin_of`; what :meth:`moved` moves to 0.
    """

    def __init__(self, centroids: Tensor, origin: Tensor | None = None) -> None:
        self._origin = origin
        self.points = centroids if origin is None else centroids - origin
        self._columns = self.points.t().contiguous()
        # argmin |z - μ|² = argmax z·μ - |μ|²/2
        self._bias = -self.points.square().sum(1) / 2
        self._longest = float(-2 * self._bias.min())
        self._scores = centroids.new_empty(0, len(centroids))

    def ids(self, rows: Tensor) -> Tensor:
        """Return the ``(m,)`` nearest centroids of ``(m, D)`` rows."""
        return _argmax(self.scores(self.moved(rows)))

    def nearest(self, rows: Tensor, squares: Tensor) -> Nearest:
        """Return the nearest centroids of rows, and bounds of the distances.

        Args:
            rows: ``(m, D)``, moved.
            squares: ``(m,)`` squared lengths of these.
        """
        scores = self.scores(rows)
        ids = _argmax(scores)
        first = scores.gather(1, ids[:, None]).squeeze(1)
        second = scores.scatter_(1, ids[:, None], -torch.inf).amax(1)
        return Nearest(
            ids, self.at_most(squares, first), self.at_least(squares, second)
        )

    def moved(self, rows: Tensor) -> Tensor:
        """Return ``(m, D)`` rows as seen from the origin."""
        return rows if self._origin is None else rows - self._origin

    def scores(self, rows: Tensor) -> Tensor:
        """Return the ``(m, K)`` z·μ - |μ|²/2 of moved rows, good until the next call."""
        if len(rows) > len(self._scores):
            self._scores = rows.new_empty(len(rows), len(self._bias))
        out = self._scores[: len(rows)]
        return torch.addmm(self._bias, rows, self._columns, out=out)

    def at_most(self, squares: Tensor, scores: Tensor) -> Tensor:
        """Return what the distances of such scores cannot exceed, with rounding."""
        return (squares - 2 * scores).clamp_(min=0).add_(self._error(squares)).sqrt_()

    def at_least(self, squares: Tensor, scores: Tensor) -> Tensor:
        """Return what the distances of such scores cannot fall below, with rounding."""
        return (squares - 2 * scores).sub_(self._error(squares)).clamp_(min=0).sqrt_()

    def _error(self, squares: Tensor) -> Tensor:
        return _ROUNDING * (squares + self._longest)


def _argmax(scores: Tensor) -> Tensor:
    """Return the column of each row's first largest score."""
    if scores.device.type == "cpu":  # several times as fast as torch's
        return torch.from_numpy(np.argmax(scores.numpy(), axis=1))
    return scores.argmax(1)
