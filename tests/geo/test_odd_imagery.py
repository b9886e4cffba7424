"""Images as they come: each kind is trained on and predicted, or refused by name.

A dark scene holds one bright rectangle. Two colour clusters, fitted to the folder, must
part it from the ground wherever there are data.
"""

import warnings

import numpy as np
import pytest
import rasterio
from affine import Affine
from rasterio.control import GroundControlPoint
from rasterio.crs import CRS
from rasterio.enums import ColorInterp
from rasterio.errors import NotGeoreferencedWarning
from rasterio.rpc import RPC

from geoseg.errors import BandMismatchError, DatasetError, LabelError, RasterError
from geoseg.geo.aoi import Tile
from geoseg.geo.contingency import cluster_map
from geoseg.geo.labels import read_labels
from geoseg.geo.raster import describe, open_raster, read_window, require_crs
from geoseg.methods import build_method
from geoseg.model import Model, ModelCard
from geoseg.run_tiles import loader_of, normalization_of, tiles_of
from geoseg.settings import RunSettings

SIDE = 48
GRID = Affine(0.5, 0, 664000, 0, -0.5, 4000000)
PARAMETERS = {"clusters": 2, "pixels": 4000}


def scene(number=0, bands=3, dtype="uint16", low=100, high=850, size=(SIDE, SIDE)):
    """Return a dark scene ``(B, H, W)`` with a bright rectangle."""
    noise = np.random.default_rng(number).random((bands, *size))
    pixels = low + 0.08 * (high - low) * noise
    pixels[:, 8:24, 10:30] += 0.9 * (high - low)
    return pixels.astype(dtype)


def rectangle(size=(SIDE, SIDE)):
    inside = np.zeros(size, bool)
    inside[8:24, 10:30] = True
    return inside


def map_folder(folder, **settings):
    """Train on a folder and return its bands and the ``(H, W)`` clusters of each image."""
    settings = RunSettings(
        images=str(folder), method="color_kmeans", patch_size=32, **settings
    )
    tiles = tiles_of(settings)
    stretch = normalization_of(settings, tiles)
    method = build_method("color_kmeans", stretch.channels, PARAMETERS)
    method.whiten(stretch.whitening)
    loader = loader_of(settings, tiles, stretch)
    method.finish(lambda: loader.batches(0))
    card = ModelCard(
        method="color_kmeans",
        parameters=PARAMETERS,
        normalization=stretch,
        nodata=settings.nodata,
        head="main",
    )
    model = Model(method.eval(), card)
    return stretch.bands, [cluster_map(model, t, "main").numpy() for t in tiles]


def assert_found(folder, *, bands=None, valid=None, **settings):
    found, maps = map_folder(folder, **settings)
    if bands is not None:
        assert list(found) == bands.split()
    for clusters in maps:
        expected = rectangle(clusters.shape)
        data = clusters >= 0
        if valid is not None:
            np.testing.assert_array_equal(data, valid)
        (bright,) = np.unique(clusters[expected & data])
        np.testing.assert_array_equal(clusters == bright, expected & data)


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "tiles").mkdir()
    return tmp_path / "tiles"


@pytest.fixture
def write(write_tiff):
    """Return ``write(number, pixels, ...) -> path`` of a tile of the folder."""

    def tile(number, pixels, *, after=None, **profile):
        profile.setdefault("transform", GRID @ Affine.translation(100 * number, 0))
        path = write_tiff(f"tiles/tile{number}.tif", pixels, **profile)
        if after is not None:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", NotGeoreferencedWarning)
                with rasterio.open(path, "r+") as dataset:
                    after(dataset)
        return path

    return tile


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


# Mixtures


def differences(caplog):
    return [r.getMessage() for r in caplog.records if "differ" in r.getMessage()]


def test_other_pixel_sizes_and_crs_are_said_once_and_handled(write, folder, caplog):
    for number in range(2):
        write(number, scene(number))
    write(2, scene(2), transform=Affine(2, 0, 664500, 0, -2, 4000000))
    write(3, scene(3), crs="EPSG:32756")  # the other side of the Earth
    assert_found(folder)
    (message,) = differences(caplog)
    assert "pixels of 0.5 m (3), 2 m (1: tile2.tif)" in message
    assert "CRS EPSG:32611 (3), EPSG:32756 (1: tile3.tif)" in message


def test_pixel_sizes_in_degrees_that_vary_with_latitude_are_one(write, folder, caplog):
    for number, lat in enumerate((36.0, 36.5, 37.0)):
        step = Affine(2.7e-6, 0, -115.2, 0, -2.7e-6, lat)
        write(number, scene(number), crs="EPSG:4326", transform=step)
    assert_found(folder)
    assert not differences(caplog)


def test_other_types_of_one_range_share_a_stretch(write, folder, caplog):
    for number, dtype in enumerate(("uint16", "uint16", "float32", "int32")):
        write(number, scene(number, dtype=dtype))
    assert_found(folder)
    (message,) = differences(caplog)
    assert "type uint16 (2), float32 (1: tile2.tif), int32 (1: tile3.tif)" in message


@pytest.mark.parametrize(
    ("odd", "found"),
    [
        ({"dtype": "uint8", "low": 20, "high": 220}, "uint8 with values up to 2"),
        (
            {"dtype": "float32", "low": 0.02, "high": 0.6},
            "float32 with values up to 0.",
        ),
    ],
)
def test_types_of_other_ranges_are_refused(write, folder, odd, found):
    for number in range(3):
        write(number, scene(number, low=100, high=2000))
    write(3, scene(3, **odd))
    with pytest.raises(DatasetError, match=f"tile3.tif holds {found}.*and 2 more hold"):
        map_folder(folder)


def test_a_type_without_a_valid_pixel_is_no_other_range(write, folder):
    write(0, scene(0))
    write(1, np.full((3, SIDE, SIDE), np.nan, np.float32))
    _, (clusters, nothing) = map_folder(folder)
    assert (nothing == -1).all() and (clusters >= 0).all()


def test_tiles_with_and_without_crs_are_refused(write, folder):
    write(0, scene(0))
    write(1, scene(1), crs=None)
    with pytest.raises(DatasetError, match="1 of 2 images have no CRS, .*tile1.tif"):
        map_folder(folder)


def test_other_scale_and_offset_are_refused(write, folder):
    def scaled(dataset):
        dataset.scales, dataset.offsets = (1e-4,) * 3, (-0.1,) * 3

    write(0, scene(0), after=scaled)
    assert_found(folder)  # one scale for all is no matter
    write(1, scene(1))
    with pytest.raises(DatasetError, match=r"declares \(scale, offset\) .*-unscale"):
        map_folder(folder)


def test_other_bands_are_refused_by_name(write, folder):
    write(0, scene(0), descriptions=("red", "green", "blue"))
    write(1, scene(1), descriptions=("nir", "red", "green"))
    with pytest.raises(BandMismatchError, match="tile1.tif has bands .* blue absent"):
        map_folder(folder)


# Refused


def test_a_colour_table_is_refused_with_the_way_out(write, folder):
    def table(dataset):
        dataset.write_colormap(1, {n: (n, 255 - n, 0, 255) for n in range(256)})

    write(0, scene(bands=1, **COLOUR), photometric="palette", after=table)
    with pytest.raises(
        BandMismatchError, match="numbers of a colour table.*-expand rgb"
    ):
        map_folder(folder)


def test_complex_images_are_refused(write, folder):
    write(0, scene(dtype="complex64"))
    with pytest.raises(DatasetError, match="holds complex numbers"):
        map_folder(folder)


def unreferenced(write, **profile):
    return write(0, scene(), crs=None, **profile)


def test_images_without_crs_are_trained_on_but_have_no_map(write, folder):
    path = unreferenced(write)
    assert_found(folder)
    with pytest.raises(RasterError, match="has no CRS.*gdal_edit.py -a_srs"):
        require_crs(describe(path))


@pytest.fixture
def by_points(folder, write):
    """Write an image that control points alone locate."""
    corners = [(0, 0), (0, SIDE), (SIDE, 0), (SIDE, SIDE)]
    points = [
        GroundControlPoint(row, col, GRID.c + 0.5 * col, GRID.f - 0.5 * row)
        for row, col in corners
    ]

    def place(dataset):
        dataset.gcps = points, CRS.from_epsg(32611)

    return unreferenced(write, after=place)


def test_control_points_alone_want_a_warp_before_a_map(by_points, folder):
    assert_found(folder)
    with pytest.raises(RasterError, match="ground control points alone.*gdalwarp -tps"):
        require_crs(describe(by_points))


def test_control_points_alone_want_a_warp_before_labels_on_the_map(by_points, town):
    labels = f"{town.labels}/tile0.geojson"
    tile = Tile("a", str(by_points), labels)
    with pytest.raises(
        LabelError,
        match="tile0.geojson have a CRS, but .* is located by ground control points "
        "alone, expected a grid in a CRS; warp it first: gdalwarp -tps .* rio warp",
    ):
        read_labels(tile, describe(by_points))


def test_rational_polynomials_alone_want_a_warp_before_a_map(write, folder):
    one, sample, line = np.eye(20)[[0, 1, 2]].tolist()
    camera = RPC(
        height_off=600,
        height_scale=500,
        lat_off=36.1,
        lat_scale=0.01,
        line_den_coeff=one,
        line_num_coeff=line,
        line_off=24,
        line_scale=24,
        long_off=-115.2,
        long_scale=0.01,
        samp_den_coeff=one,
        samp_num_coeff=sample,
        samp_off=24,
        samp_scale=24,
    )
    path = unreferenced(write, rpcs=camera)
    assert_found(folder)
    with pytest.raises(RasterError, match="RPC.*alone.*gdalwarp -rpc"):
        require_crs(describe(path))


def test_a_thinned_out_read_keeps_values_and_validity(write):
    pixels = scene(bands=1, size=(90, 90))
    pixels[:, 60:] = 0
    with open_raster(write(0, pixels)) as dataset:
        window = describe(dataset.name).window
        small, valid = read_window(dataset, (1,), window, shape=(30, 30))
    assert small.shape == (1, 30, 30)
    np.testing.assert_array_equal(small, pixels[:, 1::3, 1::3])
    np.testing.assert_array_equal(valid.any(axis=1), [True] * 20 + [False] * 10)
