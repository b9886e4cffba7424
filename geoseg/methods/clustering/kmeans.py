"""k-means over features that are streamed in blocks and need not fit into memory.

In a distributed run every process passes its own features, the sums are added up, and
all processes end with the same centroids.
"""

import math
from collections.abc import Callable, Iterable, Iterator
from itertools import zip_longest
from typing import Literal, NamedTuple, get_args

import torch
import torch.nn.functional as F
from torch import Tensor

from geoseg.core.errors import ParameterError, ShapeError, TrainingError
from geoseg.core.processes import gather_rows, rank, world_size
from geoseg.methods.clustering.lloyd import Clusters, Totals, check_finite

Metric = Literal["euclidean", "cosine"]

# Rows that the k-means++ start sees, and of a block that is looked at at once.
_SAMPLE = 16384
_CHUNK = 65536


class KMeansResult(NamedTuple):
    """A clustering of M features.

    Attributes:
        centroids: ``(K, D)`` float32 on the features' device; unit vectors with the
            cosine metric.
        counts: ``(K,)`` long, features nearest to each centroid.
        inertia: Sum of squared distances to the nearest centroid (of unit vectors with
            the cosine metric).
        iterations: Updates made until nothing moved, at most as many as asked for.
    """

    centroids: Tensor
    counts: Tensor
    inertia: float
    iterations: int


def kmeans(
    blocks: Callable[[], Iterable[Tensor]],
    k: int,
    *,
    seed: int,
    iterations: int = 20,
    metric: Metric = "euclidean",
) -> KMeansResult:
    """Cluster features by Lloyd's algorithm from a k-means++ start.

    Centroids that no feature is nearest to move to the features that are farthest from
    theirs. The result depends on the order of the features, but not on how they are cut
    into blocks (up to the rounding of float64 sums).

    Args:
        blocks: Gives all features anew at each call, as ``(m, D)`` float blocks, in
            the same order. It is called once for the start and once per iteration, and
            once more to count.
        k: Number of clusters, ``K``.
        seed: Of the start.
        iterations: Most updates of the centroids.
        metric: ``euclidean``, or ``cosine``: features and centroids are scaled to
            length 1.

    Raises:
        ParameterError: If ``k``, ``iterations`` or ``metric`` is none that there is.
        TrainingError: If there are no features, or one is not finite.

    References:
        Arthur, Vassilvitskii. k-means++: The Advantages of Careful Seeding. SODA 2007.
    """
    if k < 1 or iterations < 0:
        raise ParameterError(
            f"k is {k} and iterations {iterations}, expected at least 1 and 0"
        )
    if metric not in get_args(Metric):
        raise ParameterError(
            f"metric is {metric!r}, expected one of {get_args(Metric)}"
        )
    generator = torch.Generator().manual_seed(seed)
    sample = _sample(blocks, metric, generator)
    centroids = _plus_plus(sample, k, generator)
    return refine(blocks, centroids, iterations=iterations, metric=metric)


def refine(
    blocks: Callable[[], Iterable[Tensor]],
    centroids: Tensor,
    *,
    iterations: int = 20,
    metric: Metric = "euclidean",
) -> KMeansResult:
    """Move given centroids by Lloyd's algorithm, as :func:`kmeans` does.

    Args:
        blocks: As for :func:`kmeans`.
        centroids: ``(K, D)`` to start from; unit vectors with the cosine metric.
        iterations: Most updates of the centroids.
        metric: As for :func:`kmeans`.

    Raises:
        TrainingError: If a feature is not finite.
    """

    clusters, done = Clusters(centroids), 0
    totals = clusters.gather(_scaled(blocks(), metric))
    while done < iterations:
        empty = int((totals.counts == 0).sum())
        far = clusters.farthest(_scaled(blocks(), metric), empty) if empty else None
        moved = _update(totals, far, clusters.centroids, metric)
        if moved.equal(clusters.centroids):
            break
        clusters.move(moved)
        done += 1
        totals = clusters.gather(_scaled(blocks(), metric))
    inertia = clusters.inertia(_scaled(blocks(), metric))
    return KMeansResult(clusters.centroids, totals.counts, inertia, done)


class MiniBatchKMeans:
    """Clusters features that are seen once, as PiCIE does.

    The first blocks are clustered by :func:`kmeans`. Of every block that follows, each
    centroid takes the mean of the features nearest to it into its own running mean, as
    if all features that were ever assigned to it weighed the same.

    Args:
        k: Number of clusters, ``K``.
        seed: Of the start.
        start_blocks: Blocks that the start is clustered from, kept in memory until
            then.
        iterations: Most updates of the start.

    Raises:
        ParameterError: If ``k`` or ``start_blocks`` is not positive.

    References:
        Cho, Mall, Bala, Hariharan. PiCIE: Unsupervised Semantic Segmentation using
        Invariance and Equivariance in Clustering. CVPR 2021, section 3.3.
        https://arxiv.org/abs/2103.17070. After Sculley, Web-Scale K-Means Clustering,
        WWW 2010, with blocks in place of single features.
    """

    def __init__(
        self, k: int, *, seed: int, start_blocks: int = 20, iterations: int = 20
    ) -> None:
        if k < 1 or start_blocks < 1:
            raise ParameterError(
                f"k is {k} and start_blocks {start_blocks}, expected at least 1"
            )
        self.k, self.seed = k, seed
        self.start_blocks, self.iterations = start_blocks, iterations
        self._waiting: list[Tensor] = []
        self._state: KMeansResult | None = None

    def feed(self, block: Tensor) -> None:
        """Take ``(m, D)`` float features; in a distributed run all processes do.

        Raises:
            ShapeError: If the block is no such table.
            TrainingError: If a feature is not finite.
        """
        if self._state is not None:
            self._state = _take_in(block, self._state)
            return
        self._waiting.append(block.detach())
        if len(self._waiting) == self.start_blocks:
            self._start()

    def result(self) -> KMeansResult:
        """Return the centroids, and how many features went into each.

        ``inertia`` is the sum of squared distances at the time of assignment.

        Raises:
            TrainingError: If there were no features.
        """
        return self._start() if self._state is None else self._state

    def _start(self) -> KMeansResult:
        self._state = kmeans(
            lambda: self._waiting, self.k, seed=self.seed, iterations=self.iterations
        )
        self._waiting = []
        return self._state


def _take_in(block: Tensor, state: KMeansResult) -> KMeansResult:
    """Update the running means by one block; centroids it does not meet stay."""
    met = Clusters(state.centroids)
    sums, new = met.gather(_scaled([block], "euclidean"))
    counts = state.counts + new
    step = (new / counts.clamp(min=1)).double().unsqueeze(1)
    means = sums / new.clamp(min=1).unsqueeze(1)
    moved = torch.lerp(state.centroids.double(), means, step).float()
    return KMeansResult(
        torch.where(step > 0, moved, state.centroids),
        counts,
        state.inertia + met.inertia(_scaled([block], "euclidean")),
        state.iterations,
    )


def _scaled(blocks: Iterable[Tensor], metric: Metric) -> Iterator[Tensor]:
    """Check the shapes of blocks, cut them into chunks, scale rows for the cosine."""
    for block in blocks:
        if block.ndim != 2:
            raise ShapeError(
                f"a block of features has shape {tuple(block.shape)}, expected (m, D)"
            )
        for chunk in torch.split(block.detach(), _CHUNK):
            chunk = chunk.float()
            yield F.normalize(chunk, dim=1) if metric == "cosine" else chunk


def _sample(
    blocks: Callable[[], Iterable[Tensor]], metric: Metric, generator: torch.Generator
) -> Tensor:
    """Return at most ``_SAMPLE`` rows, evenly drawn, the same on all processes.

    And the same as one process draws from blocks that join those of all: every row has
    a key by its place in them.
    """
    rows: Tensor | None = None
    keys = torch.empty(0, dtype=torch.float64)

    def draw(count: int) -> Tensor:
        return torch.rand(count, generator=generator, dtype=torch.float64)

    others = _rows_elsewhere(blocks)
    for block, (before, after) in zip_longest(blocks(), others, fillvalue=(0, 0)):
        draw(before)
        for chunk in _scaled([block], metric) if isinstance(block, Tensor) else ():
            rows = chunk if rows is None else torch.cat([rows, chunk])
            keys, order = torch.cat([keys, draw(len(chunk))]).sort(stable=True)
            # The rows with the lowest keys stay: the same ones however blocks are cut.
            keys, order = keys[:_SAMPLE], order[:_SAMPLE]
            rows = rows[order.to(rows.device)]
        draw(after)
    sample = None if rows is None else gather_rows(rows)
    if sample is None or not len(sample):
        raise TrainingError(
            "there are no features to cluster, expected at least one: check that the "
            "images have valid pixels"
        )
    order = gather_rows(keys.to(sample.device)).argsort(stable=True)
    sample = sample[order[:_SAMPLE]]
    check_finite(sample)
    return sample


def _rows_elsewhere(
    blocks: Callable[[], Iterable[Tensor]],
) -> list[tuple[int, int]]:
    """Return how many rows processes before and after this one have in each block."""
    if world_size() == 1:
        return []
    own = torch.tensor([len(block) for block in blocks()], dtype=torch.long)
    most = int(gather_rows(torch.tensor([len(own)])).max())
    lengths = gather_rows(F.pad(own, (0, most - len(own)))[None])  # (ranks, blocks)
    before = lengths[: rank()].sum(0)
    after = lengths[rank() + 1 :].sum(0)
    return list(zip(before.tolist(), after.tolist(), strict=True))


def _plus_plus(sample: Tensor, k: int, generator: torch.Generator) -> Tensor:
    """Draw ``(K, D)`` starts, each the best of a few drawn by squared distance."""
    first = int(torch.randint(len(sample), (), generator=generator))
    chosen = [sample[first]]
    nearest = _squared_distances(sample, sample[first : first + 1]).squeeze(1)
    candidates = 2 + int(math.log(k))
    for _ in range(k - 1):
        weights = nearest.double().cpu()
        if not weights.sum() > 0:  # fewer different features than clusters
            weights = torch.ones_like(weights)
        drawn = torch.multinomial(weights, candidates, True, generator=generator)
        tried = sample[drawn.to(sample.device)]
        nearer = _squared_distances(sample, tried).minimum(nearest.unsqueeze(1))
        best = int(nearer.double().sum(0).argmin())
        chosen.append(tried[best])
        nearest = nearer[:, best]
    return torch.stack(chosen)


def _squared_distances(rows: Tensor, points: Tensor) -> Tensor:
    """Return ``(M, L)``; by differences, so that equal rows are exactly 0 apart."""
    return torch.stack([(rows - point).square().sum(1) for point in points], dim=1)


def _update(
    totals: Totals, far: Tensor | None, centroids: Tensor, metric: Metric
) -> Tensor:
    """Return the clusters' means; empty clusters take the farthest features."""
    counts = totals.counts.unsqueeze(1)
    means = torch.where(counts > 0, totals.sums / counts.clamp(min=1), centroids)
    if metric == "cosine":
        # Opposite directions may cancel: such a centroid stays where it is.
        length = means.norm(dim=1, keepdim=True)
        means = torch.where(length > 1e-12, means / length.clamp(min=1e-12), centroids)
    if far is not None:
        empty = (totals.counts == 0).nonzero().squeeze(1)[: len(far)]
        means[empty] = far[: len(empty)]
    return means.to(centroids.dtype)
