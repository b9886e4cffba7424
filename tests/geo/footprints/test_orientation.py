"""The direction of buildings."""

import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st
from shapely import affinity, box

from geoseg.geo.footprints.orientation import main_axes


def turned(clockwise: float) -> shapely.Polygon:
    """A building that runs north, turned."""
    return affinity.rotate(box(-4, -9, 4, 9), -clockwise, origin=(0, 0))


@given(st.floats(0, 180, exclude_max=True))
def test_the_main_axis_is_the_long_side_clockwise_from_north(degrees: float) -> None:
    (found,) = main_axes(np.array([turned(degrees)]))
    assert 0 <= found < 180
    # 0 and 180 are the same direction.
    assert (found - degrees + 90) % 180 == pytest.approx(90, abs=1e-4)


def test_north_east_and_south_east() -> None:
    buildings = np.array([turned(45), turned(135), turned(180)])
    np.testing.assert_allclose(main_axes(buildings), [45, 135, 0])


def test_a_square_has_the_smaller_of_its_two_directions() -> None:
    # Its sides run at 60° and 150°.
    square = affinity.rotate(box(0, 0, 10, 10), -60, origin=(0, 0))
    assert main_axes(np.array([square])) == pytest.approx([60])


def test_no_building_has_no_direction() -> None:
    assert main_axes(np.array([], dtype=object)).shape == (0,)
