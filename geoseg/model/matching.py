"""Match clusters to classes by counts on labelled tiles.

The clusters of an unsupervised method have no meaning. Labelled tiles give each cluster
a share of every class. By ``vote`` a cluster gets the class of most of its pixels
(many-to-one), unless it has too few labelled pixels to decide. By ``share`` a pixel's
class score is the mean share of its clusters, and a :class:`Decision` on pixels follows.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from geoseg.core.classes import BACKGROUND, BUILDING
from geoseg.core.errors import MatchingError, ParameterError, ShapeError
from geoseg.core.patches import IGNORE
from geoseg.core.stored import StoredError, typed
from geoseg.core.words import counted
from geoseg.model.decisions import OBJECTIVES, Decision, Objective, Smoothing
from geoseg.model.shares import pixels_of_trust, shrunken_shares

#: How clusters get their meaning: each takes one class, or a share of every class.
Naming = Literal["vote", "share"]
NAMINGS: tuple[Naming, ...] = ("vote", "share")


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


class ClassRule(NamedTuple):
    """What prediction does with the class scores of pixels.

    Attributes:
        decision: Turns them into probabilities and classes; None: the scores are
            probabilities, and the most probable class wins.
        prior: ``C`` shares of the classes.
        smoothing: Applied before; None for none.
    """

    decision: Decision | None
    prior: tuple[float, ...]
    smoothing: Smoothing | None = None


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
        naming: How clusters get their meaning.
        smoothing: Of class scores in prediction; None for none.
        smoothed: The decision on smoothed scores; None if there is no smoothing.
        plain: The decision on scores that are not smoothed; None for a vote.
    """

    cluster_to_class: tuple[int, ...]
    scores: tuple[tuple[float, ...], ...]
    threshold: float | None
    objective: Objective
    shrinkage: float
    counts: tuple[tuple[int, ...], ...]
    tiles: int
    prior: tuple[float, ...]
    naming: Naming = "vote"
    smoothing: Smoothing | None = None
    smoothed: Decision | None = None
    plain: Decision | None = None

    @property
    def num_clusters(self) -> int:
        """The number of clusters ``K``."""
        return len(self.cluster_to_class)

    @property
    def num_classes(self) -> int:
        """The number of classes ``C``."""
        return len(self.prior)

    @property
    def votes(self) -> Tensor:
        """The one-hot class of each cluster, ``(K, C)`` float32."""
        classes = torch.tensor(self.cluster_to_class)
        return torch.nn.functional.one_hot(classes, self.num_classes).float()

    @property
    def matrix(self) -> Tensor:
        """The class scores of each cluster, ``(K, C)`` float32: its shares or its vote.

        ``einsum("nkhw,kc->nchw", …)`` folds cluster probabilities into class scores.
        """
        return self.votes if self.naming == "vote" else torch.tensor(self.scores)

    def rule(self, *, smooth: bool = True) -> "ClassRule":
        """Return what prediction does with class scores.

        Args:
            smooth: Smooth them, if the matching has a decision for that.
        """
        if smooth and self.smoothing is not None and self.smoothed is not None:
            return ClassRule(self.smoothed, self.prior, self.smoothing)
        return ClassRule(self.plain, self.prior)

    def confusion(self, table: Tensor) -> NDArray[np.int64]:
        """Return ``(..., C, C)`` confusions of a ``(..., K, C)`` contingency table.

        Rows are reference classes, columns predicted ones, as in
        :mod:`geoseg.scores.metrics`.
        """
        fold = self.votes.to(dtype=torch.long, device="cpu").numpy()
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
            **self._of_shares(),
        }

    def _of_shares(self) -> dict[str, Any]:
        """Return the JSON values that only a naming by share has."""
        if self.naming == "vote":
            return {}
        parts = {
            "smoothing": self.smoothing,
            "smoothed": self.smoothed,
            "plain": self.plain,
        }
        values = {name: part and asdict(part) for name, part in parts.items()}
        return {"naming": self.naming, **values}

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
    m = pixels_of_trust(total, shrinkage)
    prior = total.sum(0) / total.sum()
    scores = shrunken_shares(total, prior, m)
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
