"""Touching buildings: cut at necks, nowhere else, and never badly."""

from functools import reduce

import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
import rasterio.features
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from shapely import Polygon, box
from shapely.affinity import rotate
from shapely.geometry import shape

from geoseg.geo.footprints.splitting.necks import split_touching

METRE = np.eye(2)


def split(
    outline: Polygon, metres: np.ndarray = METRE, **rules: float
) -> list[Polygon]:
    rules = {"min_area_m2": 10, "tolerance_m": 0.5, **rules}
    return split_touching(shapely.normalize(outline), metres, **rules)


def together(*boxes: tuple[float, float, float, float]) -> Polygon:
    return shapely.union_all([box(*it) for it in boxes])


TWO = together((0, 0, 10, 10), (10, 7, 20, 17))


def test_two_houses_that_touch_at_a_corner_share_a_wall_from_corner_to_corner() -> None:
    first, second = split(TWO)
    assert first.equals(box(0, 0, 10, 10)) and second.equals(box(10, 7, 20, 17))
    shared = {(10.0, 7.0), (10.0, 10.0)}
    for part in (first, second):
        assert shared <= set(part.exterior.coords)


@pytest.mark.parametrize(
    "outline",
    [
        box(0, 0, 10, 40),
        together((0, 0, 10, 30), (0, 0, 30, 10)),  # L
        together((0, 0, 30, 10), (10, 0, 20, 30)),  # T
        together((10, 0, 20, 30), (0, 10, 30, 20)),  # cross
        together((0, 0, 10, 30), (0, 0, 30, 10), (20, 0, 30, 30)),  # U
        together((0, 0, 20, 20), (20, 8, 30, 12)),  # a narrow wing
        shapely.Point(20, 20).buffer(15),
        box(0, 0, 40, 40).difference(box(10, 10, 30, 30)),  # a courtyard
        together((0, 0, 10, 10), (10, 4, 20, 14)),  # a neck as wide as half a house
    ],
)
@pytest.mark.parametrize("angle", [0, 30])
def test_one_building_stays_one(outline: Polygon, angle: int) -> None:
    turned = rotate(outline, angle, origin=(0, 0))
    assert split(turned) == [shapely.normalize(turned)]


def test_a_passage_goes_to_one_of_the_houses_it_joins() -> None:
    parts = split(together((0, 0, 10, 10), (10, 4, 14, 6), (14, 0, 24, 10)))
    assert sorted(part.area for part in parts) == pytest.approx([100, 108])


def test_two_houses_around_a_yard_are_cut_on_both_of_its_sides() -> None:
    yard = together((0, 0, 10, 30), (20, 0, 30, 30), (10, 0, 20, 3), (10, 27, 20, 30))
    parts = split(yard)
    assert len(parts) == 2
    assert not any(part.interiors for part in parts)


def test_a_cut_that_starts_at_a_corner_meets_the_wall_at_a_right_angle() -> None:
    notched = box(0, 0, 30.13, 10).difference(Polygon([(10, 0), (15.27, 7), (20, 0)]))
    one, other = split(notched)
    ends = shapely.get_coordinates(one.intersection(other))
    np.testing.assert_allclose(np.sort(ends, axis=0), [[15.27, 7], [15.27, 10]])


def test_metres_decide_not_pixels() -> None:
    assert len(split(TWO, METRE * 0.2)) == 1  # 2 m across: no house
    assert len(split(TWO, METRE * 0.5, min_area_m2=25)) == 2
    assert len(split(TWO, METRE * 0.5, min_area_m2=26)) == 1
    stretched = np.diag([1.0, 4.0])  # the neck is 12 m wide, the houses 10
    assert len(split(TWO, stretched)) == 1


def test_what_is_too_small_stays_where_it_hangs_by_the_widest_neck() -> None:
    row = together((0, 0, 10, 10), (10, 8, 14, 12), (14, 11.5, 24, 21.5))
    small, large = sorted(split(row, min_area_m2=50), key=lambda part: part.area)
    assert small.equals(box(14, 11.5, 24, 21.5))
    assert large.area == pytest.approx(116)


boxes = st.tuples(
    *(st.integers(0, 40) for _ in range(2)), *(st.integers(3, 15) for _ in range(2))
)
masks = hnp.arrays(
    np.uint8,
    st.tuples(st.integers(4, 24), st.integers(4, 24)),
    elements=st.sampled_from([0, 1, 1, 1]),
)


def check(outline: Polygon, parts: list[Polygon], least: float) -> None:
    """Parts are valid, make up the outline, overlap nowhere and share all corners."""
    assert all(part.is_valid and part.geom_type == "Polygon" for part in parts)
    assert shapely.union_all(parts).symmetric_difference(outline).area < 1e-9
    assert sum(part.area for part in parts) == pytest.approx(outline.area, abs=1e-9)
    if len(parts) > 1:
        assert min(part.area for part in parts) >= least - 1e-9
    assert shapely.coverage_is_valid(np.array(parts))


@settings(deadline=None, max_examples=50)
@given(
    st.lists(boxes, min_size=2, max_size=8),
    st.floats(0, 90),
    st.sampled_from([0.0, 0.5, 3.0]),
)
def test_parts_of_houses_thrown_together(
    given_boxes: list[tuple[int, int, int, int]], angle: float, tolerance: float
) -> None:
    houses = [box(x, y, x + w, y + h) for x, y, w, h in given_boxes]
    for outline in shapely.get_parts(shapely.union_all(houses)):
        turned = rotate(outline, angle, origin=(0, 0))
        check(turned, split(turned, min_area_m2=4, tolerance_m=tolerance), 4)


@settings(deadline=None, max_examples=50)
@given(masks, st.sampled_from([0.0, 0.75, 3.0]))
def test_parts_of_ragged_pixels(mask: np.ndarray, tolerance: float) -> None:
    found = rasterio.features.shapes(mask, mask=mask > 0, connectivity=4)
    for outline in [shape(it) for it, _ in found]:
        parts = split(outline, METRE * 2, min_area_m2=0, tolerance_m=tolerance)
        check(outline, parts, 0)


def test_a_wall_that_touches_its_own_corner_leaves_the_building_whole() -> None:
    # Points put onto the last wall are rounded: some lie beyond the corner (3, 21).
    walls = "13 17, 12 17, 12 16, 11 16, 11 13, 1.9999999999999991 22, 3 22, 3 21"
    steps = "5 21, 5 22, 4 22, 4 23, 3 23, 3 26, 1 26, 1 27, 0 27, 0 29, 13 29, 13 17"
    outline = shapely.normalize(shapely.from_wkt(f"POLYGON (({walls}, {steps}))"))
    assert shapely.segmentize(outline, 1).geom_type == "MultiPolygon"
    assert split(outline) == [outline]


def test_a_long_row_of_houses_touching_at_corners() -> None:
    houses = [
        box(10 * i, 8 * (i % 2), 10 * i + 10, 8 * (i % 2) + 10) for i in range(40)
    ]
    row = reduce(shapely.union, houses)
    parts = split(row)
    assert len(parts) == 40
    check(row, parts, 10)
