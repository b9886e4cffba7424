"""Crops: a crop of features is the features of the crop; chance; valid pixels."""

import pytest
import torch
from torch.nn.functional import avg_pool2d

from geoseg.core.errors import ParameterError
from geoseg.methods.views.crops import Crop

INDEX = torch.arange(64) * 37


def draw(index=INDEX, smallest=0.5, epoch=0, seed=0, stream=0):
    return Crop.draw(index, smallest=smallest, epoch=epoch, seed=seed, stream=stream)


def ramp(n, height, width):
    """A linear image: 3 x - 2 y at pixel centres, (n, 1, height, width)."""
    y = torch.arange(height)[:, None] + 0.5
    x = torch.arange(width) + 0.5
    return (3 * x - 2 * y).expand(n, 1, height, width).clone()


def test_boxes_lie_in_the_patch_and_fill_the_range():
    crop = draw(torch.arange(2000))
    assert 0.5 <= crop.share.min() < 0.51 and 0.99 < crop.share.max() <= 1
    assert float(crop.share.mean()) == pytest.approx(0.75, abs=0.02)
    ends = crop.middle.abs() + crop.share[:, None] / 2
    assert float(ends.max()) <= 0.5 + 1e-6
    # a small box is found at both ends of the patch, and everywhere between
    places = crop.middle[crop.share < 0.6]
    assert (places.amin(0) < -0.18).all() and (places.amax(0) > 0.18).all()


def test_a_crop_shows_its_box():
    # The right upper quarter: each of its pixels becomes two by two.
    crop = Crop(torch.tensor([0.5]), torch.tensor([[0.25, -0.25]]))
    image = ramp(1, 8, 12)
    y = torch.arange(8)[:, None] * 0.5 + 0.25
    x = torch.arange(12) * 0.5 + 6.25
    inside = (slice(1, None), slice(None, -1))  # the rim lies beyond pixel centres
    expected = (3 * x - 2 * y)[inside]
    torch.testing.assert_close(crop.apply(image)[0, 0][inside], expected)


@pytest.mark.parametrize("stride", [2, 4])
def test_a_crop_of_features_is_the_features_of_the_crop(stride):
    crop, image = draw(), ramp(len(INDEX), 32, 48)
    before = avg_pool2d(crop.apply(image), stride)
    after = crop.apply(avg_pool2d(image, stride))
    # Boxes may touch the patch's rim, where nothing lies beyond to interpolate with.
    inside = (..., slice(1, -1), slice(1, -1))
    torch.testing.assert_close(before[inside], after[inside], atol=1e-3, rtol=0)
    constant = torch.full_like(image, 0.3)
    torch.testing.assert_close(crop.apply(constant), constant)


def test_the_draw_depends_on_patch_epoch_seed_and_stream_alone():
    crop = draw()
    alone = draw(INDEX[5:6])
    assert alone.share.equal(crop.share[5:6])
    assert alone.middle.equal(crop.middle[5:6])
    for key in ("epoch", "seed", "stream"):
        assert not (draw(**{key: 1}).share == crop.share).any()
    state = torch.get_rng_state()
    draw()
    assert torch.get_rng_state().equal(state)


def test_a_view_is_valid_where_all_that_it_was_made_of_is():
    valid = torch.ones((1, 8, 8), dtype=torch.bool)
    crop = Crop(torch.tensor([0.5]), torch.tensor([[-0.25, -0.25]]))
    assert crop.apply_valid(valid).all()
    valid[0, 0, 0] = False
    valid[0, 6, 6] = False  # outside the box
    lacking = torch.zeros((8, 8), dtype=torch.bool)
    # Seen by the pixels of the view whose points lie less than a pixel from it.
    lacking[:3, :3] = True
    assert crop.apply_valid(valid)[0].equal(~lacking)


def test_a_side_of_one_is_no_crop():
    assert draw(smallest=1.0) is None


@pytest.mark.parametrize("smallest", [0.0, -0.5, 1.1, float("nan")])
def test_shares_that_there_are_not_are_refused(smallest):
    with pytest.raises(ParameterError, match="expected above 0 and at most 1"):
        draw(smallest=smallest)
