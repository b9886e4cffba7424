"""Labels that cover a part: outside the labelled area nothing is labelled."""

import logging
from dataclasses import replace

import numpy as np
import pytest
import rasterio
import shapely
from affine import Affine
from label_layers import write_layer
from rasterio.warp import transform_geom

from geoseg.core.classes import LabelClasses
from geoseg.core.errors import LabelError
from geoseg.core.patches import IGNORE
from geoseg.geo.labels.labels import read_labels
from geoseg.geo.rasters.raster import describe
from geoseg.geo.tiles.tiles import Tile
from geoseg.runs.tiles.run_tiles import load_tiles

UTM = "EPSG:32611"


def box(rectangle):
    """Return a function of row, column, height, width that makes a polygon of GRID."""
    return lambda *place: shapely.geometry.shape(rectangle(*place))


@pytest.fixture
def at(rectangle):
    return box(rectangle)


@pytest.fixture
def image(write_tiff):
    return write_tiff("image.tif", np.ones((3, 12, 16), np.uint8))


@pytest.fixture
def row_of_tiles(folder, write):
    """Four tiles of 16 × 16 pixels; tile n begins at column 100 n."""
    for number in range(4):
        write(number, np.full((3, 16, 16), 100 + number, np.uint8))


def ids_of(image, labels, **classes):
    tile = Tile("a", image, str(labels), classes=LabelClasses(**classes))
    return read_labels(tile, describe(image))


def labelled_of(folder, labels, *, blocks=1, **classes):
    tiles = load_tiles(
        images=str(folder),
        labels=str(labels),
        aoi=None,
        data=None,
        blocks=blocks,
        classes=LabelClasses(**classes),
    )
    return [tile.id for tile in tiles if tile.labels is not None]


def expected(building, area):
    mask = np.full((12, 16), IGNORE, np.uint8)
    for place, value in ((area, 0), (building, 1)):
        row, col, height, width = place
        mask[row : row + height, col : col + width] = value
    return mask


def test_outside_the_layer_labelled_nothing_is_labelled(image, tmp_path, at):
    path = write_layer(tmp_path / "l.gpkg", "buildings", [at(2, 3, 4, 5)])
    write_layer(path, "labelled", [at(1, 2, 8, 9)])
    np.testing.assert_array_equal(
        ids_of(image, path), expected((2, 3, 4, 5), (1, 2, 8, 9))
    )
    named = ids_of(image, path, layer="buildings")  # as QGIS's plugin names it
    np.testing.assert_array_equal(named, ids_of(image, path))
    whole = ids_of(image, path, area="all")
    np.testing.assert_array_equal(whole, np.where(named == 1, 1, 0))


def test_a_building_that_sticks_out_of_the_area_is_labelled_inside_alone(
    image, tmp_path, at
):
    path = write_layer(tmp_path / "l.gpkg", "buildings", [at(2, 3, 4, 5)])
    write_layer(path, "labelled", [at(0, 0, 12, 6)])
    ids = ids_of(image, path)
    assert (ids[:, 6:] == IGNORE).all()
    assert (ids == 1).sum() == 4 * 3


def test_the_only_layer_holds_the_labels_whatever_it_is_called(image, tmp_path, at):
    path = write_layer(tmp_path / "labelled.gpkg", "labelled", [at(2, 3, 4, 5)])
    ids = ids_of(image, path)
    assert (ids == 1).sum() == 20 and not (ids == IGNORE).any()
    write_layer(path, "roads", [at(0, 0, 1, 1)])
    ids = ids_of(image, path, layer="labelled")  # named as the labels, no area
    assert (ids == 1).sum() == 20 and not (ids == IGNORE).any()


@pytest.mark.parametrize("name", ["area.gpkg", "area.geojson"])
def test_the_area_may_be_a_file_in_another_crs(image, tmp_path, at, name):
    labels = write_layer(tmp_path / "l.gpkg", "buildings", [at(2, 3, 4, 5)])
    moved = transform_geom(UTM, "EPSG:4326", at(1, 2, 8, 9).__geo_interface__)
    shapes = [shapely.geometry.shape(moved)]
    area = write_layer(tmp_path / name, "any", shapes, crs="EPSG:4326")
    np.testing.assert_array_equal(
        ids_of(image, labels, area=area), expected((2, 3, 4, 5), (1, 2, 8, 9))
    )


def test_of_several_layers_of_an_area_one_is_called_labelled(image, tmp_path, at):
    labels = write_layer(tmp_path / "l.gpkg", "buildings", [at(2, 3, 4, 5)])
    area = write_layer(tmp_path / "area.gpkg", "a", [at(0, 0, 1, 1)])
    write_layer(area, "b", [at(0, 0, 1, 1)])
    with pytest.raises(LabelError, match="area.gpkg has layers a, b, expected one"):
        ids_of(image, labels, area=area)
    write_layer(area, "Labelled", [at(1, 2, 8, 9)])
    np.testing.assert_array_equal(
        ids_of(image, labels, area=area), expected((2, 3, 4, 5), (1, 2, 8, 9))
    )


def test_an_area_holds_for_masks_too(image, write_tiff, tmp_path, at):
    mask = np.zeros((1, 12, 16), np.uint8)
    mask[0, 2:6, 3:8] = 1
    labels = write_tiff("mask.tif", mask)
    area = write_layer(tmp_path / "area.gpkg", "area", [at(1, 2, 8, 9)])
    np.testing.assert_array_equal(
        ids_of(image, labels, area=area), expected((2, 3, 4, 5), (1, 2, 8, 9))
    )


def test_the_area_is_read_again_when_its_file_changes(image, tmp_path, at):
    labels = write_layer(tmp_path / "l.gpkg", "buildings", [at(2, 3, 4, 5)])
    assert not (ids_of(image, labels) == IGNORE).any()
    write_layer(labels, "labelled", [at(1, 2, 8, 9)])
    assert (ids_of(image, labels) == IGNORE).any()


def test_one_file_on_few_tiles_is_refused_with_the_ways_out(
    row_of_tiles, folder, tmp_path, at
):
    labels = write_layer(tmp_path / "l.gpkg", "buildings", [at(2, 3, 4, 5)])
    with pytest.raises(
        LabelError, match=r"l.gpkg touch 1 of 4 tiles.*touched.*all.*PATH.*labelled"
    ):
        labelled_of(folder, labels)
    assert labelled_of(folder, labels, area="touched") == ["tile0"]
    assert len(labelled_of(folder, labels, area="all")) == 4
    write_layer(labels, "buildings", [at(2, 3, 4, 5), at(2, 103, 4, 5)])
    assert len(labelled_of(folder, labels)) == 4


def test_one_mask_on_few_tiles_is_refused_unless_it_has_nodata_elsewhere(
    row_of_tiles, folder, write_tiff, tmp_path
):
    mask = np.zeros((1, 16, 316), np.uint8)
    mask[0, 2:6, 3:8] = 1
    labels = write_tiff("mask.tif", mask)
    with pytest.raises(LabelError, match="mask.tif touch 1 of 4 tiles"):
        labelled_of(folder, labels)
    mask[0, :, 16:] = IGNORE
    labels = write_tiff("mask.tif", mask, nodata=IGNORE)
    assert labelled_of(folder, labels) == ["tile0"]


def test_files_of_their_own_label_the_whole_tile(row_of_tiles, folder, tmp_path, at):
    (tmp_path / "labels").mkdir()
    for number in (1, 2):
        place = at(2, 100 * number + 20 * (number == 2), 4, 5)  # tile 2: none meets it
        write_layer(tmp_path / f"labels/tile{number}.gpkg", "any", [place])
    assert labelled_of(folder, tmp_path / "labels") == ["tile1", "tile2"]


def test_a_file_of_its_own_labels_all_blocks_of_a_tile(write, folder, tmp_path, at):
    for number in range(2):
        write(number, np.full((3, 40, 40), 100 + number, np.uint8))
    (tmp_path / "labels").mkdir()
    write_layer(tmp_path / "labels/tile1.gpkg", "any", [at(2, 102, 4, 5)])
    found = labelled_of(folder, tmp_path / "labels", blocks=2)
    assert found == [f"tile1#r{row}c{col}" for row in (0, 1) for col in (0, 1)]


def test_blocks_of_one_image_are_tiles(write_tiff, tmp_path, at):
    image = write_tiff("one.tif", np.ones((3, 100, 100), np.uint8))
    labels = write_layer(tmp_path / "l.gpkg", "buildings", [at(2, 3, 4, 5)])
    assert labelled_of(image, labels) == ["one"]
    with pytest.raises(LabelError, match="touch 1 of 4 tiles"):
        labelled_of(image, labels, blocks=2)
    assert labelled_of(image, labels, blocks=2, area="touched") == ["one#r0c0"]


def test_tiles_and_blocks_outside_of_the_area_are_unlabelled(
    row_of_tiles, folder, tmp_path, at
):
    labels = write_layer(tmp_path / "l.gpkg", "buildings", [at(2, 103, 4, 5)])
    write_layer(labels, "labelled", [at(0, 90, 10, 35)])
    assert labelled_of(folder, labels) == ["tile1"]
    write_layer(labels, "labelled", [at(0, 90, 10, 35), at(0, 200, 3, 3)])
    assert labelled_of(folder, labels) == ["tile1", "tile2"]  # nothing but background


def test_an_area_elsewhere_is_refused(row_of_tiles, folder, tmp_path, at):
    labels = write_layer(tmp_path / "l.gpkg", "buildings", [at(2, 3, 4, 5)])
    area = write_layer(tmp_path / "area.gpkg", "a", [at(9000, 0, 1, 1)])
    with pytest.raises(LabelError, match="cover none of 4 tiles in the labelled"):
        labelled_of(folder, labels, area=area)


def test_an_area_without_labels_is_refused(row_of_tiles, folder):
    with pytest.raises(LabelError, match="--labelled-area needs labels"):
        load_tiles(
            images=str(folder),
            labels=None,
            aoi=None,
            data=None,
            classes=LabelClasses(area="touched"),
        )


def test_a_tile_that_labels_only_graze_is_named(
    row_of_tiles, folder, tmp_path, at, caplog
):
    caplog.set_level(logging.INFO, "geoseg")
    grazing = at(2, 95, 4, 6)  # a sixth of it lies in tile 1
    labels = write_layer(tmp_path / "l.gpkg", "buildings", [at(2, 3, 4, 5), grazing])
    assert labelled_of(folder, labels, area="touched") == ["tile0", "tile1"]
    assert "2 of 4 tiles, which are labelled: tile0, tile1" in caplog.text
    assert "1 tile (tile1 first) is touched only by polygons that lie mo" in caplog.text


def test_a_polygon_that_shares_but_an_edge_touches_no_tile(
    row_of_tiles, folder, tmp_path, at
):
    """Nor does one that crosses its edge by a rounding error, or half a pixel."""
    for width in (10, 10 + 1e-9, 10.4):
        beside = at(2, 90, 4, width)  # tile 1 begins at column 100
        labels = write_layer(tmp_path / "l.gpkg", "l", [at(2, 3, 4, 5), beside])
        assert labelled_of(folder, labels, area="touched") == ["tile0"]
    tiny = at(2.6, 105.6, 0.2, 0.2)  # between the centres of pixels
    labels = write_layer(tmp_path / "l.gpkg", "l", [at(2, 3, 4, 5), tiny])
    assert labelled_of(folder, labels, area="touched") == ["tile0", "tile1"]


def test_windows_of_a_tile_have_the_labels_of_the_whole(image, tmp_path, at):
    path = write_layer(tmp_path / "l.gpkg", "buildings", [at(2, 3, 4, 5)])
    write_layer(path, "labelled", [at(1, 2, 8, 9)])
    tile, grid = Tile("a", image, path), describe(image)
    whole = read_labels(tile, grid)
    window = tile.extent(grid)._replace(row=3, col=4, height=7, width=9)
    part = read_labels(replace(tile, window=window), grid)
    np.testing.assert_array_equal(part, whole[3:10, 4:13])


def test_a_turned_image_has_the_same_area(write_tiff, tmp_path, at):
    turned = Affine.rotation(30)
    grid = Affine(0.5, 0, 664000, 0, -0.5, 4000000) @ turned
    image = write_tiff("turned.tif", np.ones((3, 12, 16), np.uint8), transform=grid)
    ring = [grid * corner for corner in ((2, 1), (11, 1), (11, 9), (2, 9))]
    path = write_layer(tmp_path / "l.gpkg", "buildings", [at(2, 3, 0.1, 0.1)])
    write_layer(path, "labelled", [shapely.Polygon(ring)])
    labelled = ids_of(image, path) != IGNORE
    assert labelled.sum() == 72 and labelled[1:9, 2:11].all()


@pytest.mark.parametrize("blank", [255, 9])
def test_tiles_and_blocks_of_blank_masks_are_unlabelled(
    write, write_tiff, folder, tmp_path, blank, caplog
):
    caplog.set_level(logging.INFO)
    for number in range(3):
        path = write(number, np.ones((3, 80, 80), np.uint8))
        with rasterio.open(path) as image:
            transform = image.transform
        mask = np.full((1, 80, 80), blank, np.uint8)
        if number < 2:
            mask[0, :30, : 30 if number else 80] = 0
            mask[0, 2:6, 2:6] = 1
        name = f"masks/tile{number}.tif"
        write_tiff(name, mask, transform=transform, nodata=blank)
    ways = {"images": str(folder), "labels": str(tmp_path / "masks")}
    tiles = load_tiles(**ways, aoi=None, data=None)
    assert [tile.id for tile in tiles if tile.labels is None] == ["tile2"]
    assert "1 of 3 tiles have a mask without a labelled pixel" in caplog.text
    blocks = load_tiles(**ways, aoi=None, data=None, blocks=2)
    labelled = [tile.id for tile in blocks if tile.labels is not None]
    assert labelled == ["tile0#r0c0", "tile0#r0c1", "tile1#r0c0"]
