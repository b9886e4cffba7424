"""Gradient channels: what Sobel's filters see, for networks that should see edges."""

from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor

from geoseg.core.errors import ParameterError

#: Whether gradients are left out, follow the bands, or stand in their place.
SobelMode = Literal["none", "append", "only"]


def check_sobel(mode: str) -> None:
    """Refuse an unknown mode.

    Raises:
        ParameterError: If it is none of :data:`SobelMode`.
    """
    if mode not in get_args(SobelMode):
        raise ParameterError(
            f"sobel is {mode!r}, expected one of {', '.join(get_args(SobelMode))}"
        )


def sobel_channels(in_channels: int, mode: str) -> int:
    """Return how many channels :func:`with_gradients` makes of an image's."""
    return {"none": in_channels, "append": in_channels + 2, "only": 2}[mode]


def with_gradients(
    image: Tensor, valid: Tensor, mode: str, *, bands: Tensor | None = None
) -> Tensor:
    """Add the gradients of an image's mean band, or put them in its place.

    A method calls this after it has made its views: the gradients are then those of the
    turned and recoloured image, as in the authors' code of IIC.

    Args:
        image: ``(N, C, H, W)`` in [0, 1].
        valid: ``(N, H, W)`` bool.
        mode: ``none`` returns the bands themselves; ``append`` adds d/dx (to the right) and
            d/dy (downwards) in [-1, 1], ``only`` returns these two.
        bands: ``(N, C, H, W)``, stands for the image beside its gradients, for instance
            whitened; None: the image.

    Returns:
        ``(N, C, H, W)``, ``(N, C + 2, H, W)`` or ``(N, 2, H, W)``. Gradients are 0 where
        the pixel or one of its eight neighbours is invalid; beyond the border the
        outermost pixels are repeated.
    """
    bands = image if bands is None else bands
    if mode == "none":
        return bands
    grey = F.pad(image.mean(dim=1, keepdim=True), (1, 1, 1, 1), mode="replicate")
    across = image.new_tensor([[-1.0, 0, 1], [-2, 0, 2], [-1, 0, 1]]) / 4
    kernel = torch.stack([across, across.t()])[:, None]  # (2, 1, 3, 3)
    missing = F.max_pool2d((~valid)[:, None].to(image.dtype), 3, stride=1, padding=1)
    gradients = F.conv2d(grey, kernel) * (1 - missing)
    return gradients if mode == "only" else torch.cat([bands, gradients], dim=1)
