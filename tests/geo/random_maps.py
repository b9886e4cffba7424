"""Small random label maps of every kind that a bad model draws."""

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from affine import Affine

Classes = npt.NDArray[np.uint8]

#: Grids: square pixels, tall and wide ones, turned and sheared ones, south up, degrees.
GRIDS = (
    (Affine(1, 0, 6e5, 0, -1, 4e6), "EPSG:32611"),
    (Affine(3, 0, 6e5, 0, -3, 4e6), "EPSG:32611"),
    (Affine(10, 0, 6e5, 0, -10, 4e6), "EPSG:32611"),
    (Affine(0.3, 0, 6e5, 0, -0.3, 4e6), "EPSG:32611"),
    (Affine(2, 0, 6e5, 0, -0.25, 4e6), "EPSG:32611"),
    (Affine(0.2, 0, 6e5, 0, -5, 4e6), "EPSG:32611"),
    (
        Affine(0.84, 0.54, 6e5, 0.54, -0.84, 4e6),
        "EPSG:32611",
    ),
    (Affine(1, 0.7, 6e5, 0.2, -1, 4e6), "EPSG:32611"),
    (Affine(1, 0, 6e5, 0, 1, 4e6), "EPSG:32611"),
    (Affine(1e-5, 0, 15.0, 0, -1e-5, 60.0), "EPSG:4326"),
)


class RandomMap(NamedTuple):
    """A label map, the scores of its pixels, its grid and how it is to be drawn."""

    classes: Classes
    score: npt.NDArray[np.float32]
    transform: Affine
    crs: str
    rules: dict[str, Any]
    seams: list[int]


def random_map(seed: int, side: int = 25) -> RandomMap:
    """Draw a map of one to three classes, its grid and options; all follow the seed.

    Args:
        seed: Of everything.
        side: Both sides have fewer pixels.
    """
    rng = np.random.default_rng(seed)
    shape = tuple(rng.integers(1, side, 2).tolist())
    kinds = (_noise, _blobs, _lines, _checks, _dots, _rings, _steps, _touching)
    classes = kinds[rng.integers(len(kinds))](rng, shape, int(rng.integers(1, 4)))
    if rng.random() < 0.3:
        classes = np.where(rng.random(shape) < 0.05, rng.integers(0, 4), classes)
    if rng.random() < 0.3:
        top, left = rng.integers(0, shape)
        classes[top : top + 4, left : left + 4] = 255
    transform, crs = GRIDS[rng.integers(len(GRIDS))]
    score = np.full(shape, 0.75) if rng.random() < 0.3 else _smooth(rng, shape, 1.0)
    seams = sorted(set(rng.integers(1, 25, rng.integers(1, 6)).tolist()))
    return RandomMap(
        classes.astype(np.uint8),
        np.clip(score, 0, 1).astype(np.float32),
        transform,
        crs,
        _rules(rng, abs(transform.determinant) if crs != "EPSG:4326" else 0.62),
        list(range(1, shape[0])) if rng.random() < 0.3 else seams,
    )


def _rules(rng: np.random.Generator, pixel_m2: float) -> dict[str, Any]:
    """Draw options; areas and tolerances in pixels, so that all matter."""
    least = float(rng.choice([0, 0, 1, 3, 12]) * pixel_m2)
    tolerance = rng.choice([np.nan, np.nan, 0, 0.3, 1, 2, 5, 20]) * np.sqrt(pixel_m2)
    return {
        "min_area_m2": least,
        "min_hole_area_m2": float(least * rng.choice([0, 0.5, 1])),
        "tolerance_m": None if np.isnan(tolerance) else float(tolerance),
        "regularize": bool(rng.random() < 0.5),
        "split_touching": bool(rng.random() < 0.5),
    }


def _noise(rng: np.random.Generator, shape: tuple[int, ...], classes: int) -> Classes:
    share = rng.uniform(0.05, 0.95)
    return np.where(rng.random(shape) < share, rng.integers(1, classes + 1, shape), 0)


def _smooth(rng: np.random.Generator, shape: tuple[int, ...], width: float) -> Any:
    """Smooth noise around a half."""
    from scipy.ndimage import gaussian_filter

    field = gaussian_filter(rng.normal(size=shape), width)
    return 0.5 + 0.3 * field / max(field.std(), 1e-9)


def _blobs(rng: np.random.Generator, shape: tuple[int, ...], classes: int) -> Classes:
    width = rng.uniform(0.6, 3)
    level = rng.uniform(0.3, 0.7)
    found = np.where(_smooth(rng, shape, width) > level, 1, 0)
    for other in range(2, classes + 1):
        found[(found > 0) & (_smooth(rng, shape, width) > 0.5)] = other
    return found


def _lines(rng: np.random.Generator, shape: tuple[int, ...], classes: int) -> Classes:
    found = np.zeros(shape, dtype=np.uint8)
    for _ in range(rng.integers(1, 12)):
        start, step = rng.uniform(0, shape), rng.normal(size=2)
        places = start + np.arange(0, 30, 0.4)[:, None] * step / np.hypot(*step)
        rows, columns = np.floor(places).astype(int).T
        inside = (rows >= 0) & (rows < shape[0]) & (columns >= 0) & (columns < shape[1])
        found[rows[inside], columns[inside]] = rng.integers(1, classes + 1)
    return found


def _checks(rng: np.random.Generator, shape: tuple[int, ...], classes: int) -> Classes:
    rows, columns = np.indices(shape) // rng.integers(1, 5)
    return (rows + columns) % 2 * ((rows * 3 + columns) % classes + 1)


def _dots(rng: np.random.Generator, shape: tuple[int, ...], classes: int) -> Classes:
    found = np.zeros(shape, dtype=np.uint8)
    row, column = rng.integers(0, 3, 2)
    step = rng.integers(1, 4)
    dots = found[row::step, column::step]
    dots[...] = rng.integers(1, classes + 1, dots.shape)
    return found


def _rings(rng: np.random.Generator, shape: tuple[int, ...], classes: int) -> Classes:
    rows, columns = np.indices(shape)
    row, column = rng.uniform(0, shape)
    apart = (
        np.hypot(rows - row, columns - column)
        if rng.random() < 0.5
        else np.maximum(abs(rows - row), abs(columns - column))
    )
    ring = (apart / rng.uniform(1, 4)).astype(int)
    return np.where(ring % 2 == 0, ring // 2 % classes + 1, 0)


def _steps(rng: np.random.Generator, shape: tuple[int, ...], classes: int) -> Classes:
    """Fill everything with classes whose walls run in steps."""
    rows, columns = np.indices(shape)
    slope = rng.uniform(-1.5, 1.5, 2)
    bands = (rows * slope[0] + columns * slope[1]) / rng.uniform(1, 6)
    return np.floor(bands).astype(int) % (classes + 1)


def _touching(
    rng: np.random.Generator, shape: tuple[int, ...], classes: int
) -> Classes:
    """Boxes side by side, corner to corner and one over another."""
    found = np.zeros(shape, dtype=np.uint8)
    for _ in range(rng.integers(1, 10)):
        (top, left), (height, width) = rng.integers(0, shape), rng.integers(1, 9, 2)
        found[top : top + height, left : left + width] = rng.integers(1, classes + 1)
    return found
