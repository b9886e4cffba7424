"""Cuts along scattered points: straight, from wall to wall, corners shared."""

import time

import numpy as np
import pytest
import shapely
from shapely import Polygon, box

from geoseg.geo.footprints.shared_corners import share_corners, with_corners
from geoseg.geo.footprints.splitting.cuts import ON, cut_along

METRE = np.eye(2)


def cut(outline: Polygon, *lines: object, **rules: float) -> list[Polygon]:
    rules = {"min_area_m2": 10, "tolerance_m": 0.5, **rules}
    points = [np.array(line, dtype=np.float64) for line in lines]
    parts = cut_along([outline], points, METRE, **rules)
    return list(share_corners(np.array(parts, dtype=object), ON))


def test_points_near_a_line_across_a_box_cut_it_straight() -> None:
    zigzag = [(10 + 0.3 * (-1) ** i, i + 0.5) for i in range(10)]
    parts = cut(box(0, 0, 20, 10), zigzag)
    assert [part.area for part in parts] == pytest.approx([100, 100], abs=2)
    assert all(len(part.exterior.coords) == 5 for part in parts)
    assert shapely.coverage_is_valid(np.array(parts))


def test_cuts_end_at_corners_that_are_near() -> None:
    step = shapely.union_all([box(0, 0, 10, 10), box(10, 2, 20, 10)])
    one, other = cut(step, [(10.3, i + 0.5) for i in range(2, 10)])
    assert sorted((one.area, other.area)) == pytest.approx([80, 100], abs=4)
    assert (10.0, 2.0) in set(one.exterior.coords) & set(other.exterior.coords)


def test_a_cut_that_ends_at_another_gives_its_neighbour_a_corner() -> None:
    across = [(i + 0.5, 10) for i in range(30)]
    down = [(11, i + 0.5) for i in range(10)]
    parts = cut(box(0, 0, 30, 20), across, down)
    assert sorted(part.area for part in parts) == pytest.approx([110, 190, 300])
    assert shapely.coverage_is_valid(np.array(parts))


def test_a_cut_that_would_leave_too_little_is_left_out() -> None:
    line = [(1, i + 0.5) for i in range(10)]
    assert len(cut(box(0, 0, 20, 10), line)) == 2
    assert cut(box(0, 0, 20, 10), line, min_area_m2=11) == [box(0, 0, 20, 10)]


def test_a_line_through_a_yard_cuts_on_both_of_its_sides() -> None:
    ring = box(0, 0, 30, 30).difference(box(10, 10, 20, 20))
    line = [(15, i + 0.5) for i in [*range(10), *range(20, 30)]]
    parts = cut(ring, line)
    assert [part.area for part in parts] == pytest.approx([400, 400])
    assert not any(part.interiors for part in parts)


def test_points_on_walls_become_corners_once() -> None:
    square = box(0, 0, 4, 4)
    points = np.array([(0, 0), (2, 0), (1, 0), (3, 3)], dtype=np.float64)
    found = with_corners(square, points, ON)
    assert found.equals(square)
    assert {(1.0, 0.0), (2.0, 0.0)} < set(found.exterior.coords)
    assert len(found.exterior.coords) == 7


def test_points_on_the_walls_of_yards_become_corners_of_these() -> None:
    yards = [box(x, 2, x + 2, 4) for x in (2, 6, 10)]
    house = box(0, 0, 14, 6).difference(shapely.union_all(yards))
    points = np.array([(6, 3), (8, 3), (11, 4), (5, 0), (5, 3)], dtype=np.float64)
    found = with_corners(house, points, ON)
    assert found.equals(house) and found.is_valid
    added = set(shapely.get_coordinates(found)[:, 0]) - {0, 2, 4, 6, 8, 10, 12, 14}
    assert added == {5, 11}
    assert sorted(len(ring.coords) for ring in found.interiors) == [5, 6, 7]


def test_many_yards_are_passed_once_not_each_with_all_points() -> None:
    yards = np.arange(20_000)
    x, y = yards % 200 * 4 + 1, yards // 200 * 4 + 1
    field = shapely.polygons(
        shapely.linearrings([(0, 0), (801, 0), (801, 401), (0, 401)]),
        shapely.get_exterior_ring(shapely.box(x, y, x + 2, y + 2)),
    )
    points = np.stack((x + 1, y), axis=1).astype(np.float64)
    start = time.perf_counter()
    found = with_corners(field, points, ON)
    assert time.perf_counter() - start < 10
    assert len(shapely.get_coordinates(found)) == 5 + 6 * len(yards)
