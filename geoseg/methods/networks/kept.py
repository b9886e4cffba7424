"""Copies of trunks that predict in another way, kept until the trunk changes."""

from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

from torch import Tensor, nn

from geoseg.methods.networks.trunk import Trunk


class _Kept(NamedTuple):
    """A copy (None: there is none to make), and what the trunk was like then."""

    state: list[tuple[int, ...]]
    objects: Sequence[object]  # kept alive, so that no other gets the id of one
    copy: Trunk | None


class KeptCopies:
    """What a function makes of trunks; a copy goes when its trunk goes.

    Args:
        make: Returns another trunk, or None. It keeps no reference to the trunk itself.
    """

    def __init__(self, make: Callable[[Trunk], Trunk | None]) -> None:
        self._make = make
        self._kept: WeakKeyDictionary[Trunk, _Kept] = WeakKeyDictionary()

    def of(self, trunk: Trunk) -> Trunk | None:
        """Return the copy of a trunk, made anew once the trunk has changed."""
        objects = list(_parts(trunk))
        state = [_state(part) for part in (trunk, *objects)]
        kept = self._kept.get(trunk)
        if kept is None or kept.state != state:
            kept = _Kept(state, objects, self._make(trunk))
            self._kept[trunk] = kept
        return kept.copy


def shared_tensors(trunk: Trunk) -> dict[int, Any]:
    """Return what makes ``deepcopy`` take a trunk's own tensors."""
    return {id(part): part for part in _parts(trunk) if isinstance(part, Tensor)}


def has_hooks(module: nn.Module) -> bool:
    """Whether somebody listens at a module, and might hear other numbers or change them."""
    return any(
        (
            *(module._forward_hooks, module._forward_pre_hooks),
            *(module._backward_hooks, module._backward_pre_hooks),
        )
    )


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
        return id(part), part.training, has_hooks(part)
    # those of inference mode have no version; they may not be changed outside of it
    version = 0 if part.is_inference() else part._version
    return id(part), part.data_ptr(), version
