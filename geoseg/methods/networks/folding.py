"""Batch normalisation folded into the convolutions before it, for prediction."""

import copy
import logging
from collections import Counter
from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor, nn

from geoseg.methods.networks.following import followed, normalises, only_input
from geoseg.methods.networks.kept import KeptCopies, has_hooks, shared_tensors
from geoseg.methods.networks.trunk import Trunk

log = logging.getLogger(__name__)

AnyTrunk = TypeVar("AnyTrunk", bound=Trunk)

# The very types: a subclass may do something else.
_CONVOLUTIONS = (nn.Conv2d, nn.ConvTranspose2d)


class Fold(NamedTuple):
    """A convolution, and the normalisation that alone takes what comes out of it."""

    convolution: nn.Conv2d | nn.ConvTranspose2d
    normalisation: nn.BatchNorm2d


def folded(trunk: AnyTrunk) -> AnyTrunk:
    """Return a trunk that predicts the same, up to rounding, with less to compute.

    Every batch normalisation that directly follows a convolution is a factor and a
    summand per channel, which the convolution's weights and bias take over. The trunk
    itself stays as it is, and shares all other weights. Its folded copy is kept, and
    made anew once the trunk has changed.

    Returns:
        A copy; the trunk itself if there is nothing to fold, as while it trains.

    References:
        Jacob et al. Quantization and Training of Neural Networks for Efficient
        Integer-Arithmetic-Only Inference. CVPR 2018, section 3.2.
        https://arxiv.org/abs/1712.05877
    """
    found = _copies.of(trunk)
    return trunk if found is None else found  # type: ignore[return-value]


def find_folds(trunk: Trunk) -> list[Fold]:
    """Find the batch normalisations that can be folded, in the order they are met.

    They are in evaluation mode and have running statistics. Each, and its convolution,
    is called once, and nothing but the normalisation takes what the convolution gives.
    A trunk that cannot be followed, as its steps depend on sizes or values, has none,
    nor has one with hooks; the log says so.
    """
    modules, name = dict(trunk.named_modules()), type(trunk).__name__
    if not any(normalises(module) for module in modules.values()):
        return []
    if any(has_hooks(module) for module in modules.values()):
        log.debug("%s has hooks, so no batch normalisation is folded", name)
        return []
    try:
        graph = followed(trunk)
    except Exception as error:  # code that meets a stand-in for a tensor may raise any
        said = "%s cannot be followed, so no batch normalisation is folded: %s"
        log.debug(said, name, error)
        return []
    calls = Counter(node.target for node in graph.nodes if node.op == "call_module")
    folds = [
        Fold(modules[before.target], modules[node.target])
        for node in graph.nodes
        if (before := only_input(node)) is not None
        and calls[node.target] == calls[before.target] == 1
        and normalises(modules[node.target])
        and type(modules[before.target]) in _CONVOLUTIONS
    ]
    norms = sum(isinstance(module, nn.BatchNorm2d) for module in modules.values())
    log.debug("%s: %d of %d batch normalisations folded", name, len(folds), norms)
    return folds


def _copy(trunk: Trunk) -> Trunk | None:
    """Return a trunk with other convolutions, that shares all other weights."""
    folds = find_folds(trunk)
    if not folds:
        return None
    memo = shared_tensors(trunk)
    for fold in folds:
        memo[id(fold.convolution)] = fold_one(*fold)
        memo[id(fold.normalisation)] = nn.Identity().eval()
    return copy.deepcopy(trunk, memo)


_copies = KeptCopies(_copy)


@torch.inference_mode(False)
@torch.no_grad()
def fold_one(
    convolution: nn.Conv2d | nn.ConvTranspose2d, normalisation: nn.BatchNorm2d
) -> nn.Conv2d | nn.ConvTranspose2d:
    """Return a convolution that normalises what it gives.

    Computed in float64 and on the CPU, so that all devices get the same weights (some
    have no float64); the result has the convolution's type and device.

    Args:
        convolution: With or without bias; stays as it is.
        normalisation: With running statistics, affine or not.
    """
    variance = _exactly(normalisation.running_var)
    factor = (variance + normalisation.eps).rsqrt()  # (out,)
    factor = factor * _exactly(normalisation.weight, 1.0)
    shift = _exactly(convolution.bias) - _exactly(normalisation.running_mean)
    shift = shift * factor + _exactly(normalisation.bias)
    weight = convolution.weight
    scaled = _exactly(weight)
    if isinstance(convolution, nn.ConvTranspose2d):  # (in, out / groups, h, w)
        groups = factor.reshape(convolution.groups, 1, -1)  # (groups, 1, out / groups)
        each = groups.expand(-1, len(weight) // convolution.groups, -1).flatten(0, 1)
        scaled = scaled * each[:, :, None, None]
    else:  # (out, in / groups, h, w)
        scaled = scaled * factor[:, None, None, None]
    memo: dict[int, Any] = {id(it): it for it in convolution.parameters()}
    found = copy.deepcopy(convolution, memo)
    found.weight = nn.Parameter(scaled.to(weight), requires_grad=False)
    found.bias = nn.Parameter(shift.to(weight), requires_grad=False)
    return found


def _exactly(values: Tensor | None, otherwise: float = 0.0) -> Tensor:
    """Return values in float64 on the CPU, one number for all if there are none."""
    if values is None:
        return torch.tensor(otherwise, dtype=torch.float64)
    return values.detach().cpu().double()
