"""PiCIE's feature pyramid on a ResNet-18, from scratch."""

import torch.nn.functional as F
from torch import Tensor, nn

from geoseg.methods.networks.smp import resnet18
from geoseg.methods.networks.trunk import Trunk, check_size

#: Residual stages of a ResNet-18.
STAGES = 4


class Pyramid(Trunk):
    """The residual stages, each through a 1×1 convolution, added from top to bottom.

    No smoothing and no normalisation in the decoder, as released with PiCIE: the
    features of stride 4 are the sum of all stages, enlarged bilinearly. smp's ``fpn``
    has both, and more layers.

    The first two stages alone (``stages=2``) are the trunk of the baseline IIC-res12:
    its last convolution sees 99 pixels instead of 435.

    Args:
        in_channels: Channels of the image.
        width: The features have ``8 width`` channels; 16 is the published 128.
        stages: How many residual stages there are, 1 to 4.

    References:
        Cho, Mall, Bala, Hariharan. PiCIE: Unsupervised Semantic Segmentation using
        Invariance and Equivariance in Clustering. CVPR 2021, section 4.1.
        https://arxiv.org/abs/2103.17070
    """

    def __init__(
        self, in_channels: int, *, width: int = 16, stages: int = STAGES
    ) -> None:
        check_size(in_channels, width)
        stride = 2 ** (stages + 1)
        super().__init__(in_channels, out_channels=8 * width, stride=4, divisor=stride)
        self.encoder, channels = resnet18(in_channels, stages=stages)
        self.lateral = nn.ModuleList(
            _lateral(count, self.out_channels) for count in channels
        )

    def features(self, image: Tensor) -> Tensor:
        stages: list[Tensor] = self.encoder(image)[-len(self.lateral) :]
        pairs = zip(self.lateral, stages, strict=True)
        levels = [convolution(stage) for convolution, stage in pairs]
        total: Tensor = levels.pop()
        while levels:
            level = levels.pop()
            size = (level.shape[2], level.shape[3])
            larger = F.interpolate(
                total, size=size, mode="bilinear", align_corners=False
            )
            total = level + larger
        return total


def _lateral(in_channels: int, out_channels: int) -> nn.Conv2d:
    convolution = nn.Conv2d(in_channels, out_channels, kernel_size=1)
    nn.init.kaiming_uniform_(convolution.weight, a=1)
    if convolution.bias is not None:
        nn.init.zeros_(convolution.bias)
    return convolution


def build_res12(in_channels: int, *, width: int = 16) -> Pyramid:
    """Build the pyramid of the first two residual stages."""
    return Pyramid(in_channels, width=width, stages=2)
