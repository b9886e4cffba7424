import numpy as np
import pytest
import torch

from geoseg.core.errors import ParameterError
from geoseg.methods.networks.gradients import (
    check_sobel,
    sobel_channels,
    with_gradients,
)
from geoseg.methods.views.symmetries import apply_symmetry


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


def noise(*shape):
    return torch.rand(shape, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("mode", ["none", "append", "only"])
def test_the_number_of_channels_is_foretold(mode):
    image = noise(1, 3, 5, 6)
    found = with_gradients(image, torch.ones((1, 5, 6)).bool(), mode)
    assert found.shape == (1, sobel_channels(3, mode), 5, 6)


def test_gradients_are_those_of_the_mean_band():
    image = noise(2, 3, 6, 7)
    found = with_gradients(image, torch.ones((2, 6, 7)).bool(), "append")
    assert torch.equal(found[:, :3], image)
    for number in range(2):
        expected = sobel_by_loop(image[number].mean(0).numpy())
        np.testing.assert_allclose(found[number, 3:].numpy(), expected, atol=1e-6)


def test_gradients_are_zero_beside_invalid_pixels():
    image = noise(1, 1, 7, 7)
    valid = torch.ones((1, 7, 7), dtype=torch.bool)
    valid[0, 3, 3] = False
    found = with_gradients(image, valid, "only")
    assert (found[:, :, 2:5, 2:5] == 0).all()
    assert (found[:, :, 1, 1] != 0).all()


def test_a_mirrored_image_has_the_opposite_gradient_across():
    image, valid = noise(1, 2, 8, 8), torch.ones((1, 8, 8)).bool()
    mirrored = apply_symmetry(image, torch.tensor([1]))
    plain = with_gradients(image, valid, "only").flip(-1)
    found = with_gradients(mirrored, valid, "only")
    torch.testing.assert_close(found[:, 0], -plain[:, 0])
    torch.testing.assert_close(found[:, 1], plain[:, 1])


def test_an_unknown_mode_is_refused():
    with pytest.raises(ParameterError, match="expected one of none, append, only"):
        check_sobel("yes")


@pytest.mark.parametrize(("mode", "bands"), [("none", 2), ("append", 2), ("only", 0)])
def test_other_bands_may_stand_beside_the_gradients_of_the_image(mode, bands):
    image, valid = noise(1, 2, 8, 8), torch.ones((1, 8, 8)).bool()
    white = noise(1, 2, 8, 8) - 7
    found = with_gradients(image, valid, mode, bands=white)
    assert torch.equal(found[:, :bands], white[:, :bands])
    plain = with_gradients(image, valid, mode)
    assert torch.equal(found[:, bands:], plain[:, bands:])
