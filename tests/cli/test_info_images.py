"""``geoseg info`` on images with labels, folders of folders, and rasters that are none."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine

from geoseg.model.card import load_card

GRID = Affine(0.5, 0, 664000, 0, -0.5, 4000000)


@pytest.fixture
def facts(info):
    """Return ``facts(*words)`` of one sheet."""

    def call(*words):
        (found,) = json.loads(info(*words, "--json"))
        return found

    return call


@pytest.fixture
def write(tmp_path):
    """Return ``write(name, pixels, …) -> path`` of a raster."""

    def call(name, pixels, *, transform=GRID, **more):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        profile = {"crs": "EPSG:32611", "dtype": pixels.dtype, **more}
        count, height, width = pixels.shape
        with rasterio.open(
            path,
            "w",
            driver="GTiff",
            count=count,
            height=height,
            width=width,
            transform=transform,
            **profile,
        ) as dataset:
            dataset.write(pixels)
        return path

    return call


def picture(bands=3, side=40):
    noise = np.random.default_rng(0).integers(90, 900, (bands, side, side))
    return noise.astype(np.uint16)


def mask(*values, side=40):
    """Stripes of equal width, a value each."""
    stripes = np.repeat(np.array(values, np.uint8), side // len(values))
    return np.tile(stripes, (1, side, 1))


def geojson(path, *squares, crs="EPSG::32611"):
    """Write squares: column, row and side in pixels of the grid, and properties."""
    features = []
    for col, row, side, properties in squares:
        corners = [(0, 0), (0, side), (side, side), (side, 0), (0, 0)]
        ring = [list(GRID @ (col + x, row + y)) for x, y in corners]
        geometry = {"type": "Polygon", "coordinates": [ring]}
        features.append(
            {"type": "Feature", "properties": properties, "geometry": geometry}
        )
    name = {"type": "name", "properties": {"name": f"urn:ogc:def:crs:{crs}"}}
    collection = {"type": "FeatureCollection", "crs": name, "features": features}
    path.write_text(json.dumps(collection))
    return path


def test_a_mask_as_labels_shows_its_values_and_how_to_name_them(write, facts, info):
    image = write("a.tif", picture())
    labels = write("m/a.tif", mask(0, 1, 2, 2))
    found = facts(image, "--labels", labels)["labels"]
    assert found["values"] == {"2": 0.5, "0": 0.25, "1": 0.25}
    assert found["classes"] == {"background": 0.25, "building": 0.75}
    assert found["unlabelled"] == 0
    text = info(image, "--labels", labels)
    assert "--classes background=0,NAME=1,NAME=2" in text
    named = ("--classes", "background=0,building=1")
    found = facts(image, "--labels", labels, *named)["labels"]
    assert found["classes"] == {"background": 0.5, "building": 0.5}
    assert found["unlabelled"] == 0.5
    text = info(image, "--labels", labels, *named)
    assert "50 % of the pixels are unlabelled" in text and "NAME" not in text


def test_a_mask_in_another_place_is_said_to_be_taken_from_there(write, facts, info):
    image = write("a.tif", picture())
    half = write("m.tif", mask(0, 1), transform=GRID @ Affine.translation(20, 0))
    found = facts(image, "--labels", half)["labels"]
    assert (found["other_grid"], found["unlabelled"]) == (1, 0.5)
    assert "read by the nearest pixel" in info(image, "--labels", half)


def test_polygons_as_labels_are_counted_and_their_attributes_named(
    write, facts, info, tmp_path
):
    image = write("a.tif", picture())
    squares = [(0, 0, 10, {"kind": "house", "id": 1})] * 2
    squares += [(20, 20, 10, {"kind": "road", "id": 2}), (90, 0, 5, {"kind": "road"})]
    labels = geojson(tmp_path / "l.geojson", *squares)
    found = facts(image, "--labels", labels)["labels"]
    assert (found["polygons"], found["inside"]) == (4, 3)
    assert found["fields"] == {"kind": {"house": 2, "road": 2}}
    assert found["classes"]["building"] == 200 / 1600
    assert "--class-field NAME" in info(image, "--labels", labels)
    named = ("--class-field", "kind", "--classes", "background,house,road")
    found = facts(image, "--labels", labels, *named)["labels"]
    assert found["classes"]["road"] == 100 / 1600


def test_labels_in_another_crs_or_elsewhere_are_named(write, facts, info, tmp_path):
    image = write("a.tif", picture())
    path = tmp_path / "l.geojson"
    labels = geojson(path, (0, 0, 10, {}), crs="EPSG::32612")
    problem = facts(image, "--labels", labels)["problem"]
    assert problem.startswith(f"labels elsewhere: {labels}")
    assert f"refused: {problem}" in info(image, "--labels", labels)


def test_labels_of_a_folder_vary_from_tile_to_tile(town, facts, info):
    found = facts(town.images, "--labels", town.labels)["labels"]
    assert (found["files"], found["polygons"], found["inside"]) == (6, 6, 6)
    # buildings of 20 x (24 - n) pixels on tiles of 64 x 64
    low, high = found["by_tile"]
    assert (low, high) == (20 * 19 / 64**2, 20 * 24 / 64**2)
    found = facts(town.images)
    assert (found["widths"], found["crs"]) == ([64, 64], "EPSG:32611")
    assert found["bands"] == ["red", "green", "blue"]
    text = info(town.images, "--labels", town.labels)
    assert "6 polygons of 6 files (all meet the images), in the image's CRS" in text


@pytest.fixture
def spacenet(write, tmp_path):
    """A folder of an AOI with two products, and images that are not SpaceNet's."""
    area = "root/train/AOI_2_Vegas_Train"
    for product in ("RGB-PanSharpen", "MUL-PanSharpen"):
        bands = 3 if product.startswith("RGB") else 8
        write(f"{area}/{product}/{product}_AOI_2_Vegas_img7.tif", picture(bands))
    labels = tmp_path / area / "geojson" / "buildings"
    labels.mkdir(parents=True)
    geojson(labels / "buildings_AOI_2_Vegas_img7.geojson", (0, 0, 10, {}))
    write("root/town/images/a.tif", picture())
    return tmp_path / "root"


def test_a_spacenet_root_says_which_product_is_taken_and_what_is_not(
    spacenet, facts, info
):
    area = spacenet / "train" / "AOI_2_Vegas_Train"
    found = facts(spacenet)
    assert found["images"] == str(area / "MUL-PanSharpen")
    others = {Path(other["path"]): other["images"] for other in found["others"]}
    assert others == {spacenet / "town" / "images": 1, area / "RGB-PanSharpen": 1}
    text = info(spacenet)
    assert "images      in train/AOI_2_Vegas_Train/MUL-PanSharpen" in text
    assert "ignored     town/images" in text
    assert f"to take one: --images {spacenet / 'town' / 'images'}" in text


def test_a_folder_of_folders_lists_them(spacenet, facts, info):
    second = spacenet / "train" / "AOI_3_Paris_Train"
    shutil.copytree(spacenet / "train" / "AOI_2_Vegas_Train", second)
    found = facts(spacenet)
    assert "holds 2 image folders" in found["problem"]
    assert len(found["others"]) == 5
    text = info(spacenet)
    assert "needs one folder of images" in text
    assert "labels in train/AOI_2_Vegas_Train/geojson/buildings" in text


def test_an_empty_vector_file_is_a_tile_without_a_building(tmp_path, facts, info):
    (tmp_path / "l.geojson").touch()
    assert facts(tmp_path / "l.geojson")["layers"] == []
    assert "no building" in info(tmp_path / "l.geojson")


def test_an_empty_folder_is_an_error(tmp_path, geoseg):
    done = geoseg("info", tmp_path)
    assert done.exit_code == 1
    assert f"no image in {tmp_path}" in done.stderr


def test_a_mask_is_told_from_an_image(write, facts, info):
    path = write("m.tif", mask(0, 1, 1, 255), nodata=255)
    found = facts(path)
    assert found["kind"] == "mask" and "training" not in found
    assert found["values"] == {"1": 0.5, "0": 0.25, "no data": 0.25}
    text = info(path)
    assert f"geoseg train --images IMAGES --labels {path}" in text
    assert "training" not in text.replace("train on", "")
    # who names bands wants to know what training would make of it
    assert "training" in facts(path, "-b", "1")
    assert facts(write("pan.tif", picture(1)))["kind"] == "image"


def test_a_folder_of_masks_is_told_too(write, facts, info, tmp_path):
    for name in ("a.tif", "b.tif"):
        write(f"m/{name}", mask(0, 1, 2, 3))
    found = facts(tmp_path / "m")
    assert found["contents"] == "mask" and "training" not in found
    assert f"--labels {tmp_path / 'm'}" in info(tmp_path / "m")


def test_maps_that_geoseg_wrote_are_told_and_can_be_scored(
    there, tmp_path, facts, info, geoseg
):
    paths = {
        "class raster": tmp_path / "classes.tif",
        "probability raster": tmp_path / "probability.tif",
        "cluster raster": tmp_path / "clusters.tif",
    }
    options = ("--raster", "--probability", "--raster-clusters")
    pairs = [
        word for pair in zip(options, paths.values(), strict=True) for word in pair
    ]
    footprints = tmp_path / "buildings.geojson"
    words = (there.images[0], "--model", there.run, "-o", footprints, *pairs)
    done = geoseg("predict", *words)
    assert done.exit_code == 0, done.output
    for kind, path in paths.items():
        found = facts(path)
        assert (found["kind"], found["tags"]["GEOSEG_METHOD"]) == (kind, "iic")
        assert "training" not in found
    text = info(paths["class raster"])
    assert f"geoseg evaluate {paths['class raster']} --images" in text
    assert "0 background (" in text
    found = facts(paths["cluster raster"])
    first = next(iter(found["values"]))
    assert f"values      cluster {first} (" in info(paths["cluster raster"])


def test_gaps_of_zeros_are_named(facts, info, write):
    pixels = (picture() // 4).astype(np.uint8)
    pixels[:, :, 30:] = 0
    path = write("gaps.tif", pixels)
    assert facts(path)["gaps"] == "25 % of the pixels are exactly 0 in all bands"
    text = " ".join(info(path).split())
    assert "exactly 0 in all bands: if that is nodata, declare it in the file" in text
    assert "or give --nodata 0" in text
    assert facts(path, "--nodata", "none")["gaps"] is None
    assert "exactly 0" not in info(write("mask.tif", mask(0, 1)))


def test_what_a_model_takes_bands_for_is_said_where_the_file_names_none(
    facts, info, write, there
):
    bands = load_card(there.run / "model.safetensors").normalization.bands
    assert bands == ("red", "green", "blue", "nir")
    path = write("unnamed.tif", picture(8))
    assumed = facts(path, "--model", there.run)["model"]["assumed"]
    assert assumed.startswith("band 5 is red, 3 is green, 2 is blue, 7 is nir")
    assert "in the usual order of 8 bands: the file names none" in assumed
    assert "assumed band 5 is red" in " ".join(info(path, "--model", there.run).split())
    with rasterio.open(path, "r+") as dataset:
        dataset.descriptions = [*bands, "coastal", "yellow", "rededge", "nir2"]
    assert "assumed" not in facts(path, "--model", there.run)["model"]


@pytest.mark.parametrize(
    ("crs", "transform", "said"),
    [
        ("EPSG:4326", GRID, "no longitude and latitude"),
        ("EPSG:32611", Affine(3e-6, 0, -115, 0, -3e-6, 36), "degrees taken for metres"),
        ("EPSG:4978", GRID, "no lengths on the ground"),
    ],
)
def test_what_neither_maps_nor_scores_is_said_by_info(
    write, facts, info, tmp_path, crs, transform, said
):
    image = write("tiles/a.tif", picture(), crs=crs, transform=transform)
    write("labels/a.tif", mask(0, 1), crs=crs, transform=transform)
    assert said in info(image)
    found = facts(tmp_path / "tiles", "--labels", tmp_path / "labels")
    assert said in found["problem"]


def test_a_crs_without_a_geotransform_is_told(write, info):
    with pytest.warns(rasterio.errors.NotGeoreferencedWarning):
        image = write("a.tif", picture(), transform=None)
    text = info(image)
    assert "none; has a CRS without a geotransform" in text
    assert "has a CRS and no geotransform, expected both" in text


def test_a_local_crs_in_metres_is_fine(write, facts, info, tmp_path):
    crs = 'LOCAL_CS["site",UNIT["metre",1],AXIS["E",EAST],AXIS["N",NORTH]]'
    write("tiles/a.tif", picture(), crs=crs)
    write("labels/a.tif", mask(0, 1), crs=crs)
    found = facts(tmp_path / "tiles", "--labels", tmp_path / "labels")
    assert found["gsd_m"] == [0.5, 0.5] and "problem" not in found
