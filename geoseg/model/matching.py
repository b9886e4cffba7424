"""Match clusters to classes by counts on labelled tiles.

The clusters of an unsupervised method have no meaning. On labelled tiles each cluster
gets the class of most of its pixels (many-to-one), unless it has too few labelled
pixels to decide.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from geoseg.core.classes import BACKGROUND, BUILDING
from geoseg.core.errors import MatchingError, ParameterError, ShapeError
from geoseg.core.patches import IGNORE
from geoseg.core.stored import StoredError, typed
from geoseg.core.words import counted

Objective = Literal["accuracy", "f1"]
OBJECTIVES: tuple[Objective, ...] = ("accuracy", "f1")
#: Default shrinkage, as a share of a mean cluster's labelled pixels. A fixed number of
#: pixels would outweigh whole clusters with many clusters or few small tiles.
SHRINKAGE = 0.25


def contingency_table(
    clusters: Tensor, classes: Tensor, *, num_clusters: int, num_classes: int
) -> Tensor:
    """Count how often each cluster falls on each class.

    The table of a scene is the sum of the tables of its patches.

    Args:
        clusters: ``(...)`` integers, cluster ids in ``[0, num_clusters)`` on labelled
            pixels; any value on others.
        classes: ``(...)`` integers, class ids in ``[0, num_classes)`` or ``IGNORE``.
        num_clusters: ``K``.
        num_classes: ``C``.

    Returns:
        ``(K, C)`` long, pixel counts.

    Raises:
        ShapeError: If the two have different shapes.
        MatchingError: If a class id is outside ``[0, num_classes)`` and not ``IGNORE``,
            or a labelled pixel's cluster is outside ``[0, num_clusters)``.

    Example:
        >>> clusters = torch.tensor([[[0, 0, 1]]])
        >>> classes = torch.tensor([[[1, 1, IGNORE]]])
        >>> contingency_table(clusters, classes, num_clusters=2, num_classes=2)
        tensor([[0, 2],
                [0, 0]])
    """
    if clusters.shape != classes.shape:
        raise ShapeError(
            f"clusters have shape {tuple(clusters.shape)}, classes "
            f"{tuple(classes.shape)}; expected the same"
        )
    labelled = classes != IGNORE
    ids, kinds = clusters[labelled].long(), classes[labelled].long()
    _check_ids(ids, num_clusters, "cluster")
    _check_ids(kinds, num_classes, "class")
    cells = torch.bincount(
        ids * num_classes + kinds, minlength=num_clusters * num_classes
    )
    return cells.reshape(num_clusters, num_classes)


def _check_ids(ids: Tensor, count: int, what: str) -> None:
    if not ids.numel():
        return
    low, high = int(ids.min()), int(ids.max())
    if low < 0 or high >= count:
        raise MatchingError(
            f"found {what} ids from {low} to {high}, expected 0 to {count - 1} "
            f"({IGNORE} marks pixels without a label)"
        )


@dataclass(frozen=True)
class Matching:
    """The class of each cluster, with the counts that decided it.

    Attributes:
        cluster_to_class: ``K`` class ids.
        scores: ``(K, C)`` shrunken class shares of every cluster; rows sum to one.
        threshold: With two classes, a cluster is building if its building score is
            greater; None with more classes, where the largest share wins. For a head
            that learned two classes, a pixel is building if its probability is greater;
            None for the most probable class.
        objective: Score that the threshold maximises on the matching tiles.
        shrinkage: ``m``, the weight of the prior in pixels.
        counts: ``(K, C)`` pixels on the matching tiles.
        tiles: Number of matching tiles that have labels.
        prior: ``C`` class shares over all labelled pixels.
    """

    cluster_to_class: tuple[int, ...]
    scores: tuple[tuple[float, ...], ...]
    threshold: float | None
    objective: Objective
    shrinkage: float
    counts: tuple[tuple[int, ...], ...]
    tiles: int
    prior: tuple[float, ...]

    @property
    def num_clusters(self) -> int:
        """The number of clusters ``K``."""
        return len(self.cluster_to_class)

    @property
    def num_classes(self) -> int:
        """The number of classes ``C``."""
        return len(self.prior)

    @property
    def matrix(self) -> Tensor:
        """The one-hot class of each cluster, ``(K, C)`` float32.

        ``einsum("nkhw,kc->nchw", …)`` folds cluster into class probabilities.
        """
        classes = torch.tensor(self.cluster_to_class)
        return torch.nn.functional.one_hot(classes, self.num_classes).float()

    def confusion(self, table: Tensor) -> NDArray[np.int64]:
        """Return ``(..., C, C)`` confusions of a ``(..., K, C)`` contingency table.

        Rows are reference classes, columns predicted ones, as in
        :mod:`geoseg.scores.metrics`.
        """
        fold = self.matrix.to(dtype=torch.long, device="cpu").numpy()
        counts = table.detach().cpu().numpy().astype(np.int64)
        confusion: NDArray[np.int64] = np.swapaxes(counts, -1, -2) @ fold
        return confusion

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {
            "cluster_to_class": list(self.cluster_to_class),
            "scores": [list(row) for row in self.scores],
            "threshold": self.threshold,
            "objective": self.objective,
            "shrinkage": self.shrinkage,
            "counts": [list(row) for row in self.counts],
            "tiles": self.tiles,
            "prior": list(self.prior),
        }

    @classmethod
    def from_json(cls, values: Any) -> "Matching":
        """Rebuild a matching from the values of :meth:`to_json`.

        Raises:
            MatchingError: If a value is missing or has a wrong type, or the tables and
                ids do not fit together.
        """
        try:
            matching = typed(values, cls)
        except StoredError as error:
            raise MatchingError(
                f"the stored matching is damaged ({error}): run `geoseg match` again"
            ) from error
        matching._check()
        return matching

    def _check(self) -> None:
        clusters, classes = self.num_clusters, self.num_classes
        widths = {len(row) for row in (*self.scores, *self.counts)}
        inside = all(0 <= c < classes for c in self.cluster_to_class)
        lengths = {len(self.scores), len(self.counts)}
        if not clusters or widths != {classes} or lengths != {clusters} or not inside:
            raise MatchingError(
                f"the stored matching has {clusters} clusters and {classes} classes, but "
                "its tables or ids do not fit: run `geoseg match` again"
            )


def match_clusters(
    tables: Tensor | NDArray[Any] | Sequence[Tensor],
    *,
    objective: Objective = "accuracy",
    shrinkage: float | None = None,
) -> Matching:
    """Match every cluster to a class by its counts on the matching tiles (many-to-one).

    A cluster's class shares are shrunk toward the prior, as if ``m`` more pixels with
    the shares of all labelled pixels had been counted, so that a handful of pixels
    cannot make a cluster building. A cluster without labelled pixels is background.

    With two classes a cluster is building if its building score is greater than a
    threshold: 1/2 for ``accuracy``; for ``f1`` the threshold that maximises the F1 of
    the building pixels on the matching tiles. Ties go to fewer building clusters. With
    more classes the largest shrunken share wins; ties go to the lower id.

    Args:
        tables: ``(T, K, C)`` counts, one :func:`contingency_table` per matching tile.
        objective: ``"accuracy"`` or ``"f1"`` (two classes only).
        shrinkage: ``m`` in pixels; by default a quarter of the labelled pixels of a mean
            cluster, which is half a tile for 24 clusters and 50 tiles; 0 for the plain
            majority.

    Returns:
        The matching.

    Raises:
        ShapeError: If the tables are not ``(T, K, C)``.
        ParameterError: If an option is invalid.
        MatchingError: If the labels hold fewer than two classes.

    References:
        X. Ji et al., Invariant Information Clustering, ICCV 2019,
        https://arxiv.org/abs/1807.06653 (many-to-one mapping in the evaluation of
        overclustering). Shrinkage and the F1 threshold are not in the paper.
    """
    counts = _stacked(tables)
    _checked_objective(objective)
    per_tile = counts.sum((1, 2))
    tiles = int((per_tile > 0).sum())
    total = counts.sum(0)  # (K, C)
    _check_labels(total, tiles)
    m = _pixels_of_trust(total, shrinkage)
    prior = total.sum(0) / total.sum()
    scores = _shrunken_shares(total, prior, m)
    classes, threshold = _decide(scores, total, objective)
    return Matching(
        cluster_to_class=tuple(classes.tolist()),
        scores=tuple(tuple(row) for row in scores.tolist()),
        threshold=threshold,
        objective=objective,
        shrinkage=m,
        counts=tuple(tuple(row) for row in total.tolist()),
        tiles=tiles,
        prior=tuple(prior.tolist()),
    )


def _checked_objective(objective: str) -> Objective:
    for known in OBJECTIVES:
        if objective == known:
            return known
    raise ParameterError(
        f"unknown objective {objective!r}, expected one of {', '.join(OBJECTIVES)}"
    )


def _stacked(tables: Tensor | NDArray[Any] | Sequence[Tensor]) -> NDArray[np.int64]:
    if isinstance(tables, Tensor | np.ndarray):
        counts = np.asarray(tables.cpu() if isinstance(tables, Tensor) else tables)
    else:
        counts = (
            np.stack([np.asarray(t.cpu()) for t in tables]) if tables else np.empty(0)
        )
    if counts.ndim != 3 or counts.shape[1] < 1 or counts.shape[2] < 2:
        raise ShapeError(
            f"tables have shape {counts.shape}, expected (tiles, clusters, classes) with "
            "two classes at least"
        )
    return counts.astype(np.int64)


def _check_labels(total: NDArray[np.int64], tiles: int) -> None:
    present = np.flatnonzero(total.sum(0))
    if not tiles:
        raise MatchingError(
            "the matching tiles have no labelled pixel: give tiles with labels"
        )
    if len(present) < 2:
        what = {BACKGROUND: "no building", BUILDING: "nothing but building"}
        only = int(present[0])
        content = f"nothing but class {only}" if total.shape[1] > 2 else what[only]
        raise MatchingError(
            f"the labels of the {counted(tiles, 'matching tile')} hold {content}, so "
            "clusters cannot be told apart: match on more tiles, or on tiles that show "
            "both"
        )


def _pixels_of_trust(total: NDArray[np.int64], shrinkage: float | None) -> float:
    """Return the given shrinkage in pixels, or the default."""
    mean_cluster = total.sum() / len(total)
    m = float(SHRINKAGE * mean_cluster if shrinkage is None else shrinkage)
    if not 0.0 <= m < np.inf:
        raise ParameterError(f"shrinkage is {m}, expected pixels, zero or more")
    return m


def _shrunken_shares(total: NDArray[np.int64], prior: NDArray[Any], m: float) -> Any:
    """Return ``(K, C)`` shares (n_kc + m·π_c) / (n_k + m); the prior where both are 0."""
    weight = total.sum(1, keepdims=True) + m
    shares = (total + m * prior) / np.where(weight > 0, weight, 1.0)
    return np.where(weight > 0, shares, prior)


def _decide(
    scores: NDArray[Any], total: NDArray[np.int64], objective: Objective
) -> tuple[NDArray[np.int64], float | None]:
    """Return ``(K,)`` class ids and the threshold (None with more than two classes)."""
    seen = total.sum(1) > 0
    if total.shape[1] > 2:
        if objective == "f1":
            raise ParameterError(
                f"objective f1 needs two classes, found {total.shape[1]}: use accuracy"
            )
        return np.where(seen, scores.argmax(1), BACKGROUND), None
    building = scores[:, BUILDING]
    threshold = 0.5 if objective == "accuracy" else _f1_threshold(building, total)
    return np.where(seen & (building > threshold), BUILDING, BACKGROUND), threshold


def _f1_threshold(building: NDArray[Any], total: NDArray[np.int64]) -> float:
    """Return the building score threshold of the highest F1."""
    seen = total.sum(1) > 0
    candidates = np.unique(building[seen])[::-1]  # descending
    best, threshold = -1.0, 1.0
    for number, score in enumerate(candidates):
        chosen = seen & (building >= score)
        hits, claimed = total[chosen, BUILDING].sum(), total[chosen].sum()
        f1 = 2.0 * hits / (claimed + total[:, BUILDING].sum())
        if f1 > best:  # strictly: among equals, fewer buildings
            below = candidates[number + 1 :]
            best, threshold = f1, float(below[0]) if len(below) else 0.0
    return threshold


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
