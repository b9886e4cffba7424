"""Class rasters and images with buildings in every position."""

from typing import Any

import numpy as np
import numpy.typing as npt
import rasterio.features
from hypothesis import strategies as st
from shapely import affinity, box

Classes = npt.NDArray[np.uint8]


def random_town(seed: int, classes: int = 2, *, noise: float = 0.0) -> Classes:
    """Draw turned buildings, some with courtyards, some over others.

    Args:
        seed: of everything, the size included.
        classes: ids 1 to ``classes`` are drawn.
        noise: share of pixels of a random class.
    """
    rng = np.random.default_rng(seed)
    height, width = rng.integers(20, 80, 2)
    town = np.zeros((height, width), dtype=np.uint8)
    angle = rng.uniform(0, 90)
    for _ in range(rng.integers(2, 10)):
        building = box(0, 0, *rng.uniform(5, 25, 2))
        if rng.random() < 0.3:
            court = affinity.scale(building, 0.6, 0.6)
            building = building.difference(affinity.translate(court, rng.uniform(0, 4)))
        building = affinity.rotate(building, angle + rng.normal(0, 2))
        place = rng.uniform(-5, [width, height])
        rasterio.features.rasterize(
            [affinity.translate(building, *place)],
            out=town,
            default_value=int(rng.integers(1, classes + 1)),
        )
    speckle = rng.random(town.shape) < noise
    town[speckle] = rng.integers(0, classes + 1, speckle.sum())
    return town


def spiral(side: int) -> Classes:
    """Draw one building that winds inwards, one pixel wide, and one in the gap."""
    town = np.full((side, side), 2, dtype=np.uint8)
    row = col = 0
    steps = [side - 1]
    steps += [length for length in range(side - 1, 0, -2) for _ in range(2)]
    town[row, col] = 1
    for number, length in enumerate(steps):
        down, right = ((0, 1), (1, 0), (0, -1), (-1, 0))[number % 4]
        for _ in range(length):
            row, col = row + down, col + right
            town[row, col] = 1
    return town


def nested(rings: int) -> Classes:
    """Draw courtyards with buildings in them, with courtyards of their own, …"""
    side = 4 * rings + 1
    rows, cols = np.mgrid[:side, :side] - 2 * rings
    return ((np.maximum(abs(rows), abs(cols)) + 1) % 2).astype(np.uint8)


def towns(classes: int = 2, noise: float = 0.0) -> st.SearchStrategy[Any]:
    """Random towns."""
    return st.integers(0, 2**32 - 1).map(
        lambda seed: random_town(seed, classes, noise=noise)
    )


def dark_with(*rectangles, height=60, width=70, bands=3):
    """Return pixels of which only the rectangles (row, col, height, width) shine."""
    pixels = np.full((bands, height, width), 150, np.uint16)
    for row, col, tall, wide in rectangles:
        pixels[:, row : row + tall, col : col + wide] = 850
    return pixels
