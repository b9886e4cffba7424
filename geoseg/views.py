"""Views of a patch: turns and mirrors with an exact inverse, and colour changes.

All chance is keyed by ``(seed, epoch, index, stream)`` through a counter-based hash: a
patch has the same view whatever batch, order or process it comes in, and nothing
touches torch's random state.
"""

import math
from dataclasses import dataclass, fields

import torch
import torch.nn.functional as F
from torch import Tensor

from geoseg.errors import ParameterError, ShapeError

# Multiplication modulo 2^64 in int64: the constants of splitmix64, as signed numbers.
_STEP = 0x9E3779B97F4A7C15 - 2**64
_MIX_1 = 0xBF58476D1CE4E5B9 - 2**64
_MIX_2 = 0x94D049BB133111EB - 2**64

# Streams of the hash that the functions below take; callers add multiples of 16.
_SYMMETRY, _COLOR, _DROP, _NOISE = range(4)
_STREAMS = 16

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
    state = _states(index, epoch, seed, stream * _STREAMS + _SYMMETRY)
    return _mix(state) & 7


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


@dataclass(frozen=True)
class Photometric:
    """Random changes of colour for images of any number of bands in [0, 1].

    In this order: every band is scaled and shifted by itself; brightness scales all
    bands by one factor; contrast scales the distance to the patch's mean; grey scales
    each pixel's distance to its mean over bands; gamma bends; then blur, noise, and
    dropped bands (set to the patch's mean of the band). A strength ``s`` stands for
    factors drawn evenly from ``[1 - s, 1 + s]``. The result is clipped to [0, 1].

    Attributes:
        brightness: Strength in [0, 1].
        contrast: Strength in [0, 1].
        grey: Strength in [0, 1]; what saturation is for RGB.
        gain: Strength in [0, 1], per band.
        offset: Per band, drawn from ``[-offset, offset]``.
        gamma: The exponent is ``exp`` of a number from ``[-gamma, gamma]``.
        drop: Probability in [0, 1] of dropping a band; one always stays.
        blur: Largest standard deviation of a Gaussian blur, in pixels.
        noise: Largest standard deviation of normal noise.

    Raises:
        ParameterError: If a strength is negative, or above 1 where that is the limit.
    """

    brightness: float = 0.0
    contrast: float = 0.0
    grey: float = 0.0
    gain: float = 0.0
    offset: float = 0.0
    gamma: float = 0.0
    drop: float = 0.0
    blur: float = 0.0
    noise: float = 0.0

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            most = math.inf if field.name in ("gamma", "blur", "noise") else 1.0
            if not 0 <= value <= most or not math.isfinite(value):
                limit = "at least 0" if most > 1 else "in [0, 1]"
                raise ParameterError(f"{field.name} is {value}, expected {limit}")

    @classmethod
    def of_strength(cls, strength: float) -> "Photometric":
        """Return the colour changes of one strength in [0, 1]; 0.1 is IIC's on Potsdam.

        Brightness, contrast, grey and gamma of that strength; gain and offset, which
        the published jitter lacks, of half and a quarter. No drop, blur or noise.
        """
        return cls(
            brightness=strength,
            contrast=strength,
            grey=strength,
            gain=strength / 2,
            offset=strength / 4,
            gamma=strength,
        )

    def __call__(
        self,
        image: Tensor,
        valid: Tensor,
        index: Tensor,
        *,
        epoch: int,
        seed: int,
        stream: int = 0,
        channels: int | None = None,
    ) -> Tensor:
        """Change the colours of a batch.

        Args:
            image: ``(N, C, H, W)`` float in [0, 1].
            valid: ``(N, H, W)`` bool; other pixels keep their fill value.
            index: ``(N,)`` long, number of each patch within its epoch.
            epoch: Number of the epoch.
            seed: Of the run.
            stream: Number of the view, where several are drawn.
            channels: Change the first so many channels alone, where others (Sobel)
                follow that are no colours. Default: all.

        Returns:
            ``(N, C, H, W)`` of the image's dtype. Without strengths the image itself.

        Raises:
            ShapeError: If the shapes do not belong together.
        """
        n, _, h, w = image.shape
        if valid.shape != (n, h, w) or index.shape != (n,):
            raise ShapeError(
                f"valid has shape {tuple(valid.shape)} and index {tuple(index.shape)}, "
                f"expected {(n, h, w)} and {(n,)} beside an image of shape "
                f"{tuple(image.shape)}"
            )
        if self == Photometric():
            return image
        bands, rest = image[:, :channels], image[:, image[:, :channels].shape[1] :]
        keep = valid.unsqueeze(1)
        states = {
            name: _states(index, epoch, seed, stream * _STREAMS + number)
            for name, number in (("color", _COLOR), ("drop", _DROP), ("noise", _NOISE))
        }
        changed = self._recolor(bands.float(), keep, states["color"])
        changed = self._degrade(changed, keep, states)
        changed = torch.where(keep, changed.to(image.dtype), bands)
        return torch.cat([changed, rest], dim=1) if rest.shape[1] else changed

    def _recolor(self, x: Tensor, keep: Tensor, states: Tensor) -> Tensor:
        """Apply the point-wise changes, all affine but gamma."""
        n, c = x.shape[:2]
        draws = 2 * _uniform(states, 4 + 2 * c) - 1  # (N, 4 + 2 C) in [-1, 1)
        brightness, contrast, grey, gamma = draws[:, :4].t().reshape(4, n, 1, 1, 1)
        gain, offset = (
            draws[:, 4:].t().reshape(2, c, n).transpose(1, 2)[..., None, None]
        )
        x = x * (1 + self.gain * gain) + self.offset * offset
        x = x * (1 + self.brightness * brightness)
        if self.contrast:
            mean = _mean(x, keep).mean(1, keepdim=True)
            x = mean + (1 + self.contrast * contrast) * (x - mean)
        if self.grey:
            mean = x.mean(1, keepdim=True)
            x = mean + (1 + self.grey * grey) * (x - mean)
        x = x.clamp(0, 1)
        return x ** (self.gamma * gamma).exp() if self.gamma else x

    def _degrade(self, x: Tensor, keep: Tensor, states: dict[str, Tensor]) -> Tensor:
        """Blur, add noise and drop bands, where asked for."""
        n, c, h, w = x.shape
        strengths = _uniform(states["drop"], 3 + c)
        if self.blur:
            x = _blur(x, keep, self.blur * strengths[:, 0], math.ceil(3 * self.blur))
        if self.noise:
            normal = _normal(states["noise"], c * h * w).view(n, c, h, w)
            x = (x + self.noise * strengths[:, 1].view(n, 1, 1, 1) * normal).clamp(0, 1)
        if self.drop:
            drop = strengths[:, 3:] < self.drop  # (N, C)
            stays = (strengths[:, 2] * c).long().clamp(max=c - 1)
            drop = drop & ~F.one_hot(stays, c).bool()
            x = torch.where(drop[..., None, None], _mean(x, keep), x)
        return x


def _mean(x: Tensor, keep: Tensor) -> Tensor:
    """Return ``(N, C, 1, 1)`` means over valid pixels, 0 where there are none."""
    count = keep.sum((2, 3), keepdim=True).clamp(min=1)
    return (x * keep).sum((2, 3), keepdim=True) / count


def _blur(x: Tensor, keep: Tensor, sigma: Tensor, radius: int) -> Tensor:
    """Blur each patch by its own ``(N,)`` sigma; invalid pixels weigh nothing."""
    n, c, h, w = x.shape
    d = torch.arange(-radius, radius + 1, dtype=x.dtype, device=x.device)
    kernel = torch.exp(-(d**2) / (2 * sigma.clamp(min=1e-3)[:, None] ** 2))
    kernel = kernel / kernel.sum(1, keepdim=True)
    weight = keep.to(x.dtype)
    stack = torch.cat([x * weight, weight], dim=1).reshape(1, n * (c + 1), h, w)
    kernel = kernel.repeat_interleave(c + 1, 0)[:, None]  # (N (C+1), 1, 2r+1)
    stack = F.conv2d(stack, kernel[..., None], padding=(radius, 0), groups=n * (c + 1))
    stack = F.conv2d(stack, kernel[:, :, None], padding=(0, radius), groups=n * (c + 1))
    stack = stack.view(n, c + 1, h, w)
    return stack[:, :c] / stack[:, c:].clamp(min=torch.finfo(x.dtype).tiny)


def _states(index: Tensor, epoch: int, seed: int, stream: int) -> Tensor:
    """Return ``(N,)`` long hash states that differ in any of the four keys."""
    state = torch.zeros_like(index, dtype=torch.int64)
    for key in (seed, epoch, stream, index):
        state = _mix((state ^ key) + _STEP)
    return state


def _uniform(states: Tensor, count: int) -> Tensor:
    """Return ``(N, count)`` float32 in [0, 1), multiples of 2^-24."""
    counter = torch.arange(1, count + 1, device=states.device)
    bits = _mix(states[:, None] + counter * _STEP)
    uniform: Tensor = ((bits >> 40) & (2**24 - 1)).float() / 2**24
    return uniform


def _normal(states: Tensor, count: int) -> Tensor:
    """Return ``(N, count)`` standard normal numbers, by Box and Muller."""
    u, v = _uniform(states, 2 * count).view(len(states), 2, count).unbind(1)
    normal: Tensor = (-2 * (1 - u).log()).sqrt() * (2 * math.pi * v).cos()
    return normal


def _mix(z: Tensor) -> Tensor:
    """Scramble int64 (splitmix64's finaliser)."""
    z = (z ^ _shift(z, 30)) * _MIX_1
    z = (z ^ _shift(z, 27)) * _MIX_2
    return z ^ _shift(z, 31)


def _shift(z: Tensor, bits: int) -> Tensor:
    """Shift right and fill with zeros: torch's shift fills with the sign."""
    shifted: Tensor = (z >> bits) & (2 ** (64 - bits) - 1)
    return shifted


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
