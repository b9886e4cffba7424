"""Lloyd's pass over features: sums of each cluster, inertia, the farthest features.

Each takes pieces of features with the ids of their nearest centroids, as
:func:`geoseg.methods.clustering.nearest.assigned` gives them. In a distributed run every process passes its
own, and all return the same.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from geoseg.core.errors import TrainingError
from geoseg.core.processes import gather_rows, sum_over_ranks
from geoseg.methods.clustering.nearest import Pieces


def add_up(pieces: Pieces, centroids: Tensor) -> tuple[Tensor, Tensor]:
    """Add up the features nearest to each of ``(K, D)`` centroids.

    Returns:
        ``(K, D)`` float64 sums of features, and their ``(K,)`` long numbers.

    Raises:
        TrainingError: If a feature is not finite.
    """
    sums = torch.zeros_like(centroids, dtype=torch.float64)
    counts = centroids.new_zeros(len(centroids), dtype=torch.long)
    for rows, ids in pieces:
        if rows.device.type == "cpu":
            sums.index_add_(0, ids, rows.double())
        else:  # a product with the one-hot ids adds up in the same order at each run
            sums.addmm_(F.one_hot(ids, len(sums)).t().double(), rows.double())
        counts += ids.bincount(minlength=len(counts))
    sums = sum_over_ranks(sums)
    check_finite(sums)
    return sums, sum_over_ranks(counts)


def inertia(pieces: Pieces, centroids: Tensor) -> float:
    """Return the sum of all features' squared distances to their centroids."""
    total = centroids.new_zeros(1, dtype=torch.float64)
    for rows, ids in pieces:
        total += squared_distances(rows, centroids[ids]).double().sum()
    return float(sum_over_ranks(total))


def farthest(pieces: Pieces, centroids: Tensor, count: int) -> Tensor:
    """Return at most ``count`` features, the farthest from their centroids first."""
    far = centroids[:0].double()
    distances = far.new_zeros(0)
    for rows, ids in pieces:
        new = squared_distances(rows, centroids[ids]).double()
        far, distances = _largest(
            torch.cat([far, rows.double()]), torch.cat([distances, new]), count
        )
    far, distances = _largest(gather_rows(far), gather_rows(distances), count)
    return far[distances > 0]


def _largest(rows: Tensor, values: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Return the rows of the largest values, and these; of equal ones the first."""
    values, order = values.sort(descending=True, stable=True)
    return rows[order[:count]], values[:count]


def squared_distances(rows: Tensor, points: Tensor) -> Tensor:
    """Return ``(m,)``; by differences, so that equal rows are exactly 0 apart."""
    return (rows - points).square().sum(1)


def check_finite(numbers: Tensor) -> None:
    """Refuse features of which one is not finite, or sums that such a one went into.

    Raises:
        TrainingError: If there is one.
    """
    if not bool(numbers.isfinite().all()):
        raise TrainingError(
            "a feature to cluster is not finite, expected numbers: check that "
            "invalid pixels are left out and that training did not diverge"
        )
