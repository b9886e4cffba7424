"""Footprints of a tile are those that prediction writes, in the image's pixels."""

import numpy as np
import pytest
import rasterio
import shapely
from affine import Affine

from geoseg.core.patches import IGNORE
from geoseg.geo.evaluation.evaluation import evaluate_output
from geoseg.geo.evaluation.footprint_counts import mask_polygons
from geoseg.geo.evaluation.tile_footprints import draw_classes, tile_footprints
from geoseg.geo.footprints.vectorize import footprints
from geoseg.geo.formats.writer import write_footprints
from geoseg.geo.rasters.description import PixelWindow
from geoseg.geo.rasters.raster import describe
from geoseg.geo.rasters.strips import ClassStrip
from geoseg.geo.tiles.tiles import Tile

SIZE = 96
GROUND = Affine(0.3, 0.0, 500_000.0, 0.0, -0.3, 9_000_000.0)


def write(path, pixels, crs="EPSG:32737"):
    with rasterio.open(
        path,
        "w",
        driver="GTiff",
        dtype=pixels.dtype,
        count=len(pixels),
        height=SIZE,
        width=SIZE,
        crs=crs,
        transform=GROUND,
    ) as dataset:
        dataset.write(pixels)
    return path


@pytest.fixture
def classes():
    """Two houses with rough walls, and what no map shows: a shed of 64 pixels."""
    rough = np.random.default_rng(0).random((SIZE, SIZE)) < 0.5
    houses = np.zeros((SIZE, SIZE), np.uint8)
    for row, col in (10, 12), (50, 40):
        houses[row : row + 26, col : col + 30] = rough[row : row + 26, col : col + 30]
        houses[row + 1 : row + 25, col + 1 : col + 29] = 1
    houses[80:88, 80:88] = 1
    return houses


def test_a_class_raster_is_scored_as_the_footprints_that_are_made_of_it(
    classes, tmp_path
):
    image = write(tmp_path / "image.tif", np.full((3, SIZE, SIZE), 99, np.uint8))
    raster = write(tmp_path / "classes.tif", classes[None])
    strip = ClassStrip(0, classes, np.ones(classes.shape, np.float32))
    names = ("background", "building")
    made = list(footprints([strip], describe(image), class_names=names))
    layer, labels = tmp_path / "map.gpkg", tmp_path / "labels.gpkg"
    write_footprints(layer, iter(made), crs=describe(image).crs)
    write_footprints(labels, iter(made[:1]), crs=describe(image).crs)
    tile = Tile("image", str(image), str(labels))

    of_layer, of_raster = (evaluate_output(it, [tile]) for it in (layer, raster))

    assert len(mask_polygons(classes == 1)) > len(made) == 2
    assert of_layer.tiles[0].polygons == of_raster.tiles[0].polygons == (1, 1, 0)


def test_they_lie_in_the_pixels_of_the_whole_image(classes, tmp_path):
    image = write(tmp_path / "image.tif", np.full((3, SIZE, SIZE), 99, np.uint8))
    part = PixelWindow(5, 8, 40, 50)
    inside = classes[5:45, 8:58]
    (house,) = tile_footprints(inside, describe(image), part, [1])[1]
    wanted = shapely.box(12, 10, 42, 36)
    shared = shapely.area(shapely.intersection(house, wanted))
    assert shared / shapely.area(shapely.union(house, wanted)) > 0.9


def test_other_classes_and_missing_data_are_no_footprints(classes, tmp_path):
    image = write(tmp_path / "image.tif", np.full((3, SIZE, SIZE), 99, np.uint8))
    several = classes * 2
    several[:48][several[:48] == 2] = 1
    several[45:, :48] = IGNORE
    extent = PixelWindow(0, 0, SIZE, SIZE)
    found = tile_footprints(several, describe(image), extent, [2])
    assert list(found) == [2]
    (half,) = found[2]
    assert half.bounds[0] == pytest.approx(48, abs=0.05)


def test_without_a_crs_they_are_the_outlines_of_pixels(classes, tmp_path):
    image = write(tmp_path / "image.tif", np.full((3, SIZE, SIZE), 99, np.uint8), None)
    extent = PixelWindow(0, 0, SIZE, SIZE)
    found = tile_footprints(classes, describe(image), extent, [1])
    assert len(found[1]) == len(mask_polygons(classes == 1)) > 2


def test_drawn_again_they_are_the_classes_without_what_is_too_small(classes, tmp_path):
    image = write(tmp_path / "image.tif", np.full((3, SIZE, SIZE), 99, np.uint8))
    part = PixelWindow(4, 4, 90, 90)
    inside = classes[4:94, 4:94]
    drawn = draw_classes(tile_footprints(inside, describe(image), part, [1]), part)
    assert not drawn[74:].any()  # the shed
    assert (drawn != inside)[:74].mean() < 0.04
    assert not draw_classes({1: []}, part).any()
