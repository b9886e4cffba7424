"""Overlapping windows along an axis of a pixel grid, and their blending weights.

Rows and columns are computed separately: a window of a raster is a pair of starts, and
its weight is the outer product of two profiles.
"""

from typing import Any

import numpy as np

from geoseg.core.errors import ParameterError


def window_starts(length: int, size: int, overlap: int) -> list[int]:
    """Return the starts of windows that cover an axis.

    Windows are ``size - overlap`` apart, except the last, which ends with the axis and
    may overlap its neighbour more.

    Args:
        length: Pixels along the axis, at least 1.
        size: Pixels of a window, at least 1.
        overlap: Least number of pixels that neighbours share, in ``[0, size)``.

    Returns:
        Ascending starts from 0 to ``length - size``; ``[0]`` if one window covers the
        axis (it then exceeds the axis by ``size - length``).

    Raises:
        ParameterError: If a number is out of its range.

    Example:
        >>> window_starts(100, 40, 10)
        [0, 30, 60]
        >>> window_starts(90, 40, 10)
        [0, 30, 50]
    """
    if length < 1:
        raise ParameterError(f"length is {length}, expected at least 1 pixel")
    _check_window(size, overlap)
    if length <= size:
        return [0]
    return [*range(0, length - size, size - overlap), length - size]


def blend_profile(size: int, overlap: int) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Return the weight of a window's pixels along one axis.

    Weights rise linearly over ``overlap`` pixels at both ends. If two windows share
    exactly that many pixels, their weights sum to one.

    Args:
        size: Pixels of a window, at least 1.
        overlap: Pixels of a ramp, in ``[0, size)``. Above half of the size the two
            ramps meet, and the lower counts.

    Returns:
        ``(size,)`` in (0, 1], symmetric; never zero, because the weight of a pixel that
        only one window covers is a divisor.

    Raises:
        ParameterError: If a number is out of its range.

    Example:
        >>> blend_profile(6, 3).tolist()
        [0.25, 0.5, 0.75, 0.75, 0.5, 0.25]
    """
    _check_window(size, overlap)
    to_left = np.arange(1, size + 1, dtype=np.float64)
    ramp = np.minimum(to_left, to_left[::-1]) / (overlap + 1)
    profile: np.ndarray[Any, np.dtype[np.float32]] = np.minimum(ramp, 1).astype(
        np.float32
    )
    return profile


def _check_window(size: int, overlap: int) -> None:
    if size < 1:
        raise ParameterError(f"size is {size}, expected at least 1 pixel")
    if not 0 <= overlap < size:
        raise ParameterError(
            f"overlap is {overlap}, expected at least 0 and less than the size {size}"
        )
