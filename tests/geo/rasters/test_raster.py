"""Images on disk."""

import math
from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine

from geoseg.core.errors import BandMismatchError, ParameterError, RasterError
from geoseg.geo.rasters.bands import band_numbers, choose_bands
from geoseg.geo.rasters.description import PixelWindow
from geoseg.geo.rasters.raster import (
    describe,
    open_raster,
    read_window,
    require_crs,
    same_grid,
)

EIGHT = "coastal blue green yellow red red_edge nir nir2".split()


def read_all(path, numbers=None, nodata="auto"):
    with open_raster(path) as dataset:
        window = PixelWindow(0, 0, dataset.height, dataset.width)
        return read_window(
            dataset, numbers or list(dataset.indexes), window, nodata=nodata
        )


@pytest.mark.parametrize(
    ("count", "names"),
    [
        (1, ["pan"]),
        (2, ["b1", "b2"]),
        (3, ["red", "green", "blue"]),
        (4, ["red", "green", "blue", "nir"]),
        (8, EIGHT),
    ],
)
def test_bands_without_a_name_are_named_by_their_count(write_tiff, count, names):
    path = write_tiff("a.tif", np.zeros((count, 4, 4), np.uint16))
    assert list(describe(path).band_names) == names


def test_descriptions_name_bands_even_where_colours_say_otherwise(write_tiff):
    path = write_tiff(
        "a.tif",
        np.zeros((3, 4, 4), np.uint8),
        photometric="rgb",
        descriptions=("NIR1", "Red", "Red Edge"),
    )
    assert describe(path).band_names == ("nir", "red", "red_edge")


def test_numbered_descriptions_are_no_names(write_tiff):
    pixels = np.zeros((3, 4, 4), np.uint16)
    path = write_tiff("a.tif", pixels, descriptions=("Band 1", "B2", "band_3"))
    assert describe(path).band_names == ("red", "green", "blue")


def test_colours_beat_the_usual_order(write_tiff):
    path = write_tiff("a.tif", np.zeros((3, 4, 4), np.uint16))
    interp = rasterio.enums.ColorInterp
    with rasterio.open(path, "r+") as dataset:
        dataset.colorinterp = [interp.blue, interp.green, interp.red]
    assert describe(path).band_names == ("blue", "green", "red")


def test_alpha_is_no_image_band(write_tiff):
    pixels = np.zeros((4, 4, 4), np.uint8)
    path = write_tiff("a.tif", pixels, photometric="rgb", alpha=True)
    found = describe(path)
    assert (found.count, found.alpha, found.band_indexes) == (3, 4, (1, 2, 3))
    with pytest.raises(BandMismatchError, match="band 4 .* is declared alpha"):
        choose_bands(found, "1,2,3,4")


def test_fourth_byte_band_described_as_nir_is_not_alpha(write_tiff):
    path = write_tiff(
        "a.tif",
        np.zeros((4, 4, 4), np.uint8),
        photometric="rgb",
        alpha=True,
        descriptions=("red", "green", "blue", "nir"),
    )
    assert describe(path).alpha is None
    assert describe(path).band_names == ("red", "green", "blue", "nir")


@pytest.mark.parametrize(
    ("requested", "names"),
    [
        (None, "red green blue nir"),
        ("rgb", "red green blue"),
        ("RGBI", "red green blue nir"),
        ("irrg", "nir red green"),
        ("all", " ".join(EIGHT)),
        ("5,3,2,7", "red green blue nir"),
        ("nir2, coastal", "nir2 coastal"),
        (["Red", "NIR1"], "red nir"),
    ],
)
def test_bands_are_chosen_by_preset_number_or_name(write_tiff, requested, names):
    found = describe(write_tiff("a.tif", np.zeros((8, 4, 4), np.uint8)))
    chosen = choose_bands(found, requested)
    assert list(chosen) == names.split()
    assert [EIGHT[n - 1] for n in band_numbers(found, chosen)] == names.split()


def test_default_bands_are_rgb_without_infrared_and_all_without_colour(write_tiff):
    rgb = describe(write_tiff("a.tif", np.zeros((3, 4, 4), np.uint16)))
    pan = describe(write_tiff("b.tif", np.zeros((1, 4, 4), np.uint16)))
    assert choose_bands(rgb, None) == ("red", "green", "blue")
    assert choose_bands(pan, None) == ("pan",)


def test_absent_band_says_found_and_expected(write_tiff):
    found = describe(write_tiff("a.tif", np.zeros((3, 4, 4), np.uint16)))
    with pytest.raises(BandMismatchError, match="1 red, 2 green, 3 blue, expected nir"):
        band_numbers(found, ["nir"])
    with pytest.raises(BandMismatchError, match="expected '9'"):
        choose_bands(found, "9")
    with pytest.raises(ParameterError, match="each band once"):
        choose_bands(found, "red,1")


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "float32", "float64"])
@pytest.mark.parametrize("crs", ["EPSG:32611", "EPSG:4326", None])
def test_a_window_is_read_bit_for_bit(write_tiff, dtype, crs):
    pixels = np.random.default_rng(0).integers(1, 200, (3, 9, 11)).astype(dtype)
    path = write_tiff("a.tif", pixels, crs=crs)
    with open_raster(path) as dataset:
        found, valid = read_window(dataset, (3, 1), PixelWindow(2, 4, 5, 6))
    assert found.dtype == dtype and valid.all()
    np.testing.assert_array_equal(found, pixels[[2, 0], 2:7, 4:10])


def test_a_rotated_image_is_read_on_its_own_grid(write_tiff):
    pixels = np.arange(1, 25, dtype=np.uint8).reshape(1, 4, 6)
    turned = Affine(0.4, 0.3, 664000, 0.3, -0.4, 4000000)
    path = write_tiff("a.tif", pixels, transform=turned)
    found, valid = read_all(path)
    np.testing.assert_array_equal(found, pixels)
    assert valid.all()
    assert describe(path).gsd_m == pytest.approx(0.5, rel=1e-9)


def test_nan_and_infinity_are_invalid_under_every_rule(write_tiff):
    pixels = np.ones((2, 1, 4), np.float32)
    pixels[0, 0, 1], pixels[1, 0, 2] = np.nan, np.inf
    path = write_tiff("a.tif", pixels)
    for rule in ("auto", "none", "7"):
        assert read_all(path, nodata=rule)[1].tolist() == [[True, False, False, True]]


def test_declared_zero_counts_only_in_all_bands(write_tiff):
    pixels = np.array([[[0, 0, 5]], [[0, 9, 9]]], np.uint8)
    path = write_tiff("a.tif", pixels, nodata=0)
    assert read_all(path)[1].tolist() == [[False, True, True]]


def test_declared_sentinel_counts_in_any_band(write_tiff):
    pixels = np.array([[[-9999, -9999, 5]], [[-9999, 9, 9]]], np.float32)
    path = write_tiff("a.tif", pixels, nodata=-9999)
    assert read_all(path)[1].tolist() == [[False, False, True]]


def test_undeclared_zeros_are_nodata_beyond_eight_bits_only(write_tiff):
    pixels = np.array([[[0, 0, 5]], [[0, 9, 9]]])
    wide = write_tiff("a.tif", pixels.astype(np.uint16))
    narrow = write_tiff("b.tif", pixels.astype(np.uint8))
    assert read_all(wide)[1].tolist() == [[False, True, True]]
    assert read_all(wide, nodata="none")[1].all()
    assert read_all(narrow)[1].all()


def test_nodata_given_as_a_number_replaces_the_files_own(write_tiff):
    pixels = np.array([[[0, 255, 5]]], np.uint8)
    path = write_tiff("a.tif", pixels, nodata=0)
    assert read_all(path, nodata="255")[1].tolist() == [[True, False, True]]
    assert read_all(path, nodata="300")[1].all()
    with pytest.raises(ParameterError, match="expected auto, none or a number"):
        read_all(path, nodata="zero")


def test_alpha_zero_and_mask_are_nodata(write_tiff):
    pixels = np.full((4, 1, 3), 7, np.uint8)
    pixels[3, 0] = [0, 1, 255]
    alpha = write_tiff("a.tif", pixels, photometric="rgb", alpha=True)
    assert read_all(alpha, (1, 2, 3))[1].tolist() == [[False, True, True]]
    mask = np.array([[255, 0, 255]], np.uint8)
    masked = write_tiff("b.tif", pixels[:3], mask=mask)
    assert read_all(masked)[1].tolist() == [[True, False, True]]


def test_a_window_that_sticks_out_is_refused(write_tiff):
    path = write_tiff("a.tif", np.ones((1, 4, 4), np.uint8))
    with open_raster(path) as dataset:
        with pytest.raises(RasterError, match="expected it inside 4 x 4"):
            read_window(dataset, (1,), PixelWindow(2, 0, 3, 4))


def test_absent_foreign_and_truncated_files_are_named(write_tiff, tmp_path):
    with pytest.raises(RasterError, match="none.tif does not exist"):
        open_raster(tmp_path / "none.tif")
    with pytest.raises(RasterError, match="is a folder"):
        open_raster(tmp_path)
    (tmp_path / "text.tif").write_text("hello")
    with pytest.raises(RasterError, match="text.tif cannot be opened") as caught:
        open_raster(tmp_path / "text.tif")
    assert "\n" not in str(caught.value)
    path = Path(write_tiff("cut.tif", np.ones((3, 64, 64), np.uint16)))
    path.write_bytes(path.read_bytes()[:4000])
    with pytest.raises(RasterError, match="cut.tif cannot be read .* truncated"):
        read_all(path)


@pytest.mark.parametrize("lat", [0.0, 36.0, -70.0])
def test_gsd_of_degrees_and_mercator_is_in_true_metres(write_tiff, lat):
    pixels = np.ones((1, 10, 10), np.uint8)
    step = 2.7e-6
    degrees = write_tiff(
        "a.tif", pixels, crs="EPSG:4326", transform=Affine(step, 0, 9, 0, -step, lat)
    )
    # radii of curvature of the WGS 84 ellipsoid
    a, e2, phi = 6378137.0, 0.00669437999014, math.radians(lat)
    normal = a / math.sqrt(1 - e2 * math.sin(phi) ** 2)
    meridian = a * (1 - e2) / (1 - e2 * math.sin(phi) ** 2) ** 1.5
    east = math.radians(step) * normal * math.cos(phi)
    north = math.radians(step) * meridian
    assert describe(degrees).gsd_m == pytest.approx(math.sqrt(east * north), rel=1e-4)
    y = a * math.log(math.tan(math.pi / 4 + phi / 2))
    mercator = write_tiff(
        "b.tif", pixels, crs="EPSG:3857", transform=Affine(1, 0, 1e6, 0, -1, y)
    )
    assert describe(mercator).gsd_m == pytest.approx(math.cos(phi), rel=1e-2)


def test_gsd_of_utm_is_its_pixel_size_and_unknown_without_crs(write_tiff):
    pixels = np.ones((1, 10, 10), np.uint8)
    assert describe(write_tiff("a.tif", pixels)).gsd_m == 0.5
    bare = describe(write_tiff("b.tif", pixels, crs=None))
    assert bare.gsd_m is None and bare.crs is None
    with pytest.raises(RasterError, match="has no CRS, expected a georeferenced"):
        require_crs(bare)


def test_grids_are_the_same_up_to_a_thousandth_of_a_pixel(write_tiff):
    pixels = np.ones((1, 10, 10), np.uint8)
    first = describe(write_tiff("a.tif", pixels))
    for shift, same in ((1e-4, True), (0.01, False)):
        moved = Affine(0.5, 0, 664000 + shift * 0.5, 0, -0.5, 4000000)
        second = describe(write_tiff(f"{shift}.tif", pixels, transform=moved))
        assert same_grid(first, second) is same
    assert not same_grid(first, describe(write_tiff("c.tif", pixels[:, :9])))


@pytest.mark.parametrize("nothing", ["", " ", ","])
def test_asking_for_no_band_says_what_may_be_asked_for(write_tiff, nothing):
    found = describe(write_tiff("a.tif", np.zeros((3, 4, 4), np.uint16)))
    with pytest.raises(
        ParameterError, match="no band is requested, expected rgb, rgbi"
    ):
        choose_bands(found, nothing)
