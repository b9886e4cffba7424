"""Batch normalisation folded into the convolutions before it, for prediction."""

import copy
import logging
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Any, NamedTuple, TypeVar
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, fx, nn
from torch.fx.proxy import GraphAppendingTracer

from geoseg.networks.smp import BatchNorm
from geoseg.networks.trunk import Trunk

log = logging.getLogger(__name__)

AnyTrunk = TypeVar("AnyTrunk", bound=Trunk)

# The very types: a subclass may do something else.
_CONVOLUTIONS = (nn.Conv2d, nn.ConvTranspose2d)
_NORMALISATIONS = (nn.BatchNorm2d, BatchNorm)
_CONTAINERS = (nn.Sequential, nn.ModuleList, nn.ModuleDict)


class Fold(NamedTuple):
    """A convolution, and the normalisation that alone takes what comes out of it."""

    convolution: nn.Conv2d | nn.ConvTranspose2d
    normalisation: nn.BatchNorm2d


class _Kept(NamedTuple):
    """A folded trunk (None: nothing to fold), and what the trunk was like then."""

    state: list[tuple[int, ...]]
    objects: Sequence[object]  # kept alive, so that no other gets the id of one
    folded: Trunk | None


_kept: WeakKeyDictionary[Trunk, _Kept] = WeakKeyDictionary()


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
    objects = list(_parts(trunk))
    state = [_state(part) for part in (trunk, *objects)]
    kept = _kept.get(trunk)
    if kept is None or kept.state != state:
        folds = find_folds(trunk)
        kept = _Kept(state, objects, _copy(trunk, folds) if folds else None)
        _kept[trunk] = kept
    return trunk if kept.folded is None else kept.folded  # type: ignore[return-value]


def _parts(trunk: Trunk) -> Iterator[nn.Module | Tensor]:
    """Yield all that may change; not the trunk, which must be free to go."""
    for module in trunk.modules():
        if module is not trunk:
            yield module
        tensors = chain(module._parameters.values(), module._buffers.values())
        yield from (tensor for tensor in tensors if tensor is not None)


def _state(part: nn.Module | Tensor) -> tuple[int, ...]:
    """Tell whether a part has changed, without a look at its values.

    Running statistics are changed behind the back of their version, but with each
    change the number of batches is counted up.
    """
    if isinstance(part, nn.Module):
        return id(part), part.training, _has_hooks(part)
    # those of inference mode have no version; they may not be changed outside of it
    version = 0 if part.is_inference() else part._version
    return id(part), part.data_ptr(), version


def _has_hooks(module: nn.Module) -> bool:
    """Whether somebody listens at a module, and might hear other numbers or change them."""
    return any(
        (
            *(module._forward_hooks, module._forward_pre_hooks),
            *(module._backward_hooks, module._backward_pre_hooks),
        )
    )


def find_folds(trunk: Trunk) -> list[Fold]:
    """Find the batch normalisations that can be folded, in the order they are met.

    They are in evaluation mode and have running statistics. Each, and its convolution,
    is called once, and nothing but the normalisation takes what the convolution gives.
    A trunk that cannot be followed, as its steps depend on sizes or values, has none,
    nor has one with hooks; the log says so.
    """
    modules, name = dict(trunk.named_modules()), type(trunk).__name__
    if not any(_ready(module) for module in modules.values()):
        return []
    if any(_has_hooks(module) for module in modules.values()):
        log.debug("%s has hooks, so no batch normalisation is folded", name)
        return []
    try:
        graph = _followed(trunk)
    except Exception as error:  # code that meets a stand-in for a tensor may raise any
        said = "%s cannot be followed, so no batch normalisation is folded: %s"
        log.debug(said, name, error)
        return []
    calls = Counter(node.target for node in graph.nodes if node.op == "call_module")
    folds = [
        Fold(modules[before.target], modules[node.target])
        for node in graph.nodes
        if (before := _only_input(node)) is not None
        and calls[node.target] == calls[before.target] == 1
        and _ready(modules[node.target])
        and type(modules[before.target]) in _CONVOLUTIONS
    ]
    norms = sum(isinstance(module, nn.BatchNorm2d) for module in modules.values())
    log.debug("%s: %d of %d batch normalisations folded", name, len(folds), norms)
    return folds


def _only_input(node: fx.Node) -> fx.Node | None:
    """Return the module's call that gives all that a module takes, and gives it alone."""
    if node.op != "call_module" or node.kwargs or len(node.args) != 1:
        return None
    (before,) = node.args
    if not isinstance(before, fx.Node) or before.op != "call_module":
        return None
    return before if list(before.users) == [node] else None


def _ready(module: nn.Module) -> bool:
    """Whether a module is a batch normalisation by running statistics."""
    return (
        type(module) in _NORMALISATIONS
        and not module.training
        and module.running_mean is not None
        and module.running_var is not None
    )


class _Follower(GraphAppendingTracer):
    """Notes which call takes the result of which; weights are of no interest."""

    def create_arg(self, a: Any) -> Any:
        return None if isinstance(a, Tensor) else super().create_arg(a)


def _followed(trunk: Trunk) -> fx.Graph:
    """Return the calls that a trunk makes for its features, whatever the image.

    ``fx.symbolic_trace`` would patch ``nn.Module`` itself, while other threads predict.
    Here a copy is called, whose layers note their call and do nothing. They have no
    weights: a trunk that takes those for anything else fails, and is not folded.
    """
    graph = fx.Graph()
    follower = _Follower(graph)
    memo = _shared(trunk)
    for name, module in trunk.named_modules():
        if _is_layer(module):
            memo[id(module)] = _silenced(module, name, follower)
    image = follower.create_proxy("placeholder", "image", (), {})
    features = copy.deepcopy(trunk, memo).features(image)  # type: ignore[arg-type]
    graph.output(follower.create_arg(features))
    return graph


def _shared(trunk: Trunk) -> dict[int, Any]:
    """Return what makes ``deepcopy`` take a trunk's own tensors."""
    return {id(part): part for part in _parts(trunk) if isinstance(part, Tensor)}


def _is_layer(module: nn.Module) -> bool:
    if type(module) in _NORMALISATIONS:
        return True
    of_torch = type(module).__module__.startswith("torch.nn.")
    return of_torch and not isinstance(module, _CONTAINERS)


def _silenced(layer: nn.Module, name: str, follower: _Follower) -> nn.Module:
    """Return a layer of the same type that notes its call."""

    def note(*args: Any, **kwargs: Any) -> fx.Proxy:
        return follower.create_proxy("call_module", name, args, kwargs)

    silenced = copy.copy(layer)
    vars(silenced).update(_parameters={}, _buffers={}, _modules={}, forward=note)
    return silenced


def _copy(trunk: AnyTrunk, folds: list[Fold]) -> AnyTrunk:
    """Return a trunk with other convolutions, that shares all other weights."""
    memo = _shared(trunk)
    for fold in folds:
        memo[id(fold.convolution)] = fold_one(*fold)
        memo[id(fold.normalisation)] = nn.Identity().eval()
    return copy.deepcopy(trunk, memo)


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
