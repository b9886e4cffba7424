"""Turns and mirrors of patches, with an exact inverse."""

import torch
from torch import Tensor

from geoseg.core.errors import ShapeError
from geoseg.methods.views import hashing

_MIRROR_COLUMNS, _MIRROR_ROWS, _TRANSPOSE = 1, 2, 4


def draw_symmetries(index: Tensor, *, epoch: int, seed: int, stream: int = 0) -> Tensor:
    """Draw one of the eight symmetries of the square for each patch.

    Args:
        index: ``(N,)`` long, number of each patch within its epoch.
        epoch: Number of the epoch.
        seed: Of the run.
        stream: Number of the view, where several are drawn.

    Returns:
        ``(N,)`` long codes in [0, 8); 0 is the identity.
    """
    state = hashing.states(
        index, epoch=epoch, seed=seed, view=stream, use=hashing.SYMMETRY
    )
    return hashing.mix(state) & 7


def apply_symmetry(x: Tensor, codes: Tensor) -> Tensor:
    """Turn and mirror each patch: bit 1 mirrors columns, 2 rows, then 4 transposes.

    Args:
        x: ``(N, …, H, W)``, any dtype.
        codes: ``(N,)`` long in [0, 8). Codes from 4 (quarter turns) need H = W.

    Returns:
        A tensor like ``x``; differentiable.

    Raises:
        ShapeError: If the shapes do not belong together, or a patch that is not square
            is to be transposed.

    Example:
        >>> x = torch.tensor([[[1, 2], [3, 4]]])
        >>> apply_symmetry(x, torch.tensor([5])).tolist()  # a quarter turn to the left
        [[[2, 4], [1, 3]]]
    """
    _check_codes(x, codes)
    x = torch.where(_has(codes, _MIRROR_COLUMNS, x), x.flip(-1), x)
    x = torch.where(_has(codes, _MIRROR_ROWS, x), x.flip(-2), x)
    return _transpose(x, codes)


def invert_symmetry(x: Tensor, codes: Tensor) -> Tensor:
    """Undo :func:`apply_symmetry` exactly.

    Args:
        x: ``(N, …, H, W)``, any dtype.
        codes: ``(N,)`` long, as given to :func:`apply_symmetry`.

    Raises:
        ShapeError: As :func:`apply_symmetry`.
    """
    _check_codes(x, codes)
    x = _transpose(x, codes)
    x = torch.where(_has(codes, _MIRROR_ROWS, x), x.flip(-2), x)
    return torch.where(_has(codes, _MIRROR_COLUMNS, x), x.flip(-1), x)


def _has(codes: Tensor, bit: int, x: Tensor) -> Tensor:
    flags = (codes & bit) != 0
    return flags.view(-1, *(1,) * (x.ndim - 1))


def _transpose(x: Tensor, codes: Tensor) -> Tensor:
    if x.shape[-1] == x.shape[-2]:
        return torch.where(_has(codes, _TRANSPOSE, x), x.transpose(-1, -2), x)
    if bool((codes & _TRANSPOSE).any()):
        raise ShapeError(
            f"patches of {x.shape[-2]} × {x.shape[-1]} pixels cannot be turned by a "
            "quarter, expected square ones: cut square patches or mirror only"
        )
    return x


def _check_codes(x: Tensor, codes: Tensor) -> None:
    if x.ndim < 3 or codes.shape != (x.shape[0],):
        raise ShapeError(
            f"codes has shape {tuple(codes.shape)} beside patches of shape "
            f"{tuple(x.shape)}, expected (N,) and (N, …, H, W)"
        )
