"""Labels of an epoch: packed small, nearest centroid, by the index of the patch."""

import pytest
import torch
import torch.nn.functional as F

from geoseg.methods.clustering.pseudo_labels import (
    Seen,
    cluster_epoch,
    cluster_shares,
    cluster_sizes,
    label_epoch,
    label_features,
    normalized_entropy,
    pack_labels,
    targets_from_state,
    targets_state,
    unpack_labels,
)
from geoseg.methods.views.symmetries import apply_symmetry


def maps(n: int = 4, seed: int = 0):
    """Unit features (n, 6, 5, 5), and which of them count."""
    generator = torch.Generator().manual_seed(seed)
    valid = torch.rand(n, 5, 5, generator=generator) > 0.2
    return F.normalize(torch.randn(n, 6, 5, 5, generator=generator), dim=1), valid


@pytest.mark.parametrize(
    ("clusters", "dtype"),
    [(2, torch.uint8), (255, torch.uint8), (256, torch.int16), (4096, torch.int16)],
)
def test_labels_take_as_few_bytes_as_they_can_and_come_back(clusters, dtype):
    labels = torch.arange(-1, clusters).reshape(1, 1, -1)
    packed = pack_labels(labels, clusters)
    assert packed.dtype == dtype
    assert torch.equal(unpack_labels(packed), labels)
    assert cluster_sizes(packed, clusters).tolist() == [1] * clusters


def test_labels_are_the_nearest_centroids_by_an_explicit_loop():
    features, valid = maps()
    centroids = maps(seed=1)[0][0].flatten(1).t()[:7]  # (7, 6)
    labels = unpack_labels(label_features(features, valid, centroids))
    for n, row, column in torch.cartesian_prod(*map(torch.arange, labels.shape)):
        z = features[n, :, row, column]
        distances = [float((z - mu).square().sum()) for mu in centroids]
        nearest = distances.index(min(distances)) if valid[n, row, column] else -1
        assert int(labels[n, row, column]) == nearest


@pytest.mark.parametrize("code", range(8))
def test_labels_of_turned_features_are_turned_labels_exactly(code):
    features, valid = maps()
    centroids = features.permute(0, 2, 3, 1).reshape(-1, 6)[::9]
    codes = torch.full((4,), code)  # 1 is the horizontal flip
    turned = label_features(
        apply_symmetry(features, codes), apply_symmetry(valid, codes), centroids
    )
    expected = apply_symmetry(label_features(features, valid, centroids), codes)
    assert torch.equal(turned, expected)


def test_an_epoch_s_labels_are_in_the_order_of_the_patches_whatever_the_batches():
    features, valid = maps()

    def shuffled():
        for part in (torch.tensor([2, 0]), torch.tensor([3, 1])):
            yield Seen(part, (features[part], -features[part]), valid[part])

    centroids = cluster_epoch(shuffled(), {"main": 3}, seed=0, start_batches=2)
    targets = label_epoch(shuffled(), centroids, balance="inverse")["main"]
    for view, z in enumerate((features, -features)):
        mu = targets.centroids[view]
        assert torch.equal(targets.labels[view], label_features(z, valid, mu))
        sizes = cluster_sizes(targets.labels[view], 3)
        assert sizes.sum() == valid.sum()
        weighed = targets.weights[view] * sizes
        torch.testing.assert_close(weighed, (valid.sum() / 3.0).expand(3))


def test_targets_come_back_from_a_checkpoint_s_names():
    features, valid = maps()
    seen = [Seen(torch.arange(4), (features, -features), valid)]
    centroids = cluster_epoch(seen, {"main": 3, "over": 300}, seed=0, start_batches=1)
    targets = label_epoch(seen, centroids, balance="none")
    found = targets_from_state(targets_state(targets))
    assert list(found) == ["main", "over"]
    for head, target in targets.items():
        for mine, theirs in zip(target, found[head], strict=True):
            assert len(mine) == 2
            assert all(map(torch.equal, mine, theirs))


def test_shares_leave_out_what_has_no_label_and_entropy_is_relative():
    packed = pack_labels(torch.tensor([[0, 0, 1, -1]]), 4)
    shares = cluster_shares(packed, 4)
    torch.testing.assert_close(shares, torch.tensor([2 / 3, 1 / 3, 0, 0]))
    assert float(normalized_entropy(torch.full((8,), 1 / 8))) == pytest.approx(1)
    assert float(normalized_entropy(torch.tensor([1.0, 0.0]))) == 0
    assert not cluster_shares(pack_labels(torch.tensor([-1]), 4), 4).any()
