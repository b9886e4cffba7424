"""Lloyd's iterations over features in blocks, which look only at what can change.

References:
    Hamerly. Making k-means Even Faster. SDM 2010. With one bound a feature, on the
    difference of its two smallest distances, and sums that follow the features which
    change their cluster (as in Elkan, Using the Triangle Inequality to Accelerate
    k-Means, ICML 2003).
"""

from collections.abc import Iterable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from geoseg.errors import TrainingError
from geoseg.nearest import Nearest, Search, cut
from geoseg.ranks import gather_rows, sum_over_ranks

# Share of a block's features from which on all of them are looked at, without a copy.
_MOST = 0.7


class Totals(NamedTuple):
    """What all processes' features sum up to.

    Attributes:
        sums: ``(K, D)`` float64, of each cluster's features.
        counts: ``(K,)`` long.
    """

    sums: Tensor
    counts: Tensor


class Clusters:
    """Which cluster each feature belongs to, from one pass over the features to the next.

    A feature is compared with all centroids only where these have moved by as much as
    its two nearest differ in distance: otherwise its cluster cannot have changed. The
    result is that of comparing all. It takes 12 bytes a feature.

    Args:
        centroids: ``(K, D)`` of the first pass.
    """

    def __init__(self, centroids: Tensor) -> None:
        self.centroids = centroids
        self._sums = torch.zeros_like(centroids, dtype=torch.float64)
        self._counts = centroids.new_zeros(len(centroids), dtype=torch.long)
        self._known: list[Nearest] = []
        self._lost: Tensor | None = None

    def move(self, centroids: Tensor) -> None:
        """Set the centroids of the next pass."""
        moves = (centroids.double() - self.centroids.double()).norm(dim=1)
        # the nearest may have come no nearer, and any other by as much as it moved
        most, which = moves.topk(min(2, len(moves)))
        others = most[0].expand_as(moves).clone()
        others[which[0]] = most[-1] if len(moves) > 1 else 0.0
        self._lost = ((moves + others) * (1 + 1e-5)).to(centroids.dtype)
        self.centroids = centroids

    def gather(self, blocks: Iterable[Tensor]) -> Totals:
        """Pass all features, the same at every pass.

        Args:
            blocks: ``(m, D)`` float32 each.

        Raises:
            TrainingError: If a feature is not finite.
        """
        search = Search(self.centroids)
        number = 0
        for block in blocks:
            for rows in cut(block, len(self.centroids)):
                if number == len(self._known):
                    self._known.append(search.nearest(rows))
                    self._add(self._known[-1].ids, rows)
                else:
                    self._revise(search, rows, self._known[number])
                number += 1
        totals = Totals(sum_over_ranks(self._sums), sum_over_ranks(self._counts))
        check_finite(totals.sums)
        return totals

    def inertia(self, blocks: Iterable[Tensor]) -> float:
        """Return the sum of all features' squared distances, as of the last pass."""
        total = self._sums.new_zeros(1)
        pieces = (rows for block in blocks for rows in cut(block, len(self.centroids)))
        for rows, known in zip(pieces, self._known, strict=True):
            total += square_distances(rows, known.ids, self.centroids).sum()
        return float(sum_over_ranks(total))

    def farthest(self, blocks: Iterable[Tensor], count: int) -> Tensor:
        """Return at most ``count`` features, the farthest from their centroids first."""
        far, distances = self._sums[:0], self._sums.new_zeros(0)

        def keep() -> None:
            nonlocal far, distances
            distances, order = distances.sort(descending=True, stable=True)
            far, distances = far[order[:count]], distances[:count]

        pieces = (rows for block in blocks for rows in cut(block, len(self.centroids)))
        for rows, known in zip(pieces, self._known, strict=True):
            new = square_distances(rows, known.ids, self.centroids)
            far, distances = torch.cat([far, rows.double()]), torch.cat(
                [distances, new]
            )
            keep()
        far, distances = gather_rows(far), gather_rows(distances)
        keep()
        return far[distances > 0]

    def _revise(self, search: Search, rows: Tensor, known: Nearest) -> None:
        """Look again at the rows whose centroid may not be the nearest any more."""
        if self._lost is not None:
            known.gaps.sub_(self._lost[known.ids])
        doubtful = (known.gaps <= 0).nonzero().squeeze(1)
        if not len(doubtful):
            return
        if len(doubtful) > _MOST * len(rows):
            doubtful = torch.arange(len(rows), device=rows.device)
        else:
            rows = rows[doubtful]
        before = known.ids[doubtful]
        found = search.nearest(rows)
        known.ids[doubtful], known.gaps[doubtful] = found
        changed = (found.ids != before).nonzero().squeeze(1)
        if len(changed):
            self._add(found.ids[changed], rows[changed])
            self._add(before[changed], rows[changed], sign=-1)

    def _add(self, ids: Tensor, rows: Tensor, *, sign: int = 1) -> None:
        add_rows(self._sums, ids, rows, sign=sign)
        self._counts += sign * ids.bincount(minlength=len(self._counts))


def add_rows(sums: Tensor, ids: Tensor, rows: Tensor, *, sign: int = 1) -> None:
    """Add each of ``(m, D)`` rows to that of ``(K, D)`` float64 sums which it names."""
    if rows.device.type == "cpu":
        sums.index_add_(0, ids, rows.double(), alpha=sign)
    else:  # a product with the one-hot ids adds up in the same order at each run
        one_hot = F.one_hot(ids, len(sums)).t().double()
        sums.addmm_(one_hot, rows.double(), alpha=sign)


def square_distances(rows: Tensor, ids: Tensor, centroids: Tensor) -> Tensor:
    """Return ``(m,)`` float64; by differences, so that equal rows are exactly 0 apart."""
    return (rows - centroids[ids]).square().sum(1).double()


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
