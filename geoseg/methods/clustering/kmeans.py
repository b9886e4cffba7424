"""k-means over features that are streamed in blocks and need not fit into memory.

In a distributed run every process passes its own features, the sums are added up, and
all processes end with the same centroids.
"""

import math
from collections.abc import Callable, Iterable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from geoseg.core.errors import ParameterError, ShapeError, TrainingError
from geoseg.core.processes import gather_rows, rank, world_size
from geoseg.methods.clustering.lloyd import (
    add_up,
    check_finite,
    farthest,
    inertia,
    squared_distances,
)
from geoseg.methods.clustering.nearest import Pieces, assigned

Blocks = Callable[[], Iterable[Tensor]]

# Rows that the k-means++ start sees.
_SAMPLE = 16384


class KMeansResult(NamedTuple):
    """A clustering of M features.

    Attributes:
        centroids: ``(K, D)`` float32 on the features' device.
        counts: ``(K,)`` long, features nearest to each centroid.
        inertia: Sum of squared distances to the nearest centroid.
        iterations: Updates made until nothing moved, at most as many as asked for.
    """

    centroids: Tensor
    counts: Tensor
    inertia: float
    iterations: int


def kmeans(blocks: Blocks, k: int, *, seed: int, iterations: int = 20) -> KMeansResult:
    """Cluster features by Lloyd's algorithm from a k-means++ start.

    Centroids that no feature is nearest to move to the features that are farthest from
    theirs. The result depends on the order of the features, but not on how they are cut
    into blocks (up to the rounding of float64 sums).

    Args:
        blocks: Gives all features anew at each call, as ``(m, D)`` float blocks, in
            the same order. It is called twice for the start, once per iteration, and
            twice for the result.
        k: Number of clusters, ``K``.
        seed: Of the start.
        iterations: Most updates of the centroids.

    Raises:
        ParameterError: If ``k`` or ``iterations`` is too small.
        ShapeError: If a block is not ``(m, D)``.
        TrainingError: If there are no features, or one is not finite.

    References:
        Arthur, Vassilvitskii. k-means++: The Advantages of Careful Seeding. SODA 2007.
    """
    if k < 1 or iterations < 0:
        raise ParameterError(
            f"k is {k} and iterations {iterations}, expected at least 1 and 0"
        )
    generator = torch.Generator().manual_seed(seed)
    centroids = _plus_plus(_sample(blocks, generator), k, generator)
    return refine(blocks, centroids, iterations=iterations)


def refine(blocks: Blocks, centroids: Tensor, *, iterations: int = 20) -> KMeansResult:
    """Move given centroids by Lloyd's algorithm, as :func:`kmeans` does.

    Args:
        blocks: As for :func:`kmeans`.
        centroids: ``(K, D)`` float to start from.
        iterations: Most updates of the centroids.

    Raises:
        ShapeError: If a block has not D channels.
        TrainingError: If a feature is not finite.
    """

    def pieces() -> Pieces:
        return assigned(blocks(), centroids)

    done = 0
    sums, counts = add_up(pieces(), centroids)
    while done < iterations:
        moved = sums / counts.clamp(min=1).unsqueeze(1)
        empty = (counts == 0).nonzero().squeeze(1)
        if len(empty):
            moved[empty] = centroids[empty].double()
            far = farthest(pieces(), centroids, len(empty))
            moved[empty[: len(far)]] = far
        moved = moved.to(centroids.dtype)
        if moved.equal(centroids):
            break
        centroids, done = moved, done + 1
        sums, counts = add_up(pieces(), centroids)
    return KMeansResult(centroids, counts, inertia(pieces(), centroids), done)


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
    pieces = list(assigned([block], state.centroids))
    sums, new = add_up(pieces, state.centroids)
    counts = state.counts + new
    step = (new / counts.clamp(min=1)).double().unsqueeze(1)
    means = sums / new.clamp(min=1).unsqueeze(1)
    moved = torch.lerp(state.centroids.double(), means, step).float()
    return KMeansResult(
        torch.where(step > 0, moved, state.centroids),
        counts,
        state.inertia + inertia(pieces, state.centroids),
        state.iterations,
    )


def _sample(blocks: Blocks, generator: torch.Generator) -> Tensor:
    """Return at most ``_SAMPLE`` rows, evenly drawn, the same on all processes.

    They are those that one process draws from the blocks of all: every row has a random
    key by its place among these, and the rows with the lowest keys are drawn.
    """
    own = torch.tensor([len(block) for block in blocks()], dtype=torch.long)
    most = int(gather_rows(torch.tensor([len(own)])).max())
    lengths = gather_rows(F.pad(own, (0, most - len(own)))[None]).t()  # (blocks, ranks)
    total = int(lengths.sum())
    if not total:
        raise TrainingError(
            "there are no features to cluster, expected at least one: check that the "
            "images have valid pixels"
        )
    keys = torch.rand(total, generator=generator, dtype=torch.float64)
    highest = keys.kthvalue(min(_SAMPLE, total)).values
    parts = torch.split(keys, lengths.flatten().tolist())[rank() :: world_size()]
    drawn = [
        block.detach()[(part <= highest).to(block.device)]
        for block, part in zip(blocks(), parts, strict=False)
    ]
    sample = gather_rows(torch.cat(drawn).float())
    if sample.ndim != 2:
        raise ShapeError(f"features have shape {tuple(sample.shape)}, expected (M, D)")
    check_finite(sample)
    own_keys = torch.cat([part[part <= highest] for part in parts])
    order = gather_rows(own_keys.to(sample.device)).argsort(stable=True)
    return sample[order[:_SAMPLE]]


def _plus_plus(sample: Tensor, k: int, generator: torch.Generator) -> Tensor:
    """Draw ``(K, D)`` starts, each the best of a few drawn by squared distance."""
    chosen: list[Tensor] = []
    nearest = sample.new_full((len(sample),), torch.inf)
    drawn = torch.randint(len(sample), (1,), generator=generator)
    candidates = 2 + int(math.log(k))
    while True:
        tried = sample[drawn.to(sample.device)]
        nearer = torch.stack([squared_distances(sample, row) for row in tried], dim=1)
        nearer = nearer.minimum(nearest.unsqueeze(1))
        best = int(nearer.double().sum(0).argmin())
        chosen.append(tried[best])
        nearest = nearer[:, best]
        if len(chosen) == k:
            return torch.stack(chosen)
        weights = nearest.double().cpu()
        if not weights.sum() > 0:  # fewer different features than clusters
            weights = torch.ones_like(weights)
        drawn = torch.multinomial(weights, candidates, True, generator=generator)
