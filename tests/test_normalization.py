"""Pixel values to channels."""

import numpy as np
import pytest
import torch

from geoseg.errors import ModelFileError, ParameterError, ShapeError
from geoseg.normalization import Normalization

TWO = Normalization(("red", "nir"), (10.0, 0.0), (20.0, 1000.0), (0.25, 0.75))


def test_low_maps_to_zero_high_to_one_and_beyond_is_clipped():
    pixels = np.array([[[0, 10, 15, 20, 99]], [[0, 250, 500, 1000, 2000]]], np.uint16)
    image = TWO(pixels, np.ones((1, 5), bool))
    assert image.dtype == torch.float32
    assert image[0, 0].tolist() == [0, 0, 0.5, 1, 1]
    assert image[1, 0].tolist() == [0, 0.25, 0.5, 1, 1]


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 3e38])
def test_invalid_pixels_hold_the_fill_value_whatever_the_file_holds(value):
    pixels = np.full((2, 1, 2), value, np.float32)
    pixels[:, :, 0] = 15
    image = TWO(pixels, np.array([[True, False]]))
    assert image[:, 0, 1].tolist() == [0.25, 0.75]
    assert torch.isfinite(image).all()


def test_wide_integers_keep_their_differences():
    stretch = Normalization(("a",), (2.0**30,), (2.0**30 + 2,), (0.0,))
    pixels = np.array([[[2**30, 2**30 + 1, 2**30 + 2]]], np.int32)
    assert stretch(pixels, np.ones((1, 3), bool))[0, 0].tolist() == [0, 0.5, 1]


def sobel_by_loop(grey):
    kernel = np.array([[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]]) / 4
    height, width = grey.shape
    result = np.zeros((2, height, width))
    for row in range(height):
        for col in range(width):
            for i in range(3):
                for j in range(3):
                    r = min(max(row + i - 1, 0), height - 1)
                    c = min(max(col + j - 1, 0), width - 1)
                    result[0, row, col] += kernel[i, j] * grey[r, c]
                    result[1, row, col] += kernel.T[i, j] * grey[r, c]
    return result


def test_sobel_channels_are_the_gradients_of_the_mean_band():
    pixels = np.random.default_rng(0).uniform(0, 10, (2, 6, 7))
    one = Normalization(("a", "b"), (0.0, 0.0), (10.0, 10.0), (0.0, 0.0), "append")
    image = one(pixels, np.ones((6, 7), bool))
    assert image.shape == (4, 6, 7) and one.channels == 4
    expected = sobel_by_loop(pixels.mean(axis=0) / 10)
    np.testing.assert_allclose(image[2:].numpy(), expected, atol=1e-6)


def test_sobel_alone_leaves_the_bands_out():
    one = Normalization(("a",), (0.0,), (1.0,), (0.0,), "only")
    ramp = np.tile(np.arange(5) / 4, (5, 1))[None]
    image = one(ramp, np.ones((5, 5), bool))
    assert image.shape == (2, 5, 5) and one.channels == 2
    # a slope of 1/4 per pixel over two pixels
    assert image[0, 2, 2].item() == pytest.approx(0.5)
    assert image[1].abs().max() == 0


def test_sobel_is_zero_beside_invalid_pixels():
    one = Normalization(("a",), (0.0,), (1.0,), (0.5,), "only")
    pixels = np.random.default_rng(0).uniform(size=(1, 7, 7))
    valid = np.ones((7, 7), bool)
    valid[3, 3] = False
    image = one(pixels, valid)
    assert (image[:, 2:5, 2:5] == 0).all()
    assert (image[:, 1, 1] != 0).all()


def test_json_round_trip_is_exact():
    one = Normalization(("a",), (0.1,), (1 / 3,), (0.7,), "append")
    assert Normalization.from_json(one.to_json()) == one


def test_damaged_card_is_a_model_file_error():
    with pytest.raises(ModelFileError, match="expected bands, low, high"):
        Normalization.from_json({"bands": ["a"], "low": [1]})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"high": (10.0, 1.0)}, "expected the second above the first"),
        ({"low": (1.0,)}, "1 values of low for 2 bands"),
        ({"fill": (0.0, float("nan"))}, "expected finite"),
        ({"sobel": "yes"}, "expected one of none, append, only"),
    ],
)
def test_impossible_numbers_are_refused(change, message):
    values = {"bands": ("red", "nir"), "low": (10.0, 0.0), "high": (20.0, 1.0)}
    with pytest.raises(ParameterError, match=message):
        Normalization(**(values | {"fill": (0.0, 0.0)} | change))


def test_other_band_count_is_a_shape_error():
    with pytest.raises(ShapeError, match=r"expected \(2, H, W\) for bands red, nir"):
        TWO(np.zeros((3, 2, 2)), np.ones((2, 2), bool))
    with pytest.raises(ShapeError, match=r"expected \(2, 2\)"):
        TWO(np.zeros((2, 2, 2)), np.ones((2, 3), bool))
