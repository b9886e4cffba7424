"""Views: laws of the group, exact inverses, chance keyed by patch and epoch."""

import itertools
import json
from dataclasses import asdict

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from geoseg.core.errors import ParameterError, ShapeError
from geoseg.methods.views.photometric import Photometric
from geoseg.methods.views.symmetries import (
    apply_symmetry,
    draw_symmetries,
    invert_symmetry,
)

CODES = torch.arange(8)
EVERYTHING = Photometric(
    brightness=0.4,
    contrast=0.4,
    grey=0.4,
    gain=0.2,
    offset=0.1,
    gamma=0.4,
    drop=0.5,
    blur=1.5,
    noise=0.1,
)


def square(n: int = 8, side: int = 4) -> torch.Tensor:
    """The same numbered square n times: (n, 1, side, side)."""
    return torch.arange(side * side).view(1, 1, side, side).repeat(n, 1, 1, 1)


def batch(n: int = 6, c: int = 4, size: int = 16) -> tuple[torch.Tensor, ...]:
    generator = torch.Generator().manual_seed(0)
    image = torch.rand(n, c, size, size, generator=generator)
    valid = torch.rand(n, size, size, generator=generator) > 0.2
    return image, valid, torch.arange(n) * 37


def test_the_inverse_is_exact_for_all_eight():
    x = square()
    assert invert_symmetry(apply_symmetry(x, CODES), CODES).equal(x)
    assert apply_symmetry(invert_symmetry(x, CODES), CODES).equal(x)


def test_code_0_is_the_identity():
    x = square(1)
    assert apply_symmetry(x, torch.tensor([0])).equal(x)


def test_the_eight_are_the_turns_and_mirrored_turns():
    x = square()
    found = {tuple(view.flatten().tolist()) for view in apply_symmetry(x, CODES)}
    turned = [torch.rot90(x[0], k, (1, 2)) for k in range(4)]
    expected = turned + [view.flip(2) for view in turned]
    assert found == {tuple(view.flatten().tolist()) for view in expected}
    assert len(found) == 8


def test_two_in_a_row_are_again_one_of_the_eight():
    x = square()
    eight = {tuple(view.flatten().tolist()) for view in apply_symmetry(x, CODES)}
    for first, second in itertools.product(range(8), repeat=2):
        once = apply_symmetry(x[:1], torch.tensor([first]))
        twice = apply_symmetry(once, torch.tensor([second]))
        assert tuple(twice.flatten().tolist()) in eight


def test_masks_and_images_turn_alike():
    image = square().float()
    mask = square()[:, 0] > 5
    assert apply_symmetry(mask, CODES).equal(apply_symmetry(image, CODES)[:, 0] > 5)


def test_gradients_come_back_through_the_inverse():
    x = torch.rand(8, 2, 3, 3, requires_grad=True)
    weight = torch.rand(8, 2, 3, 3)
    (gradient,) = torch.autograd.grad((invert_symmetry(x, CODES) * weight).sum(), x)
    assert gradient.equal(apply_symmetry(weight, CODES))


def test_rectangles_can_be_mirrored_but_not_turned():
    x = torch.arange(12).view(1, 3, 4)
    assert apply_symmetry(x, torch.tensor([3])).equal(x.flip(1, 2))
    with pytest.raises(ShapeError, match="3 × 4 pixels cannot be turned"):
        apply_symmetry(x, torch.tensor([4]))


def test_as_many_codes_as_patches_are_needed():
    with pytest.raises(ShapeError, match=r"codes has shape \(8,\)"):
        invert_symmetry(square(3), CODES)


def test_all_eight_are_drawn_about_equally_often():
    codes = draw_symmetries(torch.arange(8000), epoch=0, seed=0)
    counts = torch.bincount(codes, minlength=8)
    assert len(counts) == 8
    # 1000 expected; five standard deviations of a binomial count are 148.
    assert (counts - 1000).abs().max() < 148


@pytest.mark.parametrize("key", ["epoch", "seed", "stream"])
def test_another_key_draws_other_symmetries(key):
    keys = {"epoch": 3, "seed": 5, "stream": 0}
    index = torch.arange(4000)
    one = draw_symmetries(index, **keys)
    other = draw_symmetries(index, **(keys | {key: keys[key] + 1}))
    # Independent draws agree on one in eight: 500, five deviations are 105.
    assert abs((one == other).sum().item() - 500) < 105


@given(st.lists(st.integers(0, 2**40), min_size=1, max_size=6), st.integers(0, 2**31))
def test_a_patch_s_symmetry_does_not_depend_on_its_batch(indexes, seed):
    together = draw_symmetries(torch.tensor(indexes), epoch=2, seed=seed)
    alone = [
        draw_symmetries(torch.tensor([i]), epoch=2, seed=seed).item() for i in indexes
    ]
    assert together.tolist() == alone


def test_views_leave_torch_s_random_state_alone():
    image, valid, index = batch()
    before = torch.get_rng_state()
    draw_symmetries(index, epoch=0, seed=0)
    EVERYTHING(image, valid, index, epoch=0, seed=0)
    assert torch.get_rng_state().equal(before)


def test_a_patch_s_colors_do_not_depend_on_its_batch():
    image, valid, index = batch()
    together = EVERYTHING(image, valid, index, epoch=1, seed=2)
    some = [4, 1]
    apart = EVERYTHING(image[some], valid[some], index[some], epoch=1, seed=2)
    torch.testing.assert_close(apart, together[some], rtol=0, atol=1e-6)


@pytest.mark.parametrize("key", ["epoch", "seed", "stream"])
def test_another_key_changes_the_colors(key):
    image, valid, index = batch()
    keys = {"epoch": 3, "seed": 5, "stream": 0}
    one = Photometric.of_strength(0.3)(image, valid, index, **keys)
    keys[key] += 1
    other = Photometric.of_strength(0.3)(image, valid, index, **keys)
    assert ((one - other).abs().amax((1, 2, 3)) > 1e-3).all()


def test_no_strength_is_the_identity():
    image, valid, index = batch()
    view = Photometric.of_strength(0)(image, valid, index, epoch=0, seed=0)
    assert view.equal(image)


@pytest.mark.parametrize("bands", [1, 3, 8])
def test_colors_stay_in_range_for_any_number_of_bands(bands):
    image, valid, index = batch(c=bands)
    view = EVERYTHING(image, valid, index, epoch=0, seed=0)
    assert view.shape == image.shape and view.dtype == image.dtype
    assert 0 <= view.min() and view.max() <= 1
    assert not view.equal(image)


def test_invalid_pixels_keep_their_fill():
    image, valid, index = batch()
    view = EVERYTHING(image, valid, index, epoch=0, seed=0)
    hidden = ~valid.unsqueeze(1).expand_as(image)
    assert view[hidden].equal(image[hidden])


def test_what_lies_under_invalid_pixels_does_not_leak_into_valid_ones():
    image, valid, index = batch()
    other = torch.where(valid.unsqueeze(1), image, 1 - image)
    seen = valid.unsqueeze(1).expand_as(image)
    one = EVERYTHING(image, valid, index, epoch=0, seed=0)
    two = EVERYTHING(other, valid, index, epoch=0, seed=0)
    torch.testing.assert_close(one[seen], two[seen], rtol=0, atol=1e-6)


def test_a_patch_without_valid_pixels_stays_finite_and_unchanged():
    image, valid, index = batch(n=2)
    view = EVERYTHING(image, torch.zeros_like(valid), index, epoch=0, seed=0)
    assert view.equal(image)


def test_brightness_scales_all_bands_by_one_factor_in_its_range():
    image = torch.full((200, 3, 2, 2), 0.4)
    image[:, 1] = 0.2
    valid = torch.ones(200, 2, 2, dtype=torch.bool)
    jitter = Photometric(brightness=0.5)
    factor = jitter(image, valid, torch.arange(200), epoch=0, seed=0) / image
    torch.testing.assert_close(factor, factor[:, :1, :1, :1].expand_as(factor))
    assert 0.5 <= factor.min() < 0.55 and 1.45 < factor.max() < 1.5


def test_contrast_keeps_the_mean_and_grey_keeps_each_pixel_s_mean():
    image = 0.4 + 0.2 * torch.rand(5, 3, 8, 8, generator=torch.manual_seed(0))
    valid = torch.ones(5, 8, 8, dtype=torch.bool)
    keys = {"epoch": 0, "seed": 0}
    view = Photometric(contrast=0.5)(image, valid, torch.arange(5), **keys)
    torch.testing.assert_close(view.mean((1, 2, 3)), image.mean((1, 2, 3)))
    view = Photometric(grey=0.5)(image, valid, torch.arange(5), **keys)
    torch.testing.assert_close(view.mean(1), image.mean(1))
    assert not view.allclose(image)


def test_blur_keeps_a_constant_image_and_smooths_another():
    image, valid, index = batch()
    blur = Photometric(blur=2.0)
    flat = torch.full_like(image, 0.3)
    view = blur(flat, valid, index, epoch=0, seed=0)
    torch.testing.assert_close(view, flat)
    view = blur(image, torch.ones_like(valid), index, epoch=0, seed=0)
    assert view.var() < 0.5 * image.var()


def test_a_dropped_band_is_constant_and_one_band_always_stays():
    image, valid, index = batch(n=50)
    valid = torch.ones_like(valid)
    view = Photometric(drop=1.0)(image, valid, index, epoch=0, seed=0)
    spread = view.amax((2, 3)) - view.amin((2, 3))  # (N, C)
    assert ((spread > 1e-6).sum(1) == 1).all()


def test_noise_has_mean_zero_and_at_most_the_asked_deviation():
    image = torch.full((20, 3, 32, 32), 0.5)
    valid = torch.ones(20, 32, 32, dtype=torch.bool)
    view = Photometric(noise=0.05)(image, valid, torch.arange(20), epoch=0, seed=0)
    deviation = (view - image).flatten(1).std(1)
    # 3072 samples each: the deviation is known within about 1.3 %.
    assert deviation.max() < 0.05 * 1.05 and deviation.max() > 0.03
    assert (view - image).mean().abs() < 0.001


def test_channels_beyond_the_bands_are_left_alone():
    image, valid, index = batch(c=5)
    image[:, 3:] -= 0.5  # gradients have signs
    view = EVERYTHING(image, valid, index, epoch=0, seed=0, channels=3)
    assert view[:, 3:].equal(image[:, 3:])
    expected = EVERYTHING(image[:, :3], valid, index, epoch=0, seed=0)
    assert view[:, :3].equal(expected)


def test_strengths_are_plain_json_values():
    assert Photometric(**json.loads(json.dumps(asdict(EVERYTHING)))) == EVERYTHING


@pytest.mark.parametrize(("name", "value"), [("brightness", 1.5), ("blur", -1.0)])
def test_strengths_out_of_range_are_refused(name, value):
    with pytest.raises(ParameterError, match=f"{name} is {value}"):
        Photometric(**{name: value})


def test_shapes_that_do_not_belong_together_are_refused():
    image, valid, index = batch()
    with pytest.raises(ShapeError, match=r"expected \(6, 16, 16\) and \(6,\)"):
        EVERYTHING(image, valid[:3], index, epoch=0, seed=0)
