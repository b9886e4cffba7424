"""What a noisy map keeps in memory does not depend on its height."""

import tracemalloc

import numpy as np
import pytest
from affine import Affine
from footprint_grids import NAMES, grid

from geoseg.geo.footprints.vectorize import footprints
from geoseg.geo.rasters.strips import ClassStrip


def peak(rows: int) -> float:
    rng = np.random.default_rng(0)

    def noise():
        for top in range(0, rows, 256):
            shape = (min(256, rows - top), 80)
            classes = (rng.random(shape) < 0.2).astype(np.uint8)
            yield ClassStrip(top, classes, np.ones(shape, np.float32))

    raster = grid((rows, 80), Affine(10, 0, 6e5, 0, -10, 4e6))
    tracemalloc.start()
    try:
        assert sum(1 for _ in footprints(noise(), raster, class_names=NAMES)) > rows
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.slow
def test_memory_of_noise_does_not_grow_with_its_height():
    peak(600)  # what is imported counts, too
    assert peak(4000) < 1.2 * peak(2000)
