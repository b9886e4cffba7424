"""Lloyd's iterations that skip comparisons equal those that make them all."""

import pytest
import torch

from geoseg.core.errors import TrainingError
from geoseg.methods.clustering.kmeans import refine
from geoseg.methods.clustering.lloyd import Clusters
from geoseg.methods.clustering.nearest import Search, assign, origin_of


def mixture(n: int = 3000, d: int = 6, k: int = 5, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    middles = torch.randn(k, d, generator=generator)
    ids = torch.randint(k, (n,), generator=generator)
    return middles[ids] + 0.6 * torch.randn(n, d, generator=generator)


def count_looks(monkeypatch) -> list[int]:
    """Return a list that grows by the number of features that are compared with all."""
    found: list[int] = []
    nearest = Search.nearest

    def counted(self, rows, squares):
        found.append(len(rows))
        return nearest(self, rows, squares)

    monkeypatch.setattr(Search, "nearest", counted)
    return found


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


@pytest.mark.parametrize("k, offset", [(1, 0), (2, 0), (9, 0), (9, 300), (80, 0)])
def test_clusters_are_the_nearest_after_any_moves(k, offset):
    features = mixture() + offset
    generator = torch.Generator().manual_seed(1)
    clusters = Clusters(features[:k].clone())
    for size in (1e-3, 1e-2, 1e-1, 1.0, 1e-2, 1e-3, 1e-3):
        totals = clusters.gather(features.split(999))
        ids = assign(features, clusters.centroids)
        assert totals.counts.equal(ids.bincount(minlength=k))
        for i in range(k):
            torch.testing.assert_close(
                totals.sums[i], features[ids == i].double().sum(0)
            )
        step = size * torch.randn(k, 6, generator=generator)
        clusters.move(clusters.centroids + step)


def test_few_features_are_compared_once_the_centroids_hardly_move(monkeypatch):
    features = mixture(k=9)
    clusters = Clusters(features[:9].clone())
    clusters.gather([features])
    clusters.gather([features])
    looked_at = count_looks(monkeypatch)
    clusters.move(clusters.centroids + 1e-4)
    clusters.gather([features])
    assert sum(looked_at) < len(features) / 20


@pytest.mark.parametrize("k", [9, 90])
def test_a_centroid_that_moves_far_leaves_most_features_alone(monkeypatch, k):
    features = mixture()
    clusters = Clusters(features[:k].clone())
    clusters.gather([features])
    clusters.gather([features])
    looked_at = count_looks(monkeypatch)
    moved = clusters.centroids.clone()
    moved[3] += 1.0
    clusters.move(moved)
    totals = clusters.gather([features])
    assert 0 < sum(looked_at) < len(features) / 2
    assert totals.counts.equal(assign(features, moved).bincount(minlength=k))


@pytest.mark.parametrize("offset", [0.0, 1e4])
def test_bounds_hold_and_are_tight(offset):
    features = mixture() + offset
    centroids, rows = features[:9], features[9:1000]
    search = Search(centroids, origin_of(centroids))
    moved = search.moved(rows)
    found = search.nearest(moved, moved.square().sum(1))
    two = torch.cdist(rows.double(), centroids.double()).sort(1).values
    assert (found.upper >= two[:, 0]).all() and (found.lower <= two[:, 1]).all()
    torch.testing.assert_close(found.upper.double(), two[:, 0], atol=0.01, rtol=0.01)
    torch.testing.assert_close(found.lower.double(), two[:, 1], atol=0.01, rtol=0.01)


def test_the_sums_of_a_feature_that_is_not_finite_are_refused():
    features = mixture()
    features[2000, 1] = torch.inf
    with pytest.raises(TrainingError, match="not finite"):
        Clusters(mixture()[:3]).gather([features])
