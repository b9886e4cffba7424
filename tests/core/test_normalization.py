"""Pixel values to channels."""

import numpy as np
import pytest
import torch

from geoseg.core.errors import ModelFileError, ParameterError, ShapeError
from geoseg.core.normalization import Normalization

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


def test_json_round_trip_is_exact():
    one = Normalization(("a",), (0.1,), (1 / 3,), (0.7,))
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
