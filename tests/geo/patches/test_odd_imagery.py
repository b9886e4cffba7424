"""Images as they come: each kind is trained on and predicted, or refused by name.

A dark scene holds one bright rectangle. Two colour clusters, fitted to the folder, must
part it from the ground wherever there are data.
"""

import numpy as np
import pytest
from affine import Affine
from odd_images import (
    GRID,
    SIDE,
    assert_found,
    map_folder,
    rectangle,
    scene,
)
from rasterio.enums import ColorInterp

from geoseg.runs.settings import RunSettings
from geoseg.runs.tiles.run_tiles import normalization_of, tiles_of

COLOUR = {"dtype": "uint8", "low": 20, "high": 220}


@pytest.mark.parametrize(
    ("values", "profile", "bands"),
    [
        pytest.param({"bands": 8}, {}, "red green blue nir", id="eight-bands"),
        pytest.param({"bands": 1}, {}, "pan", id="pan"),
        pytest.param({"bands": 2}, {}, "b1 b2", id="two-bands"),
        pytest.param({"bands": 5}, {}, "b1 b2 b3 b4 b5", id="five-bands"),
        pytest.param({"dtype": "int8", "low": -100, "high": 100}, {}, None, id="int8"),
        pytest.param(
            {"dtype": "uint32", "low": 1e5, "high": 3e9}, {}, None, id="uint32"
        ),
        pytest.param(
            {"dtype": "int64", "low": 1e5, "high": 3e12}, {}, None, id="int64"
        ),
        pytest.param(
            {"dtype": "float32", "low": 0.02, "high": 0.6}, {}, None, id="reflectance"
        ),
        pytest.param(
            {"dtype": "float64", "low": -9.0, "high": 9.0}, {}, None, id="float64"
        ),
        pytest.param({}, {"nbits": 12, "compress": "deflate"}, None, id="12-of-16-bit"),
        pytest.param(
            {"dtype": "uint8", "low": 0, "high": 15}, {"nbits": 4}, None, id="4-bit"
        ),
        pytest.param(
            {"dtype": "uint8", "low": 0, "high": 1.2}, {"nbits": 1}, None, id="1-bit"
        ),
        pytest.param({}, {"blockysize": 1}, None, id="strips-of-a-row"),
        pytest.param(
            {},
            {"tiled": True, "blockxsize": 16, "blockysize": 32, "bigtiff": "yes"}
            | {"interleave": "band", "compress": "lzw", "predictor": 2},
            None,
            id="bigtiff-in-blocks-by-band",
        ),
        pytest.param(
            COLOUR,
            {"photometric": "ycbcr", "compress": "jpeg", "interleave": "pixel"}
            | {"tiled": True, "blockxsize": 16, "blockysize": 16, "jpeg_quality": 95},
            "red green blue",
            id="jpeg-ycbcr",
        ),
        pytest.param(COLOUR, {"photometric": "cielab"}, None, id="cielab"),
    ],
)
def test_types_and_layouts(write, folder, values, profile, bands):
    jpeg = profile.get("compress") == "jpeg"
    for number in range(2):
        write(number, scene(number, **values), **profile)
    if not jpeg:
        return assert_found(folder, bands=bands)
    # lossy: edges may blur into neighbouring blocks
    found, maps = map_folder(folder)
    assert list(found) == bands.split()
    for clusters in maps:
        bright = clusters[16, 20]
        assert ((clusters == bright) != rectangle()).mean() < 0.02


def test_negative_integers_with_negative_nodata(write, folder):
    valid = np.ones((SIDE, SIDE), bool)
    valid[40:] = False
    for number in range(2):
        pixels = scene(number, dtype="int16", low=-50, high=900)
        pixels[:, ~valid] = -9999
        write(number, pixels, nodata=-9999)
    assert_found(folder, valid=valid)


def test_reflectance_with_a_sentinel_and_nan(write, folder):
    valid = np.ones((SIDE, SIDE), bool)
    valid[36:] = False
    for number, nodata in enumerate((-9999, np.nan)):
        pixels = scene(number, dtype="float32", low=0.02, high=0.6)
        pixels[:, 40:] = np.nan
        pixels[0, 36:40] = -9999 if number == 0 else np.nan
        write(number, pixels, nodata=nodata)
    assert_found(folder, valid=valid)


def test_undeclared_limits_of_float_are_nodata(write, folder):
    pixels = scene(dtype="float32", low=0.02, high=0.6)
    pixels[1, 40:] = np.finfo(np.float32).min
    write(0, pixels)
    valid = np.ones((SIDE, SIDE), bool)
    valid[40:] = False
    assert_found(folder, valid=valid)


def test_internal_mask_and_alpha_and_neither_in_one_folder(write, folder):
    valid = np.ones((SIDE, SIDE), bool)
    valid[:, 40:] = False
    write(0, scene(0, **COLOUR), photometric="rgb", mask=(255 * valid).astype(np.uint8))
    with_alpha = np.concatenate(
        [scene(1, **COLOUR), 255 * valid[None].astype(np.uint8)]
    )
    write(1, with_alpha, photometric="rgb", alpha=True)
    write(2, scene(2, **COLOUR), photometric="rgb")
    _, (masked, alpha, plain) = map_folder(folder)
    for clusters, data in ((masked, valid), (alpha, valid), (plain, valid | True)):
        np.testing.assert_array_equal(clusters >= 0, data)
    assert_found(folder, bands="red green blue")


def test_band_order_goes_by_name(write, folder):
    order = ("NIR", "Red", "Green")
    levels = {"NIR": 850, "Red": 400, "Green": 200}
    for number in range(3):
        names = order[number:] + order[:number]
        pixels = [scene(number, 1, "uint8", 20, levels[n] // 4)[0] for n in names]
        write(number, np.stack(pixels), photometric="rgb", descriptions=names)
    assert_found(folder, bands="nir red green")
    stretch, _ = map_folder(folder, bands="irrg")
    assert stretch == ("nir", "red", "green")
    # one level per band name: had they been mixed up, the range would span them all
    settings = RunSettings(images=str(folder), method="color_kmeans")
    high = normalization_of(settings, tiles_of(settings)).high
    assert high[0] > 1.5 * high[1] > 2 * high[2]


@pytest.mark.parametrize(
    "names",
    [("Rot", "Grün", "Blau"), ("Красный", "Зелёный", "Синий"), ("红", "绿", "蓝")],
)
def test_bands_may_be_named_in_any_language(write, folder, names):
    write(0, scene(), descriptions=names)
    assert_found(folder, bands=" ".join(name.casefold() for name in names))
    assert map_folder(folder, bands=names[1])[0] == (names[1].casefold(),)


def test_the_files_own_colours_name_infrared(write, folder):
    def colours(dataset):
        dataset.colorinterp = [ColorInterp.nir, ColorInterp.red, ColorInterp.green]

    write(0, scene(), after=colours)
    assert_found(folder, bands="nir red green")


@pytest.mark.parametrize(
    "turn",
    [
        Affine.rotation(30),
        Affine.shear(15, 5),
        Affine.translation(0, SIDE) @ Affine.scale(1, -1),
        Affine.translation(SIDE, 0) @ Affine.scale(-1, 1),
    ],
    ids=["rotated", "sheared", "south-up", "mirrored"],
)
def test_any_affine_grid(write, folder, turn):
    for number in range(2):
        transform = GRID @ Affine.translation(100 * number, 0) @ turn
        write(number, scene(number), transform=transform)
    assert_found(folder)


def test_tiles_of_unequal_size_and_smaller_than_a_patch(write, folder):
    for number, size in enumerate([(48, 48), (30, 90), (26, 31), (100, 40)]):
        write(number, scene(number, size=size), compress="deflate")
    write(4, scene(4)[:, :1, :1])
    *maps, single = map_folder(folder)[1]
    assert single.shape == (1, 1)
    for clusters in maps:
        inside = rectangle(clusters.shape)
        assert len({*clusters[inside]}) == len({*clusters[~inside]}) == 1


def test_a_tile_without_data_beside_others(write, folder):
    write(0, scene(0))
    write(1, np.zeros((3, SIDE, SIDE), np.uint16))
    _, (clusters, nothing) = map_folder(folder)
    assert (nothing == -1).all() and (clusters >= 0).all()


@pytest.mark.parametrize("whiten", ["none", "zca"])
def test_constant_and_equal_bands(write, folder, whiten):
    pixels = scene(bands=4)
    pixels[1], pixels[2] = 77, pixels[0]
    write(0, pixels)
    assert_found(folder, bands="red green blue nir", whiten=whiten)
