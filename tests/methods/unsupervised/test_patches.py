"""Whitened patches: the fast way against the plain one, and what the codebook knows."""

import numpy as np
import pytest
import torch

from geoseg.core.errors import ParameterError
from geoseg.core.patches import PatchBatch
from geoseg.methods import build_method

SIZES = {"patches": {"clusters": 4, "atoms": 8, "scales": 2, "pixels": 512}}


def batch_of(image: torch.Tensor) -> PatchBatch:
    n, _, h, w = image.shape
    return PatchBatch(
        image=image,
        valid=torch.ones((n, h, w), dtype=torch.bool),
        mask=torch.full((n, h, w), 255),
        index=torch.arange(n),
    )


@pytest.fixture
def fitted():
    """Return ``make(image, **parameters)``: the method, fitted to an image."""

    def make(image, **parameters):
        method = build_method("patches", image.shape[1], SIZES["patches"] | parameters)
        method.finish(lambda: [batch_of(image)])
        return method.eval()

    return make


def textures(side: int = 48) -> torch.Tensor:
    """Stripes on the left, checks on the right, of equal mean and variance."""
    rows, columns = np.mgrid[:side, :side]
    stripes, checks = columns // 2 % 2, (rows // 2 + columns // 2) % 2
    image = np.where(columns < side // 2, stripes, checks) * 0.6 + 0.2
    noise = np.random.default_rng(0).normal(0, 0.01, image.shape)
    return torch.tensor(image + noise, dtype=torch.float32)[None, None].expand(
        1, 2, -1, -1
    )


@pytest.mark.parametrize("scale", [0, 1])
def test_patches_are_whitened_without_unfolding_them(fitted, scale) -> None:
    image = torch.rand((2, 3, 30, 34), generator=torch.Generator().manual_seed(1))
    method = fitted(image)
    patches = method._patches(image, scale).permute(0, 2, 3, 1)  # (N, H, W, values)
    centred = patches - method.get_buffer("offsets")[scale]
    plain = centred @ method.get_buffer("whiteners")[scale].T
    fast = method._whitened_patches(image, scale).permute(0, 2, 3, 1)
    torch.testing.assert_close(fast, plain, atol=2e-4, rtol=1e-4)


def test_the_code_is_the_triangle_of_the_paper(fitted) -> None:
    image = torch.rand((1, 2, 20, 20), generator=torch.Generator().manual_seed(2))
    method = fitted(image)
    codes = method._scale_codes(image, 0)[0, :, 7, 9]
    white = method._whitened_patches(image, 0)[0, :, 7, 9]
    distances = [(white - atom).norm() for atom in method.get_buffer("atoms")[0]]
    mean = sum(distances) / len(distances)
    expected = torch.stack([max(mean - d, torch.tensor(0.0)) for d in distances])
    torch.testing.assert_close(codes, expected, atol=1e-4, rtol=1e-4)


def test_averaging_components_is_averaging_responses(fitted) -> None:
    image = torch.rand((1, 2, 24, 24), generator=torch.Generator().manual_seed(3))
    method = fitted(image)
    axes, mean = method.get_buffer("axes"), method.get_buffer("mean")
    slow = torch.einsum("nahw,ca->nchw", method._codes(image), axes)
    torch.testing.assert_close(
        method.patch_features(image), slow - mean[:, None, None], atol=1e-5, rtol=1e-4
    )


def test_whitened_patches_have_no_correlation(fitted) -> None:
    image = textures()
    method = fitted(image, pixels=10_000, scales=1)
    rows = method._whitened_patches(image, 0).permute(0, 2, 3, 1).flatten(0, 2)
    covariance = torch.cov(rows.T)
    off = covariance - covariance.diag().diag()
    assert off.abs().max() < 1e-3 * covariance.max()
    assert covariance.diag().max() < 1  # weak components are not blown up


def test_textures_of_one_colour_are_told_apart(fitted) -> None:
    image = textures()
    method = fitted(image, clusters=2, pixels=2304)
    ids = method.cluster_ids(image, torch.ones((1, 48, 48), dtype=torch.bool), "main")[
        0
    ]
    left, right = ids[8:-8, 8:16].float().mean(), ids[8:-8, 32:40].float().mean()
    assert abs(left - right) > 0.95


def test_the_features_move_with_the_image(fitted) -> None:
    image = torch.rand((1, 2, 60, 60), generator=torch.Generator().manual_seed(4))
    method = fitted(image)
    whole = method.patch_features(image)
    part = method.patch_features(image[..., 7:47, 5:45])
    inside = slice(14, -14)
    torch.testing.assert_close(
        part[..., inside, inside],
        whole[..., 7:47, 5:45][..., inside, inside],
        atol=1e-4,
        rtol=1e-3,
    )


def test_flat_images_stay_finite(fitted) -> None:
    image = torch.full((1, 2, 24, 24), 0.5)
    method = fitted(image, pixels=100)
    assert method.patch_features(image).isfinite().all()


@pytest.mark.parametrize("wrong", [{"size": 4}, {"scales": 0}, {"atoms": 1}])
def test_sizes_that_cannot_be_are_refused(wrong) -> None:
    with pytest.raises(ParameterError, match="expected an odd size"):
        build_method("patches", 3, wrong)
