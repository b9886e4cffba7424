"""What every trunk promises."""

from typing import Self

from torch import Tensor, nn

from geoseg.core.errors import ParameterError, ShapeError


class Trunk(nn.Module):
    """A fully convolutional network from images to features, without a head.

    Weights are drawn from torch's global generator: the caller seeds it.

    Attributes:
        in_channels: Channels of the image.
        out_channels: ``D``, channels of the features.
        stride: Pixels of the image per pixel of the features.
        divisor: Height and width of the image must be multiples of it.
    """

    def __init__(
        self, in_channels: int, *, out_channels: int, stride: int, divisor: int
    ) -> None:
        super().__init__()
        self.in_channels = in_channels
        self.out_channels = out_channels
        self.stride = stride
        self.divisor = divisor

    def forward(self, image: Tensor) -> Tensor:
        """Compute features.

        Args:
            image: ``(N, C, H, W)`` float, H and W multiples of :attr:`divisor`.

        Returns:
            ``(N, D, H / stride, W / stride)``.

        Raises:
            ShapeError: If the image has other channels or another size.
        """
        self._check(image)
        return self.features(image)

    def features(self, image: Tensor) -> Tensor:
        """Compute features of an image whose shape has been checked."""
        raise NotImplementedError(f"{type(self).__name__} computes no features")

    def for_prediction(self) -> Self:
        """Return a trunk that gives the same up to rounding, faster if there is one.

        The trunk itself stays as it is.
        """
        return self

    def _check(self, image: Tensor) -> None:
        if image.ndim != 4 or image.shape[1] != self.in_channels:
            raise ShapeError(
                f"image has shape {tuple(image.shape)}, expected "
                f"(N, {self.in_channels}, H, W)"
            )
        height, width = image.shape[-2:]
        if height % self.divisor or width % self.divisor or not height * width:
            h, w = (max(1, -(-n // self.divisor)) for n in (height, width))
            raise ShapeError(
                f"image has {height} × {width} pixels, expected multiples of "
                f"{self.divisor}: pad it to {h * self.divisor} × {w * self.divisor}"
            )


def check_size(in_channels: int, width: int) -> None:
    """Refuse a trunk without channels.

    Raises:
        ParameterError: If one of the two is less than 1.
    """
    for name, value in (("in_channels", in_channels), ("width", width)):
        if value < 1:
            raise ParameterError(f"{name} is {value}, expected at least 1")
