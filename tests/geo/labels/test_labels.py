"""Labels on the tile's own grid."""

import json
import math
import os
from pathlib import Path

import fiona
import numpy as np
import pytest
import shapely
from affine import Affine
from rasterio.features import rasterize
from rasterio.transform import from_bounds
from rasterio.warp import transform_bounds, transform_geom

from geoseg.core.classes import LabelClasses
from geoseg.core.errors import LabelError
from geoseg.geo.labels.labels import (
    check_footprints,
    check_labels,
    check_two_classes,
    read_footprints,
    read_labels,
)
from geoseg.geo.rasters.description import PixelWindow
from geoseg.geo.rasters.raster import describe
from geoseg.geo.tiles.tiles import Tile

UTM = "EPSG:32611"


@pytest.fixture
def image(write_tiff):
    return write_tiff("image.tif", np.ones((3, 12, 16), np.uint8))


def burn(*rectangles, shape=(12, 16)):
    mask = np.zeros(shape, np.uint8)
    for row, col, height, width in rectangles:
        mask[row : row + height, col : col + width] = 1
    return mask


def labels_of(image, labels, window=None, **options):
    tile = Tile("a", image, str(labels), window, **options)
    return read_labels(tile, describe(image))


def test_a_rectangle_on_the_grid_is_burnt_exactly(image, write_geojson, rectangle):
    path = write_geojson("l.geojson", [rectangle(2, 3, 4, 5)], crs=UTM)
    np.testing.assert_array_equal(labels_of(image, path), burn((2, 3, 4, 5)))


def test_a_pixel_is_building_when_its_centre_is(image, write_geojson, rectangle):
    # from 2.4 to 5.6: centres 2.5 to 5.5 are inside; from 3.6 to 6.4: 4.5 and 5.5
    path = write_geojson("l.geojson", [rectangle(2.4, 3.6, 3.2, 2.8)], crs=UTM)
    np.testing.assert_array_equal(labels_of(image, path), burn((2, 4, 4, 2)))


def test_geojson_without_crs_is_longitude_and_latitude(image, write_geojson, rectangle):
    moved = transform_geom(UTM, "EPSG:4326", rectangle(2.3, 3.3, 4.4, 5.4))
    path = write_geojson("l.geojson", [json.loads(json.dumps(moved))])
    np.testing.assert_array_equal(labels_of(image, path), burn((2, 3, 5, 6)))


def test_z_multipolygons_holes_and_repeated_ids_are_read(
    image, write_geojson, rectangle
):
    outer, hole = (
        rectangle(*values)["coordinates"][0] for values in ((0, 0, 6, 6), (2, 2, 2, 2))
    )
    several = {
        "type": "MultiPolygon",
        "coordinates": [[outer, hole], rectangle(8, 8, 2, 2)["coordinates"]],
    }
    high = rectangle(9, 1, 2, 3, z=True)
    path = write_geojson("l.geojson", [several, high, None], crs=UTM)
    expected = burn((0, 0, 6, 6), (8, 8, 2, 2), (9, 1, 2, 3))
    expected[2:4, 2:4] = 0
    np.testing.assert_array_equal(labels_of(image, path), expected)
    assert len(read_footprints(Tile("a", image, path))) == 3


def test_an_invalid_polygon_is_mended(image, write_geojson, rectangle):
    bow = rectangle(2, 2, 4, 4)
    ring = bow["coordinates"][0]
    ring[1], ring[2] = ring[2], ring[1]
    path = write_geojson("l.geojson", [bow], crs=UTM)
    footprints = read_footprints(Tile("a", image, path), pixels=True)
    assert all(polygon.is_valid for polygon in footprints)
    # two triangles of base 4 and height 2
    assert sum(polygon.area for polygon in footprints) == pytest.approx(8)


@pytest.mark.parametrize("text", ["", '{"type": "FeatureCollection", "features": []}'])
def test_an_empty_file_has_no_building(image, tmp_path, text):
    path = tmp_path / "l.geojson"
    path.write_text(text)
    assert not labels_of(image, path).any()
    assert read_footprints(Tile("a", image, str(path))) == []
    check_labels([Tile("a", image, str(path))])


def test_a_truncated_file_is_an_error(image, write_geojson, rectangle):
    path = write_geojson("l.geojson", [rectangle(1, 1, 2, 2)] * 3, crs=UTM)
    Path(path).write_text(Path(path).read_text()[:-150])
    with pytest.raises(LabelError, match="l.geojson cannot be read"):
        labels_of(image, path)
    with pytest.raises(LabelError, match="do not exist"):
        labels_of(image, "gone.geojson")


def test_a_changed_file_is_read_again(image, write_geojson, rectangle):
    path = write_geojson("l.geojson", [rectangle(1, 1, 2, 2)], crs=UTM)
    assert labels_of(image, path).sum() == 4
    write_geojson("l.geojson", [rectangle(1, 1, 3, 3)] * 2, crs=UTM)
    os.utime(path, ns=(1, 1))
    assert labels_of(image, path).sum() == 9


def test_geopackage_labels_are_read(image, tmp_path, rectangle):
    path = tmp_path / "l.gpkg"
    schema = {"geometry": "Polygon", "properties": {}}
    with fiona.open(path, "w", driver="GPKG", crs=UTM, schema=schema) as sink:
        sink.write({"geometry": rectangle(2, 3, 4, 5), "properties": {}})
    np.testing.assert_array_equal(labels_of(image, path), burn((2, 3, 4, 5)))


def test_a_window_of_a_tile_is_that_part_of_its_labels(
    image, write_geojson, write_tiff, rectangle
):
    window = PixelWindow(3, 4, 5, 6)
    whole = burn((2, 3, 4, 5), (7, 9, 5, 5))
    shapes = [rectangle(2, 3, 4, 5), rectangle(7, 9, 5, 5)]
    vector = write_geojson("l.geojson", shapes, crs=UTM)
    mask = write_tiff("m.tif", whole[None])
    for path in (vector, mask):
        part = labels_of(image, path, window)
        np.testing.assert_array_equal(part, whole[3:8, 4:10])


@pytest.mark.parametrize("kind", ["vector", "mask"])
@pytest.mark.parametrize("pixels", [True, False])
def test_footprints_are_clipped_to_the_tile(
    image, write_geojson, write_tiff, rectangle, kind, pixels
):
    shapes = [rectangle(2, 3, 4, 5), rectangle(-3, 12, 6, 9)]
    if kind == "vector":
        path = write_geojson("l.geojson", shapes, crs=UTM)
    else:
        path = write_tiff("m.tif", burn((2, 3, 4, 5), (0, 12, 3, 4))[None])
    found = read_footprints(Tile("a", image, path), pixels=pixels)
    boxes = [shapely.box(3, 2, 8, 6), shapely.box(12, 0, 16, 3)]
    if not pixels:
        grid = [0.5, 0, 0, -0.5, 664000, 4000000]
        boxes = [shapely.affinity.affine_transform(box, grid) for box in boxes]
    for box in boxes:
        assert sum(polygon.equals(box) for polygon in found) == 1
    assert len(found) == 2


def test_masks_that_touch_at_a_corner_are_two_buildings(image, write_tiff):
    path = write_tiff("m.tif", burn((0, 0, 2, 2), (2, 2, 2, 2))[None])
    assert len(read_footprints(Tile("a", image, path))) == 2


def test_every_mask_value_is_building_unless_classes_are_kept(image, write_tiff):
    mask = burn() + np.arange(16, dtype=np.uint8)
    mask[0, 5] = 255
    path = write_tiff("m.tif", mask[None], nodata=9)
    binary = labels_of(image, path)
    assert binary[1].tolist() == [0] + [1] * 8 + [255] + [1] * 6
    assert binary[0, 5] == 255
    names = ",".join(map(str, range(100, 116)))
    classes = labels_of(image, path, classes=LabelClasses.parse(names))
    assert classes[1].tolist() == [*range(16)]  # 9 has a name


def test_a_mask_of_zero_and_255_must_say_what_255_is(image, write_tiff):
    mask = 255 * burn((1, 1, 3, 3))
    with pytest.raises(LabelError, match="holds 255 and no other class"):
        labels_of(image, write_tiff("m.tif", mask[None]))
    declared = write_tiff("n.tif", mask[None], nodata=255)
    assert sorted(np.unique(labels_of(image, declared))) == [0, 255]


def test_a_mask_without_georeferencing_is_taken_by_its_size(image, write_tiff):
    mask = burn((1, 2, 3, 4))
    path = write_tiff("m.tif", mask[None], crs=None)
    np.testing.assert_array_equal(labels_of(image, path), mask)


def test_a_mask_without_a_crs_must_have_the_images_size(image, write_tiff):
    path = write_tiff("m.tif", np.ones((1, 12, 15), np.uint8), crs=None)
    with pytest.raises(LabelError, match="is 12 x 15 .* expected 12 x 16"):
        check_labels([Tile("a", image, path)])


def test_a_mask_elsewhere_is_refused(image, write_tiff):
    far = Affine(0.5, 0, 670000, 0, -0.5, 4000000)
    path = write_tiff("m.tif", np.ones((1, 12, 16), np.uint8), transform=far)
    with pytest.raises(LabelError, match="labels elsewhere: .*m.tif") as error:
        check_labels([Tile("a", image, path)])
    assert "none of" not in str(error.value)


@pytest.mark.parametrize(
    ("shape", "transform"),
    [
        ((40, 60), Affine(0.5, 0, 663995, 0, -0.5, 4000006)),  # a mosaic, 12 rows up
        ((36, 48), Affine(0.5 / 3, 0, 664000, 0, -0.5 / 3, 4000000)),  # finer
        ((3, 4), Affine(2, 0, 664000, 0, -2, 4000000)),  # coarser
        ((6, 16), Affine(0.5, 0, 664000, 0, -0.5, 4000000)),  # covers half
    ],
)
def test_a_mask_on_another_grid_is_taken_by_its_nearest_pixels(
    image, write_tiff, shape, transform, caplog
):
    values = np.random.default_rng(0).integers(0, 2, shape).astype(np.uint8)
    path = write_tiff("m.tif", values[None], transform=transform)
    expected = np.full((12, 16), 255)
    for row in range(12):
        for col in range(16):
            x, y = 664000 + 0.5 * (col + 0.5), 4000000 - 0.5 * (row + 0.5)
            r = math.floor((transform.f - y) / -transform.e)
            c = math.floor((x - transform.c) / transform.a)
            if r < shape[0] and c < shape[1]:
                expected[row, col] = values[r, c]
    np.testing.assert_array_equal(labels_of(image, path), expected)
    window = PixelWindow(3, 4, 5, 6)
    part = labels_of(image, path, window)
    np.testing.assert_array_equal(part, expected[3:8, 4:10])
    with caplog.at_level("INFO"):
        check_labels([Tile("a", image, path), Tile("b", image, path)])
    (line,) = caplog.messages
    assert "masks of 2 tiles" in line and "nearest pixel" in line


def test_a_mask_in_another_crs_agrees_with_polygons_reprojected(
    image, write_tiff, write_geojson, rectangle
):
    # a mask of 2 cm pixels in longitude and latitude, and the same as a polygon
    polygon = transform_geom(UTM, "EPSG:4326", rectangle(2.3, 3.3, 4.4, 5.4))
    vector = write_geojson("l.geojson", [json.loads(json.dumps(polygon))])
    west, south, east, north = transform_bounds(
        UTM, "EPSG:4326", 663999, 3999993, 664009, 4000001
    )
    transform = from_bounds(west, south, east, north, 500, 400)
    fine = rasterize([polygon], (400, 500), transform=transform, dtype="uint8")
    mask = write_tiff("m.tif", fine[None], crs="EPSG:4326", transform=transform)
    np.testing.assert_array_equal(labels_of(image, mask), labels_of(image, vector))
    check_labels([Tile("a", image, mask)])


def test_labels_elsewhere_are_refused_before_the_run(image, write_geojson, rectangle):
    far = write_geojson("far.geojson", [rectangle(5000, 5000, 4, 4)], crs=UTM)
    near = write_geojson("near.geojson", [rectangle(1, 1, 4, 4)], crs=UTM)
    said = (
        "labels elsewhere: .*far.geojson .* none of the 2 tiles meets its labels; check"
    )
    with pytest.raises(LabelError, match=said):
        check_labels([Tile("a", image, far), Tile("b", image)])
    check_labels([Tile("a", image, far), Tile("b", image, near)])


def test_labels_and_image_must_both_have_a_crs(write_tiff, write_geojson, rectangle):
    bare = write_tiff("bare.tif", np.ones((1, 4, 4), np.uint8), crs=None)
    moved = transform_geom(UTM, "EPSG:4326", rectangle(1, 1, 2, 2))
    path = write_geojson("l.geojson", [json.loads(json.dumps(moved))])
    with pytest.raises(LabelError, match="have no CRS"):
        labels_of(bare, path)


def test_a_tile_without_labels_has_none_to_read(image):
    with pytest.raises(LabelError, match="has no labels"):
        read_labels(Tile("a", image), describe(image))


def test_tiles_that_show_one_class_alone_are_refused_before_a_training(
    image, write_geojson, rectangle
):
    house = write_geojson("house.geojson", [rectangle(2, 3, 4, 5)], crs=UTM)
    empty = write_geojson("empty.geojson", [], crs=UTM)
    without, shows = (
        Tile(name, image, str(path)) for name, path in (("a", empty), ("b", house))
    )
    check_two_classes([])
    check_two_classes([without, shows])
    with pytest.raises(LabelError, match="2 matching tiles hold nothing but backgr.*-"):
        check_two_classes([without, without])


def test_a_map_without_footprints_may_be_of_any_place(tmp_path, write_tiff):
    image = write_tiff("a.tif", np.ones((1, 8, 8), np.uint8))
    for name, text in (
        ("none.geojson", '{"type": "FeatureCollection", "features": []}'),
        ("blank.geojson", ""),
    ):
        (tmp_path / name).write_text(text)
        check_footprints(tmp_path / name, [Tile("a", image)])
