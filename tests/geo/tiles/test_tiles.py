"""Tiles found on disk and paired with their labels."""

import logging
from pathlib import Path

import numpy as np
import pytest

from geoseg.core.errors import DatasetError, LabelError
from geoseg.geo.tiles.layouts import images_in, pair_key, tile_id
from geoseg.geo.tiles.tiles import aoi_tiles, find_tiles

RGB = np.ones((3, 8, 8), np.uint16)
EIGHT = np.ones((8, 8, 8), np.uint16)


@pytest.fixture
def layout_a(write_tiff, write_geojson, tmp_path):
    """The tarball's layout below a data root, numbers with gaps."""
    base = "data/SN2_buildings/train/AOI_2_Vegas_Train"
    for number in (7, 10, 225):
        for product, pixels in (("RGB-PanSharpen", RGB), ("MUL-PanSharpen", EIGHT)):
            name = f"{product}_AOI_2_Vegas_img{number}.tif"
            write_tiff(f"{base}/{product}/{name}", pixels)
        name = f"buildings_AOI_2_Vegas_img{number}.geojson"
        write_geojson(f"{base}/geojson/buildings/{name}", [])
    return tmp_path / "data"


@pytest.fixture
def layout_b(write_tiff, write_geojson, tmp_path):
    """The exploded layout on S3."""
    base = "data/SN2_buildings/train/AOI_2_Vegas"
    stem = "SN2_buildings_train_AOI_2_Vegas"
    for number in (7, 10, 225):
        write_tiff(f"{base}/PS-RGB/{stem}_PS-RGB_img{number}.tif", RGB)
        write_tiff(f"{base}/PS-MS/{stem}_PS-MS_img{number}.tif", EIGHT)
        name = f"{stem}_geojson_buildings_img{number}.geojson"
        write_geojson(f"{base}/geojson_buildings/{name}", [])
    return tmp_path / "data"


@pytest.mark.parametrize("layout", ["layout_a", "layout_b"])
@pytest.mark.parametrize("below", ["", "SN2_buildings", "SN2_buildings/train"])
def test_both_spacenet_layouts_are_found_at_any_depth(request, layout, below):
    root = request.getfixturevalue(layout) / below
    for tiles in (aoi_tiles("las_vegas", root), find_tiles(root)):
        assert [tile.id for tile in tiles] == ["img7", "img10", "img225"]
        for tile in tiles:
            assert f"{tile.id}." in tile.image and f"{tile.id}." in tile.labels
            assert Path(tile.image).parent.name in ("MUL-PanSharpen", "PS-MS")


def test_the_aois_own_folder_and_a_product_folder_will_do(layout_a):
    folder = layout_a / "SN2_buildings/train/AOI_2_Vegas_Train"
    assert len(aoi_tiles("las_vegas", folder)) == 3
    first, *_ = find_tiles(folder / "RGB-PanSharpen")
    assert first.labels and "RGB-PanSharpen" in first.image


@pytest.mark.parametrize("layout", ["layout_a", "layout_b"])
@pytest.mark.parametrize("below", ["", "SN2_buildings/train"])
def test_a_map_is_of_the_images_that_training_takes(request, layout, below, caplog):
    root = request.getfixturevalue(layout) / below
    with caplog.at_level(logging.INFO, "geoseg"):
        found = images_in(root)
    assert found == [tile.image for tile in find_tiles(root)]
    assert f"{root}: images in {Path(found[0]).parent}" in caplog.text
    assert images_in(Path(found[0]).parent) == found
    assert images_in(found[0]) == found[:1]


def test_the_root_of_a_layout_named_for_labels_means_the_layouts(layout_a, caplog):
    folder = layout_a / "SN2_buildings/train/AOI_2_Vegas_Train"
    with caplog.at_level(logging.INFO, "geoseg"):
        for images in (layout_a, folder, folder / "RGB-PanSharpen"):
            assert find_tiles(images, layout_a) == find_tiles(images)
    assert f"labels in {folder / 'geojson' / 'buildings'}" in caplog.text


def test_a_folder_named_for_labels_that_holds_some_is_taken(layout_a, write_geojson):
    for number in (7, 10, 225):
        write_geojson(f"data/AOI_2_Vegas_img{number}.geojson", [])
    tiles = find_tiles(layout_a, layout_a)
    assert {Path(tile.labels).parent for tile in tiles} == {layout_a}


def test_a_folder_named_for_labels_elsewhere_brings_none(layout_a, tmp_path):
    (tmp_path / "other").mkdir()
    with pytest.raises(LabelError, match="no label file in .*other"):
        find_tiles(layout_a, tmp_path / "other")


def test_data_root_comes_from_the_environment(layout_b, monkeypatch):
    monkeypatch.setenv("GEOSEG_DATA", str(layout_b))
    assert len(aoi_tiles("las_vegas")) == 3


def test_rio_is_found_in_its_own_layout(write_tiff, write_geojson, tmp_path):
    write_tiff("d/SN1/train/3band/3band_AOI_1_RIO_img1457.tif", RGB)
    write_tiff("d/SN1/train/8band/8band_AOI_1_RIO_img1457.tif", EIGHT)
    write_geojson("d/SN1/train/geojson/Geo_AOI_1_RIO_img1457.geojson", [])
    (tile,) = aoi_tiles("rio", tmp_path / "d")
    assert "3band" in tile.image and tile.labels.endswith("img1457.geojson")


def test_absent_aoi_says_where_it_looked_and_how_to_get_it(layout_a, monkeypatch):
    with pytest.raises(DatasetError, match="AOI_3_Paris_Train") as caught:
        aoi_tiles("paris", layout_a)
    for part in (str(layout_a), "geoseg download --aoi paris", "about 5.3 GB"):
        assert part in str(caught.value)
    monkeypatch.delenv("GEOSEG_DATA", raising=False)
    with pytest.raises(DatasetError, match="GEOSEG_DATA is not set"):
        aoi_tiles("rio")
    with pytest.raises(DatasetError, match="expected one of las_vegas, paris"):
        aoi_tiles("atlantis", layout_a)


def test_sample_tiles_are_found_under_the_data_root(write_tiff, tmp_path, monkeypatch):
    write_tiff("root/sample_tiles/images/a.tif", RGB)
    write_tiff("root/sample_tiles/masks/a.tif", RGB[:1])
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    (tile,) = aoi_tiles("sample", tmp_path / "root")
    assert tile.labels.endswith("masks/a.tif")


@pytest.mark.parametrize(
    "names",
    [
        ("RGB-PanSharpen_AOI_2_Vegas_img225", "buildings_AOI_2_Vegas_img225"),
        ("3band_AOI_1_RIO_img5", "Geo_AOI_1_RIO_img5"),
        ("tile_7", "mask_tile_7"),
        ("image-7", "7_labels"),
        ("OAM-386690-220241-19", "OAM-386690-220241-19"),
    ],
)
def test_an_image_and_its_label_share_a_key(names):
    assert pair_key(names[0]) == pair_key(names[1])


def test_numbers_that_begin_alike_do_not_pair():
    assert pair_key("PS-MS_AOI_2_Vegas_img22") != pair_key("b_AOI_2_Vegas_img225")
    assert tile_id("PS-MS_AOI_2_Vegas_img22") == "img22"


def test_one_label_file_serves_all_tiles(write_tiff, write_geojson, tmp_path):
    for name in "ab":
        write_tiff(f"images/{name}.tif", RGB)
    labels = write_geojson("labels.geojson", [])
    tiles = find_tiles(tmp_path / "images", labels)
    assert [tile.labels for tile in tiles] == [labels, labels]
    assert find_tiles(tmp_path) == tiles


def test_unpaired_images_and_labels_are_named_in_warnings(write_tiff, tmp_path, caplog):
    for name in "abc":
        write_tiff(f"images/{name}.tif", RGB)
    for name in "bx":
        write_tiff(f"masks/{name}.tif", RGB[:1])
    with caplog.at_level(logging.WARNING):
        tiles = find_tiles(tmp_path / "images", tmp_path / "masks")
    assert [tile.labels is None for tile in tiles] == [True, False, True]
    first, second = (record.getMessage() for record in caplog.records)
    assert first.startswith("no label file for 2 of 3 images") and "a.tif, c" in first
    assert second == "1 label file without an image: x.tif"


def test_labels_of_which_none_pairs_are_an_error(write_tiff, tmp_path):
    write_tiff("images/a.tif", RGB)
    write_tiff("masks/b.tif", RGB[:1])
    with pytest.raises(LabelError, match="images are named a.tif, labels b.tif"):
        find_tiles(tmp_path / "images", tmp_path / "masks")


def test_two_label_files_of_one_image_are_an_error(write_tiff, tmp_path):
    write_tiff("images/a.tif", RGB)
    write_tiff("masks/a_mask.tif", RGB[:1])
    write_tiff("masks/mask_a.tif", RGB[:1])
    with pytest.raises(LabelError, match="has 2 label files"):
        find_tiles(tmp_path / "images", tmp_path / "masks")


def test_every_unreadable_image_is_named(write_tiff, tmp_path):
    write_tiff("images/a.tif", RGB)
    for name in ("b.tif", "c.tif"):
        (tmp_path / "images" / name).write_text("no image")
    with pytest.raises(DatasetError, match="2 of 3 images .*b.tif.*c.tif"):
        find_tiles(tmp_path / "images")


def test_images_with_other_bands_are_named(write_tiff, tmp_path):
    for name in "abc":
        write_tiff(f"images/{name}.tif", RGB)
    write_tiff("images/odd.tif", RGB[:1])
    with pytest.raises(DatasetError, match=r"expected 3 .*odd.tif \(1\)"):
        find_tiles(tmp_path / "images")


def test_two_products_in_one_folder_are_the_same_tile(write_tiff, tmp_path):
    for product in ("MUL", "PAN"):
        write_tiff(f"images/{product}_AOI_2_Vegas_img1.tif", RGB)
    with pytest.raises(DatasetError, match="both tile 'img1'"):
        find_tiles(tmp_path / "images")


def test_absent_and_empty_folders_are_errors(write_tiff, tmp_path):
    with pytest.raises(DatasetError, match="none does not exist"):
        find_tiles(tmp_path / "none")
    write_tiff("city/east/a.tif", RGB)
    with pytest.raises(DatasetError, match=r"folders with images: east \(1\)"):
        find_tiles(tmp_path / "city")
    with pytest.raises(LabelError, match="labels .*gone do not exist"):
        find_tiles(tmp_path / "city" / "east", tmp_path / "gone")


def test_several_aois_below_a_folder_must_be_told_apart(layout_a, write_tiff):
    write_tiff("data/AOI_3_Paris/PS-MS/x_AOI_3_Paris_img1.tif", EIGHT)
    with pytest.raises(DatasetError, match="2 image folders"):
        find_tiles(layout_a)
    assert len(aoi_tiles("paris", layout_a)) == 1
