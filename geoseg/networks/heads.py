"""From features to logits: the 1×1 convolution and the way back to full size."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from geoseg.errors import ParameterError


class PixelHead(nn.Module):
    """A 1×1 convolution from features to cluster logits, at the trunk's resolution.

    The blog upsamples the features first. Bilinear weights sum to one, so the two
    commute exactly, bias included, and K logits are cheaper to upsample than D
    features. The caller upsamples (:func:`upsample`), then takes the softmax: across
    the softmax the order matters.

    The blog does not say whether the convolution has a bias. It has one here, starting
    at 0; the authors of IIC have none. Weights start as theirs do (kaiming, fan-in),
    drawn from torch's global generator.

    Args:
        in_channels: ``D``.
        clusters: ``K``.
        bias: Whether to add one number per cluster.

    Raises:
        ParameterError: If there are fewer than two clusters.
    """

    def __init__(self, in_channels: int, clusters: int, *, bias: bool = True) -> None:
        super().__init__()
        if clusters < 2:
            raise ParameterError(f"clusters is {clusters}, expected at least 2")
        self.convolution = nn.Conv2d(in_channels, clusters, kernel_size=1, bias=bias)
        nn.init.kaiming_normal_(
            self.convolution.weight, mode="fan_in", nonlinearity="relu"
        )
        if self.convolution.bias is not None:
            nn.init.zeros_(self.convolution.bias)

    def forward(self, features: Tensor) -> Tensor:
        """Return ``(N, K, h, w)`` logits of ``(N, D, h, w)`` features."""
        logits: Tensor = self.convolution(features)
        return logits


def upsample(logits: Tensor, size: tuple[int, int]) -> Tensor:
    """Enlarge logits to the image's size.

    Bilinear, with pixel centres at 0.5 (``align_corners=False``), as everywhere in
    geoseg.

    Args:
        logits: ``(N, K, h, w)``.
        size: ``(H, W)``.

    Returns:
        ``(N, K, H, W)``; the logits themselves if they have that size already.
    """
    if tuple(logits.shape[-2:]) == tuple(size):
        return logits
    return F.interpolate(logits, size=tuple(size), mode="bilinear", align_corners=False)


def softmax(logits: Tensor) -> Tensor:
    """Return the softmax of ``(N, K, H, W)`` logits over K.

    The same numbers as ``logits.softmax(dim=1)``, in half the time where K lies last in
    memory, as it does behind a trunk with channels last.
    """
    if logits.is_contiguous(memory_format=torch.channels_last):
        return logits.permute(0, 2, 3, 1).softmax(dim=3).permute(0, 3, 1, 2)
    return logits.softmax(dim=1)
