"""FPN and U-Net on a ResNet-18 through segmentation_models_pytorch, from scratch."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from geoseg.methods.networks.trunk import Trunk, check_size


class EncoderDecoder(Trunk):
    """An encoder and a decoder of segmentation_models_pytorch, without its head.

    The layers are pulled out of smp's model, so that the state dictionary has the names
    ``encoder.*`` and ``decoder.*`` of smp's own checkpoints.
    """

    def __init__(
        self, model: nn.Module, in_channels: int, *, out_channels: int, stride: int
    ) -> None:
        super().__init__(
            in_channels, out_channels=out_channels, stride=stride, divisor=32
        )
        self.encoder = model.get_submodule("encoder")
        self.decoder = model.get_submodule("decoder")
        _replace_batch_norms(self)

    def features(self, image: Tensor) -> Tensor:
        features: Tensor = self.decoder(self.encoder(image))
        return features


def build_fpn(in_channels: int, *, width: int = 16) -> EncoderDecoder:
    """Build a feature pyramid network with features at stride 4.

    Args:
        in_channels: Channels of the image.
        width: The pyramid has ``8 width`` channels, the features ``4 width``, rounded
            up to a multiple of 32 of at least 64 (the decoder normalises 32 groups);
            32 is smp's default. No dropout: all chance is keyed by the views.

    References:
        Lin et al. Feature Pyramid Networks for Object Detection. CVPR 2017.
        https://arxiv.org/abs/1612.03144
    """
    check_size(in_channels, width)
    import segmentation_models_pytorch as smp  # heavy; the vgg trunk does without

    channels = 32 * max(2, math.ceil(width / 8))
    model = smp.FPN(
        "resnet18",
        encoder_weights=None,
        in_channels=in_channels,
        decoder_pyramid_channels=8 * width,
        decoder_segmentation_channels=channels,
        decoder_dropout=0.0,
    )
    return EncoderDecoder(model, in_channels, out_channels=channels, stride=4)


def build_unet(in_channels: int, *, width: int = 16) -> EncoderDecoder:
    """Build a U-Net with features at full resolution.

    Args:
        in_channels: Channels of the image.
        width: The decoder has ``16, 8, 4, 2, 1`` times as many channels, the features
            ``width``; 16 is smp's default.

    References:
        Ronneberger, Fischer, Brox. U-Net: Convolutional Networks for Biomedical Image
        Segmentation. MICCAI 2015. https://arxiv.org/abs/1505.04597
    """
    check_size(in_channels, width)
    import segmentation_models_pytorch as smp  # heavy; the vgg trunk does without

    model = smp.Unet(
        "resnet18",
        encoder_weights=None,
        in_channels=in_channels,
        decoder_channels=tuple(factor * width for factor in (16, 8, 4, 2, 1)),
    )
    return EncoderDecoder(model, in_channels, out_channels=width, stride=1)


def resnet18(in_channels: int, *, stages: int) -> tuple[nn.Module, list[int]]:
    """Build the first residual stages of a ResNet-18.

    Args:
        in_channels: Channels of the image.
        stages: 1 to 4.

    Returns:
        The encoder, whose output is a list that ends with one ``(N, D, h, w)`` per
        residual stage, of strides 4, 8, 16, 32; and the numbers of their channels.
    """
    import segmentation_models_pytorch as smp  # heavy; the vgg trunk does without

    encoder = smp.encoders.get_encoder(
        "resnet18", in_channels=in_channels, depth=stages + 1, weights=None
    )
    for unused in range(stages + 1, 5):
        delattr(encoder, f"layer{unused}")
    _replace_batch_norms(encoder)
    return encoder, list(encoder.out_channels[-stages:])


class BatchNorm(nn.BatchNorm2d):
    """Batch normalisation that takes a single value per channel while training.

    The encoder's last stage has stride 32: one patch of 32 pixels leaves one value,
    which has no variance. It is normalised by the running statistics, as in prediction.
    """

    def forward(self, input: Tensor) -> Tensor:
        if self.training and input.numel() == input.shape[1]:
            return F.batch_norm(
                input,
                self.running_mean,
                self.running_var,
                self.weight,
                self.bias,
                training=False,
                eps=self.eps,
            )
        return super().forward(input)


def _replace_batch_norms(module: nn.Module) -> None:
    for name, child in module.named_children():
        if type(child) is nn.BatchNorm2d:  # subclasses do more, as timm's with ReLU
            with torch.device("meta"):
                new = BatchNorm(child.num_features, child.eps, child.momentum)
            new.load_state_dict(child.state_dict(), assign=True)
            new.train(child.training)
            setattr(module, name, new)
        else:
            _replace_batch_norms(child)
