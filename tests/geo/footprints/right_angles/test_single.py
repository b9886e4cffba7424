"""Right angles where the pixels say so, and nothing else changed."""

import tracemalloc

import numpy as np
import pytest
import rasterio.features
import shapely
from footprint_grids import NAMES, grid, strips
from hypothesis import given, settings
from hypothesis import strategies as st
from shapely import Point, Polygon, affinity, box
from towns import towns

from geoseg.geo.footprints.right_angles.single import main_direction, support
from geoseg.geo.footprints.right_angles.walls import Arc
from geoseg.geo.footprints.vectorize import Footprint, footprints

SIDE = 110
QUARTER = np.pi / 2
RECTANGLE = box(0, 0, 34, 20)
SHAPES = {
    "rectangle": RECTANGLE,
    "L": (box(0, 0, 40, 15) | box(0, 0, 18, 34)).simplify(0),
    "T": (box(0, 0, 44, 14) | box(15, 0, 29, 38)).simplify(0),
    "U": box(0, 0, 44, 32) - box(14, 13, 30, 32),
    "courtyard": box(0, 0, 48, 42) - box(15, 13, 33, 29),
}
ODD = {
    "disc": Point(0, 0).buffer(18),
    "triangle": Polygon([(0, 0), (44, 6), (16, 38)]),
    "crescent": Point(0, 0).buffer(24) - Point(12, 0).buffer(20),
    "octagon": Polygon(
        [(20 * np.cos(a), 20 * np.sin(a)) for a in np.arange(8) * np.pi / 4]
    ),
}


def drawn(classes: np.ndarray, **rules: float) -> list[Footprint]:
    return list(
        footprints(strips(classes, []), grid(classes.shape), class_names=NAMES, **rules)
    )


def placed(shape: Polygon, degrees: float) -> Polygon:
    """Turn a shape and put its middle off the middle of a pixel."""
    turned = affinity.rotate(shape, degrees)
    middle = turned.envelope.centroid
    return affinity.translate(turned, 55.3 - middle.x, 54.6 - middle.y)


def both(shape: Polygon) -> tuple[Polygon, Polygon]:
    """Return a shape's simplified and its regular outline, in its own coordinates."""
    mask = rasterio.features.rasterize([shape], (SIDE, SIDE)).astype(np.uint8)
    (simple,) = drawn(mask)
    (regular,) = drawn(mask, regularize=True)
    back = [1, 0, 0, -1, -600000, 4000000]
    return tuple(
        affinity.affine_transform(it.geometry, back) for it in (simple, regular)
    )


def iou(first: Polygon, second: Polygon) -> float:
    return first.intersection(second).area / first.union(second).area


def off_square(polygon: Polygon) -> float:
    """Largest difference of any corner's angle from a right one, in degrees."""
    worst = 0.0
    for ring in (polygon.exterior, *polygon.interiors):
        step = np.diff(np.asarray(ring.coords), axis=0)
        angle = np.degrees(np.arctan2(step[:, 1], step[:, 0]))
        turn = np.abs((np.roll(angle, -1) - angle + 180) % 360 - 180)
        worst = max(worst, float(np.abs(turn - 90).max()))
    return worst


@pytest.mark.parametrize("degrees", [0, 7, 22.5, 31, 45, 58, 83])
@pytest.mark.parametrize("name", SHAPES)
def test_buildings_get_back_their_right_angles(name: str, degrees: float) -> None:
    true = placed(SHAPES[name], degrees)
    simple, regular = both(true)
    assert off_square(regular) < 1e-6
    assert shapely.get_num_coordinates(regular) == shapely.get_num_coordinates(true)
    # Half a pixel more or less on every side cannot be known.
    assert iou(regular, true) > 0.93
    assert iou(regular, true) >= iou(simple, true) - 0.01
    assert regular.area == pytest.approx(true.area, rel=0.05)


@settings(deadline=None, max_examples=40)
@given(st.floats(12, 40), st.floats(1, 1.8), st.floats(0, 90))
def test_rectangles_of_many_sizes_and_directions(
    long: float, ratio: float, degrees: float
) -> None:
    true = placed(box(0, 0, long, max(10, long / ratio)), degrees)
    _, regular = both(true)
    assert len(regular.exterior.coords) == 5
    assert off_square(regular) < 1e-6
    assert iou(regular, true) > 0.8


@pytest.mark.parametrize("degrees", [0, 17, 40])
@pytest.mark.parametrize("name", ODD)
def test_round_and_odd_shapes_are_left_alone(name: str, degrees: float) -> None:
    simple, regular = both(placed(ODD[name], degrees))
    assert regular.equals_exact(simple, 0)


def test_ragged_walls_become_straight() -> None:
    rng = np.random.default_rng(0)
    mask = np.zeros((SIDE, SIDE), dtype=np.uint8)
    left = 20 + rng.integers(-1, 2, 14).repeat(3)
    right = 80 + rng.integers(-1, 2, 14).repeat(3)
    for row, (start, end) in enumerate(zip(left, right, strict=True), start=30):
        mask[row, start:end] = 1
    (simple,) = drawn(mask)
    (regular,) = drawn(mask, regularize=True)
    assert len(simple.geometry.exterior.coords) > 9
    assert len(regular.geometry.exterior.coords) == 5
    assert regular.area_m2 == pytest.approx(mask.sum(), rel=0.01)


def test_walls_on_the_image_s_border_stay_there() -> None:
    # Cut by the border, at an angle to it.
    building = affinity.translate(affinity.rotate(box(-20, -12, 20, 12), 20), 4, 50)
    mask = rasterio.features.rasterize([building], (SIDE, SIDE)).astype(np.uint8)
    (footprint,) = drawn(mask, regularize=True)
    border = shapely.LineString([(600000, 4000000), (600000, 4000000 - SIDE)])
    assert footprint.geometry.intersection(border).length == mask[:, 0].sum()
    assert footprint.geometry.bounds[0] == 600000


@pytest.mark.slow
@settings(deadline=None, max_examples=60)
@given(towns(2, noise=0.01), st.sampled_from([0.75, 1.5, 3.0]))
def test_no_overlap_no_invalid_polygon(classes: np.ndarray, tolerance: float) -> None:
    rules = {"tolerance_m": tolerance, "min_area_m2": 4, "min_hole_area_m2": 4}
    pixels = {"tolerance_m": 0.0, "min_area_m2": 4, "min_hole_area_m2": 4}
    simple, regular = drawn(classes, **rules), drawn(classes, regularize=True, **rules)
    shapes = np.array([it.geometry for it in regular], dtype=object)
    assert (shapely.get_type_id(shapes) == shapely.GeometryType.POLYGON).all()
    assert shapely.is_valid(shapes).all()
    total = shapely.area(shapes).sum()
    assert shapely.union_all(shapes).area == pytest.approx(total, abs=1e-6)
    if len(simple) != len(regular) or len(simple) != len(drawn(classes, **pixels)):
        return  # an area of about 4 m² may end on either side
    for one, other, own in zip(simple, regular, drawn(classes, **pixels), strict=True):
        # A corner of a neighbour may be new on a wall that is what it was.
        if one.geometry.symmetric_difference(other.geometry).area > 1e-6:
            assert other.area_m2 == pytest.approx(own.area_m2, rel=0.05)
            corners = shapely.get_num_coordinates([one.geometry, other.geometry])
            # Corners of neighbours on a building's walls are its own, too.
            alone = shapely.intersects(shapes, other.geometry).sum() == 1
            assert corners[1] <= corners[0] or not alone


def test_buildings_that_share_a_wall_go_on_sharing_it() -> None:
    classes = np.zeros((60, 60), dtype=np.uint8)
    rows, cols = np.mgrid[:60, :60]
    inside = (abs(rows + cols / 4 - 38) < 14) & (abs(cols - 30) < 22)
    classes[inside] = np.where(cols - rows / 4 < 22, 1, 2)[inside]
    first, second = drawn(classes, regularize=True)
    common = first.geometry.intersection(second.geometry)
    assert common.area == 0
    assert common.length > 24
    corners = [set(it.geometry.exterior.coords) for it in (first, second)]
    assert len(corners[0] & corners[1]) >= 2


def test_every_wall_counts_for_the_directions_near_it() -> None:
    rng = np.random.default_rng(0)
    angles, weight = rng.uniform(-np.pi, np.pi, 500), rng.random(500)
    apart = np.abs(angles[:, None] - angles)
    apart = np.minimum(apart % QUARTER, -apart % QUARTER)
    near = np.maximum(0, 1 - (apart / np.radians(12)) ** 2)
    assert support(angles, weight) == pytest.approx(near @ weight)


def test_memory_for_the_direction_grows_with_the_walls_not_their_square() -> None:
    walls = np.random.default_rng(0).uniform(0, 100, (50_000, 2))
    tracemalloc.start()
    main_direction([Arc(walls, np.arange(len(walls)), False)], 0.0)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1000 * len(walls)
