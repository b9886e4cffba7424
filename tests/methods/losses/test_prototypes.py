"""PiCIE's cross-entropy: explicit loops, floors, what gradients reach."""

import math

import pytest
import torch
import torch.nn.functional as F

from geoseg.core.errors import ParameterError, ShapeError
from geoseg.methods.losses.prototypes import (
    balancing_weights,
    prototype_cross_entropy,
    prototype_logits,
)

SIMILARITIES = ["distance", "dot"]


def case(seed: int = 0):
    """Unit features (2, 5, 3, 4), labels with some ignored, centroids (4, 5)."""
    generator = torch.Generator().manual_seed(seed)
    features = torch.randn(2, 5, 3, 4, generator=generator, dtype=torch.float64)
    labels = torch.randint(4, (2, 3, 4), generator=generator)
    labels[0, 1] = -1
    centroids = torch.randn(4, 5, generator=generator, dtype=torch.float64)
    return F.normalize(features, dim=1), labels, centroids


def by_loop(features, labels, centroids, weights, similarity):
    total, pixels = 0.0, 0
    for n in range(features.shape[0]):
        for row in range(features.shape[2]):
            for column in range(features.shape[3]):
                label = int(labels[n, row, column])
                if label == -1:
                    continue
                z = features[n, :, row, column]
                if similarity == "dot":
                    scores = [float(z @ mu) for mu in centroids]
                else:
                    scores = [-float((z - mu).square().sum()) for mu in centroids]
                norm = math.log(sum(math.exp(s) for s in scores))
                total += float(weights[label]) * (norm - scores[label])
                pixels += 1
    return total / pixels


@pytest.mark.parametrize("similarity", SIMILARITIES)
def test_the_loss_is_that_of_an_explicit_loop(similarity):
    features, labels, centroids = case()
    weights = torch.tensor([0.5, 1.0, 2.0, 0.0])
    loss = prototype_cross_entropy(
        features, labels, centroids, weights, similarity=similarity
    )
    expected = by_loop(features, labels, centroids, weights, similarity)
    assert float(loss) == pytest.approx(expected, rel=1e-12)


def test_the_floor_of_orthogonal_prototypes_is_the_published_one():
    centroids = torch.eye(27, dtype=torch.float64)
    features = centroids.t().reshape(1, 27, 1, 27)  # every pixel at its prototype
    labels = torch.arange(27).reshape(1, 1, 27)
    loss = prototype_cross_entropy(features, labels, centroids, similarity="dot")
    assert float(loss) == pytest.approx(math.log(1 + 26 / math.e), rel=1e-12)
    assert float(loss) == pytest.approx(2.36, abs=0.005)


def test_permuting_the_clusters_changes_nothing():
    features, labels, centroids = case()
    order = torch.tensor([2, 0, 3, 1])
    renamed = torch.where(labels == -1, -1, order.argsort()[labels % 4])
    loss = prototype_cross_entropy(features, labels, centroids)
    other = prototype_cross_entropy(features, renamed, centroids[order])
    torch.testing.assert_close(other, loss)


def test_no_gradient_reaches_the_prototypes():
    features, labels, centroids = case()
    features.requires_grad_()
    centroids.requires_grad_()
    prototype_cross_entropy(features, labels, centroids).backward()
    assert centroids.grad is None
    assert features.grad is not None and features.grad.abs().sum() > 0
    assert (features.grad[0, :, 1] == 0).all()  # ignored pixels pull nowhere


@pytest.mark.parametrize("similarity", SIMILARITIES)
def test_the_gradient_is_right_in_float64(similarity):
    features, labels, centroids = case()
    assert torch.autograd.gradcheck(
        lambda z: prototype_cross_entropy(z, labels, centroids, similarity=similarity),
        features.requires_grad_(),
    )


def test_a_batch_without_labels_has_loss_and_gradient_zero():
    features, labels, centroids = case()
    features.requires_grad_()
    loss = prototype_cross_entropy(features, torch.full_like(labels, -1), centroids)
    loss.backward()
    assert float(loss.detach()) == 0
    assert not features.grad.any()


def test_a_mean_of_halves_is_the_loss_of_the_whole():
    features, labels, centroids = case()
    labels[labels == -1] = 0
    weights = torch.tensor([0.5, 1.0, 2.0, 0.1])
    whole = prototype_cross_entropy(features, labels, centroids, weights)
    halves = [
        prototype_cross_entropy(
            features[n : n + 1], labels[n : n + 1], centroids, weights
        )
        for n in range(2)
    ]
    torch.testing.assert_close(torch.stack(halves).mean(), whole)


def test_half_precision_features_are_compared_in_float32():
    features, labels, centroids = case()
    rounded = features.bfloat16()
    loss = prototype_cross_entropy(rounded, labels, centroids.float())
    exact = prototype_cross_entropy(rounded.float(), labels, centroids.float())
    assert loss.dtype == torch.float32
    assert torch.equal(loss, exact)


def test_inverse_weights_make_clusters_pull_alike():
    counts = torch.tensor([10, 1000, 0])
    weights = balancing_weights(counts, "inverse")
    assert float(weights[0] * 10) == pytest.approx(float(weights[1] * 1000))
    assert float(weights[2]) == 0
    assert float((weights * counts).sum()) == pytest.approx(1010)


def test_released_weights_grow_with_the_cluster():
    weights = balancing_weights(torch.tensor([1, 3]), "as_released")
    assert weights.tolist() == pytest.approx([0.4, 1.2])


def test_without_balance_all_weigh_one():
    assert balancing_weights(torch.tensor([5, 0]), "none").tolist() == [1, 1]


def test_wrong_names_and_shapes_are_refused():
    features, labels, centroids = case()
    with pytest.raises(ParameterError, match="similarity is 'cosine', expected"):
        prototype_logits(features, centroids, "cosine")
    with pytest.raises(ParameterError, match="balance is 'equal', expected"):
        balancing_weights(torch.ones(2), "equal")
    with pytest.raises(ShapeError, match="labels have shape"):
        prototype_cross_entropy(features, labels[:, :2], centroids)
    with pytest.raises(ShapeError, match="centroids"):
        prototype_logits(features, centroids[:, :3])
