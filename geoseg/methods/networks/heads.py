"""From features to logits: 1×1 convolutions and the way back to full size."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from geoseg.core.errors import ParameterError

#: Weight of one step in the running mean of a sub-head's loss.
_NOTED = 0.01


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


class SubHeads(nn.Module):
    """Pixel heads of equal shape beside one another, of which prediction takes one.

    They start from other weights, train together, and end in other places. Which one
    predicts is chosen without labels: the one whose loss, as a running mean over about
    the last hundred steps, is lowest. IIC's authors report that on STL-10 this choice
    is close to that by accuracy: 0.5958 against 0.6103.

    The running means are a buffer, so that a checkpoint and a model file hold the
    choice. A single head has nothing to choose and no buffer: its ``state_dict`` is that
    of a :class:`PixelHead`.

    Args:
        in_channels: ``D``.
        clusters: ``K`` of each.
        count: How many.

    Raises:
        ParameterError: If there are fewer than two clusters, or no head.

    References:
        Ji, Henriques, Vedaldi. Invariant Information Clustering for Unsupervised Image
        Classification and Segmentation. ICCV 2019. https://arxiv.org/abs/1807.06653,
        and the readme of their code, https://github.com/xu-ji/IIC.
    """

    def __init__(self, in_channels: int, clusters: int, count: int = 1) -> None:
        super().__init__()
        if count < 1:
            raise ParameterError(f"sub_heads is {count}, expected at least 1")
        if clusters < 2:
            raise ParameterError(f"clusters is {clusters}, expected at least 2")
        self.clusters, self.count = clusters, count
        self.convolution = PixelHead(in_channels, count * clusters).convolution
        if count > 1:
            self.register_buffer("losses", torch.zeros(count))

    def forward(self, features: Tensor, number: int | None = None) -> Tensor:
        """Return ``(N, K, h, w)`` logits of one head; by default of the chosen one."""
        number = int(self.chosen()) if number is None else number
        part = slice(number * self.clusters, (number + 1) * self.clusters)
        bias = self.convolution.bias
        return F.conv2d(
            features,
            self.convolution.weight[part],
            None if bias is None else bias[part],
        )

    @torch.no_grad()
    def note(self, losses: Tensor) -> None:
        """Take the ``(count,)`` losses of a step into the running means."""
        if self.count > 1:
            self.get_buffer("losses").lerp_(losses.float(), _NOTED)

    def chosen(self) -> Tensor:
        """Return the number of the head with the lowest loss, on the heads' device."""
        if self.count == 1:
            return torch.zeros((), dtype=torch.long)
        return self.get_buffer("losses").argmin()


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
