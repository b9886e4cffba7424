"""Pixel features at several scales: filters without any learning."""

import math
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from geoseg.core.errors import ParameterError

#: Radius of filters in standard deviations.
REACH = 3.0

#: Convolves every channel of ``(N, C, H, W)`` with a Gaussian of a standard deviation in
#: pixels; values outside the image are 0.
Convolve = Callable[[Tensor, float], Tensor]


def by_matrices(image: Tensor, scale: float) -> Tensor:
    """Convolve with a Gaussian by banded matrices: a :data:`Convolve`.

    On a CPU this is several times faster than convolutions with such long kernels.
    """
    across, down = (_gaussians(image, side, scale) for side in (3, 2))
    return down @ image @ across


def by_kernels(image: Tensor, scale: float) -> Tensor:
    """Convolve with a Gaussian kernel: a :data:`Convolve` whose graph fits any size."""
    reach = math.ceil(REACH * scale)
    weights = _density(torch.arange(-reach, reach + 1), scale).tolist()
    kernel = image.new_tensor(weights)[None, None, None]
    planes = image.flatten(0, 1)[:, None]  # (N C, 1, H, W)
    across = F.conv2d(planes, kernel, padding=(0, reach))
    return F.conv2d(across, kernel.mT, padding=(reach, 0)).view(image.shape)


def pixel_features(
    image: Tensor,
    valid: Tensor,
    scales: Sequence[float],
    *,
    convolve: Convolve = by_matrices,
) -> Tensor:
    """Return the bands and their Gaussian derivatives at several scales.

    After the bands, for each scale s: the bands smoothed by a Gaussian of s; then, of the
    smoothed brightness (mean of the bands), the gradient's magnitude times s, the
    eigenvalues of the Hessian times s², and those of the structure tensor (outer products
    of the gradient, smoothed by s) times s², the larger one first.

    Filters use only valid pixels and stop at the border (normalised convolution, Knutsson
    and Westin 1993), so values of invalid pixels do not matter.

    Args:
        image: ``(N, C, H, W)``.
        valid: ``(N, H, W)`` bool.
        scales: Standard deviations in pixels, more than 0.
        convolve: Implementation; all agree up to rounding.

    Returns:
        ``(N, D, H, W)``, D = C + scales · (C + 5); finite where the image is.

    Raises:
        ParameterError: If a scale is not positive.
    """
    for scale in scales:
        if not scale > 0:
            raise ParameterError(f"a scale is {scale} pixels, expected more than 0")
    image = image.masked_fill(~valid[:, None], 0.0)
    weight = valid[:, None].to(image.dtype)
    features = [image]
    for scale in scales:
        smooth = _smooth(image, weight, scale, convolve)
        across, down = _slopes(smooth.mean(dim=1, keepdim=True))
        products = torch.cat([across * across, across * down, down * down], dim=1)
        tensor = _smooth(products * weight, weight, scale, convolve)
        (xx, xy), (_, yy) = _slopes(across), _slopes(down)
        features += [
            smooth,
            scale * torch.hypot(across, down),
            scale**2 * _eigenvalues(xx, xy, yy),
            scale**2 * _eigenvalues(tensor[:, :1], tensor[:, 1:2], tensor[:, 2:]),
        ]
    return torch.cat(features, dim=1)


def _smooth(image: Tensor, weight: Tensor, scale: float, convolve: Convolve) -> Tensor:
    """Return the Gaussian mean of the weighted pixels; 0 where none is within reach.

    Args:
        image: ``(N, C, H, W)``, 0 where the weight is 0.
        weight: ``(N, 1, H, W)``.
        scale: Standard deviation in pixels.
        convolve: Implementation of the convolution.
    """
    sums = convolve(torch.cat([image, weight], dim=1), scale)
    return sums[:, :-1] / sums[:, -1:].clamp(min=torch.finfo(sums.dtype).tiny)


def _gaussians(image: Tensor, axis: int, scale: float) -> Tensor:
    """Return the ``(L, L)`` weights between pixels along an axis of length L."""
    length = image.shape[axis]
    offsets = torch.arange(1 - length, length, device=image.device)
    weights = _density(offsets, scale) * (offsets.abs() <= math.ceil(REACH * scale))
    weights = weights.to(image.dtype)
    # each row of the matrix is a window on the same run of offsets
    return weights.unfold(0, length, 1).flip(0)


def _density(offsets: Tensor, scale: float) -> Tensor:
    """Return the normal density at whole offsets in pixels."""
    weights = torch.exp(-0.5 * (offsets / scale) ** 2)
    return weights / (scale * math.sqrt(2 * math.pi))


def _slopes(plane: Tensor) -> tuple[Tensor, Tensor]:
    """Return d/dx (to the right) and d/dy (downwards) by central differences."""
    padded = F.pad(plane, (1, 1, 1, 1), mode="replicate")
    across = (padded[..., 1:-1, 2:] - padded[..., 1:-1, :-2]) / 2
    down = (padded[..., 2:, 1:-1] - padded[..., :-2, 1:-1]) / 2
    return across, down


def _eigenvalues(xx: Tensor, xy: Tensor, yy: Tensor) -> Tensor:
    """Return the two eigenvalues of symmetric 2×2 matrices, the larger one first."""
    middle, half = (xx + yy) / 2, torch.hypot((xx - yy) / 2, xy)
    return torch.cat([middle + half, middle - half], dim=1)
