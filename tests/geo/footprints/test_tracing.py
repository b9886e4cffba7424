"""Outlines traced from runs are those of GDAL."""

import hypothesis.extra.numpy as hnp
import numpy as np
import rasterio.features
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from shapely import box
from towns import nested, spiral

from geoseg.geo.footprints.pixel_runs import runs_of
from geoseg.geo.footprints.tracing import trace
from geoseg.geo.rasters.strips import ClassStrip

masks = hnp.arrays(
    np.uint8, st.tuples(st.integers(1, 14), st.integers(1, 14)), elements=st.booleans()
)


def outlines(mask: np.ndarray, row: int = 0) -> np.ndarray:
    """Trace the 4-connected objects of a mask."""
    score = np.ones(mask.shape, dtype=np.float32)
    runs, _ = runs_of(ClassStrip(row, mask.astype(np.uint8), score))
    owner = ndimage.label(mask)[0][runs.row - row, runs.start].astype(np.int64) - 1
    order = np.argsort(owner, kind="stable")
    return trace(runs.take(order), owner[order])


def by_gdal(mask: np.ndarray) -> list[str]:
    shapes = rasterio.features.shapes(mask, mask=mask > 0, connectivity=4)
    return normal([shapely.geometry.shape(shape) for shape, _ in shapes])


def normal(polygons: np.ndarray | list[shapely.Polygon]) -> list[str]:
    return sorted(shapely.to_wkt(shapely.normalize(polygons), trim=True))


@settings(deadline=None, max_examples=200)
@given(masks)
def test_noise_is_outlined_as_by_gdal(mask: np.ndarray) -> None:
    found = outlines(mask)
    assert shapely.is_valid(found).all()
    # GDAL leaves no point within a straight edge, so none is here.
    assert normal(found) == by_gdal(mask.astype(np.uint8))


def test_spirals_and_nested_rings_are_outlined_as_by_gdal() -> None:
    for mask in (spiral(41) == 1, nested(7) == 1):
        assert normal(outlines(mask)) == by_gdal(mask.astype(np.uint8))


def test_a_hole_that_touches_the_outside_at_a_corner_is_a_hole() -> None:
    mask = np.ones((3, 3), dtype=bool)
    mask[0, 0] = mask[1, 1] = False
    (found,) = outlines(mask)
    assert found.is_valid and len(found.interiors) == 1
    assert found.area == 7


def test_where_a_ring_starts_depends_on_the_object_alone() -> None:
    mask = np.zeros((6, 8), dtype=bool)
    mask[1:5, 4:7] = True
    (alone,) = outlines(mask, row=10)
    mask[0:3, 0:2] = mask[5, 1:3] = True
    with_others = outlines(mask, row=10)
    assert alone.equals(box(4, 11, 7, 15))
    assert any(shapely.equals_identical(alone, other) for other in with_others)


def test_nothing_has_no_outline() -> None:
    assert len(outlines(np.zeros((3, 3), dtype=bool))) == 0
