"""Colours of classes, clusters, right and wrong pixels, and no data.

One colour means one thing in every raster, vector layer, figure and page.
"""

from collections.abc import Sequence
from colorsys import hls_to_rgb
from functools import cache

import numpy as np
from numpy.typing import NDArray

from geoseg.core.errors import ParameterError

#: Red, green and blue from 0 to 255, as rasters and styles store them.
Rgb = tuple[int, int, int]

#: Red, green and blue in [0, 1], as figures use them.
Colour = tuple[float, float, float]

BACKGROUND: Rgb = (240, 240, 236)
BUILDING: Rgb = (213, 94, 0)

#: Where there is no data; rasters and styles show it transparent.
NODATA: Rgb = (255, 255, 255)

#: Right and wrong building pixels; distinct with any colour vision.
FOUND: Colour = (1.0, 0.72, 0.05)  # predicted building, is building
INVENTED: Colour = (0.86, 0.12, 0.44)  # predicted building, is not
MISSED: Colour = (0.20, 0.66, 0.96)  # is building, not predicted

#: Class ids are bytes, and 255 means no data.
MOST_CLASSES = 255

# Okabe and Ito, Color universal design, 2008: distinct with any colour vision.
_FIRST: tuple[Rgb, ...] = (
    BACKGROUND,
    BUILDING,
    (0, 114, 178),
    (240, 228, 66),
    (0, 158, 115),
    (204, 121, 167),
    (86, 180, 233),
    (230, 159, 0),
)
_GOLDEN = 0.381966  # of a turn: successive hues never meet
_TONES = ((0.62, 0.62), (0.40, 0.55), (0.80, 0.60))  # lightness, saturation

# Linear RGB as people with protanopia, deuteranopia and tritanopia see it: Machado et
# al., A physiologically-based model for simulation of colour vision deficiency, 2009.
_VISIONS = np.array(
    [
        np.eye(3),
        [[0.152, 1.053, -0.205], [0.115, 0.786, 0.099], [-0.004, -0.048, 1.052]],
        [[0.367, 0.861, -0.228], [0.280, 0.673, 0.047], [-0.012, 0.043, 0.969]],
        [[1.256, -0.077, -0.179], [-0.078, 0.931, 0.147], [0.005, 0.691, 0.304]],
    ]
)
# Linear sRGB to XYZ, each row divided by the white of D65.
_TO_XYZ = np.array(
    [[0.4339, 0.3762, 0.1899], [0.2126, 0.7152, 0.0722], [0.0177, 0.1095, 0.8728]]
)


def class_colours(count: int) -> tuple[Rgb, ...]:
    """Return one colour per class, background first, then building.

    A class keeps its colour whatever ``count`` is. Each colour is as far as possible
    from those before it, with any colour vision.

    Args:
        count: Number of classes with the background, 1 to 255.

    Raises:
        ParameterError: If ``count`` is out of range.

    Example:
        >>> class_colours(2)
        ((240, 240, 236), (213, 94, 0))
    """
    if not 1 <= count <= MOST_CLASSES:
        raise ParameterError(
            f"{count} classes, expected 1 to {MOST_CLASSES}: a byte holds no more"
        )
    return (_FIRST if count <= len(_FIRST) else _all_colours())[:count]


@cache
def _all_colours() -> tuple[Rgb, ...]:
    """Extend the first colours, each time by the colour farthest from all before."""
    steps = np.arange(0, 256, 15)
    choice = np.stack(np.meshgrid(steps, steps, steps), axis=-1).reshape(-1, 3)
    lab = _lab(choice)[0]
    vivid = np.hypot(lab[:, 1], lab[:, 2]) > 20  # greys would pass for background
    choice = choice[vivid & (lab[:, 0] > 20) & (lab[:, 0] < 93)]
    seen = _lab(choice)  # (visions, choices, 3)
    nearest = np.full(len(choice), np.inf)
    colours = list(_FIRST)
    for number in range(MOST_CLASSES):
        if number >= len(colours):
            red, green, blue = choice[nearest.argmax()].tolist()
            colours.append((red, green, blue))
        own = _lab(np.array(colours[number : number + 1]))
        apart = np.linalg.norm(seen - own, axis=-1).min(axis=0)
        nearest = np.minimum(nearest, apart)
    return tuple(colours)


def _lab(colours: NDArray[np.int_]) -> NDArray[np.float64]:
    """Convert ``(n, 3)`` sRGB bytes to ``(visions, n, 3)`` CIE L*a*b* per vision."""
    share = colours / 255
    linear = np.where(share > 0.04045, ((share + 0.055) / 1.055) ** 2.4, share / 12.92)
    seen = np.clip(linear @ _VISIONS.transpose(0, 2, 1), 0, 1)
    xyz = seen @ _TO_XYZ.T
    root = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    x, y, z = np.moveaxis(root, -1, 0)
    return np.stack((116 * y - 16, 500 * (x - y), 200 * (y - z)), axis=-1)


def cluster_colours(count: int) -> NDArray[np.float64]:
    """Return ``(count, 3)`` distinct colours of clusters in [0, 1].

    Cluster ``k`` has the same colour whatever ``count`` is: three tones in turn, with
    hues a golden angle apart.
    """
    hues = [0.08 + k % 3 / 3 + k // 3 * _GOLDEN for k in range(count)]
    colours = [hls_to_rgb(hue % 1.0, *_TONES[k % 3]) for k, hue in enumerate(hues)]
    return np.array(colours, dtype=np.float64).reshape(count, 3)


def hex_colour(colour: Rgb) -> str:
    """Write a colour as ``#rrggbb``.

    Example:
        >>> hex_colour((213, 94, 0))
        '#d55e00'
    """
    return "#{:02x}{:02x}{:02x}".format(*colour)


def css_colour(colour: Sequence[float]) -> str:
    """Write red, green and blue in [0, 1] as ``#rrggbb``."""
    red, green, blue = (round(255 * part) for part in colour)
    return hex_colour((red, green, blue))
