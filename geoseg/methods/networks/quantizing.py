"""Trunks that compute in 8-bit integers, for prediction on a CPU.

What a channel holds is counted in 255 steps from 0. How long a step is follows from the
channel's batch normalisation alone, which tells its mean and deviation: no image decides
about the numbers of another, whatever the batches, and none is needed beforehand.
"""

import logging
import math
from collections.abc import Sequence
from functools import cache
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn

from geoseg.core.errors import ParameterError
from geoseg.methods.networks.folding import fold_one
from geoseg.methods.networks.following import followed, normalises
from geoseg.methods.networks.kept import KeptCopies, has_hooks
from geoseg.methods.networks.trunk import Trunk

log = logging.getLogger(__name__)

#: Highest count of a channel, and of a weight either way.
MOST_STEPS, MOST_WEIGHT = 255, 127
#: Deviations above its mean that a channel's steps reach. Channels have long tails: at
#: 6 (Nagel et al.) what is cut off costs more pixels their class than all rounding does.
DEVIATIONS = 12.0
# A channel that is all but always 0 has steps so much shorter than others at most.
_SHORTEST = 1e-3
_TINY = 1e-30


def quantized(trunk: Trunk) -> Trunk:
    """Return a trunk that predicts nearly the same by integers; it is kept.

    The first convolution computes in float32: bands come in any range, and are few. Its
    sums are rounded to steps. All others multiply integers and add them up exactly. The
    features are float32. Differs from the paper: each channel has steps of its own,
    which the weights of the next layer take up, instead of equalised weights.

    Raises:
        ParameterError: If the trunk is no chain of convolutions, each with a batch
            normalisation by running statistics and a ReLU, and of max-poolings; or if
            the processor has no integer arithmetic that is exact.

    References:
        Nagel, van Baalen, Blankevoort, Welling. Data-Free Quantization Through Weight
        Equalization and Bias Correction. ICCV 2019. https://arxiv.org/abs/1906.04721,
        section 4.
    """
    if not adds_exactly():
        raise ParameterError(
            "this processor or this torch does not add up products of 8 bits exactly, "
            "expected an x86 processor with VNNI: leave out --quantize"
        )
    found = _copies.of(trunk)
    if found is None:
        raise ParameterError(
            f"the model's trunk ({type(trunk).__name__}) is no chain of convolutions "
            "with batch normalisation and ReLU, expected vgg: leave out --quantize"
        )
    return found


@cache
def adds_exactly() -> bool:
    """Try whether large products of integers are added up without saturation.

    Processors without VNNI add pairs of them in 16 bits, and other kinds have no such
    kernels.
    """
    channels = 32
    with torch.random.fork_rng(devices=[]):  # weights are drawn, and not wanted
        convolution = nn.Conv2d(channels, channels, 3, bias=False)
    nn.init.constant_(convolution.weight, MOST_WEIGHT)
    steps = torch.full((1, channels, 16, 16), MOST_STEPS, dtype=torch.uint8)
    steps = steps.contiguous(memory_format=torch.channels_last)
    try:
        layer = IntegerConvolution(convolution, torch.zeros(channels), torch.float32)
        found = layer(StepPooling(nn.MaxPool2d(2))(steps))
    except (AttributeError, RuntimeError) as error:
        log.debug("torch has no convolution of integers here: %s", error)
        return False
    return bool((found == MOST_STEPS * MOST_WEIGHT * 9 * channels).all())


class _Block(NamedTuple):
    """A convolution, its normalisation, a ReLU; and the poolings that follow."""

    convolution: nn.Conv2d
    normalisation: nn.BatchNorm2d
    poolings: list[nn.MaxPool2d]


@torch.inference_mode(False)
@torch.no_grad()
def _copy(trunk: Trunk) -> Trunk | None:
    """Return the quantised trunk, None if it has other layers."""
    blocks = _blocks(_chain(trunk))
    return QuantizedTrunk(trunk, blocks) if len(blocks) > 1 else None


_copies = KeptCopies(_copy)


def _chain(trunk: Trunk) -> list[nn.Module]:
    """Return the layers of a trunk, none unless each alone takes what the last gives."""
    modules = dict(trunk.named_modules())
    if any(has_hooks(module) for module in modules.values()):
        return []
    try:
        before, *calls = followed(trunk).nodes
    except Exception as error:  # code that meets a stand-in for a tensor may raise any
        log.debug("%s cannot be followed: %s", type(trunk).__name__, error)
        return []
    layers = []
    for node in calls:
        if node.all_input_nodes != [before] or list(before.users) != [node]:
            return []
        if node.op == "call_module":
            layers.append(modules[node.target])
        elif node.op != "output" and node.target != "contiguous":
            return []
        before = node
    return layers


def _blocks(layers: Sequence[nn.Module]) -> list[_Block]:
    """Return the blocks that layers consist of, none if of anything else."""
    blocks: list[_Block] = []
    while layers:
        layer, *rest = layers
        if _is_block(layers):
            blocks.append(_Block(layer, rest[0], []))  # type: ignore[arg-type]
            layers = rest[2:]
        elif type(layer) is nn.MaxPool2d and blocks and not layer.return_indices:
            blocks[-1].poolings.append(layer)
            layers = rest
        else:
            return []
    return blocks


def _is_block(layers: Sequence[nn.Module]) -> bool:
    """Whether layers begin with a block; of the very types, others may do other things."""
    if len(layers) < 3:
        return False
    convolution, normalisation, last = layers[:3]
    return (
        type(convolution) is nn.Conv2d
        and convolution.padding_mode == "zeros"
        and not isinstance(convolution.padding, str)
        and normalises(normalisation)
        and type(last) is nn.ReLU
    )


class QuantizedTrunk(Trunk):
    """Layers that hand on ``(N, C, H, W)`` uint8, the last one float32.

    Args:
        trunk: What it is made of; stays as it is.
        blocks: Those of the trunk, two or more.
    """

    def __init__(self, trunk: Trunk, blocks: Sequence[_Block]) -> None:
        super().__init__(
            trunk.in_channels,
            out_channels=trunk.out_channels,
            stride=trunk.stride,
            divisor=trunk.divisor,
        )
        first, *inner, last = blocks
        step = _step(first.normalisation)
        ones = torch.ones(trunk.in_channels), torch.ones(trunk.out_channels)
        self.first = _rescaled(
            first, ones[0], step, shift=0.5
        )  # cutting off then rounds
        layers: list[nn.Module] = [StepPooling(it) for it in first.poolings]
        mean = _mean(first.normalisation) / step
        for block in inner:
            following = _step(block.normalisation)
            convolution = _rescaled(block, step, following)
            layers.append(IntegerConvolution(convolution, mean, torch.uint8))
            layers += [StepPooling(it) for it in block.poolings]
            step, mean = following, _mean(block.normalisation) / following
        convolution = _rescaled(last, step, ones[1])
        layers.append(IntegerConvolution(convolution, mean, torch.float32))
        self.layers = nn.Sequential(*layers, *last.poolings)

    def features(self, image: Tensor) -> Tensor:
        sums = self.first(image.contiguous(memory_format=torch.channels_last))
        features: Tensor = self.layers(sums.clamp_(0, MOST_STEPS).to(torch.uint8))
        return features


class IntegerConvolution(nn.Module):
    """A convolution of steps by weights of 8 bits, and a ReLU.

    Args:
        convolution: In float32; what goes in and comes out is counted in steps.
        mean: ``(in,)``, of the steps that come in. What rounding the weights adds to
            the sums on average is taken off the bias (Nagel et al. 2019, section 4.2).
        out: ``uint8``, or ``float32`` for sums that are not rounded to steps.
    """

    def __init__(self, convolution: nn.Conv2d, mean: Tensor, out: torch.dtype) -> None:
        super().__init__()
        weight = convolution.weight.detach().double()
        unit = weight.abs().amax((1, 2, 3)).clamp_min(_TINY) / MOST_WEIGHT  # (out,)
        counts = (weight / unit[:, None, None, None]).round()
        # (out, in / groups)
        added = (counts * unit[:, None, None, None] - weight).sum((2, 3))
        added = (added * _for_each(convolution, mean)).sum(1)  # (out,)
        bias = convolution.bias
        bias = -added if bias is None else bias.detach().double() - added
        self._bias = bias.float()
        self._unit, self._zero = unit.float(), torch.zeros(len(unit), dtype=torch.int)
        self._out = out
        shape = convolution.stride, convolution.padding, convolution.dilation
        self._shape = *shape, convolution.groups
        self._packed = torch.ops.onednn.qconv_prepack(
            counts.to(torch.int8), self._unit, 1.0, 0, *self._shape, None
        )

    def forward(self, steps: Tensor) -> Tensor:
        """Return ``(N, out, h, w)`` of ``(N, in, H, W)`` uint8."""
        # a scale and the count of zero, before and after; no quantised tensors, which
        # torch gives up
        found: Tensor = torch.ops.onednn.qconv2d_pointwise(
            *(steps, 1.0, 0, self._packed, self._unit, self._zero, self._bias),
            *(*self._shape, 1.0, 0, self._out, "relu", [], ""),
        )
        return found


class StepPooling(nn.Module):
    """Max-pooling of uint8, which torch's own does not take with channels last."""

    def __init__(self, pooling: nn.MaxPool2d) -> None:
        super().__init__()
        of = pooling.kernel_size, pooling.stride, pooling.padding, pooling.dilation
        self._shape = [_pair(size) for size in of]
        self._ceil_mode = pooling.ceil_mode

    def forward(self, steps: Tensor) -> Tensor:
        """Return ``(N, C, h, w)`` of ``(N, C, H, W)``."""
        found: Tensor = torch.ops.quantized.max_pool2d(
            steps, *self._shape, self._ceil_mode
        )
        return found


def _pair(size: int | tuple[int, int]) -> list[int]:
    return [size, size] if isinstance(size, int) else list(size)


def _rescaled(
    block: _Block, before: Tensor, after: Tensor, *, shift: float = 0.0
) -> nn.Conv2d:
    """Return a block's folded convolution, from steps of one length to those of another.

    Args:
        block: Of ``in`` and ``out`` channels.
        before: ``(in,)``, lengths of the steps that go in; 1 for what is not counted.
        after: ``(out,)``, of those that come out.
        shift: Added to what comes out.
    """
    found = cast(nn.Conv2d, fold_one(block.convolution, block.normalisation))
    weight, bias = found.weight.double(), cast(Tensor, found.bias).double()
    weight = weight * _for_each(found, before)[..., None, None]
    weight = weight / after[:, None, None, None]
    found.weight = nn.Parameter(weight.float(), requires_grad=False)
    found.bias = nn.Parameter((bias / after + shift).float(), requires_grad=False)
    return found


def _for_each(convolution: nn.Conv2d, channels: Tensor) -> Tensor:
    """Return ``(out, in / groups)`` of ``(in,)``: what each output channel takes."""
    groups = channels.reshape(convolution.groups, 1, -1)
    count = convolution.out_channels // convolution.groups
    return groups.expand(-1, count, -1).flatten(0, 1)


def _step(normalisation: nn.BatchNorm2d) -> Tensor:
    """Return the ``(C,)`` lengths of steps behind a ReLU, above 0, in float64."""
    deviation, mean = _moments(normalisation)
    top = (mean + DEVIATIONS * deviation).clamp_min(_TINY)
    return top.clamp_min(_SHORTEST * top.max()) / MOST_STEPS


def _mean(normalisation: nn.BatchNorm2d) -> Tensor:
    """Return the ``(C,)`` means behind a ReLU of normally distributed values.

    ``E[max(x, 0)] = σ φ(μ/σ) + μ Φ(μ/σ)``. What pooling adds is left out.

    References:
        Nagel et al. 2019, appendix C.
    """
    deviation, mean = _moments(normalisation)
    ratio = mean / deviation.clamp_min(_TINY)
    density = torch.exp(-ratio.square() / 2) / math.sqrt(2 * math.pi)
    found: Tensor = deviation * density + mean * torch.special.ndtr(ratio)
    return found


def _moments(normalisation: nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    """Return the ``(C,)`` deviations and means that a normalisation gives, in float64."""
    count = normalisation.num_features
    if not normalisation.affine:
        return torch.ones(count).double(), torch.zeros(count).double()
    weight, bias = normalisation.weight.detach(), normalisation.bias.detach()
    return weight.double().abs(), bias.double()
