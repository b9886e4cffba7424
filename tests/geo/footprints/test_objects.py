"""The same footprints from 1 strip or from N, and only what is open in memory."""

import gc
import tracemalloc
from collections.abc import Iterator

import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
import shapely
from footprint_grids import NAMES, grid, strips
from hypothesis import given, settings
from hypothesis import strategies as st
from towns import nested, random_town, spiral, towns

from geoseg.geo.footprints.vectorize import Footprint, footprints
from geoseg.geo.rasters.strips import ClassStrip

RULES = ({"tolerance_m": 0.0}, {}, {"tolerance_m": 3.0}, {"regularize": True})
ends = st.lists(st.integers(1, 80), max_size=8)
noise = hnp.arrays(
    np.uint8,
    st.tuples(st.integers(1, 20), st.integers(1, 14)),
    elements=st.sampled_from([0, 0, 1, 1, 1, 2, 3, 255]),
)


def outline(classes: np.ndarray, rows: list[int], **rules: float) -> list[Footprint]:
    """Outline a raster whose scores are random, but the same whatever the strips."""
    score = np.random.default_rng(0).random(classes.shape, dtype=np.float32)
    rules = {"min_area_m2": 3, "min_hole_area_m2": 2, **rules}
    stream = strips(classes, rows, score)
    return list(footprints(stream, grid(classes.shape), class_names=NAMES, **rules))


def same(classes: np.ndarray, rows: list[int], **rules: float) -> list[Footprint]:
    """Outline in 1 strip and in N: geometries, attributes and order are equal."""
    once, often = outline(classes, [], **rules), outline(classes, rows, **rules)
    # Dataclasses compare attribute by attribute, shapely point by point.
    assert once == often
    return once


@settings(deadline=None, max_examples=100)
@given(noise, ends, st.sampled_from(RULES))
def test_noise_of_several_classes(
    classes: np.ndarray, rows: list[int], rules: dict[str, float]
) -> None:
    same(classes, rows, **rules)


@settings(deadline=None, max_examples=40)
@given(towns(3, noise=0.02), ends, st.sampled_from(RULES))
def test_towns(classes: np.ndarray, rows: list[int], rules: dict[str, float]) -> None:
    same(classes, rows, **rules)


@pytest.mark.parametrize("rules", RULES)
@pytest.mark.parametrize("height", [1, 2, 3, 7])
def test_a_spiral_and_its_gap_through_every_strip(
    height: int, rules: dict[str, float]
) -> None:
    classes = spiral(31)
    found = same(classes, list(range(height, 31, height)), **rules)
    assert sorted(footprint.class_id for footprint in found) == [1, 2]


@pytest.mark.parametrize("rules", RULES)
@pytest.mark.parametrize("height", [1, 2, 5])
def test_islands_in_courtyards_in_islands(height: int, rules: dict[str, float]) -> None:
    classes = nested(6)
    least = {"min_area_m2": 0.1, "min_hole_area_m2": 0.1}
    found = same(classes, list(range(height, 25, height)), **least, **rules)
    assert len(found) == 7
    assert sum(len(it.geometry.interiors) for it in found) == 6


def test_a_comb_whose_teeth_meet_in_the_last_row() -> None:
    classes = np.zeros((40, 41), dtype=np.uint8)
    classes[:, ::2] = classes[-1] = 1
    (comb,) = same(classes, list(range(1, 40)), tolerance_m=0.0)
    assert comb.area_m2 == pytest.approx(classes.sum())


def test_some_towns_are_drawn_with_right_angles() -> None:
    changed = 0
    for seed in range(20):
        classes = random_town(seed, 1)
        plain = outline(classes, [])
        regular = outline(classes, [], regularize=True)
        changed += sum(
            not shapely.equals(a.geometry, b.geometry)
            for a, b in zip(plain, regular, strict=True)
        )
    # Else the properties above would say nothing of them.
    assert changed > 20


@pytest.mark.slow
@pytest.mark.parametrize("rules", [{}, {"regularize": True}])
def test_memory_does_not_grow_with_the_height(rules: dict[str, float]) -> None:
    def peak(count: int) -> int:
        block = np.zeros((16, 32), dtype=np.uint8)
        for left in (2, 12, 22):
            block[3:10, left : left + 6] = 1
        score = np.ones(block.shape, dtype=np.float32)

        def feed() -> Iterator[ClassStrip]:
            for number in range(count):
                if number % 4 == 0:
                    gc.collect()
                yield ClassStrip(16 * number, block, score)

        tracemalloc.start()
        whole = grid((16 * count, 32))
        found = sum(1 for _ in footprints(feed(), whole, class_names=NAMES, **rules))
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert found == 3 * count
        return most

    peak(2)
    # Eight times as many footprints; the rest is room for caches of the libraries.
    assert peak(64) < 2 * peak(8)
