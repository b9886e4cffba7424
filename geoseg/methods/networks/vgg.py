"""The dilated VGG of Arithmer's blog, and of IIC before it."""

import copy
from typing import Self

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from geoseg.methods.networks.trunk import Trunk, check_size


class DilatedVgg(Trunk):
    """Six 3×3 convolutions, one max-pooling, dilation 2 after it.

    ``w, 2w → max-pool 2 → 4w, 4w, 8w, 8w`` channels (the last four with dilation 2),
    each convolution without bias, followed by BatchNorm and ReLU. A feature sees
    38 × 38 pixels: the texture of a roof and its border, not a whole house at 0.3 m.

    Differs from IIC's network "10a": the padding equals the dilation, so that the
    features keep half the image's size, and both 4w blocks are dilated (Arithmer).

    Args:
        in_channels: Channels of the image.
        width: ``w``; 64 is the published network.

    References:
        Ji, Henriques, Vedaldi. Invariant Information Clustering for Unsupervised Image
        Classification and Segmentation. ICCV 2019. https://arxiv.org/abs/1807.06653,
        section 4.2.
    """

    def __init__(self, in_channels: int, *, width: int = 64) -> None:
        check_size(in_channels, width)
        super().__init__(in_channels, out_channels=8 * width, stride=2, divisor=2)
        self.layers = nn.Sequential(
            *_block(in_channels, width, dilation=1),
            *_block(width, 2 * width, dilation=1),
            nn.MaxPool2d(2),
            *_block(2 * width, 4 * width, dilation=2),
            *_block(4 * width, 4 * width, dilation=2),
            *_block(4 * width, 8 * width, dilation=2),
            *_block(8 * width, 8 * width, dilation=2),
        )

    def features(self, image: Tensor) -> Tensor:
        # Narrow convolutions run up to twice as fast on a CPU with channels last.
        image = image.contiguous(memory_format=torch.channels_last)
        features: Tensor = self.layers(image)
        return features

    @torch.inference_mode(False)
    @torch.no_grad()
    def for_prediction(self) -> Self:
        """Return a copy whose convolutions have taken over their batch normalisation.

        Itself while it trains: the factors of a batch normalisation are those of the
        batch then.

        References:
            Jacob et al. Quantization and Training of Neural Networks for Efficient
            Integer-Arithmetic-Only Inference. CVPR 2018, section 3.2.
            https://arxiv.org/abs/1712.05877
        """
        if any(layer.training for layer in self.layers):
            return self
        layers: list[nn.Module] = []
        for layer in self.layers:
            before = layers[-1] if layers else None
            if isinstance(layer, nn.BatchNorm2d) and isinstance(before, nn.Conv2d):
                layers[-1] = _fused(before, layer)
            else:
                layers.append(layer)
        fused = copy.copy(self)
        fused._modules = {**self._modules, "layers": nn.Sequential(*layers).eval()}
        return fused


def _block(in_channels: int, out_channels: int, *, dilation: int) -> list[nn.Module]:
    convolution = nn.Conv2d(
        in_channels,
        out_channels,
        kernel_size=3,
        padding=dilation,
        dilation=dilation,
        bias=False,  # BatchNorm has one
    )
    nn.init.kaiming_normal_(convolution.weight, mode="fan_in", nonlinearity="relu")
    return [convolution, nn.BatchNorm2d(out_channels), nn.ReLU(inplace=True)]


def _fused(convolution: nn.Conv2d, normalisation: nn.BatchNorm2d) -> nn.Conv2d:
    """Return a convolution that normalises what it gives.

    Computed in float64 and on the CPU, so that all devices get the same weights.
    """
    fused = fuse_conv_bn_eval(
        copy.deepcopy(convolution).cpu().double(),
        copy.deepcopy(normalisation).cpu().double(),
    )
    return fused.to(convolution.weight).requires_grad_(False)
