"""Touching buildings among footprints: parts with their own attributes, never overlapping."""

import numpy as np
import pytest
import shapely
from affine import Affine
from footprint_grids import NAMES, grid, strips
from hypothesis import given, settings
from hypothesis import strategies as st
from towns import random_town, spiral

from geoseg.geo.footprints.vectorize import Footprint, footprints


def outline(
    classes: np.ndarray,
    rows: list[int],
    score: np.ndarray | None = None,
    **rules: float,
) -> list[Footprint]:
    """Outline a raster of whose scores nothing, or that, is known."""
    if score is None:
        score = np.ones(classes.shape, dtype=np.float32)
    stream = strips(classes.astype(np.uint8), rows, score)
    rules = {"min_area_m2": 3, "min_hole_area_m2": 2, **rules}
    found = footprints(
        stream, grid(classes.shape), class_names=NAMES, split_touching=True, **rules
    )
    return list(found)


def touching(count: int) -> np.ndarray:
    """Draw houses of 12 × 12 pixels that touch by a tenth of a wall or so."""
    classes = np.zeros((12 + 10 * count, 12 + 10 * count), dtype=np.uint8)
    for i in range(count):
        classes[10 * i + 2 : 10 * i + 12, 10 * i + 2 : 10 * i + 14] = 1
    return classes


@pytest.mark.parametrize("regularize", [False, True])
def test_houses_that_touch_become_footprints_with_their_own_scores(
    regularize: bool,
) -> None:
    classes = np.zeros((24, 40), dtype=np.uint8)
    classes[2:12, 2:16] = classes[9:19, 16:30] = 1
    score = np.where(np.arange(40) < 16, 0.75, 0.9).astype(np.float32)
    score = np.broadcast_to(score, classes.shape)
    found = list(
        footprints(
            strips(classes, [10], score),
            grid(classes.shape),
            class_names=NAMES,
            regularize=regularize,
            split_touching=True,
        )
    )
    assert [it.score for it in found] == pytest.approx([0.75, 0.9])
    assert [it.area_m2 for it in found] == pytest.approx([140, 140], rel=0.02)
    assert {it.class_name for it in found} == {"building"}
    shared = found[0].geometry.intersection(found[1].geometry)
    assert shared.length == pytest.approx(3, abs=0.1) and shared.area == 0


def test_without_the_option_they_stay_one() -> None:
    stream = strips(touching(3), [])
    (one,) = footprints(stream, grid((42, 42)), class_names=NAMES)
    assert len(outline(touching(3), [])) == 3
    assert one.area_m2 == pytest.approx(
        sum(it.area_m2 for it in outline(touching(3), []))
    )


def test_rows_that_a_cut_crosses_say_nothing_of_the_scores_of_its_sides() -> None:
    classes = np.zeros((22, 40), dtype=np.uint8)
    classes[2:12, 2:16] = classes[11:21, 16:30] = 1
    score = np.full(classes.shape, 0.5, dtype=np.float32)
    score[11] = 0.625
    stream = strips(classes, [], score)
    found = footprints(
        stream, grid(classes.shape), class_names=NAMES, split_touching=True
    )
    assert [it.score for it in found] == [0.5, 0.5]


def street(seed: int) -> np.ndarray:
    """Draw houses that touch the next one by up to 3 pixels, among other buildings."""
    rng = np.random.default_rng(seed)
    classes = random_town(seed, 2, noise=0.005)
    classes = np.pad(classes, ((0, 50), (0, 10)))
    row, col = len(classes) - 48, 2
    for _ in range(4):
        height, width = rng.integers(8, 15, 2)
        second = rng.random() < 0.2
        classes[row : row + height, col : col + width] = 2 if second else 1
        row, col = row + height - rng.integers(0, 4), col + width
    return classes[:, ::-1] if rng.random() < 0.5 else classes


def doubts(classes: np.ndarray, seed: int) -> np.ndarray:
    """Draw scores with valleys, of which some run where houses touch, and noise."""
    rng = np.random.default_rng(seed)
    row, column = np.indices(classes.shape)
    waves = np.cos((row + column) / rng.uniform(1, 6)) + np.cos(row / rng.uniform(2, 6))
    noise = rng.normal(scale=rng.choice([0.0, 0.05]), size=classes.shape)
    return np.clip(0.75 + waves / 8 + noise, 0.5, 1).astype(np.float32)


@settings(deadline=None, max_examples=25)
@given(
    st.integers(0, 10**6),
    st.lists(st.integers(1, 130), max_size=8),
    st.sampled_from(
        [{}, {"tolerance_m": 0.0}, {"tolerance_m": 3.0}, {"regularize": True}]
    ),
)
def test_streets_are_split_the_same_in_strips_and_into_valid_parts_that_do_not_overlap(
    seed: int, rows: list[int], rules: dict[str, float]
) -> None:
    classes = street(seed)
    score = doubts(classes, seed) if seed % 2 else None
    found = outline(classes, rows, score, **rules)
    assert found == outline(classes, [], score, **rules)
    geometries = [it.geometry for it in found]
    assert all(it.is_valid and it.geom_type == "Polygon" for it in geometries)
    total = sum(it.area for it in geometries)
    assert shapely.union_all(geometries).area == pytest.approx(total, abs=1e-6)


def test_most_streets_have_touching_buildings() -> None:
    split = 0
    for seed in range(20):
        classes = street(seed)
        plain = footprints(
            strips(classes, []),
            grid(classes.shape),
            class_names=NAMES,
            min_area_m2=3,
            min_hole_area_m2=2,
        )
        split += len(outline(classes, [])) > len(list(plain))
    # Else the property above would say little of them.
    assert split > 10


def row_of_houses(dip: float) -> tuple[np.ndarray, np.ndarray]:
    """Draw two houses side by side as one box, its scores lower by a dip in between."""
    classes = np.zeros((24, 44), dtype=np.uint8)
    classes[2:22, 2:42] = 1
    score = np.full(classes.shape, 0.9, dtype=np.float32)
    score[:, 20:24] -= dip
    return classes, score


@pytest.mark.parametrize("regularize", [False, True])
def test_two_houses_in_one_box_are_cut_where_their_scores_have_a_valley(
    regularize: bool,
) -> None:
    classes, score = row_of_houses(0.4)
    found = outline(classes, [], score, regularize=regularize)
    assert [it.area_m2 for it in found] == pytest.approx([400, 400], rel=0.01)
    one, other = (it.geometry for it in found)
    ends = shapely.get_coordinates(one.intersection(other))
    assert np.ptp(ends[:, 0]) < 0.5 and np.ptp(ends[:, 1]) == pytest.approx(20)


def test_a_box_whose_scores_have_no_deep_valley_stays_one() -> None:
    classes, score = row_of_houses(0.1)
    assert len(outline(classes, [], score)) == 1


def test_a_neck_over_which_scores_fall_less_has_to_be_narrower() -> None:
    def count(overlap: int, dip: float) -> int:
        classes = np.zeros((30, 40), dtype=np.uint8)
        classes[2:12, 2:16] = classes[12 - overlap : 22 - overlap, 16:30] = 1
        score = np.full(classes.shape, 0.9, dtype=np.float32)
        score[:, 14:18] -= dip
        score[2:4, 2:4] = 0.6
        return len(outline(classes, [], score))

    assert (count(4, 0.0), count(4, 0.1), count(4, 0.3)) == (1, 1, 2)
    assert (count(1, 0.0), count(1, 0.1), count(1, 0.3)) == (1, 2, 2)


def test_buildings_cut_by_scores_and_by_shape_share_all_corners() -> None:
    classes, score = row_of_houses(0.4)
    classes = np.pad(classes, ((0, 20), (0, 20)))
    score = np.pad(score, ((0, 20), (0, 20)), constant_values=0.9)
    classes[21:41, 42:60] = 1  # touches by a pixel
    score[21, 40:44] -= 0.15
    found = outline(classes, [17], score)
    assert len(found) == 3
    assert shapely.coverage_is_valid(np.array([it.geometry for it in found]))


@pytest.mark.parametrize("regularize", [False, True])
def test_outlines_along_the_pixels_are_split_too(regularize: bool) -> None:
    found = outline(touching(3), [], regularize=regularize, tolerance_m=0)
    assert len(found) > 1
    assert sum(it.area_m2 for it in found) == pytest.approx(touching(3).sum())


def test_parts_that_begin_at_the_same_pixel_stay_in_their_order() -> None:
    classes = spiral(41)
    fall = np.add.outer(np.arange(41), np.arange(41)) % 11 / 22
    score = (np.floor((0.5 + fall) * 255) / 255).astype(np.float32)
    stream = footprints(
        strips(classes, [], score),
        grid(classes.shape, Affine(0.4, 0, 600000, 0, -1.1, 4000000)),
        class_names=NAMES,
        min_area_m2=0,
        min_hole_area_m2=0,
        tolerance_m=5,
        split_touching=True,
    )
    assert len(list(stream)) > 20
