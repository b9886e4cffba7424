"""Class strips to footprints: strips do not matter, shapes are right."""

import time
from collections.abc import Iterator

import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
import rasterio.features
import shapely
from affine import Affine
from footprint_grids import METRE_GRID, NAMES, grid, strips
from hypothesis import given, settings
from hypothesis import strategies as st
from shapely import Polygon, box

from geoseg.core.errors import ParameterError, RasterError
from geoseg.geo.footprints.meeting_polygons import overlap
from geoseg.geo.footprints.vectorize import Footprint, footprints
from geoseg.geo.rasters.strips import ClassStrip


def outline(
    classes: np.ndarray, ends: list[int] | None = None, **options: float
) -> list[Footprint]:
    options = {"min_area_m2": 0, "min_hole_area_m2": 0, **options}
    return list(
        footprints(
            strips(classes.astype(np.uint8), ends or []),
            grid(classes.shape),
            class_names=NAMES,
            **options,
        )
    )


def metre_box(left: int, top: int, right: int, bottom: int) -> Polygon:
    return box(600000 + left, 4000000 - bottom, 600000 + right, 4000000 - top)


masks = hnp.arrays(
    np.uint8,
    st.tuples(st.integers(1, 14), st.integers(1, 14)),
    elements=st.sampled_from([0, 0, 1, 1, 1, 2, 255]),
)


@settings(deadline=None, max_examples=100)
@given(masks, st.lists(st.integers(1, 13)))
def test_unsimplified_footprints_cover_their_pixels_exactly(
    classes: np.ndarray, ends: list[int]
) -> None:
    found = np.zeros(classes.shape, dtype=np.uint8)
    for footprint in outline(classes, ends, tolerance_m=0):
        assert footprint.geometry.is_valid
        pixels = rasterio.features.rasterize(
            [footprint.geometry], classes.shape, transform=METRE_GRID
        ).astype(bool)
        assert footprint.geometry.area == pixels.sum()
        assert not found[pixels].any()
        found[pixels] = footprint.class_id
    np.testing.assert_array_equal(found, np.where(classes == 255, 0, classes))


@settings(deadline=None, max_examples=150)
@given(masks, st.sampled_from([0.75, 1.5]))
def test_footprints_meet_the_image_s_border_where_their_pixels_do(
    classes: np.ndarray, tolerance: float
) -> None:
    height, width = classes.shape
    border = metre_box(0, 0, width, height).exterior
    found = outline(classes, tolerance_m=tolerance)
    for class_id in (1, 2):
        pixels = [
            metre_box(c, r, c + 1, r + 1) for r, c in np.argwhere(classes == class_id)
        ]
        edges = shapely.union_all([pixel.intersection(border) for pixel in pixels])
        shapes = [f.geometry for f in found if f.class_id == class_id]
        # A notch that is less deep than the tolerance may go: then there is more.
        assert sum(shape.intersection(edges).length for shape in shapes) == edges.length


def test_a_step_beside_the_border_does_not_tilt_the_edge_on_it() -> None:
    classes = np.zeros((12, 10))
    classes[2:10, 5:9] = classes[4:8, 9] = 1
    (building,) = outline(classes, tolerance_m=0.5)
    assert building.geometry.covers(metre_box(9, 4, 10, 8))
    # Away from the border the same step gives way to a slope.
    (inside,) = outline(np.pad(classes, ((0, 0), (0, 3))), tolerance_m=0.5)
    assert not inside.geometry.covers(metre_box(9, 4, 10, 8))


@settings(deadline=None, max_examples=100)
@given(masks)
def test_simplified_footprints_are_valid_polygons(classes: np.ndarray) -> None:
    result = outline(classes, [5], tolerance_m=0.75)
    for footprint in result:
        assert footprint.geometry.geom_type == "Polygon"
        assert footprint.geometry.is_valid
        assert footprint.geometry.area > 0
    everything = [footprint.geometry for footprint in result]
    total = sum(geometry.area for geometry in everything)
    assert shapely.union_all(everything).area == pytest.approx(total, abs=1e-6)


def test_a_large_rectangle_keeps_its_four_corners_on_pixel_edges() -> None:
    classes = np.zeros((120, 90))
    classes[7:110, 5:80] = 1
    (footprint,) = outline(classes, [50, 60], min_area_m2=10)
    assert len(footprint.geometry.exterior.coords) == 5
    expected = metre_box(5, 7, 80, 110)
    assert footprint.geometry.normalize().equals_exact(expected.normalize(), 1e-6)
    # UTM's scale lies between 0.9996 and 1.001 within a zone; here it is the CRS itself.
    assert footprint.area_m2 == pytest.approx(103 * 75, rel=1e-9)
    assert footprint.perimeter_m == pytest.approx(2 * (103 + 75), rel=1e-9)


def test_a_sloping_wall_becomes_straight_without_changing_the_area() -> None:
    rows, columns = np.mgrid[:100, :100] + 0.5
    classes = (abs(rows - 50) + abs(columns - 50)) < 40
    (footprint,) = outline(classes)
    # The line through the steps' middles leaves out as much as it takes in, but for
    # half a square metre or so at the tips.
    assert footprint.area_m2 == pytest.approx(classes.sum(), abs=4)
    assert len(footprint.geometry.exterior.coords) <= 9


def test_holes_stay_and_small_ones_are_filled() -> None:
    classes = np.zeros((60, 60))
    classes[5:55, 5:55] = 1
    classes[20:30, 20:30] = 0
    classes[40:43, 40:43] = 0
    (footprint,) = outline(classes, [25], min_area_m2=10, min_hole_area_m2=10)
    (hole,) = footprint.geometry.interiors
    assert Polygon(hole).equals(metre_box(20, 20, 30, 30))


def test_small_footprints_are_left_out() -> None:
    classes = np.zeros((20, 40))
    classes[2:5, 2:5] = 1
    classes[2:6, 10:13] = 1
    (footprint,) = outline(classes, [4], min_area_m2=10)
    assert footprint.area_m2 == pytest.approx(12)


def test_pixels_that_touch_at_a_corner_are_two_footprints() -> None:
    classes = np.zeros((20, 20))
    classes[0:10, 0:10] = classes[10:20, 10:20] = 1
    assert len(outline(classes, [10])) == 2


def test_a_wall_between_two_classes_stays_shared() -> None:
    rows, columns = np.mgrid[:60, :60]
    classes = np.where(columns < 25 + rows // 4, 1, 2)
    first, second = outline(classes, [13, 37])
    common = first.geometry.intersection(second.geometry)
    assert common.area == pytest.approx(0, abs=1e-9)
    assert first.geometry.union(second.geometry).area == pytest.approx(3600, rel=1e-6)
    assert common.length > 58


def test_nodata_makes_no_footprint() -> None:
    assert outline(np.full((30, 30), 255)) == []


def test_score_is_the_mean_probability_over_the_pixels() -> None:
    classes = np.zeros((8, 8), dtype=np.uint8)
    classes[0:8, 2:6] = 1
    score = np.zeros((8, 8), dtype=np.float32)
    score[0:4] = 0.5
    score[4:8] = 1.0
    (footprint,) = footprints(
        strips(classes, [3], score), grid((8, 8)), class_names=NAMES
    )
    assert footprint.score == 0.75
    assert footprint.class_name == "building"


def test_order_is_from_the_top_then_from_the_left() -> None:
    classes = np.zeros((40, 40))
    classes[0:40, 30:34] = 1  # open until the end
    classes[2:8, 10:16] = 1
    classes[2:8, 0:6] = 1
    classes[20:28, 5:12] = 1
    lefts = [f.geometry.bounds[0] - 600000 for f in outline(classes, [5, 10, 20])]
    assert lefts == pytest.approx([30, 0, 10, 5])


def test_finished_footprints_come_before_the_last_strip() -> None:
    classes = np.zeros((60, 30), dtype=np.uint8)
    classes[2:8, 2:8] = classes[42:50, 2:8] = 1
    taken = []

    def feed() -> Iterator[ClassStrip]:
        for strip in strips(classes, [10, 20, 30, 40, 50]):
            taken.append(strip.row)
            yield strip

    stream = footprints(feed(), grid(classes.shape), class_names=NAMES)
    next(stream)
    assert taken[-1] < 42


def test_a_rotated_grid_rotates_the_footprint() -> None:
    cosine, sine = np.cos(np.radians(30)), np.sin(np.radians(30))
    transform = Affine(cosine, sine, 5e5, sine, -cosine, 4e6)
    classes = np.zeros((40, 40), dtype=np.uint8)
    classes[10:30, 5:25] = 1
    (footprint,) = footprints(
        strips(classes, [15]), grid((40, 40), transform), class_names=NAMES
    )
    corners = [
        (5e5 + cosine * x + sine * y, 4e6 + sine * x - cosine * y)
        for x, y in ((5, 10), (25, 10), (25, 30), (5, 30))
    ]
    # Rows and columns are as long: the first column's direction counts.
    assert footprint.orientation == pytest.approx(60)
    difference = footprint.geometry.symmetric_difference(Polygon(corners))
    assert difference.area < 1e-5
    assert len(footprint.geometry.exterior.coords) == 5


def test_areas_in_degrees_are_true_square_metres() -> None:
    # Degrees to metres by the radii of curvature of the WGS 84 ellipsoid.
    step = 1e-5
    transform = Affine(step, 0, 15.0, 0, -step, 60.0)
    classes = np.zeros((100, 100), dtype=np.uint8)
    classes[20:80, 20:80] = 1
    (footprint,) = footprints(
        strips(classes, []), grid((100, 100), transform, "EPSG:4326"), class_names=NAMES
    )
    latitude = np.radians(60 - 50 * step)
    a, e2 = 6378137.0, 0.00669437999014
    n = a / np.sqrt(1 - e2 * np.sin(latitude) ** 2)
    m = n * (1 - e2) / (1 - e2 * np.sin(latitude) ** 2)
    expected = np.radians(60 * step) ** 2 * n * np.cos(latitude) * m
    assert footprint.area_m2 == pytest.approx(expected, rel=1.2e-3)


def test_without_a_crs_there_are_no_metres() -> None:
    with pytest.raises(RasterError, match="CRS"):
        footprints([], grid((4, 4), crs=None), class_names=NAMES)


def test_holes_to_fill_must_not_exceed_the_smallest_footprint() -> None:
    with pytest.raises(ParameterError, match="hole area is 30"):
        footprints(
            [], grid((4, 4)), class_names=NAMES, min_area_m2=5, min_hole_area_m2=30
        )


def test_islands_do_not_pass_all_the_walls_around_them_each() -> None:
    number = np.arange(10_000)
    x, y = number % 100 * 5 + 1, number // 100 * 5 + 1
    yards = shapely.get_exterior_ring(shapely.box(x, y, x + 4, y + 4))
    field = shapely.polygons(
        shapely.linearrings([(0, 0), (501, 0), (501, 501), (0, 501)]), yards
    )
    islands = shapely.box(x + 1, y + 1, x + 2, y + 3)
    start = time.perf_counter()
    assert not overlap(np.append(islands, field))
    assert time.perf_counter() - start < 4
    assert overlap(np.append(islands[:9], shapely.box(2, 2, 9, 9)))
