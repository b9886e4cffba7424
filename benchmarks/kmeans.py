"""Time geoseg's k-means against faiss-cpu and scikit-learn's MiniBatchKMeans.

Run ``pip install -e .[benchmarks]`` and ``python benchmarks/kmeans.py``; it prints a
Markdown table. All start from the same features and work on the same float32 vectors
with as many threads; faiss without subsampling. Inertia is that of all vectors, in
float64, computed in the same way for all. Equal inertia: the first of geoseg's and
faiss's budgets of iterations at which each comes within a tenth of a percent of the
lower one's last inertia; the time is that of this many iterations.
"""

import argparse
import os
import time
from collections.abc import Callable
from typing import NamedTuple

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # before torch starts its threads

import faiss
import numpy as np
import torch
import torch.nn.functional as F
from sklearn.cluster import MiniBatchKMeans
from threadpoolctl import threadpool_limits
from torch import Tensor

from geoseg.methods.clustering.kmeans import refine
from geoseg.methods.clustering.nearest import assign

#: Of the lowest inertia: what counts as equal.
TOLERANCE = 1e-3


class Run(NamedTuple):
    """One clustering.

    Attributes:
        iterations: Asked for; None where a library has its own rule.
        seconds: From the vectors in memory to the centroids.
        inertia: Sum of squared distances of all vectors.
    """

    iterations: int | None
    seconds: float
    inertia: float


def unit_mixture(n: int, d: int, components: int, seed: int = 0) -> Tensor:
    """Return ``(n, d)`` unit vectors around middles of unequal weight and spread."""
    generator = torch.Generator().manual_seed(seed)
    middles = F.normalize(torch.randn(components, d, generator=generator), dim=1)
    weights = torch.rand(components, generator=generator) + 0.1
    spread = 0.05 + 0.1 * torch.rand(components, generator=generator)
    ids = torch.multinomial(weights, n, replacement=True, generator=generator)
    vectors = torch.empty(n, d)
    for part, own in zip(vectors.split(2**16), ids.split(2**16), strict=True):
        noise = torch.randn(len(own), d, generator=generator)
        part.copy_(F.normalize(middles[own] + spread[own, None] * noise, dim=1))
    return vectors


def total_inertia(vectors: Tensor, centroids: Tensor) -> float:
    """Return the sum of squared distances to the nearest centroid, in float64."""
    total = 0.0
    for part in vectors.split(2**16):
        nearest = centroids[assign(part, centroids)]
        total += float((part - nearest).square().sum(1).double().sum())
    return total


def ours(vectors: Tensor, start: Tensor, iterations: int) -> Tensor:
    """Cluster with geoseg."""
    return refine(lambda: [vectors], start, iterations=iterations).centroids


def with_faiss(vectors: Tensor, start: Tensor, iterations: int) -> Tensor:
    """Cluster with faiss, all vectors at every iteration."""
    clustering = faiss.Kmeans(
        vectors.shape[1],
        len(start),
        niter=iterations,
        max_points_per_centroid=len(vectors),
    )
    clustering.train(vectors.numpy(), init_centroids=start.numpy())
    return torch.from_numpy(np.array(clustering.centroids))


def with_sklearn(vectors: Tensor, start: Tensor, iterations: int) -> Tensor:
    """Cluster with scikit-learn: ``iterations`` passes at most, its own rule of end."""
    clustering = MiniBatchKMeans(
        len(start),
        init=start.numpy(),
        n_init=1,
        batch_size=4096,
        max_iter=iterations,
        random_state=0,
    )
    return torch.from_numpy(clustering.fit(vectors.numpy()).cluster_centers_)


def timed(
    cluster: Callable[[Tensor, Tensor, int], Tensor],
    vectors: Tensor,
    start: Tensor,
    iterations: int,
) -> Run:
    """Run a clustering once."""
    begin = time.perf_counter()
    centroids = cluster(vectors, start.clone(), iterations)
    seconds = time.perf_counter() - begin
    return Run(iterations, seconds, total_inertia(vectors, centroids))


def first_within(runs: list[Run], goal: float) -> Run | None:
    """Return the first run whose inertia is at most the goal."""
    return next((run for run in runs if run.inertia <= goal), None)


def compare(vectors: Tensor, k: int, budgets: list[int]) -> list[str]:
    """Return the rows of the table for one K."""
    generator = torch.Generator().manual_seed(k)
    start = vectors[torch.randperm(len(vectors), generator=generator)[:k]]
    libraries = {"geoseg": ours, "faiss": with_faiss}
    runs: dict[str, list[Run]] = {name: [] for name in libraries}
    for budget in budgets:  # in turns, so that a busy machine slows all alike
        for name, cluster in libraries.items():
            runs[name].append(timed(cluster, vectors, start, budget))
    runs["scikit-learn"] = [timed(with_sklearn, vectors, start, budgets[-1])]
    lowest = min(runs["geoseg"][-1].inertia, runs["faiss"][-1].inertia)
    reached = {
        name: first_within(found, lowest * (1 + TOLERANCE))
        for name, found in runs.items()
    }
    base = reached["faiss"]
    rows = []
    for name, found in runs.items():
        run = reached[name] or found[-1]
        ratio = f"{run.seconds / base.seconds:.2f}" if base and reached[name] else "—"
        above = 100 * (found[-1].inertia / lowest - 1)
        rows.append(
            f"| {k} | {name} | {run.iterations} | {run.seconds:.1f} | {ratio} "
            f"| {found[-1].seconds:.1f} | {above:+.3f} % |"
        )
    return rows


def main(arguments: list[str] | None = None) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--vectors", type=int, default=2_000_000)
    parser.add_argument("--dimensions", type=int, default=128)
    parser.add_argument("--clusters", type=int, nargs="+", default=[24, 256])
    parser.add_argument("--iterations", type=int, nargs="+", default=[10, 20])
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    faiss.omp_set_num_threads(options.threads)
    print(
        f"{options.vectors} × {options.dimensions}, {options.threads} threads, "
        f"torch {torch.__version__}, faiss {faiss.__version__}\n"
    )
    print(
        "| K | library | iterations | seconds to equal inertia | over faiss |", end=""
    )
    print(" seconds of all | inertia above the lowest |")
    print("|---:|---|---:|---:|---:|---:|---:|")
    with threadpool_limits(options.threads):
        for k in options.clusters:
            vectors = unit_mixture(options.vectors, options.dimensions, 2 * k)
            for row in compare(vectors, k, sorted(options.iterations)):
                print(row, flush=True)


if __name__ == "__main__":
    main()
