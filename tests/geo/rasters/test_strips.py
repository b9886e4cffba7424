"""What is done to strips on their way."""

import numpy as np
import pytest

from geoseg.geo.rasters.strips import byte_histogram


@pytest.mark.parametrize("shape", [(0, 7), (3, 5), (1025, 1030)])
def test_values_are_counted_as_by_numpy(shape: tuple[int, int]) -> None:
    # The largest is counted in two parts, the second of them short.
    values = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    expected = np.bincount(values.ravel(), minlength=256)
    np.testing.assert_array_equal(byte_histogram(values), expected)
