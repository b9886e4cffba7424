"""Lloyd's iterations that skip comparisons equal those that make them all."""

import pytest
import torch

from geoseg.clustering import refine
from geoseg.errors import TrainingError
from geoseg.lloyd import Clusters
from geoseg.nearest import Search, assign


def mixture(n: int = 3000, d: int = 6, k: int = 5, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    middles = torch.randn(k, d, generator=generator)
    ids = torch.randint(k, (n,), generator=generator)
    return middles[ids] + 0.6 * torch.randn(n, d, generator=generator)


def plain(features, centroids, iterations):
    """All distances in float64, at every iteration."""
    features, centroids = features.double(), centroids.double()
    for _ in range(iterations):
        ids = torch.cdist(features, centroids).argmin(1)
        centroids = torch.stack(
            [features[ids == k].mean(0) for k in range(len(centroids))]
        )
    return centroids


@pytest.mark.parametrize("k", [1, 2, 7, 40])
def test_centroids_are_those_of_all_comparisons(k):
    features = mixture()
    start = features[:: len(features) // k][:k].clone()
    result = refine(lambda: features.split(700), start, iterations=15)
    expected = plain(features, start, result.iterations)
    torch.testing.assert_close(result.centroids.double(), expected, atol=1e-5, rtol=0)
    distances = torch.cdist(features.double(), expected)
    assert result.inertia == pytest.approx(float(distances.amin(1).square().sum()))
    assert result.counts.equal(distances.argmin(1).bincount(minlength=k))


def test_clusters_are_the_nearest_after_any_moves():
    features = mixture()
    generator = torch.Generator().manual_seed(1)
    centroids = features[:9].clone()
    clusters = Clusters(centroids)
    for size in (1e-3, 1e-2, 1e-1, 1.0, 1e-2, 1e-3, 1e-3):
        totals = clusters.gather(features.split(999))
        ids = assign(features, clusters.centroids)
        assert totals.counts.equal(ids.bincount(minlength=9))
        for k in range(9):
            torch.testing.assert_close(
                totals.sums[k], features[ids == k].double().sum(0)
            )
        step = size * torch.randn(9, 6, generator=generator)
        clusters.move(clusters.centroids + step)


def test_few_features_are_compared_once_the_centroids_hardly_move(monkeypatch):
    features = mixture()
    clusters = Clusters(features[:9].clone())
    clusters.gather([features])
    looked_at = []
    nearest = Search.nearest
    monkeypatch.setattr(
        Search,
        "nearest",
        lambda self, rows: looked_at.append(len(rows)) or nearest(self, rows),
    )
    clusters.move(clusters.centroids + 1e-4)
    clusters.gather([features])
    assert sum(looked_at) < len(features) / 20


def test_gaps_are_the_difference_of_the_two_smallest_distances():
    features = mixture()
    found = Search(features[:9]).nearest(features[9:1000])
    two = torch.cdist(features[9:1000].double(), features[:9].double()).sort(1).values
    exact = two[:, 1] - two[:, 0]
    assert (found.gaps <= exact).all()
    torch.testing.assert_close(found.gaps.double(), exact, atol=1e-2, rtol=0.01)


def test_the_sums_of_a_feature_that_is_not_finite_are_refused():
    features = mixture()
    features[2000, 1] = torch.inf
    with pytest.raises(TrainingError, match="not finite"):
        Clusters(mixture()[:3]).gather([features])
