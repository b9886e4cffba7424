"""Right angles where the pixels speak for them."""

import numpy as np
import pytest
import rasterio.features
import shapely
from shapely import Polygon, box

from geoseg.geo.footprints.right_angles.evidence import supports_right_angles
from geoseg.geo.footprints.simplify import Extent, fill_holes, soften

SIDE = 80
EXTENT = Extent(SIDE, SIDE)
#: A wall of it leans by six degrees.
LEANING = Polygon([(15, 20), (65, 20), (65, 55), (11.3, 55)])
RECTANGLE = box(13.15, 20, 65, 55)


def outline(polygon: Polygon, noise: float) -> Polygon:
    """The outline of the pixels of a polygon whose boundary is moved up and down."""
    rng = np.random.default_rng(3)
    step = rng.normal(scale=noise, size=(2, 200))
    points = shapely.get_coordinates(shapely.segmentize(polygon, 3.0))[:-1]
    ragged = Polygon(points + step[:, : len(points)].T)
    mask = rasterio.features.rasterize([ragged], (SIDE, SIDE)).astype(np.uint8)
    shapes = rasterio.features.shapes(mask, mask=mask > 0, connectivity=4)
    rings = [Polygon(shape["coordinates"][0]) for shape, _ in shapes]
    pixels = np.array([max(rings, key=shapely.area)], dtype=object)
    return soften(fill_holes(shapely.normalize(pixels), 1e9), EXTENT)[0]


def kept(pixels: Polygon) -> bool:
    simple = shapely.simplify(pixels, 0.75)
    (result,) = supports_right_angles(
        *(np.array([it], dtype=object) for it in (pixels, RECTANGLE, simple))
    )
    return bool(result)


def test_a_leaning_wall_is_seen_in_clean_pixels_and_not_in_noisy_ones() -> None:
    assert not kept(outline(LEANING, 0.0))
    assert kept(outline(LEANING, 1.5))


@pytest.mark.parametrize("noise", [0.0, 0.5, 1.0, 2.0])
def test_a_rectangle_is_a_rectangle_whatever_the_noise(noise: float) -> None:
    assert kept(outline(RECTANGLE, noise))


def test_every_building_is_weighed_by_itself() -> None:
    pixels = [outline(LEANING, 0.0), outline(RECTANGLE, 1.0), outline(LEANING, 1.5)]
    outlines = np.array(pixels, dtype=object)
    simple = shapely.simplify(outlines, 0.75)
    regular = np.array([RECTANGLE] * 3, dtype=object)
    found = supports_right_angles(outlines, regular, simple)
    assert found.tolist() == [False, True, True]
