"""The IIC loss against closed forms and an explicit loop over displacements."""

import math
import subprocess
import sys

import pytest
import torch
from torch import Tensor

from geoseg.core.errors import ParameterError, ShapeError
from geoseg.methods.losses.information import displaced_joint, mutual_information


def joint_by_loop(x: Tensor, y: Tensor, t: int) -> Tensor:
    """The definition: one matrix product per displacement."""
    _, _, h, w = x.shape
    rows = []
    for dr in range(-t, t + 1):
        row = []
        for dc in range(-t, t + 1):
            r0, r1 = max(0, -dr), min(h, h - dr)
            c0, c1 = max(0, -dc), min(w, w - dc)
            if r0 >= r1 or c0 >= c1:
                row.append(x.new_zeros(x.shape[1], y.shape[1]))
                continue
            here = y[:, :, r0:r1, c0:c1]
            there = x[:, :, r0 + dr : r1 + dr, c0 + dc : c1 + dc]
            row.append(torch.einsum("nihw,njhw->ij", there, here))
        rows.append(torch.stack(row))
    return torch.stack(rows)


def loss_by_loop(x: Tensor, y: Tensor, valid: Tensor, t: int, lam: float) -> Tensor:
    """The formula of the paper, displacement by displacement."""
    weight = valid.to(x.dtype).unsqueeze(1)
    losses = []
    for c in joint_by_loop(x * weight, y * weight, t).flatten(0, 1):
        p = c / c.sum()
        p = (p + p.T) / 2
        row = p.sum(1, keepdim=True)
        column = p.sum(0, keepdim=True)
        losses.append(-(p * (p.log() - lam * row.log() - lam * column.log())).sum())
    return torch.stack(losses).mean()


def probabilities(*shape: int, seed: int = 0, dtype=torch.float64) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return (2 * torch.randn(*shape, generator=generator, dtype=dtype)).softmax(1)


def one_hot_map(k: int, h: int, w: int) -> Tensor:
    """Columns of clusters 0, 1, .., k-1, 0, ..: (1, k, h, w)."""
    ids = torch.arange(w).remainder(k).expand(1, h, w)
    return torch.nn.functional.one_hot(ids, k).permute(0, 3, 1, 2).double()


def everywhere(x: Tensor) -> Tensor:
    return torch.ones(x.shape[0], *x.shape[2:], dtype=torch.bool)


@pytest.mark.parametrize(
    ("h", "w", "t"), [(9, 14, 3), (14, 9, 3), (5, 5, 0), (3, 4, 6), (1, 8, 2)]
)
def test_joint_equals_the_explicit_loop_over_displacements(h, w, t):
    x, y = probabilities(2, 3, h, w), probabilities(2, 5, h, w, seed=1)
    torch.testing.assert_close(
        displaced_joint(x, y, t), joint_by_loop(x, y, t), rtol=1e-12, atol=1e-12
    )


def test_joint_in_float32_is_within_rounding_of_the_loop():
    x, y = probabilities(4, 6, 40, 33), probabilities(4, 6, 40, 33, seed=1)
    exact = joint_by_loop(x, y, 10)
    found = displaced_joint(x.float(), y.float(), 10)
    assert found.dtype == torch.float32
    assert (found - exact).abs().max() < 1e-6 * exact.max()


def test_joint_of_equal_views_is_transposed_by_the_opposite_displacement():
    x = probabilities(2, 4, 11, 8)
    joint = displaced_joint(x, x, 3)
    torch.testing.assert_close(joint, joint.flip(0, 1).transpose(2, 3))


def test_joint_passes_gradcheck():
    x, y = probabilities(2, 2, 4, 5), probabilities(2, 3, 4, 5, seed=1)
    x.requires_grad_()
    y.requires_grad_()
    assert torch.autograd.gradcheck(lambda a, b: displaced_joint(a, b, 2), (x, y))


@pytest.mark.parametrize("collapsed", [False, True])
def test_loss_gradient_matches_finite_differences(collapsed):
    x, y = probabilities(1, 3, 4, 5), probabilities(1, 3, 4, 5, seed=1)
    valid = torch.ones(1, 4, 5, dtype=torch.bool)
    valid[0, 1, 2] = False

    def loss(a: Tensor) -> Tensor:
        result = mutual_information(
            a, y, valid, half_width=1, lam=1.5, collapsed=collapsed
        )
        return result.loss

    x.requires_grad_()
    if not collapsed:
        assert torch.autograd.gradcheck(loss, (x,))
        return
    # The collapsed normaliser is a constant by definition: compare along directions
    # that do not change it, where both gradients agree.
    (gradient,) = torch.autograd.grad(loss(x), x)
    direction = torch.zeros_like(x)
    direction[0, 0, 2, 2], direction[0, 1, 2, 2] = 1.0, -1.0
    with torch.no_grad():
        rise = loss(x + 1e-6 * direction) - loss(x - 1e-6 * direction)
    assert (gradient * direction).sum().item() == pytest.approx(rise.item() / 2e-6)


@pytest.mark.parametrize("lam", [1.0, 1.5])
def test_loss_and_gradients_equal_the_paper_s_formula_by_loop(lam):
    x, y = probabilities(2, 4, 7, 10), probabilities(2, 4, 7, 10, seed=1)
    valid = torch.rand(2, 7, 10, generator=torch.Generator().manual_seed(2)) > 0.3
    x.requires_grad_()
    y.requires_grad_()
    found = mutual_information(x, y, valid, half_width=2, lam=lam).loss
    expected = loss_by_loop(x, y, valid, 2, lam)
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(
        torch.autograd.grad(found, (x, y)), torch.autograd.grad(expected, (x, y))
    )


def test_gradient_on_the_joint_is_the_analytic_one():
    """At T = 0 and one pixel per cell weight, pull dL/dP back by hand."""
    lam = 1.3
    x, y = probabilities(1, 3, 6, 6), probabilities(1, 3, 6, 6, seed=1)
    x.requires_grad_()
    loss = mutual_information(x, y, everywhere(x), half_width=0, lam=lam).loss
    (found,) = torch.autograd.grad(loss, x)
    with torch.no_grad():
        c = torch.einsum("nihw,njhw->ij", x, y)
        p = (c + c.T) / (2 * c.sum())
        row, column = p.sum(1, keepdim=True), p.sum(0, keepdim=True)
        g = -(p.log() - lam * row.log() - lam * column.log()) + (2 * lam - 1)
        g = (g + g.T) / 2  # through the symmetrisation
        g = (g - (g * c).sum() / c.sum()) / c.sum()  # through the normalisation
        expected = torch.einsum("ij,njhw->nihw", g, y)
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("lam", [0.7, 1.0, 1.5])
def test_identical_balanced_one_hot_views_give_the_closed_form(lam):
    x = one_hot_map(4, 8, 8)
    result = mutual_information(x, x, everywhere(x), half_width=0, lam=lam)
    assert result.loss.item() == pytest.approx((1 - 2 * lam) * math.log(4))
    assert result.loss_at_one.item() == pytest.approx(-math.log(4))
    assert result.marginal_entropy.item() == pytest.approx(1.0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_uniform_views_give_the_closed_form(dtype):
    x = torch.full((2, 5, 16, 16), 0.2, dtype=dtype)
    loss = mutual_information(x, x, everywhere(x), half_width=3, lam=1.5).loss
    assert loss.item() == pytest.approx(2 * (1 - 1.5) * math.log(5), rel=1e-5)


def test_one_hot_views_in_float32_reach_the_closed_form_at_24_clusters():
    x = one_hot_map(24, 16, 96).float()
    loss = mutual_information(x, x, everywhere(x), half_width=0).loss
    assert loss.item() == pytest.approx(-math.log(24), abs=1e-4)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("lam", [1.0, 1.5])
def test_one_constant_cluster_has_loss_zero_and_finite_gradients(dtype, lam):
    x = torch.zeros(2, 6, 12, 12, dtype=dtype)
    x[:, 2] = 1
    x.requires_grad_()
    result = mutual_information(x, x, everywhere(x), half_width=3, lam=lam)
    (gradient,) = torch.autograd.grad(result.loss, x)
    assert result.loss.item() == pytest.approx(0, abs=1e-4)
    assert result.marginal_entropy.item() == pytest.approx(0, abs=1e-4)
    assert gradient.isfinite().all()


@pytest.mark.parametrize("collapsed", [False, True])
def test_one_hot_views_in_float32_have_finite_gradients(collapsed):
    x = one_hot_map(3, 20, 20).float().requires_grad_()
    y = one_hot_map(3, 20, 20).float().flip(1).requires_grad_()
    loss = mutual_information(
        x, y, everywhere(x), half_width=4, collapsed=collapsed
    ).loss
    gradients = torch.autograd.grad(loss, (x, y))
    assert loss.isfinite()
    assert all(gradient.isfinite().all() for gradient in gradients)


def test_permuting_clusters_in_both_views_changes_nothing():
    x, y = probabilities(2, 5, 9, 9), probabilities(2, 5, 9, 9, seed=1)
    order = [3, 0, 4, 1, 2]
    before = mutual_information(x, y, everywhere(x), half_width=2).loss
    after = mutual_information(x[:, order], y[:, order], everywhere(x), half_width=2)
    torch.testing.assert_close(after.loss, before)


def test_permuting_clusters_in_one_view_changes_the_symmetrised_loss():
    x = one_hot_map(3, 6, 6)
    loss = mutual_information(x, x[:, [1, 2, 0]], everywhere(x), half_width=0).loss
    # P holds 1/6 on six off-diagonal cells: H(P) = ln 6, marginals ln 3 each.
    assert loss.item() == pytest.approx(math.log(6) - 2 * math.log(3))


def test_swapping_the_views_changes_nothing():
    x, y = probabilities(2, 4, 7, 9), probabilities(2, 4, 7, 9, seed=1)
    one = mutual_information(x, y, everywhere(x), half_width=2).loss
    torch.testing.assert_close(
        mutual_information(y, x, everywhere(x), half_width=2).loss, one
    )


def test_collapsed_information_is_at_most_the_mean_uncollapsed():
    """MI is convex in the joint for given marginals: check where these agree."""
    # On the periodic map every displacement sees the same marginals but for the rim.
    x = one_hot_map(4, 64, 64)
    x = 0.9 * x + 0.1 / 4
    ones = everywhere(x)
    mean = mutual_information(x, x, ones, half_width=2).loss
    collapsed = mutual_information(x, x, ones, half_width=2, collapsed=True).loss
    assert -collapsed < -mean - 0.01


def test_collapsed_equals_uncollapsed_without_displacement():
    x, y = probabilities(2, 4, 7, 9), probabilities(2, 4, 7, 9, seed=1)
    ones = everywhere(x)
    torch.testing.assert_close(
        mutual_information(x, y, ones, half_width=0, collapsed=True).loss,
        mutual_information(x, y, ones, half_width=0).loss,
    )


def test_what_lies_under_invalid_pixels_changes_nothing():
    x, y = probabilities(2, 3, 12, 12), probabilities(2, 3, 12, 12, seed=1)
    valid = everywhere(x)
    valid[0, 2:7, 3:9] = False
    hidden = ~valid.unsqueeze(1)
    other = torch.where(hidden, probabilities(2, 3, 12, 12, seed=2), x)
    before = mutual_information(x, y, valid, half_width=3).loss
    torch.testing.assert_close(
        mutual_information(other, y, valid, half_width=3).loss, before
    )
    other = torch.where(hidden, probabilities(2, 3, 12, 12, seed=3), y)
    torch.testing.assert_close(
        mutual_information(x, other, valid, half_width=3).loss, before
    )


@pytest.mark.parametrize("collapsed", [False, True])
def test_a_batch_without_valid_pixels_has_loss_and_gradient_zero(collapsed):
    x = probabilities(2, 3, 6, 6, dtype=torch.float32).requires_grad_()
    valid = torch.zeros(2, 6, 6, dtype=torch.bool)
    result = mutual_information(x, x, valid, half_width=2, collapsed=collapsed)
    (gradient,) = torch.autograd.grad(result.loss, x)
    assert result.loss.item() == 0
    assert gradient.abs().max().item() == 0
    assert result.marginal_entropy.item() == 0


def test_displacements_without_overlap_are_left_out_of_the_mean():
    x, y = probabilities(3, 3, 1, 6), probabilities(3, 3, 1, 6, seed=1)
    valid = everywhere(x)
    joints = joint_by_loop(x, y, 2)[2]  # only the rows' zero displacement exists
    expected = []
    for c in joints:
        p = (c + c.T) / (2 * c.sum())
        row, column = p.sum(1, keepdim=True), p.sum(0, keepdim=True)
        expected.append(-(p * (p / (row * column)).log()).sum())
    found = mutual_information(x, y, valid, half_width=2).loss
    torch.testing.assert_close(found, torch.stack(expected).mean())


def test_the_loss_does_not_depend_on_repeating_the_batch():
    x, y = probabilities(2, 3, 8, 8), probabilities(2, 3, 8, 8, seed=1)
    once = mutual_information(x, y, everywhere(x), half_width=2).loss
    x, y = x.repeat(3, 1, 1, 1), y.repeat(3, 1, 1, 1)
    torch.testing.assert_close(
        mutual_information(x, y, everywhere(x), half_width=2).loss, once
    )


def test_half_precision_under_autocast_is_computed_in_float32():
    x = probabilities(2, 3, 8, 8, dtype=torch.float32).bfloat16()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        result = mutual_information(x, x, everywhere(x), half_width=2)
    assert result.loss.dtype == torch.float32
    exact = mutual_information(x.double(), x.double(), everywhere(x), half_width=2)
    assert result.loss.item() == pytest.approx(exact.loss.item(), abs=1e-5)


def test_views_of_different_cluster_counts_are_refused():
    x, y = probabilities(1, 3, 4, 4), probabilities(1, 4, 4, 4)
    with pytest.raises(ShapeError, match="x has 3 clusters and y has 4"):
        mutual_information(x, y, everywhere(x))


def test_a_valid_map_of_another_shape_is_refused():
    x = probabilities(1, 3, 4, 4)
    with pytest.raises(ShapeError, match=r"valid has shape \(1, 4, 5\)"):
        mutual_information(x, x, torch.ones(1, 4, 5))


def test_views_of_different_sizes_are_refused():
    x, y = probabilities(1, 3, 4, 4), probabilities(1, 3, 4, 5)
    with pytest.raises(ShapeError, match=r"of the same N, H and W"):
        displaced_joint(x, y, 1)


def test_a_negative_half_width_is_refused():
    x = probabilities(1, 3, 4, 4)
    with pytest.raises(ParameterError, match="half_width is -1"):
        displaced_joint(x, x, -1)


RANKS_SCRIPT = """
import sys, torch, torch.distributed as dist
from geoseg.methods.losses.information import mutual_information
rank, where = int(sys.argv[1]), sys.argv[2]
torch.set_num_threads(1)
dist.init_process_group(
    "gloo", init_method=f"file://{where}/meet", rank=rank, world_size=2
)
x, y = torch.load(f"{where}/views.pt")
weight = torch.eye(3, dtype=torch.float64, requires_grad=True)
mine = slice(2 * rank, 2 * rank + 2)
p, q = ((weight @ v[mine].flatten(2)).view_as(v[mine]).softmax(1) for v in (x, y))
valid = torch.ones(2, 6, 6, dtype=torch.bool)
loss = mutual_information(p, q, valid, half_width=1, lam=1.5).loss
loss.backward()
dist.all_reduce(weight.grad)
torch.save((loss.detach(), weight.grad / 2), f"{where}/{rank}.pt")  # as DDP averages
dist.destroy_process_group()
"""


@pytest.mark.slow
def test_two_ranks_have_the_loss_and_gradient_of_the_whole_batch(tmp_path):
    generator = torch.Generator().manual_seed(0)
    x, y = torch.randn(2, 4, 3, 6, 6, generator=generator, dtype=torch.float64)
    torch.save((x, y), tmp_path / "views.pt")
    command = [sys.executable, "-c", RANKS_SCRIPT]
    ranks = [
        subprocess.Popen([*command, str(rank), str(tmp_path)]) for rank in range(2)
    ]
    assert [rank.wait(timeout=120) for rank in ranks] == [0, 0]
    weight = torch.eye(3, dtype=torch.float64, requires_grad=True)
    p, q = ((weight @ v.flatten(2)).view_as(v).softmax(1) for v in (x, y))
    loss = mutual_information(p, q, everywhere(p), half_width=1, lam=1.5).loss
    loss.backward()
    for rank in range(2):
        found, gradient = torch.load(tmp_path / f"{rank}.pt")
        torch.testing.assert_close(found, loss.detach())
        torch.testing.assert_close(gradient, weight.grad)
