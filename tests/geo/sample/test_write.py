"""The committed sample tiles, and the writer that made them."""

import json
from pathlib import Path

import numpy as np
import pytest
import rasterio
from rasterio.features import rasterize
from shapely.geometry import shape

from geoseg.core.errors import OutputExistsError, ParameterError
from geoseg.geo.sample.write import AOI_FOLDER, write_sample

COMMITTED = Path(__file__).parents[3] / "sample_tiles"
TRAIN = COMMITTED / AOI_FOLDER
IMAGES = sorted((TRAIN / "MUL-PanSharpen").glob("*.tif"))


def _mask_of(image: Path) -> Path:
    name = image.name.replace("MUL-PanSharpen_", "classes_")
    return image.parents[1] / "masks" / name


def _labels_of(image: Path) -> Path:
    name = image.stem.replace("MUL-PanSharpen_", "buildings_") + ".geojson"
    return image.parents[1] / "geojson" / "buildings" / name


def _features(image: Path) -> list[dict]:
    return json.loads(_labels_of(image).read_text())["features"]


def _classes(image: Path) -> np.ndarray:
    with rasterio.open(_mask_of(image)) as dataset:
        return dataset.read(1)


def _image(path: Path) -> np.ndarray:
    with rasterio.open(path) as dataset:
        return dataset.read()


def _assert_same_tiles(made: Path, expected: Path) -> None:
    paths = sorted(path.relative_to(expected) for path in expected.rglob("*.*"))
    assert sorted(path.relative_to(made) for path in made.rglob("*.*")) == paths
    for path in paths:
        if path.suffix == ".tif":
            with rasterio.open(made / path) as a, rasterio.open(expected / path) as b:
                assert a.transform == b.transform and a.crs == b.crs
                assert np.array_equal(a.read(), b.read()), path
        else:
            _assert_same_footprints(made / path, expected / path)


def _assert_same_footprints(made: Path, expected: Path) -> None:
    ours, theirs = (
        [shape(f["geometry"]) for f in json.loads(path.read_text())["features"]]
        for path in (made, expected)
    )
    assert len(ours) == len(theirs)
    # another GEOS may start a ring elsewhere; a millionth of a pixel is no difference
    for a, b in zip(ours, theirs, strict=True):
        assert a.normalize().equals_exact(b.normalize(), 3e-12)


@pytest.mark.slow
def test_the_committed_tiles_are_what_the_generator_makes(tmp_path):
    write_sample(tmp_path)
    _assert_same_tiles(tmp_path / AOI_FOLDER, TRAIN)


def test_there_are_24_tiles_of_8_bands_in_11_bits_without_a_nodata_tag():
    assert len(IMAGES) == 24
    for path in IMAGES:
        with rasterio.open(path) as dataset:
            assert (dataset.count, dataset.height, dataset.width) == (8, 256, 256)
            assert set(dataset.dtypes) == {"uint16"}
            assert dataset.nodata is None
            assert set(dataset.descriptions) == {None}
            assert dataset.crs.to_epsg() == 4326
            assert dataset.res == pytest.approx((2.7e-6, 2.7e-6), rel=1e-6)
            assert dataset.read().max() <= 2047


def test_the_tiles_take_at_most_12_megabytes():
    size = sum(path.stat().st_size for path in COMMITTED.rglob("*") if path.is_file())
    assert size <= 12_000_000


def test_numbers_in_names_have_gaps():
    numbers = sorted(int(path.stem.rpartition("img")[2]) for path in IMAGES)
    assert numbers[-1] - numbers[0] >= len(numbers)


def test_tiles_adjoin_on_a_grid_without_overlap():
    places = set()
    for path in IMAGES:
        with rasterio.open(path) as dataset:
            left, top = dataset.transform.c, dataset.transform.f
        places.add((round((left + 115.9) / 2.7e-6), round((36.2 - top) / 2.7e-6)))
    assert places == {(256 * col, 256 * row) for row in range(4) for col in range(6)}


@pytest.mark.parametrize("path", IMAGES, ids=lambda path: path.stem)
def test_rasterised_footprints_are_the_building_class(path):
    with rasterio.open(path) as dataset:
        image, transform = dataset.read(), dataset.transform
    classes = _classes(path)
    shapes = [(feature["geometry"], 1) for feature in _features(path)]
    burnt = np.zeros((256, 256), dtype=np.uint8)
    if shapes:
        burnt = rasterize(shapes, out_shape=(256, 256), transform=transform)
    unseen = (image == 0).all(axis=0)
    assert np.array_equal(classes == 255, unseen)
    assert np.array_equal(classes == 1, burnt == 1)
    assert not (image == 0)[:, ~unseen].any()


def test_footprints_are_valid_disjoint_and_carry_a_third_coordinate():
    for path in IMAGES:
        shapes = [shape(feature["geometry"]) for feature in _features(path)]
        assert all(one.is_valid and one.has_z for one in shapes)
        overlap = sum(one.area for one in shapes)
        if shapes:
            union = shapes[0].union(shapes[0])
            for one in shapes[1:]:
                union = union.union(one)
            assert union.area == pytest.approx(overlap, rel=1e-6)


def test_footprints_have_the_quirks_of_the_real_set():
    empty = [path for path in IMAGES if not _features(path)]
    assert 1 <= len(empty) <= 6
    every = [feature for path in IMAGES for feature in _features(path)]
    assert {feature["properties"]["Id"] for feature in every} == {0}
    assert {feature["properties"]["partialBuilding"] for feature in every} == {0.0, 1.0}
    for path in IMAGES:
        assert json.loads(_labels_of(path).read_text())["crs"]["type"] == "name"


def test_some_footprint_has_a_courtyard():
    every = [shape(f["geometry"]) for path in IMAGES for f in _features(path)]
    assert any(one.interiors for one in every if one.geom_type == "Polygon") or any(
        part.interiors for one in every for part in getattr(one, "geoms", ())
    )


def test_some_tiles_have_an_edge_without_data_and_most_have_none():
    shares = [(_classes(path) == 255).mean() for path in IMAGES]
    assert 2 <= sum(share > 0 for share in shares) <= 10
    assert max(shares) < 0.5


def test_all_four_classes_are_there_and_buildings_are_a_minority():
    classes = np.stack([_classes(path) for path in IMAGES])
    shares = [(classes == k).sum() / (classes != 255).sum() for k in range(4)]
    assert sum(shares) == pytest.approx(1.0)
    assert 0.15 <= shares[1] <= 0.22
    assert min(shares) > 0.05


def test_one_roof_pixel_in_ten_or_more_has_a_colour_of_the_ground():
    images = np.stack([_image(path) for path in IMAGES], axis=1)
    classes = np.stack([_classes(path) for path in IMAGES])
    roofs = images[:, classes == 1]
    for ground in (0, 2):
        low, high = np.percentile(images[:, classes == ground], (5, 95), axis=1)
        between = (roofs >= low[:, None]) & (roofs <= high[:, None])
        assert between.all(axis=0).mean() > 0.1


@pytest.mark.parametrize(("tiles", "size"), [(1, 64), (5, 48)])
def test_small_samples_are_written_whole_and_alike(tmp_path, tiles, size):
    for name in ("a", "b"):
        write_sample(tmp_path / name, tiles=tiles, size=size, seed=3)
    assert len(list((tmp_path / "a").rglob("*.tif"))) == 2 * tiles
    _assert_same_tiles(tmp_path / "a" / AOI_FOLDER, tmp_path / "b" / AOI_FOLDER)


def test_an_existing_sample_is_refused_and_left_alone(tmp_path):
    (tmp_path / AOI_FOLDER).mkdir()
    with pytest.raises(OutputExistsError, match="exists already"):
        write_sample(tmp_path, tiles=1, size=32)
    assert list(tmp_path.rglob("*")) == [tmp_path / AOI_FOLDER]


def test_overwriting_replaces_the_whole_folder(tmp_path):
    (tmp_path / AOI_FOLDER).mkdir()
    (tmp_path / AOI_FOLDER / "stale.tif").touch()
    write_sample(tmp_path, tiles=1, size=32, overwrite=True)
    assert not (tmp_path / AOI_FOLDER / "stale.tif").exists()
    assert [path.name for path in tmp_path.iterdir()] == [AOI_FOLDER]


def test_no_tiles_are_refused(tmp_path):
    with pytest.raises(ParameterError, match="at least one tile"):
        write_sample(tmp_path, tiles=0)
    assert list(tmp_path.iterdir()) == []
