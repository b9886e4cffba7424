"""PiCIE: views that correspond, labels of an epoch, the four terms, resuming."""

import pytest
import torch
from small_methods import unlabelled_batch, unlabelled_batches

from geoseg.core.errors import ParameterError, TrainingError
from geoseg.core.patches import IGNORE, PatchBatch
from geoseg.methods import build_method
from geoseg.methods.bases.method import StepContext
from geoseg.methods.clustering.pseudo_labels import unpack_labels
from geoseg.methods.losses.prototypes import prototype_cross_entropy
from geoseg.methods.views.symmetries import apply_symmetry

#: For ``small_methods``: parameters that train in a moment.
SIZES = {"picie": {"trunk": "vgg", "width": 2, "clusters": 6, "pixels": 1000}}
CONTEXT = StepContext(epoch=0, step=0, seed=0)


def build(**parameters):
    small = {"width": 2, "clusters": 5, "pixels": 1000, "start_batches": 2}
    return build_method("picie", 3, small | parameters)


class Pool(torch.nn.Module):
    """A trunk that commutes with turns exactly: means of 4 × 4 pixels."""

    def forward(self, image):
        return torch.nn.functional.avg_pool2d(image, 4) + 0.1


def test_labels_turn_with_the_image():
    method = build(jitter=0.0)
    method.trunk = Pool()
    method.begin_epoch(CONTEXT, unlabelled_batches)
    first, second = method.targets["main"].labels
    # Without recolouring, and with a trunk that turns along, the views are one: their
    # features agree, and so do the labels but for the numbers of the clusters.
    z1, z2 = method.see(unlabelled_batch(), CONTEXT).features
    torch.testing.assert_close(z1, z2)
    pairs = set(zip(first.flatten().tolist(), second.flatten().tolist(), strict=True))
    assert len(pairs) == len({a for a, _ in pairs}) == len({b for _, b in pairs})


class Colors(torch.nn.Module):
    """A trunk that commutes with crops of linear images: means, and a constant."""

    def forward(self, image):
        means = torch.nn.functional.avg_pool2d(image, 4)
        return torch.cat([means, torch.ones_like(means[:, :1])], dim=1)


def linear_batch(n: int = 16, side: int = 32) -> PatchBatch:
    """Patches whose bands are ramps, to the right, downwards and across."""
    along = torch.linspace(0, 1, side)
    right, down = along.expand(side, side), along[:, None].expand(side, side)
    image = torch.stack([right, down, (right + down) / 2]).expand(n, -1, -1, -1)
    valid = torch.ones((n, side, side), dtype=torch.bool)
    mask = torch.full((n, side, side), IGNORE)
    return PatchBatch(image.clone(), valid, mask, torch.arange(n))


@pytest.mark.parametrize("symmetries", [False, True])
def test_cropped_views_show_the_same_ground(symmetries):
    method = build(jitter=0.0, crop=0.5, symmetries=symmetries)
    method.trunk, method.unit_length = Colors(), True
    patches = linear_batch()
    first, second = method.see(patches, CONTEXT).features
    inside = (..., slice(1, -1), slice(1, -1))
    # Directions of linear features, between four of which it was interpolated.
    torch.testing.assert_close(first[inside], second[inside], atol=0.01, rtol=0)
    torch.testing.assert_close(second.norm(dim=1), torch.ones(16, 8, 8))
    # The views are crops, one for each patch, and others in the next epoch.
    whole = build(jitter=0.0, symmetries=symmetries)
    whole.trunk = Colors()
    assert (first - whole.see(patches, CONTEXT).features[0]).abs().max() > 0.1
    later = method.see(patches, StepContext(1, 0, 0)).features[0]
    assert (first - later).abs().amax((1, 2, 3)).min() > 0.01


def test_a_crop_of_one_changes_no_bit():
    method = build(crop=1.0)
    codes = method.codes(unlabelled_batch().index, CONTEXT)
    method.eval()
    seen = method.see(unlabelled_batch(), CONTEXT)
    first, second = (
        method.recolored(unlabelled_batch(), CONTEXT, view) for view in (0, 1)
    )
    valid = unlabelled_batch().valid
    expected = (
        method.features(apply_symmetry(first, codes), apply_symmetry(valid, codes)),
        apply_symmetry(method.features(second, valid), codes),
    )
    assert all(map(torch.equal, seen.features, expected))
    assert seen.valid.sum() == 2 * 64 - 2


def test_cropped_pixels_without_data_have_no_label():
    method = build(crop=0.5, symmetries=False)
    patches = unlabelled_batch()
    patches.valid[0, :, :16] = False
    valid = method.see(patches, CONTEXT).valid
    assert valid[1].all()
    # Whole columns are lacking, from the left as far as the box reaches.
    assert valid[0].equal(valid[0, :1].expand(8, 8))
    assert not (valid[0, 0, :-1] & ~valid[0, 0, 1:]).any()


def test_a_cropped_training_step_is_finite():
    method = build(crop=0.5)
    method.begin_epoch(CONTEXT, unlabelled_batches)
    output = method.training_step(unlabelled_batch(), CONTEXT)
    output.loss.backward()
    assert torch.isfinite(output.loss)
    grads = [p.grad for p in method.parameters() if p.grad is not None]
    assert grads and all(bool(torch.isfinite(grad).all()) for grad in grads)


def test_pixels_without_data_have_no_label_wherever_they_are_turned():
    method = build()
    method.begin_epoch(CONTEXT, unlabelled_batches)
    codes = method.codes(unlabelled_batch().index, CONTEXT)
    lacking = torch.zeros((2, 8, 8), dtype=torch.bool)
    lacking[0, :1, :2] = True
    expected = apply_symmetry(lacking, codes)
    for labels in method.targets["main"].labels:
        assert torch.equal(unpack_labels(labels[:2]) == -1, expected)


def test_the_loss_is_the_mean_of_its_four_terms():
    method = build(jitter=0.2)
    method.begin_epoch(CONTEXT, unlabelled_batches)
    method.eval()  # the same features at each call
    labels, centroids, weights = method.targets["main"]
    views = method.see(unlabelled_batch(), CONTEXT).features
    terms = [
        prototype_cross_entropy(
            z, unpack_labels(labels[b][:2]), centroids[b], weights[b]
        )
        for z in views
        for b in (0, 1)
    ]
    output = method.training_step(unlabelled_batch(), CONTEXT)
    torch.testing.assert_close(output.loss, torch.stack(terms).mean())
    torch.testing.assert_close(output.logs["within"], (terms[0] + terms[3]) / 2)
    torch.testing.assert_close(output.logs["cross"], (terms[1] + terms[2]) / 2)


def test_equal_views_and_centroids_make_within_and_cross_equal():
    method = build(jitter=0.0, symmetries=False)
    method.begin_epoch(CONTEXT, unlabelled_batches)
    method.eval()
    logs = method.training_step(unlabelled_batch(), CONTEXT).logs
    torch.testing.assert_close(logs["within"], logs["cross"])


def test_labels_are_those_of_the_network_at_the_epoch_s_start():
    method = build()
    method.begin_epoch(CONTEXT, unlabelled_batches)
    before = [labels.clone() for labels in method.targets["main"].labels]
    optimizer = method.configure_optimizer()
    for patches in unlabelled_batches():
        optimizer.zero_grad()
        method.training_step(patches, CONTEXT).loss.backward()
        optimizer.step()
    assert all(map(torch.equal, before, method.targets["main"].labels))
    method.begin_epoch(StepContext(1, 3, 0), unlabelled_batches)
    assert not torch.equal(before[0], method.targets["main"].labels[0])


def test_a_step_on_a_fixed_batch_lowers_its_loss():
    method = build(learning_rate=1e-3)
    method.begin_epoch(CONTEXT, unlabelled_batches)
    optimizer = method.configure_optimizer()
    losses = []
    for _ in range(4):
        optimizer.zero_grad()
        loss = method.training_step(unlabelled_batch(), CONTEXT).loss
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < losses[0]


def test_heads_weigh_by_the_logarithm_of_the_other():
    method = build(over_clusters=25)
    assert method.heads == {"main": 5, "over": 25}
    assert method.default_head == "over"
    weights = method._head_weights()
    assert weights["main"] == pytest.approx(2 / 3)
    assert weights["over"] == pytest.approx(1 / 3)
    method.begin_epoch(CONTEXT, unlabelled_batches)
    output = method.training_step(unlabelled_batch(), CONTEXT)
    assert list(output.areas) == ["main", "over"]
    assert float(output.areas["over"].sum()) == pytest.approx(1)


def test_the_state_of_an_epoch_makes_a_copy_go_on_in_the_same_way():
    first, second = build(), build()
    first.begin_epoch(CONTEXT, unlabelled_batches)
    second.load_state_dict(first.state_dict())
    second.load_epoch_state(first.epoch_state())
    losses = [
        m.training_step(unlabelled_batch(1), CONTEXT).loss for m in (first, second)
    ]
    assert torch.equal(*losses)


def test_the_model_s_state_does_not_grow_with_the_patches():
    method = build()
    before = method.state_dict().keys()
    method.begin_epoch(CONTEXT, unlabelled_batches)
    assert method.state_dict().keys() == before


def test_finish_clusters_the_images_as_they_are():
    method = build()
    method.finish(unlabelled_batches)
    image, valid = unlabelled_batch().image, unlabelled_batch().valid
    with torch.no_grad():
        z = method.features(image, valid)
        found = method.predict(image, valid).argmax(dim=1)
    distances = torch.stack(
        [(z - mu[:, None, None]).square().sum(1) for mu in method.centroids_main], dim=1
    )
    expected = distances.argmin(dim=1)
    # The middle of every feature's pixels lies nearest to it; borders are blended.
    agree = (found[:, 1::4, 1::4] == expected).double().mean()
    assert agree > 0.9


def test_a_step_before_the_first_epoch_is_refused():
    with pytest.raises(TrainingError, match="no epoch has begun"):
        build().training_step(unlabelled_batch(), CONTEXT)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"similarity": "cosine"}, "similarity is 'cosine'"),
        ({"balance": "equal"}, "balance is 'equal'"),
        ({"start_batches": 0}, "start_batches is 0"),
        ({"crop": 0.0}, "crop is 0.0"),
        ({"over_clusters": 1}, "head 'over' has 1 clusters"),
    ],
)
def test_parameters_without_a_meaning_are_refused(wrong, message):
    with pytest.raises(ParameterError, match=message):
        build(**wrong)


def test_the_released_final_assignment_goes_by_scalar_product():
    image = torch.tensor([0.6, 0.1, 0.1])[None, :, None, None].expand(1, 3, 32, 32)
    valid = torch.ones((1, 32, 32), dtype=torch.bool)
    for final, expected in (("distance", 0), ("dot", 1)):
        method = build(clusters=2, final=final)
        method.trunk = Pool()
        with torch.no_grad():
            z = method.features(image, valid)[0, :, 0, 0]
            # the first lies at the feature, the second beyond it
            centroids = torch.stack([z, 1.5 * z])
            assert method.centroids_main.shape[0] == 2
            method.centroids_main = centroids
            found = method.eval().predict(image, valid).argmax(dim=1)
        assert (found == expected).all()
