"""Images and vector files, measured on few of their pixels."""

import math
from pathlib import Path

import numpy as np
import pytest
import rasterio
import rasterio.shutil
from affine import Affine

from geoseg.core.errors import LabelError, ParameterError
from geoseg.core.normalization import Normalization
from geoseg.geo.labels.vector_inspection import inspect_vector
from geoseg.geo.rasters import inspection
from geoseg.geo.rasters.inspection import (
    inspect_image,
    orientation,
    sample,
    stretch_mismatch,
)
from geoseg.geo.rasters.raster import describe

COS, SIN = math.cos(math.radians(30)), math.sin(math.radians(30))


def ramp(size=100, dtype="uint16"):
    """Values 1 to ``size`` from left to right."""
    return np.tile(np.arange(1, size + 1, dtype=dtype), (1, size, 1))


def test_percentiles_are_those_of_valid_pixels(write_tiff):
    pixels = ramp()
    pixels[:, :25] = 0
    facts = inspect_image(write_tiff("a.tif", pixels))
    (band,) = facts.bands
    expected = np.percentile(np.arange(1, 101), [1, 50, 99])
    np.testing.assert_allclose((band.low, band.median, band.high), expected, atol=0.1)
    assert facts.valid_share == 0.75
    assert (band.number, band.name, band.dtype) == (1, "pan", "uint16")


def test_an_image_without_data_has_no_percentiles(write_tiff):
    facts = inspect_image(write_tiff("a.tif", np.zeros((1, 4, 4), np.uint16)))
    assert facts.valid_share == 0 and facts.bands[0].median is None


def test_overviews_are_read_where_there_are_some(write_tiff, monkeypatch):
    path = write_tiff("a.tif", ramp(256), tiled=True, blockxsize=64, blockysize=64)
    with rasterio.open(path, "r+") as dataset:
        dataset.build_overviews([4], rasterio.enums.Resampling.nearest)
    monkeypatch.setattr(inspection, "WHOLE_PIXELS", 10)
    facts = inspect_image(path)
    assert facts.overviews == (4,) and not facts.cog
    assert facts.layout == "blocks of 64 x 64, not compressed"
    pixels, _ = sample(describe(path), side=64)
    assert pixels.shape == (1, 64, 64)


def test_large_images_without_overviews_are_read_in_windows(write_tiff, monkeypatch):
    path = write_tiff("a.tif", ramp(600))
    monkeypatch.setattr(inspection, "WHOLE_PIXELS", 10)
    pixels, valid = sample(describe(path))
    assert pixels.shape == (1, 1, 64 * 64 * 64) and valid.shape == (1, 64 * 64 * 64)
    assert pixels.min() == 1 and pixels.max() == 600
    # evenly spread: the median of the windows is that of the image
    assert abs(np.median(pixels) - 300) < 6


def test_a_cog_is_told(tmp_path, write_tiff):
    rasterio.shutil.copy(
        write_tiff("a.tif", ramp()), tmp_path / "cog.tif", driver="COG"
    )
    assert inspect_image(str(tmp_path / "cog.tif")).cog


@pytest.mark.parametrize(
    ("transform", "words"),
    [
        (Affine(0.5, 0, 7, 0, -0.5, 9), "north up"),
        (Affine(2e-6, 0, 7, 0, -3e-6, 9), "north up"),
        (Affine(0.5, 0, 7, 0, 0.5, 9), "south up"),
        (Affine(COS, SIN, 0, SIN, -COS, 0), "rotated by 30.0°"),
        (Affine(-1, 0, 0, 0, -1, 0), "rotated by 180.0°, mirrored"),
        (Affine(1, 1, 0, 0, -1, 0), "sheared to 45.0°"),
    ],
)
def test_orientation_in_words(transform, words):
    assert orientation(transform) == words


@pytest.mark.parametrize(
    ("pixels", "rule", "words"),
    [
        ({"dtype": np.uint8}, "auto", "the file names none, and in 8 bit 0 is a value"),
        ({"dtype": np.uint16}, "auto", "the file names none; 0 in all bands"),
        ({"dtype": np.float32}, "auto", "0 in all bands, or a limit of float32"),
        ({"nodata": -9999, "dtype": np.int16}, "auto", "the value -9999, as the file"),
        ({"mask": np.ones((8, 8), np.uint8)}, "auto", "the file's mask, as the file"),
        ({"dtype": np.uint16}, "none", "nothing is"),
        ({"dtype": np.uint16, "nodata": 5}, "7", "7, as requested"),
    ],
)
def test_the_nodata_rule_in_words(write_tiff, pixels, rule, words):
    array = np.ones((3, 8, 8), pixels.pop("dtype", np.uint8))
    path = write_tiff("a.tif", array, **pixels)
    assert words in inspect_image(path, nodata=rule).nodata


def test_alpha_is_named_as_the_nodata_rule(write_tiff):
    path = write_tiff(
        "a.tif", np.ones((4, 8, 8), np.uint8), photometric="rgb", alpha=True
    )
    assert inspect_image(path).nodata == "alpha 0 in band 4, as the file says"


def test_an_unknown_rule_is_refused(write_tiff):
    with pytest.raises(ParameterError, match="expected auto, none or a number"):
        inspect_image(write_tiff("a.tif", ramp()), nodata="zero")


STRETCH = Normalization(("red", "nir"), (100.0, 100.0), (900.0, 900.0), (0.5, 0.5))


@pytest.mark.parametrize(
    ("low", "high", "message"),
    [
        (100, 900, None),
        (50, 930, None),
        # 100 of 255 lie below 100
        (
            0,
            255,
            "39 % of the values of band nir lie outside 100 to 900, the training's range",
        ),
        (5000, 9000, "100 % of the values of band nir lie outside 100"),
        (300, 340, "band nir has 300.4 to 339.6 alone, little of 100 to 900"),
    ],
)
def test_values_unlike_the_trainings_are_told(low, high, message):
    values = np.linspace(low, high, 1024).reshape(32, 32)
    usual = np.linspace(100, 900, 1024).reshape(32, 32)
    # (nir, red) as they lie in the file
    pixels, valid = np.stack([values, usual]), np.ones((32, 32), bool)
    found = stretch_mismatch(pixels, valid, ("nir", "red"), STRETCH)
    if message is None:
        assert found is None
    else:
        assert found.startswith(message)
    assert stretch_mismatch(pixels, ~valid, ("nir", "red"), STRETCH) is None


def test_a_vector_file_is_counted(write_geojson, rectangle):
    bow = {"type": "Polygon", "coordinates": [[[0, 0], [1, 1], [1, 0], [0, 1], [0, 0]]]}
    point = {"type": "Point", "coordinates": [5, 6]}
    path = write_geojson("a.geojson", [rectangle(0, 0, 2, 2, z=True), bow, point, None])
    (layer,) = inspect_vector(Path(path))
    assert layer.features == 4
    assert layer.geometries == {"Polygon Z": 1, "Polygon": 1, "Point": 1, "none": 1}
    assert layer.invalid == 1 and layer.why.startswith("Self-intersection")
    assert layer.crs == "EPSG:4326"
    assert list(layer.attributes) == ["Id"]
    assert layer.bounds == (0, 0, 664001, 4000000)


def test_an_empty_layer_has_no_bounds(write_geojson):
    (layer,) = inspect_vector(Path(write_geojson("a.geojson", [])))
    assert (layer.features, layer.bounds, layer.invalid) == (0, None, 0)


def test_a_damaged_vector_file_is_named(tmp_path):
    (tmp_path / "a.geojson").write_text('{"type": "FeatureColl')
    with pytest.raises(LabelError, match="a.geojson cannot be read"):
        inspect_vector(tmp_path / "a.geojson")
    with pytest.raises(LabelError, match="none.gpkg does not exist"):
        inspect_vector(tmp_path / "none.gpkg")
