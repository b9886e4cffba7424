"""Trunks: fully convolutional networks for any number of bands, trained from scratch.

Building the ``vgg`` trunk imports torch alone.
"""

from collections.abc import Callable

from geoseg.core.errors import ParameterError
from geoseg.methods.networks.pyramid import Pyramid, build_res12
from geoseg.methods.networks.smp import build_fpn, build_unet
from geoseg.methods.networks.trunk import Trunk
from geoseg.methods.networks.vgg import DilatedVgg

#: Name of each trunk → what builds it from ``in_channels`` and ``width``.
TRUNKS: dict[str, Callable[..., Trunk]] = {
    "vgg": DilatedVgg,
    "fpn": build_fpn,
    "unet": build_unet,
    "pyramid": Pyramid,
    "res12": build_res12,
}


def build_trunk(name: str, in_channels: int, *, width: int = 16) -> Trunk:
    """Build a trunk with random weights, drawn from torch's global generator.

    Args:
        name: ``vgg`` (stride 2, sees 38 pixels), ``fpn`` (stride 4), ``unet``
            (stride 1), or PiCIE's ``pyramid`` (stride 4) and ``res12`` (stride 4), all
            but the first on a ResNet-18.
        in_channels: Channels of the image.
        width: Scales the number of channels; the published ``vgg`` has 64, smp's
            default ``fpn`` 32 and ``unet`` 16.

    Raises:
        ParameterError: If there is no such trunk, or it would have no channels.

    Example:
        >>> trunk = build_trunk("vgg", 4, width=8)
        >>> trunk.out_channels, trunk.stride, trunk.divisor
        (64, 2, 2)
    """
    if name not in TRUNKS:
        raise ParameterError(
            f"there is no trunk {name!r}, expected one of {list(TRUNKS)}"
        )
    return TRUNKS[name](in_channels, width=width)
