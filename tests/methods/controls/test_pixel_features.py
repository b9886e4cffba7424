import math

import numpy as np
import pytest
import torch
from scipy import ndimage

from geoseg.core.errors import ParameterError
from geoseg.methods.controls.pixel_features import REACH, _gaussians, pixel_features


def noise(*shape: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.rand(shape, generator=generator, dtype=torch.float64)


def features_of(image, scales=(2.0,), valid=None):
    if valid is None:
        valid = torch.ones((len(image), *image.shape[2:]), dtype=torch.bool)
    return pixel_features(image, valid, scales)


@pytest.mark.parametrize("channels", [1, 3, 8])
def test_there_are_as_many_features_as_said(channels):
    found = features_of(noise(2, channels, 13, 9).float(), (1.0, 2.0, 4.0))
    assert found.shape == (2, channels + 3 * (channels + 5), 13, 9)
    assert found.isfinite().all()


def test_bands_are_smoothed_as_scipy_does_it():
    image = noise(1, 2, 60, 50)
    found = features_of(image, (3.0,))[0, 2:4]
    for own, band in zip(found, image[0], strict=True):
        # scipy truncates at a whole number of pixels, 3 · 3 here as well
        expected = ndimage.gaussian_filter(band.numpy(), 3.0, truncate=REACH)
        inside = (slice(9, -9), slice(9, -9))
        np.testing.assert_allclose(own.numpy()[inside], expected[inside], atol=1e-12)


def test_filters_are_products_with_the_gaussian_of_every_distance():
    weights = _gaussians(torch.zeros(1, 1, 5, 9), 3, 1.0).tolist()
    for row in range(9):
        for column in range(9):
            distance = abs(row - column)
            near = math.exp(-0.5 * distance**2) / math.sqrt(2 * math.pi)
            expected = near if distance <= REACH else 0.0
            assert weights[row][column] == pytest.approx(expected, rel=1e-6)


def test_a_slope_has_its_gradient_and_no_curvature():
    rows, columns = torch.meshgrid(*[torch.arange(64.0).double()] * 2, indexing="ij")
    image = (0.3 * columns + 0.4 * rows)[None, None]
    gradient, *hessian, large, small = features_of(image, (2.0,))[0, 2:, 30:34, 30:34]
    torch.testing.assert_close(gradient, torch.full_like(gradient, 2 * 0.5))
    for plane in hessian:
        torch.testing.assert_close(plane, torch.zeros_like(plane))
    torch.testing.assert_close(large, torch.full_like(large, 4 * 0.25))
    torch.testing.assert_close(small, torch.zeros_like(small))


def test_a_bowl_has_two_equal_curvatures_and_a_ridge_one():
    rows, columns = torch.meshgrid(
        *[torch.arange(-32.0, 32).double()] * 2, indexing="ij"
    )
    for image, expected in (
        (rows**2 + columns**2, (4 * 2.0, 4 * 2.0)),
        (-(rows**2), (0.0, -4 * 2.0)),
    ):
        hessian = features_of(image[None, None], (2.0,))[0, 3:5, 32, 32]
        # second central differences reach two pixels and are exact on parabolas
        torch.testing.assert_close(hessian, torch.tensor(expected).double())


def test_what_invalid_pixels_hold_does_not_matter():
    image, valid = noise(1, 3, 24, 24), torch.ones((1, 24, 24), dtype=torch.bool)
    valid[0, 5:12, 3:20] = False
    other = image.clone()
    other[0, :, ~valid[0]] = float("nan")
    found, expected = (features_of(x, (1.0, 4.0), valid) for x in (other, image))
    assert torch.equal(found, expected)
    assert found.isfinite().all()


def test_a_flat_image_stays_flat_at_borders_and_around_gaps():
    image, valid = torch.full((1, 1, 20, 20), 0.7), torch.ones((1, 20, 20)).bool()
    valid[0, 8:11, 8:11] = False
    found = features_of(image, (2.0,), valid)[0][:, valid[0]]
    torch.testing.assert_close(found[1], torch.full_like(found[1], 0.7))
    assert found[2:].abs().max() < 1e-5


def test_turning_the_image_turns_the_features():
    image = noise(1, 2, 17, 17)
    turned = features_of(image.rot90(1, (2, 3)))
    torch.testing.assert_close(turned, features_of(image).rot90(1, (2, 3)))


def test_a_scale_that_is_none_is_refused():
    with pytest.raises(
        ParameterError, match="a scale is 0.0 pixels, expected more tha"
    ):
        features_of(noise(1, 1, 8, 8), (0.0,))
