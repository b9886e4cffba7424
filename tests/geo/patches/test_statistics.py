"""Percentiles over a split."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from geoseg.core.errors import DatasetError, ParameterError
from geoseg.core.normalization import Normalization
from geoseg.core.whitening import Whitening
from geoseg.geo.patches import statistics
from geoseg.geo.patches.statistics import (
    band_covariance,
    band_statistics,
    fit_normalization,
)
from geoseg.geo.rasters.description import PixelWindow
from geoseg.geo.tiles.tiles import Tile


def tile(path, window=None):
    return Tile(path, path, None, window)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16"])
def test_integer_percentiles_equal_numpys_on_the_concatenation(write_tiff, dtype):
    random = np.random.default_rng(0)
    parts = [random.gamma(2, 20, (2, 20, 31 + n)).astype(dtype) + 1 for n in range(3)]
    tiles = [tile(write_tiff(f"{n}.tif", part)) for n, part in enumerate(parts)]
    found = band_statistics(tiles, ("b1", "b2"))
    for band in range(2):
        values = np.concatenate([part[band].ravel() for part in parts])
        expected = np.percentile(values, [1, 99, 50])
        result = (found.low[band], found.high[band], found.median[band])
        np.testing.assert_allclose(result, expected, rtol=0, atol=1e-9)
    assert found.valid_pixels == sum(part[0].size for part in parts)


@pytest.mark.parametrize("dtype", ["float32", "float64", "int32", "uint32"])
@pytest.mark.parametrize("scale", [1e4, 1e8])
def test_other_percentiles_are_within_a_bin_of_numpys(write_tiff, dtype, scale):
    values = np.random.default_rng(1).lognormal(0, 1, (1, 90, 90)) * scale
    values = np.minimum(values, 2e9).astype(dtype)
    found = band_statistics([tile(write_tiff("a.tif", values))], ("pan",))
    expected = np.percentile(values, [1, 99, 50])
    result = (found.low[0], found.high[0], found.median[0])
    np.testing.assert_allclose(result, expected, rtol=1 / 512)


def test_negative_floats_are_in_order(write_tiff):
    values = np.random.default_rng(2).normal(-0.3, 1, (1, 90, 90)).astype(np.float32)
    found = band_statistics([tile(write_tiff("a.tif", values))], ("pan",))
    expected = np.percentile(values, [1, 99, 50])
    result = (found.low[0], found.high[0], found.median[0])
    np.testing.assert_allclose(result, expected, rtol=4 / 512)


def test_invalid_pixels_do_not_count(write_tiff):
    values = np.full((1, 10, 10), 5, np.float32)
    values[0, 0], values[0, 1], values[0, 2] = np.nan, -9999, np.inf
    values[0, 3:, 5:] = 7
    path = write_tiff("a.tif", values, nodata=-9999)
    found = band_statistics([tile(path)], ("pan",))
    assert found.valid_pixels == 70
    np.testing.assert_allclose((found.low[0], found.high[0]), (5, 7), rtol=1 / 512)


def test_only_the_tiles_window_counts(write_tiff):
    values = np.ones((1, 8, 8), np.uint8)
    values[0, 2:4, 3:6] = [[10, 20, 30], [40, 50, 60]]
    path = write_tiff("a.tif", values)
    one = tile(path, PixelWindow(2, 3, 2, 3))
    found = band_statistics([one], ("pan",), low=0, high=100)
    assert (found.low, found.high, found.median) == ((10.0,), (60.0,), (35.0,))


def test_strips_do_not_change_the_numbers(write_tiff, monkeypatch):
    values = np.random.default_rng(3).integers(1, 999, (3, 40, 30)).astype(np.uint16)
    tiles = [tile(write_tiff("a.tif", values))]
    whole = band_statistics(tiles, ("red", "blue"))
    monkeypatch.setattr(statistics, "_STRIP_VALUES", 130)
    assert band_statistics(tiles, ("red", "blue")) == whole


@given(
    height=st.integers(1, 5000),
    width=st.integers(1, 5000),
    bands=st.integers(1, 8),
    row=st.integers(0, 9),
)
@settings(deadline=None)
def test_strips_cover_the_window_once_and_are_bounded(height, width, bands, row):
    parts = list(statistics.strips(PixelWindow(row, 4, height, width), bands))
    assert sum(part.height for part in parts) == height
    next_row = row
    for part in parts:
        assert part.row == next_row and part.col == 4 and part.width == width
        assert part.height == 1 or part.height * width * bands <= 2**22
        next_row += part.height


def test_a_constant_band_gets_a_range_of_one(write_tiff):
    pixels = np.full((3, 4, 4), 9, np.uint8)
    pixels[1] = np.arange(16).reshape(4, 4)
    found = fit_normalization([tile(write_tiff("a.tif", pixels))], ("red", "green"))
    assert (found.low[0], found.high[0], found.fill[0]) == (9.0, 10.0, 0.0)


def test_bands_that_all_are_constant_are_refused(write_tiff):
    path = write_tiff("a.tif", np.full((1, 4, 4), 9, np.uint8))
    with pytest.raises(
        DatasetError, match=r"every valid pixel \(16 in all\) holds 9 \(pan\)"
    ):
        fit_normalization([tile(path)], ("pan",))


def test_fill_is_the_normalised_median(write_tiff):
    values = np.arange(101, dtype=np.uint8).reshape(1, 1, 101)
    found = fit_normalization([tile(write_tiff("a.tif", values))], ("pan",))
    assert (found.low, found.high, found.fill) == ((1.0,), (99.0,), (0.5,))


def test_types_count_together(write_tiff):
    values = np.random.default_rng(5).integers(1, 900, (2, 1, 40, 40))
    kinds = ("uint16", "int16", "float32", "float64")
    tiles = [
        tile(write_tiff(f"{kind}.tif", values[n % 2].astype(kind)))
        for n, kind in enumerate(kinds)
    ]
    found = band_statistics(tiles, ("pan",))
    expected = np.percentile(values, [1, 99, 50])
    result = (found.low[0], found.high[0], found.median[0])
    np.testing.assert_allclose(result, expected, rtol=1 / 256)
    assert found.valid_pixels == 4 * 1600


def test_nothing_valid_and_no_tiles_are_errors(write_tiff):
    empty = tile(write_tiff("a.tif", np.zeros((1, 4, 4), np.uint16)))
    with pytest.raises(DatasetError, match="has a valid pixel"):
        band_statistics([empty], ("pan",))
    with pytest.raises(DatasetError, match="no tile"):
        band_statistics([], ("pan",))
    real = tile(write_tiff("b.tif", np.ones((1, 4, 4), np.float32)))
    with pytest.raises(ParameterError, match="0 <= low < high <= 100"):
        band_statistics([real], ("pan",), low=50, high=50)


def test_covariance_equals_numpys_over_valid_pixels_of_all_tiles(
    write_tiff, monkeypatch
):
    random = np.random.default_rng(4)
    mixing = np.array([[1.0, 0.8, 0.1], [0.0, 0.5, 0.2], [0.0, 0.0, 0.7]])
    parts = [mixing @ random.random((3, 20 * (9 + n))) for n in range(3)]
    pixels = [(1000 + 9 * p).reshape(3, 20, -1).astype(np.float32) for p in parts]
    pixels[0][:, :4] = np.nan
    tiles = [tile(write_tiff(f"{n}.tif", part)) for n, part in enumerate(pixels)]
    stretch = fit_normalization(tiles, ("red", "green", "blue"))
    values = np.concatenate(
        [stretch(p, v := np.isfinite(p[0])).numpy()[:, v] for p in pixels], axis=1
    ).astype(float)
    monkeypatch.setattr(statistics, "_STRIP_VALUES", 130)
    mean, covariance = band_covariance(tiles, stretch)
    np.testing.assert_allclose(mean, values.mean(1), rtol=1e-12)
    np.testing.assert_allclose(covariance, np.cov(values, bias=True), rtol=1e-10)
    white = fit_normalization(tiles, stretch.bands, whiten="zca")
    assert white.whitening == Whitening.zca(mean, covariance)
    assert replace(white, whitening=None) == stretch


def test_covariance_of_nothing_is_an_error(write_tiff):
    empty = tile(write_tiff("a.tif", np.zeros((1, 4, 4), np.uint16)))
    stretch = Normalization(("pan",), (0.0,), (1.0,), (0.0,))
    with pytest.raises(DatasetError, match="no valid pixel"):
        band_covariance([empty], stretch)


@pytest.mark.parametrize(
    ("dtype", "nodata", "warned"),
    [("uint8", "auto", True), ("uint8", "0", False), ("uint8", "none", False)]
    + [("uint16", "auto", False)],  # where 0 is taken for nodata anyway
)
def test_gaps_of_zeros_that_count_as_data_are_warned_of(
    write_tiff, caplog, dtype, nodata, warned
):
    pixels = np.random.default_rng(0).integers(1, 200, (3, 40, 40)).astype(dtype)
    pixels[:, :10] = 0
    pixels[0, 20:] = 0  # dark in one band is no gap
    tiles = [tile(write_tiff("a.tif", pixels))]
    fit_normalization(tiles, ("red", "green", "blue"), nodata=nodata)
    said = "training tiles: 25 % of the pixels are exactly 0 in all bands: if that is "
    assert (said + "nodata, declare it" in caplog.text) == warned
    assert ("or give --nodata 0" in caplog.text) == warned
