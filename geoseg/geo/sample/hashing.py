"""Counter-based random numbers from integer hashing, independent of library versions.

References:
    Steele, Lea, Flood: Fast splittable pseudorandom number generators (OOPSLA 2014),
    the finaliser of SplitMix64 (its figure 14).
"""

from collections.abc import Sequence
from typing import TypeVar

import numpy as np
import numpy.typing as npt

T = TypeVar("T")
Ints = npt.NDArray[np.int64]

_WORD = (1 << 64) - 1
_GOLDEN = 0x9E3779B97F4A7C15
_FIRST = 0xBF58476D1CE4E5B9
_SECOND = 0x94D049BB133111EB


def mix(*keys: int) -> int:
    """Hash integers, including negative ones, to 64 bits."""
    state = 0
    for key in keys:
        word = ((state ^ (key & _WORD)) + _GOLDEN) & _WORD
        word = ((word ^ (word >> 30)) * _FIRST) & _WORD
        word = ((word ^ (word >> 27)) * _SECOND) & _WORD
        state = word ^ (word >> 31)
    return state


def mix_grid(key: int, rows: Ints, cols: Ints) -> npt.NDArray[np.uint64]:
    """Hash a grid of cells: element ``[i, j]`` is ``mix(key, rows[i], cols[j])``.

    Args:
        key: Key of the noise field.
        rows: ``(H,)`` row numbers.
        cols: ``(W,)`` column numbers.
    """
    first = _absorb(np.uint64(mix(key)), rows.astype(np.uint64))
    return _absorb(first[:, None], cols.astype(np.uint64)[None, :])


def _absorb(
    state: npt.NDArray[np.uint64] | np.uint64, keys: npt.NDArray[np.uint64]
) -> npt.NDArray[np.uint64]:
    word: npt.NDArray[np.uint64] = (state ^ keys) + np.uint64(_GOLDEN)
    word = (word ^ (word >> np.uint64(30))) * np.uint64(_FIRST)
    word = (word ^ (word >> np.uint64(27))) * np.uint64(_SECOND)
    return word ^ (word >> np.uint64(31))


def value_noise(key: int, rows: Ints, cols: Ints, *, cell: int) -> Ints:
    """Return smooth noise in [-256, 256), bilinear between corners of square cells.

    Args:
        key: Key of the noise field.
        rows: ``(H,)`` row numbers.
        cols: ``(W,)`` column numbers.
        cell: Side of a cell in pixels.

    Returns:
        ``(H, W)`` integers.
    """
    top, down = rows // cell, rows % cell
    left, along = cols // cell, cols % cell
    lattice_rows = np.arange(top[0], top[-1] + 2)
    lattice_cols = np.arange(left[0], left[-1] + 2)
    lattice = mix_grid(key, lattice_rows, lattice_cols) >> np.uint64(55)
    corners = lattice.astype(np.int64) - 256
    i, j = (top - top[0])[:, None], (left - left[0])[None, :]
    v, u = down[:, None], along[None, :]
    upper = corners[i, j] * (cell - u) + corners[i, j + 1] * u
    lower = corners[i + 1, j] * (cell - u) + corners[i + 1, j + 1] * u
    smooth: Ints = (upper * (cell - v) + lower * v) // (cell * cell)
    return smooth


class Draws:
    """A stream of random choices that depends only on its keys.

    >>> Draws(7, 1).below(1000) == Draws(7, 1).below(1000)
    True
    """

    def __init__(self, *keys: int) -> None:
        self._key = mix(*keys)
        self._count = 0

    def below(self, bound: int) -> int:
        """Return an integer in [0, bound)."""
        self._count += 1
        return (mix(self._key, self._count) >> 16) % bound

    def between(self, low: int, high: int) -> int:
        """Return an integer in [low, high]."""
        return low + self.below(high - low + 1)

    def chance(self, percent: int) -> bool:
        """Return True with a probability in percent."""
        return self.below(100) < percent

    def pick(self, options: Sequence[T]) -> T:
        """Return one of the options; repeated options are more frequent."""
        return options[self.below(len(options))]
