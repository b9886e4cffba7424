import math

import pytest
import torch

from geoseg.core.errors import ParameterError
from geoseg.core.patches import IGNORE, PatchBatch
from geoseg.methods import build_method
from geoseg.methods.bases.method import StepContext
from geoseg.methods.losses.information import mutual_information
from geoseg.methods.networks.heads import SubHeads

#: For ``small_methods``: parameters that train in a moment.
SIZES = {"iic": {"width": 2, "over_clusters": 6}}
SMALL = {"width": 2, "main_clusters": 3, "over_clusters": 6, "half_width": 2}


def batch_of(image: torch.Tensor) -> PatchBatch:
    n, _, h, w = image.shape
    valid = torch.ones((n, h, w), dtype=torch.bool)
    mask = torch.full((n, h, w), IGNORE)
    return PatchBatch(image, valid, mask, torch.arange(n))


def noise(seed: int = 0, size: int = 24) -> PatchBatch:
    generator = torch.Generator().manual_seed(seed)
    return batch_of(torch.rand((4, 3, size, size), generator=generator))


def test_alternating_epochs_train_one_head_and_the_trunk():
    method = build_method("iic", 3, SMALL)
    for epoch, head, other in ((0, "over", "main"), (1, "main", "over")):
        method.zero_grad()
        method.training_step(noise(), StepContext(epoch, 0, 0)).loss.backward()
        assert getattr(method, head).convolution.weight.grad.abs().sum() > 0
        assert getattr(method, other).convolution.weight.grad is None
        assert next(method.trunk.parameters()).grad.abs().sum() > 0


def test_joint_heads_train_together():
    method = build_method("iic", 3, {**SMALL, "schedule": "joint"})
    output = method.training_step(noise(), StepContext(0, 0, 0))
    output.loss.backward()
    assert method.main.convolution.weight.grad.abs().sum() > 0
    assert method.over.convolution.weight.grad.abs().sum() > 0
    total = output.logs["loss_main"] + output.logs["loss_at_one"]
    assert float(output.loss.detach()) == pytest.approx(float(total))


def test_without_changes_the_loss_is_that_of_a_patch_with_itself():
    # Both views are then the patch itself, so one forward pass tells both outputs.
    settings = {**SMALL, "jitter": 0.0, "symmetries": False}
    method = build_method("iic", 3, settings)
    batch = noise()
    loss = method.training_step(batch, StepContext(0, 0, 0)).loss
    x = method.probabilities(batch.image, batch.valid, "over")
    expected = mutual_information(x, x, batch.valid, half_width=2).loss
    torch.testing.assert_close(loss, expected)


def test_one_step_lowers_the_loss_of_a_fixed_batch():
    method = build_method("iic", 3, {**SMALL, "learning_rate": 1e-3})
    optimizer = method.configure_optimizer()
    context = StepContext(0, 0, 0)
    before = method.training_step(noise(), context).loss
    before.backward()
    optimizer.step()
    assert method.training_step(noise(), context).loss < before


@pytest.mark.parametrize("size", [(1, 1), (17, 30), (33, 8)])
@pytest.mark.parametrize("head", ["main", "over"])
def test_probabilities_of_any_size_sum_to_one(size, head):
    method = build_method("iic", 5, SMALL).eval()
    image = torch.rand((2, 5, *size))
    valid = torch.ones((2, *size), dtype=torch.bool)
    with torch.no_grad():
        found = method.predict(image, valid, head)
    assert found.shape == (2, method.heads[head], *size)
    torch.testing.assert_close(found.sum(dim=1), torch.ones((2, *size)))


def test_prediction_changes_no_state():
    method = build_method("iic", 3, SMALL).eval()
    before = {name: tensor.clone() for name, tensor in method.state_dict().items()}
    chance = torch.get_rng_state()
    batch = noise()
    with torch.no_grad():
        method.predict(batch.image, batch.valid)
    after = method.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert torch.equal(chance, torch.get_rng_state())


def test_equal_seeds_build_equal_weights_and_leave_chance_alone():
    chance = torch.get_rng_state()
    first, second = (build_method("iic", 3, SMALL, seed=5) for _ in range(2))
    other = build_method("iic", 3, SMALL, seed=6)
    assert torch.equal(chance, torch.get_rng_state())
    assert torch.equal(first.over.convolution.weight, second.over.convolution.weight)
    assert not torch.equal(first.over.convolution.weight, other.over.convolution.weight)


@pytest.mark.slow
def test_displacement_separates_two_textures_of_one_mean_colour():
    # Methods.md section 1, test 9: left stripes and right chequers, both grey on
    # average; the halves must get different clusters.
    size = 32
    rows, columns = torch.meshgrid(
        torch.arange(size), torch.arange(size), indexing="ij"
    )
    stripes, chequers = (columns % 2).float(), ((rows // 2 + columns // 2) % 2).float()
    halves = torch.where(columns < size // 2, stripes, chequers)
    image = halves.expand(4, 1, size, size).clone()
    settings = {"width": 4, "main_clusters": 2, "over_clusters": 2, "half_width": 3}
    method = build_method("iic", 1, {**settings, "learning_rate": 1e-2}, seed=1)
    optimizer = method.configure_optimizer()
    for step in range(60):
        optimizer.zero_grad()
        method.training_step(batch_of(image), StepContext(0, step, 0)).loss.backward()
        optimizer.step()
    method.eval()
    with torch.no_grad():
        ids = method.predict(image, torch.ones((4, size, size)).bool()).argmax(dim=1)
    left, right = ids[0, 8:-8, 4:12].float().mean(), ids[0, 8:-8, 20:-4].float().mean()
    assert abs(left - right) > 0.9


def test_an_unknown_schedule_is_refused():
    with pytest.raises(ParameterError, match="'sometimes', expected one of"):
        build_method("iic", 3, {"schedule": "sometimes"})


STRONG = {"rotate": 30.0, "shear": 10.0, "scale": 1.25, "translate": 2.0}


def test_affine_views_train_with_finite_gradients():
    method = build_method("iic", 3, {**SMALL, **STRONG})
    output = method.training_step(noise(), StepContext(0, 0, 0))
    output.loss.backward()
    for parameter in method.trunk.parameters():
        assert parameter.grad.isfinite().all() and parameter.grad.abs().sum() > 0


def test_affine_views_are_aligned_before_they_are_compared():
    # A network that tells left from right by colour says the same of a place in both
    # views only if the way back is right; then nearly ln 2 is shared.
    size = 32
    image = torch.where(torch.arange(size) < size // 2, 0.2, 0.8).expand(
        8, 1, size, size
    )
    settings = {"width": 2, "main_clusters": 2, "over_clusters": 2, "half_width": 0}
    settings |= {"jitter": 0.0, **STRONG}
    method = build_method("iic", 1, settings)
    method.features = lambda image, valid: image
    method.over = SubHeads(1, 2)
    with torch.no_grad():
        method.over.convolution.weight.copy_(
            torch.tensor([40.0, -40.0]).view(2, 1, 1, 1)
        )
        method.over.convolution.bias.copy_(torch.tensor([-20.0, 20.0]))
    loss = method.training_step(batch_of(image.clone()), StepContext(0, 0, 0)).loss
    assert float(loss.detach()) < -0.9 * math.log(2)


def test_sub_heads_train_together_and_the_mean_loss_is_returned():
    method = build_method("iic", 3, {**SMALL, "sub_heads": 3})
    output = method.training_step(noise(), StepContext(0, 0, 0))
    output.loss.backward()
    assert method.over.convolution.weight.grad.shape[0] == 3 * 6
    for part in method.over.convolution.weight.grad.split(6):
        assert part.abs().sum() > 0
    # One step weighs a hundredth in the running means, which start at 0.
    losses = method.over.losses / 0.01
    assert float(output.loss.detach()) == pytest.approx(float(losses.mean()), rel=1e-5)
    assert float(output.logs["loss_at_one"]) == pytest.approx(
        float(losses.min()), rel=1e-5
    )
    assert not method.main.losses.any()  # it did not train in this epoch


def test_prediction_takes_the_chosen_sub_head_and_state_dict_holds_the_choice():
    method = build_method("iic", 3, {**SMALL, "sub_heads": 2}).eval()
    batch = noise()
    found = []
    with torch.no_grad():
        for losses in ([0.0, -1.0], [-1.0, 0.0]):
            method.over.losses.copy_(torch.tensor(losses))
            found.append(method.predict(batch.image, batch.valid))
        other = build_method("iic", 3, {**SMALL, "sub_heads": 2}, seed=9).eval()
        other.load_state_dict(method.state_dict())
        assert other.predict(batch.image, batch.valid).equal(found[1])
    assert not found[0].equal(found[1])


def test_softmax_first_upsamples_probabilities():
    method = build_method("iic", 3, {**SMALL, "softmax_first": True}).eval()
    batch = noise()
    with torch.no_grad():
        found = method.predict(batch.image, batch.valid)
        logits = method.over(method.features(batch.image, batch.valid))
    expected = torch.nn.functional.interpolate(
        logits.softmax(1), size=(24, 24), mode="bilinear", align_corners=False
    )
    torch.testing.assert_close(found, expected)


def test_colour_breakers_reach_the_views():
    method = build_method(
        "iic", 3, {"gain": 0.4, "drop": 0.1, "blur": 1.0, "noise": 0.05}
    )
    found = method.photometric
    assert (found.gain, found.offset, found.drop) == (0.4, 0.2, 0.1)
    assert (found.blur, found.noise, found.brightness) == (1.0, 0.05, 0.1)


@pytest.mark.parametrize(("trunk", "stages"), [("pyramid", 4), ("res12", 2)])
def test_the_baselines_of_picie_are_iic_on_other_trunks(trunk, stages):
    method = build_method("iic", 3, SMALL | {"trunk": trunk})
    assert len(method.trunk.lateral) == stages
    optimizer = method.configure_optimizer()
    losses = []
    for _ in range(4):
        optimizer.zero_grad()
        loss = method.training_step(noise(size=64), StepContext(0, 0, 0)).loss
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < losses[0]
    image = noise(size=37).image
    with torch.no_grad():
        found = method.eval().predict(image, torch.ones((4, 37, 37)).bool(), "over")
    torch.testing.assert_close(found.sum(dim=1), torch.ones((4, 37, 37)))
