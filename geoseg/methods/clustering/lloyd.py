"""Lloyd's iterations over features in blocks, which look only at what can change.

References:
    Hamerly. Making k-means Even Faster. SDM 2010: an upper bound of each feature's
    distance to its centroid, a lower one of that to all others. Here the few centroids
    that moved farthest, which spoil the lower bound, are compared with all features;
    the bound loses only what the rest moved. Sums follow the features that change their
    cluster (as in Elkan, Using the Triangle Inequality to Accelerate k-Means, ICML 2003).
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from geoseg.core.errors import TrainingError
from geoseg.core.processes import gather_rows, sum_over_ranks
from geoseg.methods.clustering.nearest import Search, cut, origin_of

# Share of a piece's features from which on all of them are looked at, without a copy.
_MOST = 0.7
# Of the centroids those are compared with all features that moved farthest: one of so
# many, but a few at least.
_FARTHEST, _FEWEST = 16, 3
# Number of centroids from which on a feature's own distance is worth a look before that
# to all of them is.
_MANY = 64
# Bounds are kept of one of so many pieces; of all others too once no more than this
# share of those pieces' features is in doubt: before, they cost more than they save.
_SCOUTS, _FEW = 16, 0.2
# What float32 may add to a bound over many passes, relative.
_SLACK = 1e-5


class Totals(NamedTuple):
    """What all processes' features sum up to.

    Attributes:
        sums: ``(K, D)`` float64, of each cluster's features.
        counts: ``(K,)`` long.
    """

    sums: Tensor
    counts: Tensor


class _Bounds(NamedTuple):
    """Bounds of the distances of a piece's features, changed in place.

    Attributes:
        upper: ``(m,)``, no less than the distances to the nearest centroids.
        lower: ``(m,)``, no more than the distances to all others.
    """

    upper: Tensor
    lower: Tensor


@dataclass(slots=True)
class _Known:
    """What is known about the features of a piece, from one pass to the next.

    Attributes:
        ids: ``(m,)`` long, the nearest centroids.
        squares: ``(m,)``, squared lengths.
        bounds: None: not kept.
    """

    ids: Tensor
    squares: Tensor
    bounds: _Bounds | None = None


class Clusters:
    """Which cluster each feature belongs to, from one pass over the features to the next.

    A feature is compared with all centroids only where what these have moved by leaves
    it open which is the nearest. The result is that of comparing all. It takes 20 bytes
    a feature; 12 until that pays.

    Args:
        centroids: ``(K, D)`` of the first pass.
    """

    def __init__(self, centroids: Tensor) -> None:
        self.centroids = centroids
        self._origin = origin_of(centroids)
        self._sums = torch.zeros_like(centroids, dtype=torch.float64)
        self._counts = centroids.new_zeros(len(centroids), dtype=torch.long)
        self._known: list[_Known] = []
        self._bounds_pay = False
        self._moves = _Moves(centroids, centroids, self._origin)

    def move(self, centroids: Tensor) -> None:
        """Set the centroids of the next pass."""
        self._moves = _Moves(self.centroids, centroids, self._origin)
        self.centroids = centroids

    def gather(self, blocks: Iterable[Tensor]) -> Totals:
        """Pass all features, the same at every pass.

        Args:
            blocks: ``(m, D)`` float32 each.

        Raises:
            TrainingError: If a feature is not finite.
        """
        search = Search(self.centroids, self._origin)
        first = not self._known
        number = 0
        asked, doubted = 0, 0
        for block in blocks:
            for rows in cut(block, len(self.centroids)):
                if first:
                    self._meet(search, rows)
                elif self._bounds_pay or number % _SCOUTS == 0:
                    asked += len(rows)
                    doubted += self._revise(search, rows, self._known[number])
                else:
                    self._look_again(search, rows, self._known[number])
                number += 1
        self._bounds_pay |= doubted < _FEW * asked
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

    def _meet(self, search: Search, rows: Tensor) -> None:
        """Take in a piece."""
        ids = search.ids(rows)
        squares = torch.linalg.vector_norm(search.moved(rows), dim=1).square_()
        self._known.append(_Known(ids, squares))
        self._add(ids, rows.double())

    def _look_again(self, search: Search, rows: Tensor, known: _Known) -> None:
        """Look at all rows, without bounds."""
        before, known.ids = known.ids, search.ids(rows)
        self._change(rows, before, known.ids)

    def _revise(self, search: Search, rows: Tensor, known: _Known) -> int:
        """Look again at the rows whose centroid may not be the nearest any more.

        Returns:
            The number of rows that were looked at.
        """
        moved, bounds = search.moved(rows), known.bounds
        if bounds is not None:
            self._moves.apply(moved, known, bounds)
            doubtful = _doubtful(moved, known, bounds, search.points)
        if bounds is None or len(doubtful) > _MOST * len(rows):
            before = known.ids
            known.ids, *found = search.nearest(moved, known.squares)
            known.bounds = _Bounds(*found)
            self._change(rows, before, known.ids)
            return len(rows)
        if len(doubtful):
            before = known.ids[doubtful]
            nearest = search.nearest(moved[doubtful], known.squares[doubtful])
            known.ids[doubtful] = nearest.ids
            bounds.upper[doubtful], bounds.lower[doubtful] = nearest[1:]
            self._change(rows[doubtful], before, nearest.ids)
        return len(doubtful)

    def _change(self, rows: Tensor, before: Tensor, after: Tensor) -> None:
        """Let rows leave their clusters for others."""
        changed = (before != after).nonzero().squeeze(1)
        if len(changed):
            moving = rows[changed].double()
            self._add(before[changed], moving, sign=-1)
            self._add(after[changed], moving)

    def _add(self, ids: Tensor, rows: Tensor, *, sign: int = 1) -> None:
        add_rows(self._sums, ids, rows, sign=sign)
        self._counts += sign * ids.bincount(minlength=len(self._counts))


class _Moves:
    """How far each centroid has moved since the last pass."""

    def __init__(self, before: Tensor, after: Tensor, origin: Tensor | None) -> None:
        moves = (after.double() - before.double()).norm(dim=1).to(after.dtype)
        count = min(len(moves), max(_FEWEST, len(moves) // _FARTHEST))
        farthest = moves.topk(count).indices
        self._column = farthest.new_full((len(moves),), -1)
        self._column[farthest] = torch.arange(count, device=farthest.device)
        self._moves = moves
        self._rest = moves.index_fill(0, farthest, 0.0).max()
        self._search = Search(after[farthest], origin)

    def apply(self, moved: Tensor, known: _Known, bounds: _Bounds) -> None:
        """Change bounds by what the centroids moved."""
        upper, lower = bounds
        upper.add_(self._moves[known.ids])
        lower.sub_(self._rest)
        scores = self._search.scores(moved)
        column = self._column[known.ids]
        own = (column >= 0).nonzero().squeeze(1)
        column, squares = column[own], known.squares
        upper[own] = self._search.at_most(squares[own], scores[own, column])
        scores[own, column] = -torch.inf
        near = self._search.at_least(squares, scores.amax(1))
        torch.minimum(lower, near, out=lower)


def _doubtful(moved: Tensor, known: _Known, bounds: _Bounds, points: Tensor) -> Tensor:
    """Return the rows whose bounds leave open which centroid is the nearest."""
    rows = _open(*bounds)
    if len(points) < _MANY or not len(rows):
        return rows
    offsets = moved[rows].sub_(points[known.ids[rows]])
    bounds.upper[rows] = torch.linalg.vector_norm(offsets, dim=1)
    return rows[_open(bounds.upper[rows], bounds.lower[rows])]


def _open(upper: Tensor, lower: Tensor) -> Tensor:
    return (upper * (1 + _SLACK) >= lower).nonzero().squeeze(1)


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
