"""Buildings that share walls: right angles for both, and one wall."""

import numpy as np
import pytest
import rasterio.features
import shapely
from footprint_grids import NAMES, grid, strips
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from shapely import Point, Polygon, affinity, box

from geoseg.geo.footprints.vectorize import Footprint, footprints

SIDE = 100
ROW = [box(0, 0, 24, 30), box(24, 0, 48, 30), box(48, 0, 72, 30)]
STAGGERED = [box(0, 0, 20, 25), box(20, 5, 40, 30), box(40, -3, 62, 21)]
L_AND_SQUARE = [
    (box(0, 0, 40, 15) | box(0, 0, 18, 34)).simplify(0),
    box(18, 15, 34, 31),
]
DISC = Point(38, 12).buffer(14)


def turned(shapes: list[Polygon], degrees: float) -> list[Polygon]:
    """Turn shapes about their middle, which comes to lie in the image's."""
    middle = shapely.union_all(shapes).centroid
    return [
        affinity.translate(
            affinity.rotate(it, degrees, origin=middle),
            SIDE / 2 + 0.3 - middle.x,
            SIDE / 2 - 0.4 - middle.y,
        )
        for it in shapes
    ]


def mask(shapes: list[Polygon], *, jitter: int | None = None) -> np.ndarray:
    """Draw shapes as classes 1, 2, 3, 1, …; move what is around all of them.

    Args:
        shapes: None covers another.
        jitter: Seed of a smooth random field, standard deviation 0.5 pixels.
    """
    pairs = [(shape, 1 + i % 3) for i, shape in enumerate(shapes)]
    classes = rasterio.features.rasterize(pairs, (SIDE, SIDE)).astype(np.uint8)
    if jitter is None:
        return classes
    inside = ndimage.distance_transform_edt(classes)
    outside, nearest = ndimage.distance_transform_edt(classes == 0, return_indices=True)
    field = np.random.default_rng(jitter).normal(size=classes.shape)
    field = ndimage.gaussian_filter(field, 2.0)
    depth = inside - outside - np.where(classes, 0.5, -0.5) + 0.5 * field / field.std()
    return np.where(depth > 0, classes[tuple(nearest)], 0).astype(np.uint8)


def drawn(classes: np.ndarray, **rules: float) -> list[Footprint]:
    stream = strips(classes, [])
    rules = {"regularize": True, "min_hole_area_m2": 4, **rules}
    return list(footprints(stream, grid(classes.shape), class_names=NAMES, **rules))


def corner_sets(found: list[Footprint]) -> list[set[tuple[float, float]]]:
    return [set(it.geometry.exterior.coords) for it in found]


def off_square(polygon: Polygon) -> float:
    """Largest difference of a corner's angle from right or straight ones, degrees."""
    step = np.diff(shapely.get_coordinates(polygon.exterior), axis=0)
    angle = np.degrees(np.arctan2(step[:, 1], step[:, 0]))
    off = (np.roll(angle, -1) - angle + 45) % 90 - 45
    return float(np.abs(off).max())


def assert_sound(found: list[Footprint]) -> None:
    """Valid polygons that do not overlap; nothing of a wall is a gap."""
    shapes = np.array([it.geometry for it in found], dtype=object)
    assert (shapely.get_type_id(shapes) == shapely.GeometryType.POLYGON).all()
    assert shapely.is_valid(shapes).all()
    total = shapely.area(shapes).sum()
    assert shapely.union_all(shapes).area == pytest.approx(total, abs=1e-6)


def by_class(found: list[Footprint]) -> list[Footprint]:
    return sorted(found, key=lambda it: it.class_id)


@pytest.mark.parametrize("degrees", [0, 9, 23, 45, 71])
@pytest.mark.parametrize("jitter", [None, 2])
def test_a_row_of_houses_is_drawn_with_four_corners_each(
    degrees: float, jitter: int | None
) -> None:
    true = turned(ROW, degrees)
    found = by_class(drawn(mask(true, jitter=jitter)))
    assert_sound(found)
    assert [len(it) for it in corner_sets(found)] == [4, 4, 4]
    first, second, third = corner_sets(found)
    assert len(first & second) == len(second & third) == 2
    assert max(off_square(it.geometry) for it in found) < 1e-6
    if jitter is None:
        assert [it.area_m2 for it in found] == pytest.approx([720] * 3, rel=0.05)


@pytest.mark.parametrize("degrees", [0, 12, 23, 38])
def test_houses_that_step_back_meet_within_walls(degrees: float) -> None:
    found = by_class(drawn(mask(turned(STAGGERED, degrees))))
    assert_sound(found)
    # Four corners of its own each, and those of neighbours that lie on its walls.
    assert [len(it) for it in corner_sets(found)] == [5, 6, 5]
    assert max(off_square(it.geometry) for it in found) < 1e-6
    first, second, third = corner_sets(found)
    assert len(first & second) == len(second & third) == 2


@pytest.mark.parametrize("degrees", [0, 16, 40])
def test_a_square_fits_into_an_l(degrees: float) -> None:
    found = by_class(drawn(mask(turned(L_AND_SQUARE, degrees))))
    assert_sound(found)
    first, second = corner_sets(found)
    assert (len(first), len(second)) == (8, 4)
    assert len(first & second) == 3
    assert max(off_square(it.geometry) for it in found) < 1e-6


@pytest.mark.parametrize("degrees", [0, 20])
def test_a_disc_beside_a_house_stays_round(degrees: float) -> None:
    house = box(0, 0, 25, 25)
    classes = mask(turned([house, DISC - house], degrees))
    simple = by_class(drawn(classes, regularize=False))
    square, disc = by_class(drawn(classes))
    assert_sound([square, disc])
    assert len(square.geometry.exterior.coords) - 1 <= 7
    assert off_square(square.geometry) < 1e-6
    before, after = simple[1].geometry, disc.geometry
    assert before.symmetric_difference(after).area < 0.05 * before.area
    outer = shapely.LineString(DISC.exterior).length / 2
    assert after.boundary.intersection(before.boundary).length > outer


def test_a_house_in_the_courtyard_of_another_shares_all_its_walls() -> None:
    court = box(15, 12, 33, 28)
    true = turned([box(0, 0, 48, 42) - court, court], 21)
    around, within = by_class(drawn(mask(true)))
    (hole,) = around.geometry.interiors
    assert set(hole.coords) == set(within.geometry.exterior.coords)
    assert len(around.geometry.exterior.coords) == len(hole.coords) == 5


def test_parts_of_a_row_have_right_angles_of_their_own() -> None:
    # Of two directions: no four walls of the whole are at right angles.
    first, second = box(0, 0, 30, 22), affinity.rotate(box(30, 8, 54, 26), 14)
    true = turned([first, second - first], 10)
    classes = (mask(true, jitter=3) > 0).astype(np.uint8)
    parts = drawn(classes, split_touching=True)
    assert_sound(parts)
    assert len(parts) == 2
    simple = drawn(classes, split_touching=True, regularize=False)
    corners = [sum(map(len, corner_sets(it))) for it in (parts, simple)]
    assert corners[0] <= 13 < corners[1]
    one, other = corner_sets(parts)
    assert len(one & other) == 2


def test_walls_drawn_around_two_buildings_that_leave_nothing_of_one() -> None:
    classes = np.zeros((10, 6), dtype=np.uint8)
    classes[8:, 2] = 2
    classes[8, 3:5] = 1
    least = {"min_area_m2": 2, "min_hole_area_m2": 1}
    found = drawn(classes, regularize=True, **least)
    assert [it.geometry for it in found] == [
        it.geometry for it in drawn(classes, **least)
    ]
    assert_sound(found)


@st.composite
def blocks(draw: st.DrawFn) -> np.ndarray:
    """Rows of houses of three classes, back to back, turned, perhaps with noise."""
    shapes = []
    for sign in (1, -1):
        x = draw(st.integers(-3, 3)) if sign < 0 else 0
        for _ in range(draw(st.integers(1, 3))):
            width, depth = draw(st.integers(8, 16)), draw(st.integers(8, 20))
            start = draw(st.integers(0, 3)) if sign > 0 else 0
            low, high = sorted((start, sign * depth))
            shapes.append(box(x, low, x + width, high))
            x += width
    degrees = draw(st.floats(0, 90))
    jitter = draw(st.one_of(st.none(), st.integers(0, 99)))
    return mask(turned(shapes, degrees), jitter=jitter)


@pytest.mark.slow
@settings(deadline=None, max_examples=25)
@given(blocks(), st.booleans(), st.lists(st.integers(1, SIDE - 1), max_size=4))
def test_blocks_keep_their_walls_and_areas_whatever_the_strips(
    classes: np.ndarray, split: bool, ends: list[int]
) -> None:
    rules = {"split_touching": split, "min_area_m2": 4, "min_hole_area_m2": 4}
    found = drawn(classes, **rules)
    assert_sound(found)
    stream = strips(classes, ends)
    in_strips = footprints(
        stream, grid(classes.shape), class_names=NAMES, regularize=True, **rules
    )
    assert list(in_strips) == found
    simple = drawn(classes, regularize=False, **rules)
    if len(simple) == len(found):  # an area of about 4 m² may end on either side
        for before, after in zip(simple, found, strict=True):
            pixels = (classes == before.class_id).sum() if not split else 0
            slack = 0.05 * max(before.area_m2, pixels) + 0.05 * before.area_m2
            assert abs(before.area_m2 - after.area_m2) <= slack


@settings(deadline=None, max_examples=25)
@given(blocks())
def test_no_gap_opens_in_a_wall_that_is_shared(classes: np.ndarray) -> None:
    rules = {"min_area_m2": 4, "min_hole_area_m2": 4}
    simple, found = drawn(classes, regularize=False, **rules), drawn(classes, **rules)
    holes = [
        shapely.get_num_interior_rings(
            shapely.get_parts(shapely.union_all([it.geometry for it in of]))
        ).sum()
        for of in (simple, found)
    ]
    assert holes[1] <= holes[0]
