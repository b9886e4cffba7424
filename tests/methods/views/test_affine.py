"""Affine views against closed forms: exact on turns, inverse of the composed map."""

import math

import pytest
import torch

from geoseg.core.errors import ParameterError, ShapeError
from geoseg.methods.views.affine import Affine, invert_affine, warp, warp_valid
from geoseg.methods.views.geometric import GeometricView
from geoseg.methods.views.symmetries import (
    apply_symmetry,
    draw_symmetries,
    invert_symmetry,
)

STRONG = Affine(rotate=30, shear=10, scale=1.25, translate=3)
KEYS = {"epoch": 1, "seed": 2}
# What each code of apply_symmetry shows at p, as a matrix: mirrors, then transposes.
COLUMNS, ROWS = torch.diag(torch.tensor([-1.0, 1])), torch.diag(torch.tensor([1.0, -1]))
TRANSPOSE = torch.tensor([[0.0, 1], [1, 0]])


def symmetry_matrix(code: int) -> torch.Tensor:
    matrix = torch.eye(2)
    for bit, factor in ((1, COLUMNS), (2, ROWS), (4, TRANSPOSE)):
        if code & bit:
            matrix = matrix @ factor
    return matrix


def linear(matrix: torch.Tensor) -> torch.Tensor:
    """A map without shift: (1, 2, 3)."""
    return torch.cat([matrix, torch.zeros(2, 1).to(matrix)], 1)[None]


def waves(size: int, n: int = 1) -> torch.Tensor:
    """A few waves a side, whatever the size: (n, 1, size, size) float64."""
    at = (torch.arange(size, dtype=torch.float64) + 0.5) / size
    y, x = torch.meshgrid(at, at, indexing="ij")
    pattern = (2 * math.pi * (2 * x + y)).sin() + (2 * math.pi * (x - 3 * y)).cos()
    return pattern.expand(n, 1, size, size).clone()


def drawn(n: int, affine: Affine = STRONG, **options: bool) -> GeometricView:
    return GeometricView.draw(torch.arange(n), **KEYS, affine=affine, **options)


@pytest.mark.parametrize("code", range(8))
def test_symmetries_through_the_warp_equal_the_exact_ones(code):
    x = torch.rand(1, 2, 6, 6, generator=torch.Generator().manual_seed(0))
    expected = apply_symmetry(x, torch.tensor([code]))
    found = warp(x, linear(symmetry_matrix(code)))
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)
    valid = x[:, 0] > 0.3
    assert warp_valid(valid, linear(symmetry_matrix(code))).equal(
        apply_symmetry(valid, torch.tensor([code]))
    )


def test_a_shift_by_whole_pixels_moves_them_and_brings_in_zeros():
    x = torch.arange(1.0, 13).view(1, 1, 3, 4)
    matrices = torch.tensor([[[1.0, 0, 1], [0, 1, -1]]])  # shows right and above
    expected = torch.tensor([[0.0, 0, 0, 0], [2, 3, 4, 0], [6, 7, 8, 0]])
    torch.testing.assert_close(warp(x, matrices)[0, 0], expected)


def test_angles_and_lengths_are_those_of_pixels_in_rectangles_too():
    # A linear ramp is shown exactly: x at p is (M p)'s x, at any aspect ratio.
    h, w = 8, 24
    x = (torch.arange(w) + 0.5 - w / 2).expand(1, 1, h, w).double()
    matrix = STRONG.draw(torch.tensor([5]), **KEYS)
    rows = torch.arange(h, dtype=torch.float64)[:, None] + 0.5 - h / 2
    columns = torch.arange(w, dtype=torch.float64) + 0.5 - w / 2
    expected = (
        matrix[0, 0, 0] * columns + matrix[0, 0, 1] * rows + matrix[0, 0, 2].double()
    )
    inside = warp_valid(torch.ones(1, h, w).bool(), matrix)[0]
    assert inside.any()
    found = warp(x, matrix)[0, 0]
    torch.testing.assert_close(found[inside], expected[inside], rtol=0, atol=1e-5)


def test_the_inverse_map_undoes_the_map():
    matrices = STRONG.draw(torch.arange(50), **KEYS).double()
    point = torch.tensor([3.0, -7.0, 1.0]).double()
    there = matrices @ point  # (50, 2)
    there = torch.cat([there, torch.ones(50, 1).double()], 1)
    back = (invert_affine(matrices) @ there[..., None])[..., 0]
    torch.testing.assert_close(back, point[:2].expand(50, 2))


def test_the_view_is_one_warp_by_the_map_after_the_symmetry():
    # The composed map in one interpolation, whose order is that of the formula A D p.
    x = waves(32, 16)
    view = drawn(16)
    shown, _ = view.apply(x, torch.ones(16, 32, 32).bool())
    for n, code in enumerate(view.codes.tolist()):
        assert view.matrices is not None
        a = view.matrices[n]
        composed = torch.cat([a[:, :2] @ symmetry_matrix(code), a[:, 2:]], 1)
        expected = warp(x[n : n + 1], composed[None], outside="reflection")
        torch.testing.assert_close(shown[n : n + 1], expected, rtol=0, atol=1e-5)


def round_trip_error(size: int) -> float:
    """Largest interior error with rotation, shear, scale and symmetry all on."""
    n = 12
    x = waves(size, n)
    view = drawn(n, Affine(rotate=30, shear=10, scale=1.25))
    shown, valid = view.apply(x, torch.ones(n, size, size).bool())
    back = view.undo(shown, valid)
    ones = view.undo(torch.ones_like(shown), valid)
    whole = (ones > 1 - 1e-6).expand_as(x)
    assert whole.double().mean() > 0.6
    return float((back - x)[whole].abs().max())


def test_there_and_back_comes_closer_the_finer_the_pixels():
    errors = [round_trip_error(size) for size in (32, 64, 128)]
    # Bilinear interpolation is of second order: twice the pixels, a quarter the error.
    assert errors[1] < errors[0] / 3.2 and errors[2] < errors[1] / 3.2
    assert errors[2] < 0.02


def test_the_other_order_would_be_seen():
    # A mirror D and a rotated, sheared A: undoing A before D does not come back.
    a, b = math.radians(20), math.radians(30)
    matrix = torch.tensor([[math.cos(a), -math.sin(b)], [math.sin(a), math.cos(b)]])
    x = waves(64)
    view = GeometricView(torch.tensor([1]), linear(matrix))
    shown, valid = view.apply(x, torch.ones(1, 64, 64).bool())
    wrong = invert_symmetry(warp(shown, invert_affine(linear(matrix))), view.codes)
    middle = (0, 0, slice(24, 40), slice(24, 40))
    assert (wrong - x)[middle].abs().max() > 1
    assert (view.undo(shown, valid) - x)[middle].abs().max() < 0.05


def test_all_ones_come_back_as_the_coverage():
    n, size = 8, 24
    view = drawn(n)
    every = torch.ones(n, size, size).bool()
    _, valid = view.apply(torch.rand(n, 3, size, size), every)
    coverage = view.undo(torch.ones(n, 2, size, size), valid)
    assert coverage.min() >= 0 and coverage.max() <= 1 + 1e-6
    assert (coverage.amin((1, 2, 3)) < 1e-6).any()  # the view does not reach all
    assert (coverage[:, :, 8:16, 8:16] > 1 - 1e-5).all()
    assert view.matrices is not None
    exact = warp(
        invert_symmetry(valid[:, None].float(), view.codes),
        invert_affine(view.matrices),
    )
    torch.testing.assert_close(coverage, exact.expand_as(coverage))
    # Probabilities come back with the coverage as their sum over clusters.
    soft = torch.randn(n, 5, size, size).softmax(1)
    torch.testing.assert_close(view.undo(soft, valid).sum(1), coverage[:, 0])


def test_a_pixel_is_valid_only_if_all_that_it_was_made_of_is():
    valid = torch.ones(1, 9, 9).bool()
    valid[0, 4, 4] = False
    half = torch.tensor([[[1.0, 0, 0.5], [0, 1, 0.5]]])
    seen = warp_valid(valid, half)[0]
    expected = torch.ones(9, 9).bool()
    expected[3:5, 3:5] = False  # the four that mix the invalid pixel in
    expected[8, :] = expected[:, 8] = False  # half beyond the patch
    assert seen.equal(expected)


def test_what_lies_under_invalid_pixels_does_not_leak_into_valid_ones():
    image = torch.rand(6, 2, 20, 20, generator=torch.Generator().manual_seed(1))
    valid = torch.rand(6, 20, 20, generator=torch.Generator().manual_seed(2)) > 0.02
    other = torch.where(valid[:, None], image, 1 - image)
    view = drawn(6)
    (one, seen), (two, _) = view.apply(image, valid), view.apply(other, valid)
    kept = seen[:, None].expand_as(one)
    assert kept.any() and not one.equal(two)
    torch.testing.assert_close(one[kept], two[kept], rtol=0, atol=2e-3)


def test_gradients_are_exact_and_finite():
    x = torch.rand(2, 2, 5, 6, dtype=torch.float64, requires_grad=True)
    view = GeometricView(torch.tensor([1, 3]), STRONG.draw(torch.arange(2), **KEYS))
    _, valid = view.apply(torch.zeros(2, 1, 5, 6), torch.ones(2, 5, 6).bool())
    assert torch.autograd.gradcheck(lambda x: view.undo(x, valid), x)
    assert torch.autograd.gradcheck(lambda x: warp(x, view.matrices), x)


def test_without_strengths_nothing_is_drawn_and_symmetries_are_as_before():
    index = torch.arange(30)
    view = GeometricView.draw(index, **KEYS)
    assert view.matrices is None
    assert view.codes.equal(draw_symmetries(index, **KEYS))
    assert not GeometricView.draw(index, **KEYS, symmetries=False).codes.any()


def test_maps_stay_within_their_strengths_and_fill_them():
    found = STRONG.draw(torch.arange(4000), **KEYS).double()
    (a, b), (c, d) = found[:, 0, :2].T, found[:, 1, :2].T
    angle = torch.atan2(c, a).rad2deg()
    scale = (a**2 + c**2).sqrt()
    shear = torch.atan2(-b, d).rad2deg() - angle
    for values, low, high in ((angle, -30, 30), (shear, -10, 10), (scale, 0.8, 1.25)):
        assert low - 1e-4 <= values.min() < low + 0.02 * (high - low)
        assert high - 0.02 * (high - low) < values.max() <= high + 1e-4
    assert scale.log().mean().abs() < 0.01
    assert 2.9 < found[:, :, 2].abs().max() <= 3


def test_a_patch_s_map_does_not_depend_on_its_batch_nor_on_torch_s_chance():
    before = torch.get_rng_state()
    together = STRONG.draw(torch.arange(10), **KEYS)
    alone = STRONG.draw(torch.tensor([7]), **KEYS)
    assert alone[0].equal(together[7])
    assert torch.get_rng_state().equal(before)


@pytest.mark.parametrize("key", ["epoch", "seed", "stream"])
def test_another_key_draws_other_maps(key):
    keys = {"epoch": 1, "seed": 2, "stream": 0}
    one = STRONG.draw(torch.arange(9), **keys)
    other = STRONG.draw(torch.arange(9), **(keys | {key: keys[key] + 1}))
    assert ((one - other).abs().amax((1, 2)) > 1e-3).all()


def test_a_grid_under_autocast_is_as_exact_as_without():
    x = waves(64, 2).float()
    matrices = STRONG.draw(torch.arange(2), **KEYS)
    with torch.autocast("cpu", torch.bfloat16):
        found = warp(x, invert_affine(matrices))
    assert found.equal(warp(x, invert_affine(matrices)))


@pytest.mark.parametrize(
    ("name", "value", "limit"),
    [
        ("scale", 0.8, r"\[1, 4\]"),
        ("rotate", 200.0, r"\[0, 180\]"),
        ("shear", 90.0, r"\[0, 45\]"),
        ("translate", -1.0, "at least 0"),
    ],
)
def test_strengths_out_of_range_are_refused(name, value, limit):
    with pytest.raises(ParameterError, match=f"{name} is {value}, expected.*{limit}"):
        Affine(**{name: value})


def test_as_many_maps_as_patches_are_needed():
    with pytest.raises(ShapeError, match=r"matrices have shape \(3, 2, 3\)"):
        warp(torch.zeros(2, 1, 4, 4), torch.zeros(3, 2, 3))
