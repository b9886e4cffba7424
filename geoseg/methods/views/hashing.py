"""Random numbers keyed by patch and epoch, from a counter-based hash without state.

References:
    Steele, Lea, Flood: Fast splittable pseudorandom number generators (OOPSLA 2014),
    the finaliser of SplitMix64 (its figure 14).
"""

import math

import torch
from torch import Tensor

# Multiplication modulo 2^64 in int64: the constants of splitmix64, as signed numbers.
_STEP = 0x9E3779B97F4A7C15 - 2**64
_MIX_1 = 0xBF58476D1CE4E5B9 - 2**64
_MIX_2 = 0x94D049BB133111EB - 2**64

#: Streams of the hash: those of views, whose next view's follow 16 further on, and
#: ``WEIGHTS``, of weights that are drawn anew in the middle of a training.
SYMMETRY, COLOR, DROP, NOISE, AFFINE, WEIGHTS, CROP = range(7)
_STREAMS = 16


def states(index: Tensor, *, epoch: int, seed: int, view: int, use: int) -> Tensor:
    """Return ``(N,)`` long hash states that differ in any of the five keys.

    Args:
        index: ``(N,)`` long, number of each patch within its epoch.
        epoch: Number of the epoch.
        seed: Of the run.
        view: Number of the view, where several are drawn.
        use: One of the streams above.
    """
    stream = view * _STREAMS + use
    state = torch.zeros_like(index, dtype=torch.int64)
    for key in (seed, epoch, stream, index):
        state = mix((state ^ key) + _STEP)
    return state


def uniform(state: Tensor, count: int) -> Tensor:
    """Return ``(N, count)`` float32 in [0, 1), multiples of 2^-24."""
    counter = torch.arange(1, count + 1, device=state.device)
    bits = mix(state[:, None] + counter * _STEP)
    numbers: Tensor = ((bits >> 40) & (2**24 - 1)).float() / 2**24
    return numbers


def normal(state: Tensor, count: int) -> Tensor:
    """Return ``(N, count)`` standard normal numbers, by Box and Muller."""
    u, v = uniform(state, 2 * count).view(len(state), 2, count).unbind(1)
    numbers: Tensor = (-2 * (1 - u).log()).sqrt() * (2 * math.pi * v).cos()
    return numbers


def mix(z: Tensor) -> Tensor:
    """Scramble int64 (splitmix64's finaliser)."""
    z = (z ^ _shift(z, 30)) * _MIX_1
    z = (z ^ _shift(z, 27)) * _MIX_2
    return z ^ _shift(z, 31)


def _shift(z: Tensor, bits: int) -> Tensor:
    """Shift right and fill with zeros: torch's shift fills with the sign."""
    shifted: Tensor = (z >> bits) & (2 ** (64 - bits) - 1)
    return shifted
