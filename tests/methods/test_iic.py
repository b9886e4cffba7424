import pytest
import torch

from geoseg.errors import ParameterError
from geoseg.losses.mutual_information import mutual_information
from geoseg.methods import build_method
from geoseg.methods.base import StepContext
from geoseg.patches import IGNORE, PatchBatch

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
