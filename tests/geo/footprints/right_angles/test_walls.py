"""Cutting an outline into walls."""

import numpy as np
import pytest

from geoseg.geo.footprints.right_angles.wall_search import cut_into_walls
from geoseg.geo.footprints.right_angles.walls import (
    ACROSS,
    ALONG,
    FREE,
    Arc,
    corners,
    tilt,
    turn,
)

STEPS = [(0, 0), (10, 0.4), (20, 0), (20, 8), (20.4, 9), (20, 10), (0, 10), (0, 0)]


def arc(points: list[tuple[float, float]], *, closed: bool) -> Arc:
    return Arc(np.array(points, dtype=float), np.arange(len(points)), closed)


def test_points_near_a_wall_make_no_corners() -> None:
    outline = arc(STEPS, closed=True)
    (walls,) = cut_into_walls([outline], tolerance=1.0)
    assert walls is not None
    assert walls.kind.tolist() == [ALONG, ACROSS, ALONG, ACROSS]
    assert walls.end.tolist() == [2, 5, 6, 7]
    found = corners(outline, walls)
    # A wall takes in what it leaves out: half of 0.4 m, and 2 m of 10 half of 0.4 m.
    expected = [(0, 0.2), (20.04, 0.2), (20.04, 10), (0, 10), (0, 0.2)]
    np.testing.assert_allclose(found, expected, atol=1e-9)


def test_without_tolerance_walls_stay_as_they_were() -> None:
    (walls,) = cut_into_walls([arc(STEPS, closed=True)], tolerance=0.1)
    assert walls is not None
    assert walls.kind.tolist() == [FREE, FREE, ACROSS, FREE, FREE, ALONG, ACROSS]


def test_the_ends_of_an_open_arc_stay() -> None:
    outline = arc([(0, 0), (5, 0.3), (10, 0), (10.2, 5), (10, 10)], closed=False)
    (walls,) = cut_into_walls([outline], tolerance=1.0)
    assert walls is not None
    np.testing.assert_allclose(corners(outline, walls), [(0, 0), (10, 0), (10, 10)])


@pytest.mark.parametrize("degrees", [-7, -1, 3, 10])
def test_tilt_is_the_angle_of_the_walls(degrees: float) -> None:
    square = [(0, 0), (20, 0), (20, 10), (0, 10), (0, 0)]
    turned = turn(np.array(square, dtype=float), -np.radians(degrees))
    outline = Arc(turned, np.arange(5), closed=True)
    (walls,) = cut_into_walls([outline], tolerance=4.0)
    assert walls is not None
    assert np.degrees(tilt([(outline, walls)])) == pytest.approx(degrees)


def test_three_points_are_no_building() -> None:
    triangle = arc([(0, 0), (9, 0), (0, 9)], closed=True)
    assert cut_into_walls([triangle], tolerance=1.0) == [None]
