"""Weights of a model file, read into methods that are built without running anything."""

from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open

from geoseg.core.errors import ModelFileError
from geoseg.methods import build_method
from geoseg.methods.bases.method import Method

#: Models with widths and numbers of clusters up to this are built directly.
MODEST_SIZE = 256


def load_weights(path: Path, methods: Mapping[str, Method]) -> None:
    """Read the weights of a model file into its methods.

    Args:
        path: The file.
        methods: By the prefix of their weights' names in the file.

    Raises:
        ModelFileError: If the weights are not finite, or do not fit the methods.
    """
    expected = {
        prefix + name: tensor
        for prefix, method in methods.items()
        for name, tensor in method.state_dict().items()
    }
    with safe_open(path, framework="pt") as file:
        stored = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}
        shapes = {name: tuple(tensor.shape) for name, tensor in expected.items()}
        if stored != shapes:
            names = sorted(set(stored.items()) ^ set(shapes.items()))
            raise ModelFileError(
                f"the weights of {path} do not fit its card, first at "
                f"{names[0][0]!r}: the file is damaged or was edited"
            )
        weights = {name: file.get_tensor(name) for name in shapes}
    for name, tensor in weights.items():
        _check_tensor(path, name, tensor, expected[name].dtype)
    for prefix, method in methods.items():
        own = {name: weights[prefix + name] for name in method.state_dict()}
        method.load_state_dict(own, assign=True)


def _check_tensor(
    path: Path, name: str, tensor: torch.Tensor, dtype: torch.dtype
) -> None:
    if tensor.dtype != dtype:
        raise ModelFileError(
            f"{name!r} in {path} is {tensor.dtype}, expected {dtype}: the file is "
            "damaged or was edited"
        )
    if not bool(tensor.isfinite().all()):
        raise ModelFileError(
            f"{name!r} in {path} is not finite, expected numbers: the file is damaged or "
            "its training diverged; train again"
        )


def empty_method(
    path: Path, name: str, channels: int, parameters: Mapping[str, Any]
) -> Method:
    """Build the method that a card names; its weights are still to be loaded.

    A card may name sizes that would fill the memory. So large sizes are built on the
    meta device, without memory, until the file is known to hold tensors of these
    shapes. The usual sizes are built directly: that device needs 2 s of imports.

    Raises:
        ModelFileError: If there is no such method.
    """
    sizes = [v for v in parameters.values() if isinstance(v, int)]
    modest = max([channels, *sizes]) <= MODEST_SIZE
    try:
        with nullcontext() if modest else torch.device("meta"):
            return build_method(name, channels, parameters)
    except (RuntimeError, TypeError, ValueError, OverflowError) as error:
        # torch adds its C++ stack below the first line
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise ModelFileError(
            f"the card of {path} describes no known method: {reason}"
        ) from error
