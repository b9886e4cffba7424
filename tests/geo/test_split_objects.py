"""Touching buildings among footprints: parts with their own attributes, never overlapping."""

import numpy as np
import pytest
import shapely
from footprint_grids import NAMES, grid, strips
from hypothesis import given, settings
from hypothesis import strategies as st
from towns import random_town

from geoseg.geo.vectorize import Footprint, footprints


def outline(classes: np.ndarray, rows: list[int], **rules: float) -> list[Footprint]:
    """Outline a raster whose scores are random, but the same whatever the strips."""
    score = np.random.default_rng(0).random(classes.shape, dtype=np.float32)
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
    score = np.where(np.arange(40) < 16, 0.6, 0.9).astype(np.float32)
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
    assert [it.score for it in found] == pytest.approx([0.6, 0.9])
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
    score[11] = 1.0
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
    found = outline(classes, rows, **rules)
    assert found == outline(classes, [], **rules)
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
