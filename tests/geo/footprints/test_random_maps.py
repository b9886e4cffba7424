"""Any map can be drawn, by all options: valid, apart, the same in however many strips."""

import numpy as np
import pytest
import shapely
from footprint_grids import NAMES, grid, strips
from random_maps import RandomMap, random_map

from geoseg.geo.footprints.vectorize import Footprint, footprints


def drawn(drawing: RandomMap, seams: list[int]) -> list[Footprint]:
    return list(
        footprints(
            strips(drawing.classes, seams, drawing.score),
            grid(drawing.classes.shape, drawing.transform, drawing.crs),
            class_names=NAMES,
            **drawing.rules,
        )
    )


def check(seed: int, side: int = 25) -> None:
    drawing = random_map(seed, side)
    whole = drawn(drawing, [])
    shapes = np.array([footprint.geometry for footprint in whole], dtype=object)
    assert all(shape.geom_type == "Polygon" for shape in shapes), seed
    assert all(shapely.is_valid(shapes)) and not any(shapely.is_empty(shapes)), seed
    assert all(footprint.area_m2 > 0 for footprint in whole), seed
    assert all(0 <= footprint.score <= 1 for footprint in whole), seed
    pixel = abs(drawing.transform.determinant)
    first, second = shapely.STRtree(shapes).query(shapes, predicate="intersects")
    for one, other in zip(first, second, strict=True):
        if one < other:
            common = shapely.intersection(shapes[one], shapes[other]).area
            assert common <= 1e-6 * pixel, (seed, one, other, common / pixel)
    parts = drawn(drawing, drawing.seams)
    key = sorted((f.class_id, f.geometry.wkb, f.score) for f in whole)
    assert sorted((f.class_id, f.geometry.wkb, f.score) for f in parts) == key, seed


@pytest.mark.parametrize("block", range(4))
def test_any_small_map_is_drawn(block):
    for seed in range(75 * block, 75 * (block + 1)):
        check(seed)


@pytest.mark.slow
@pytest.mark.parametrize("block", range(10))
def test_ten_thousand_small_maps_are_drawn(block):
    for seed in range(1000 * block, 1000 * (block + 1)):
        check(seed, side=14)
