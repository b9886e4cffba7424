"""k-means over features that are streamed in blocks and need not fit into memory.

In a distributed run every process passes its own features, the sums are added up, and
all processes end with the same centroids.
"""

import math
from collections.abc import Callable, Iterable, Iterator
from typing import Literal, NamedTuple, get_args

import torch
import torch.nn.functional as F
from torch import Tensor

from geoseg.errors import ParameterError, ShapeError, TrainingError
from geoseg.ranks import gather_rows, sum_over_ranks

Metric = Literal["euclidean", "cosine"]

# Rows that the k-means++ start sees, and rows of a matrix product: both bound memory.
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


class _Pass(NamedTuple):
    """What one pass over all features gathers."""

    sums: Tensor  # (K, D) float64
    counts: Tensor  # (K,) long
    inertia: float
    far: Tensor  # (at most K, D) float64, farthest from their centroids, descending


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
    # Distances do not change when all is moved; near the origin they round less.
    origin = centroids.mean(0)
    centroids = (centroids - origin).to(features.dtype)
    origin = origin.to(features.dtype)
    bias = centroids.square().sum(1) / 2
    ids = [
        torch.addmm(-bias, chunk - origin, centroids.t()).argmax(1)
        for chunk in torch.split(features, _CHUNK)
    ]
    return torch.cat(ids)


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
    sample = _sample(_scaled(blocks(), metric), generator)
    centroids = _plus_plus(sample, k, generator)
    done = 0
    gathered = _gather(_scaled(blocks(), metric), centroids)
    while done < iterations:
        moved = _update(gathered, centroids, metric)
        if moved.equal(centroids):
            break
        centroids, done = moved, done + 1
        gathered = _gather(_scaled(blocks(), metric), centroids)
    return KMeansResult(centroids, gathered.counts, gathered.inertia, done)


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
    gathered = _gather(_scaled([block], "euclidean"), state.centroids)
    counts = state.counts + gathered.counts
    step = (gathered.counts / counts.clamp(min=1)).double().unsqueeze(1)
    means = gathered.sums / gathered.counts.clamp(min=1).unsqueeze(1)
    moved = torch.lerp(state.centroids.double(), means, step).float()
    return KMeansResult(
        torch.where(step > 0, moved, state.centroids),
        counts,
        state.inertia + gathered.inertia,
        state.iterations,
    )


def _scaled(blocks: Iterable[Tensor], metric: Metric) -> Iterator[Tensor]:
    """Check the blocks, cut them into chunks, and scale rows for the cosine."""
    for block in blocks:
        if block.ndim != 2:
            raise ShapeError(
                f"a block of features has shape {tuple(block.shape)}, expected (m, D)"
            )
        for chunk in torch.split(block.detach(), _CHUNK):
            chunk = chunk.float()
            if not bool(chunk.isfinite().all()):
                raise TrainingError(
                    "a feature to cluster is not finite, expected numbers: check that "
                    "invalid pixels are left out and that training did not diverge"
                )
            yield F.normalize(chunk, dim=1) if metric == "cosine" else chunk


def _sample(blocks: Iterable[Tensor], generator: torch.Generator) -> Tensor:
    """Return at most ``_SAMPLE`` rows per process, evenly drawn, the same on all."""
    rows: Tensor | None = None
    keys = torch.empty(0, dtype=torch.float64)
    for block in blocks:
        new = torch.rand(len(block), generator=generator, dtype=torch.float64)
        rows = block if rows is None else torch.cat([rows, block])
        # The rows with the lowest keys stay: the same ones however blocks are cut.
        keys, order = torch.cat([keys, new]).sort(stable=True)
        keys, order = keys[:_SAMPLE], order[:_SAMPLE]
        rows = rows[order.to(rows.device)]
    if rows is None or not len(rows):
        raise TrainingError(
            "there are no features to cluster, expected at least one: check that the "
            "images have valid pixels"
        )
    return gather_rows(rows)


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


def _gather(blocks: Iterable[Tensor], centroids: Tensor) -> _Pass:
    """Assign all features and add up what the update needs."""
    k, d = centroids.shape
    sums = torch.zeros(k, d, dtype=torch.float64, device=centroids.device)
    counts = torch.zeros(k, dtype=torch.long, device=centroids.device)
    inertia = 0.0
    far = sums[:0]
    far_distances = sums.new_zeros(0)
    for rows in blocks:
        ids = assign(rows, centroids)
        distances = (rows - centroids[ids]).double().square().sum(1)
        # A product with the one-hot ids: float64, and the same at each run on a GPU.
        sums += F.one_hot(ids, k).t().double() @ rows.double()
        counts += ids.bincount(minlength=k)
        inertia += float(distances.sum())
        most, order = distances.sort(descending=True, stable=True)
        far = torch.cat([far, rows[order[:k]].double()])
        far_distances, order = torch.cat([far_distances, most[:k]]).sort(
            descending=True, stable=True
        )
        far, far_distances = far[order[:k]], far_distances[:k]
    return _over_ranks(sums, counts, inertia, far, far_distances)


def _over_ranks(
    sums: Tensor, counts: Tensor, inertia: float, far: Tensor, distances: Tensor
) -> _Pass:
    """Join what the processes of a distributed run have gathered."""
    far, distances = gather_rows(far), gather_rows(distances)
    distances, order = distances.sort(descending=True, stable=True)
    far = far[order[: len(sums)]][distances[: len(sums)] > 0]
    total = sum_over_ranks(sums.new_tensor([inertia]))
    return _Pass(sum_over_ranks(sums), sum_over_ranks(counts), float(total), far)


def _update(gathered: _Pass, centroids: Tensor, metric: Metric) -> Tensor:
    """Return the clusters' means; empty clusters take the farthest features."""
    counts = gathered.counts.unsqueeze(1)
    means = torch.where(counts > 0, gathered.sums / counts.clamp(min=1), centroids)
    if metric == "cosine":
        # Opposite directions may cancel: such a centroid stays where it is.
        length = means.norm(dim=1, keepdim=True)
        means = torch.where(length > 1e-12, means / length.clamp(min=1e-12), centroids)
    empty = (gathered.counts == 0).nonzero().squeeze(1)[: len(gathered.far)]
    means[empty] = gathered.far[: len(empty)]
    return means.to(centroids.dtype)
