"""Lloyd's iterations: those of all distances in float64, from features in blocks."""

import pytest
import torch

from geoseg.core.errors import TrainingError
from geoseg.methods.clustering import nearest
from geoseg.methods.clustering.kmeans import refine
from geoseg.methods.clustering.lloyd import add_up, farthest
from geoseg.methods.clustering.nearest import assign, assigned


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


@pytest.mark.parametrize("k, offset", [(1, 0), (2, 0), (9, 0), (9, 300), (80, 0)])
def test_sums_are_those_of_the_nearest_features(k, offset):
    features = mixture() + offset
    centroids = features[:k]
    sums, counts = add_up(assigned(features.split(999), centroids), centroids)
    ids = torch.cdist(features.double(), centroids.double()).argmin(1)
    assert counts.equal(ids.bincount(minlength=k))
    for i in range(k):
        torch.testing.assert_close(sums[i], features[ids == i].double().sum(0))


def test_pieces_fit_into_the_cache_and_change_no_bit(monkeypatch):
    features, centroids = mixture(), mixture()[:9]
    ids = assign(features, centroids)
    one = refine(lambda: [features], centroids, iterations=5)
    monkeypatch.setattr(nearest, "_CACHED", 1500)
    pieces = list(assigned([features], centroids))
    assert {len(rows) for rows, _ in pieces} == {100}
    assert torch.cat([rows for rows, _ in pieces]).equal(features)
    assert assign(features, centroids).equal(ids)
    many = refine(lambda: features.split(700), centroids, iterations=5)
    assert many.centroids.equal(one.centroids)


def test_the_farthest_features_are_those_of_all_blocks():
    features, centroids = mixture(), mixture()[:9]
    distances = torch.cdist(features.double(), centroids.double()).amin(1)
    pieces = assigned(features.split(400), centroids)
    expected = features[distances.argsort(descending=True)[:7]]
    assert farthest(pieces, centroids, 7).equal(expected.double())
    # Features that lie on their centroids are no place to move one to.
    assert len(farthest(assigned([centroids], centroids), centroids, 3)) == 0


def test_the_sums_of_a_feature_that_is_not_finite_are_refused():
    features = mixture()
    features[2000, 1] = torch.inf
    with pytest.raises(TrainingError, match="not finite"):
        add_up(assigned([features], mixture()[:3]), mixture()[:3])
