"""Mutual information between neighbouring pixels of two views (IIC segmentation).

For cluster probabilities X, Y of two aligned views and a displacement t, the joint

    ``C_t[i, j] = sum over n, u of X(n, i, u + t) Y(n, j, u)``

is computed for all ``|t| <= T`` at once in the frequency domain. This is exact and needs
one FFT per plane and one small complex product per frequency; the authors' code correlates
full-size images.

References:
    X. Ji, J. F. Henriques, A. Vedaldi: Invariant Information Clustering for
    Unsupervised Image Classification and Segmentation, ICCV 2019, equations 3 and 5,
    section 3.3, https://arxiv.org/abs/1807.06653
"""

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from geoseg.core.errors import ParameterError, ShapeError
from geoseg.core.processes import sum_over_ranks

# Smallest share of the largest overlap at which a displacement counts: with fewer pairs
# of pixels, the rounding of a float32 FFT dominates.
_LEAST_OVERLAP = 1e-5


class MutualInformation(NamedTuple):
    """The loss and the scalars logged with it.

    Attributes:
        loss: Mean over displacements of ``H(P) - lam (H(row) + H(column))``, in nats.
            At ``lam = 1`` it is minus the mutual information.
        loss_at_one: The same at ``lam = 1``, detached: comparable between runs.
        marginal_entropy: Entropy of the cluster sizes over ``ln K``, detached, in
            [0, 1]. 1 for clusters of equal size, 0 if there is one cluster.
    """

    loss: Tensor
    loss_at_one: Tensor
    marginal_entropy: Tensor


def mutual_information(
    x: Tensor,
    y: Tensor,
    valid: Tensor,
    *,
    half_width: int = 10,
    lam: float = 1.0,
    collapsed: bool = False,
) -> MutualInformation:
    """Return minus the mutual information of neighbouring pixels in two views.

    Differs from the authors' code in two points. A cell of the joint with probability 0
    contributes exactly 0 (the code replaces it by eps, which adds ``K^2 eps ln eps``); its
    gradient is bounded by ``ln eps``, with the eps of the dtype. Displacements without a
    pair of valid pixels are left out of the mean.

    Args:
        x: ``(N, K, H, W)`` cluster probabilities of view 1.
        y: ``(N, K, H, W)`` cluster probabilities of view 2, in view 1's coordinates.
        valid: ``(N, H, W)`` bool, or weights in [0, 1], multiplied into both.
        half_width: ``T``: displacements are in ``[-T, T]`` rows and columns.
        lam: Weight of the marginal entropies; values above 1 favour equal sizes.
        collapsed: Sum the joint over displacements first, and treat its normaliser as
            a constant, as the authors do. Default: one information per displacement.

    Returns:
        The differentiable loss, and two detached scalars. A batch without a valid pixel
        has loss 0 and gradient 0.

    Raises:
        ShapeError: If the shapes do not match or K is less than 2.
        ParameterError: If ``half_width`` is negative.
    """
    _check_pair(x, y, half_width)
    n, k, h, w = x.shape
    if y.shape[1] != k or k < 2:
        raise ShapeError(
            f"x has {k} clusters and y has {y.shape[1]}, expected the same number of "
            "at least 2"
        )
    if valid.shape != (n, h, w):
        raise ShapeError(
            f"valid has shape {tuple(valid.shape)}, expected {(n, h, w)} beside x of "
            f"shape {tuple(x.shape)}"
        )
    with torch.autocast(x.device.type, enabled=False):
        x, y = _at_least_float32(x), _at_least_float32(y)
        weight = valid.to(x.dtype).unsqueeze(1)
        joint = displaced_joint(x * weight, y * weight, half_width)
        return _information(sum_over_ranks(joint), lam=lam, collapsed=collapsed)


def displaced_joint(x: Tensor, y: Tensor, half_width: int) -> Tensor:
    """Sum ``X(n, i, u + t) Y(n, j, u)`` over patches n and pixels u, for all ``|t| <= T``.

    Outside the image X and Y are 0. Differentiable once.

    Args:
        x: ``(N, K, H, W)`` float32 or float64.
        y: ``(N, K', H, W)`` of the same dtype.
        half_width: ``T``, at least 0.

    Returns:
        ``(2T+1, 2T+1, K, K')``, not normalised; ``[T + dr, T + dc]`` belongs to the
        displacement by ``dr`` rows and ``dc`` columns. Rounding may leave tiny
        negative values, of about the dtype's eps times the largest cell.

    Raises:
        ShapeError: If the shapes do not match.
        ParameterError: If ``half_width`` is negative.

    Example:
        >>> x = torch.tensor([0.0, 1.0, 0.0]).view(1, 1, 1, 3)
        >>> y = torch.tensor([2.0, 0.0, 0.0]).view(1, 1, 1, 3)
        >>> displaced_joint(x, y, 1)[1, :, 0, 0].round().tolist()  # one to the right
        [0.0, 0.0, 2.0]
    """
    _check_pair(x, y, half_width)
    joint: Tensor = _DisplacedJoint.apply(x, y, half_width)
    return joint


class _DisplacedJoint(torch.autograd.Function):
    """The joint by FFT, with an explicit backward pass of the same structure.

    Autograd would store, conjugate and copy the spectra several times.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, y: Tensor, half_width: int) -> Tensor:
        # Padding by T on one side is enough: circular shifts then wrap onto zeros.
        padded = (
            _fast_length(x.shape[2] + half_width),
            _fast_length(x.shape[3] + half_width),
        )
        x_hat = _spectrum(x, padded)  # (F, N, K)
        y_hat = _spectrum(y, padded)  # (F, N, K')
        ctx.save_for_backward(x_hat, y_hat)
        ctx.padded, ctx.half_width, ctx.size = padded, half_width, x.shape[2:]
        # Summing over the batch first leaves only K K' planes to invert.
        cross = torch.bmm(x_hat.transpose(1, 2), y_hat.conj())  # (F, K, K')
        return _at_displacements(cross, padded, half_width)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        x_hat, y_hat = ctx.saved_tensors
        g_hat = _from_displacements(grad, ctx.padded, ctx.half_width)  # (F, K, K')
        grad_x = grad_y = None
        if ctx.needs_input_grad[0]:
            product = torch.bmm(y_hat, g_hat.transpose(1, 2))  # (F, N, K)
            grad_x = _from_spectrum(product, ctx.padded, ctx.size)
        if ctx.needs_input_grad[1]:
            product = torch.bmm(x_hat, g_hat.conj())  # (F, N, K')
            grad_y = _from_spectrum(product, ctx.padded, ctx.size)
        return grad_x, grad_y, None


def _spectrum(planes: Tensor, padded: tuple[int, int]) -> Tensor:
    """Transform ``(N, K, H, W)`` to ``(F, N, K)``: frequencies first, for the GEMM."""
    spectrum: Tensor = torch.fft.rfft2(planes, s=padded)
    return spectrum.flatten(2).permute(2, 0, 1).contiguous()


def _from_spectrum(
    spectrum: Tensor, padded: tuple[int, int], size: tuple[int, int]
) -> Tensor:
    """Transform ``(F, N, K)`` back to ``(N, K, H, W)``."""
    n, k = spectrum.shape[1:]
    # The FFT copies into its own layout, so the planes need not be contiguous.
    planes = spectrum.view(padded[0], -1, n, k).permute(2, 3, 0, 1)
    values: Tensor = torch.fft.irfft2(planes, s=padded)
    return values[..., : size[0], : size[1]]


def _at_displacements(cross: Tensor, padded: tuple[int, int], t: int) -> Tensor:
    """Invert ``(F, K, K')`` only at the ``(2T+1)^2`` displacements, by two GEMMs."""
    k, k_y = cross.shape[1:]
    rows, columns = (_phases(length, t, cross) for length in padded)
    half = padded[1] // 2 + 1
    # In a half spectrum all but the ends count twice.
    twice = torch.full((half,), 2.0, dtype=rows.real.dtype, device=cross.device)
    twice[0] = twice[-1] = 1.0
    columns = columns[:, :half] * (twice / (padded[0] * padded[1]))
    partial = rows @ cross.view(padded[0], -1)  # (2T+1, half K K')
    partial = partial.view(2 * t + 1, half, k * k_y)
    real = columns.real @ partial.real - columns.imag @ partial.imag
    return real.view(2 * t + 1, 2 * t + 1, k, k_y)


def _from_displacements(grad: Tensor, padded: tuple[int, int], t: int) -> Tensor:
    """Transform ``(2T+1, 2T+1, K, K')`` to ``(F, K, K')``."""
    k, k_y = grad.shape[2:]
    rows, columns = (_phases(length, t, grad).conj() for length in padded)
    columns = columns[:, : padded[1] // 2 + 1].t()  # (half, 2T+1)
    planes = grad.reshape(2 * t + 1, 2 * t + 1, k * k_y)
    partial = torch.complex(columns.real @ planes, columns.imag @ planes)
    spectrum = rows.t() @ partial.flatten(1)  # (rows, half K K')
    return spectrum.view(-1, k, k_y)


def _phases(length: int, t: int, like: Tensor) -> Tensor:
    """Return ``exp(2 pi i f d / length)`` for d in [-T, T], all f: ``(2T+1, length)``."""
    d = torch.arange(-t, t + 1, dtype=torch.float64).unsqueeze(1)
    f = torch.arange(length, dtype=torch.float64)
    # The angle is reduced exactly before it is rounded to float32.
    angle = (d * f).remainder(length) * (2 * math.pi / length)
    phases = torch.polar(torch.ones_like(angle), angle)
    wide = like.dtype in (torch.float64, torch.complex128)
    return phases.to(like.device, torch.complex128 if wide else torch.complex64)


def _fast_length(least: int) -> int:
    """Return the next even number whose prime factors are 2, 3 and 5."""
    length = least + least % 2
    while True:
        rest = length
        for prime in (2, 3, 5):
            while rest % prime == 0:
                rest //= prime
        if rest == 1:
            return length
        length += 2


def _information(joint: Tensor, *, lam: float, collapsed: bool) -> MutualInformation:
    """Return the loss of the un-normalised ``(2T+1, 2T+1, K, K)`` joint."""
    k = joint.shape[-1]
    # Negative values are rounding errors of 0, so the gradient passes through the clamp.
    joint = joint + (joint.clamp(min=0) - joint).detach()
    joint = joint.view(-1, k, k)
    centre = joint[len(joint) // 2].detach()
    if collapsed:
        joint = joint.sum(0, keepdim=True)
    mass = joint.sum((1, 2), keepdim=True)
    present = mass > _LEAST_OVERLAP * mass.max()
    mass = torch.where(present, mass.detach() if collapsed else mass, 1.0)
    p = torch.where(present, joint, 0.0) / mass
    p = (p + p.transpose(1, 2)) / 2
    count = present.sum().clamp(min=1)
    joint_entropy = _entropy(p).sum() / count
    # p is symmetric: rows and columns have the same marginal.
    marginal_entropy = 2 * _entropy(p.sum(2)).sum() / count
    sizes = centre.sum(0) + centre.sum(1)
    sizes = sizes / sizes.sum().clamp(min=torch.finfo(sizes.dtype).tiny)
    return MutualInformation(
        loss=joint_entropy - lam * marginal_entropy,
        loss_at_one=(joint_entropy - marginal_entropy).detach(),
        marginal_entropy=_entropy(sizes).sum() / math.log(k),
    )


def _entropy(p: Tensor) -> Tensor:
    """Return ``-p ln p`` element by element: 0 at 0, with a finite gradient."""
    # Clamping only the logarithm's argument keeps 0 ln 0 = 0. A float32 FFT resolves
    # cells down to about the dtype's eps; smaller values are noise.
    return -p * p.clamp(min=torch.finfo(p.dtype).eps).log()


def _at_least_float32(values: Tensor) -> Tensor:
    return values if values.dtype == torch.float64 else values.float()


def _check_pair(x: Tensor, y: Tensor, half_width: int) -> None:
    if half_width < 0:
        raise ParameterError(f"half_width is {half_width}, expected at least 0")
    same = x.ndim == 4 and y.ndim == 4
    if not same or x.shape[0] != y.shape[0] or x.shape[2:] != y.shape[2:]:
        raise ShapeError(
            f"x has shape {tuple(x.shape)} and y has {tuple(y.shape)}, expected "
            "(N, K, H, W) both, of the same N, H and W"
        )
