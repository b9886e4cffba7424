"""Sensor model: sun, shadow, sky, optics, pansharpening and noise."""

import numpy as np
import numpy.typing as npt

from geoseg.geo.sample.canvas import SUN, Canvas
from geoseg.geo.sample.hashing import mix_grid, value_noise
from geoseg.geo.sample.materials import GRAIN, PATCHINESS, REFLECTANCE

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

#: Digital numbers of a black surface per band: light scattered by the air.
HAZE = (250, 195, 180, 105, 78, 62, 42, 30)
#: Digital numbers that a reflectance of 1 in full sun adds, per band.
SUNLIGHT = (900, 1300, 1950, 1650, 1900, 1900, 1750, 1350)
#: Share of that light in the shadow, in 1/1024: skylight is blue.
SKYLIGHT = (420, 350, 280, 250, 220, 200, 180, 170)
#: Largest value of an 11-bit sensor.
SATURATED = 2047

#: Height, in sixteenths of a pixel, that a shadow loses per pixel of its length.
_DROP = 18
_FRACTION = 16


def cast_shadow(height: Ints) -> Bools:
    """Return where the sun is hidden; it has one direction over the whole scene.

    Args:
        height: ``(H, W)`` in sixteenths of a pixel.
    """
    rows, cols = height.shape
    dark = np.zeros(height.shape, dtype=bool)
    for step in range(1, int(height.max()) // _DROP + 1):
        # a pixel that could hide the sun lies towards it: right and down
        dx = (2 * step * SUN[0] + SUN[2]) // (2 * SUN[2])
        dy = (2 * step * SUN[1] + SUN[2]) // (2 * SUN[2])
        if dx >= cols or dy >= rows:
            break
        seen = height[: rows - dy, : cols - dx] + step * _DROP
        dark[: rows - dy, : cols - dx] |= height[dy:, dx:] > seen
    return dark


def expose(canvas: Canvas, key: int) -> Ints:
    """Return the ``(8, H, W)`` digital numbers of the sensor's product.

    Steps: texture of the materials; light and shadow; a slow change of illumination over
    the scene; optics; then pansharpening of lower-resolution bands (ratio of the
    panchromatic band to its blur), which smears colours over edges as in the real product;
    noise of both.
    """
    view = canvas.view
    rows, cols = np.arange(view.top, view.bottom), np.arange(view.left, view.right)
    light = _brightness(canvas, rows, cols, key)
    shadow = cast_shadow(canvas.height)
    bands = []
    for band, (haze, sun, sky) in enumerate(zip(HAZE, SUNLIGHT, SKYLIGHT, strict=True)):
        reflected = REFLECTANCE[:, band][canvas.material] * light >> 10
        lit = np.where(shadow, sky, 1024)
        bands.append(
            _FRACTION * haze + (_FRACTION * sun * reflected // 1000 * lit >> 10)
        )
    scene = np.stack([_blur(band) for band in bands])
    pan = (scene[1] + 2 * scene[2] + scene[3] + 2 * scene[4] + scene[5]) // 7
    pan += _noise(mix_key(key, 90), rows, cols) * pan // (_FRACTION * 1800)
    pan_low = _blur(_blur(_blur(_blur(pan))))
    sharpened = np.empty_like(scene)
    for band in range(len(bands)):
        low = scene[band] + 2 * _noise(mix_key(key, 91 + band), rows, cols)
        low = _blur(_blur(_blur(_blur(low))))
        sharpened[band] = low * pan // pan_low
        sharpened[band] += _noise(mix_key(key, 101 + band), rows, cols) // 4
    return np.clip((sharpened + _FRACTION // 2) // _FRACTION, 1, SATURATED)


def mix_key(key: int, field: int) -> int:
    """Return the key of one noise field; hashing makes fields independent."""
    return (key << 8) + field


def _brightness(canvas: Canvas, rows: Ints, cols: Ints, key: int) -> Ints:
    """Return gain × texture × slow illumination, in 1/1024."""
    fine = mix_grid(mix_key(key, 1), rows, cols) >> np.uint64(55)
    grain = fine.astype(np.int64) - 256
    patches = sum(
        value_noise(mix_key(key, 2 + octave), rows, cols, cell=cell)
        for octave, cell in enumerate((5, 14, 45))
    )
    texture = (
        1024
        + (grain * GRAIN[canvas.material] >> 8)
        + (patches * PATCHINESS[canvas.material] >> 9)
    )
    slow = 1024 + (value_noise(mix_key(key, 9), rows, cols, cell=700) >> 2)
    product: Ints = (canvas.gain * texture >> 10) * slow >> 10
    return np.maximum(product, 0)


def _noise(key: int, rows: Ints, cols: Ints) -> Ints:
    """Return bell-shaped noise with standard deviation 74, a sum of parts of a hash."""
    bits = mix_grid(key, rows, cols)
    total = np.full(bits.shape, -254, dtype=np.int64)
    for shift in (8, 22, 36, 50):
        total += (bits >> np.uint64(shift)).astype(np.int64) & 127
    return total


def _blur(image: Ints) -> Ints:
    """Smooth with the binomial filter (1, 2, 1)/4 along both axes; edges repeat."""
    padded = np.pad(image, 1, mode="edge")
    across = padded[:, :-2] + 2 * padded[:, 1:-1] + padded[:, 2:]
    smooth: Ints = (across[:-2] + 2 * across[1:-1] + across[2:] + 8) >> 4
    return smooth
