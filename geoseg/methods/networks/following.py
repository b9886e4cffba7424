"""Which layers a trunk calls, and what takes what they give."""

import copy
from typing import Any

from torch import Tensor, fx, nn
from torch.fx.proxy import GraphAppendingTracer

from geoseg.methods.networks.kept import shared_tensors
from geoseg.methods.networks.smp import BatchNorm
from geoseg.methods.networks.trunk import Trunk

# The very types: a subclass may do something else.
_NORMALISATIONS = (nn.BatchNorm2d, BatchNorm)
_CONTAINERS = (nn.Sequential, nn.ModuleList, nn.ModuleDict)


def followed(trunk: Trunk) -> fx.Graph:
    """Return the calls that a trunk makes for its features, whatever the image.

    ``fx.symbolic_trace`` would patch ``nn.Module`` itself, while other threads predict.
    Here a copy is called, whose layers note their call and do nothing. They have no
    weights: a trunk that takes those for anything else cannot be followed.

    Raises:
        Exception: Whatever code may raise that meets a stand-in for a tensor, as steps
            that depend on sizes or values do.
    """
    graph = fx.Graph()
    follower = _Follower(graph)
    memo = shared_tensors(trunk)
    for name, module in trunk.named_modules():
        if _is_layer(module):
            memo[id(module)] = _silenced(module, name, follower)
    image = follower.create_proxy("placeholder", "image", (), {})
    features = copy.deepcopy(trunk, memo).features(image)  # type: ignore[arg-type]
    graph.output(follower.create_arg(features))
    return graph


def only_input(node: fx.Node) -> fx.Node | None:
    """Return the module's call that gives all that a module takes, and gives it alone."""
    if node.op != "call_module" or node.kwargs or len(node.args) != 1:
        return None
    (before,) = node.args
    if not isinstance(before, fx.Node) or before.op != "call_module":
        return None
    return before if list(before.users) == [node] else None


def normalises(module: nn.Module) -> bool:
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
