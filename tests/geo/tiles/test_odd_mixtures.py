"""Images that differ from one another, or that geoseg refuses by name."""

import numpy as np
import pytest
from affine import Affine
from odd_images import GRID, SIDE, assert_found, map_folder, scene
from rasterio.control import GroundControlPoint
from rasterio.crs import CRS
from rasterio.rpc import RPC

from geoseg.core.errors import BandMismatchError, DatasetError, LabelError, RasterError
from geoseg.geo.labels.labels import read_labels
from geoseg.geo.rasters.raster import describe, open_raster, read_window, require_crs
from geoseg.geo.tiles.tiles import Tile


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

    write(
        0,
        scene(bands=1, dtype="uint8", low=20, high=220),
        photometric="palette",
        after=table,
    )
    with pytest.raises(
        BandMismatchError, match="indices of a colour table.*-expand rgb"
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
