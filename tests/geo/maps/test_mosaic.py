"""Images mapped as one raster: the map of the whole raster that they were cut from."""

import json
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import rasterio
import torch
from affine import Affine
from pixel_models import map_everything, network_model, random_image
from rasterio.enums import ColorInterp

from geoseg.core.errors import OutputExistsError, RasterError
from geoseg.geo.maps import job
from geoseg.geo.maps.mosaic import lay_out
from geoseg.geo.maps.options import MapOptions
from geoseg.geo.predict.unfinished import parts_folder
from geoseg.geo.rasters.raster import describe, open_raster, read_window

NAMES = ("red", "green", "blue", "nir")
GRID = Affine(0.5, 0, 664000, 0, -0.5, 4000000)
SHAPE = 100, 120  # pixels, in squares of 5
#: Windows and blocks that the images' borders cut.
SMALL = MapOptions(window=64, overlap=16, min_area_m2=0.0, batch_size=2)
TOGETHER = replace(SMALL, mosaic=True)
#: Rows and columns (start, stop) of images: two side by side, one over them.
PLACES = (((0, 60), (0, 50)), ((0, 50), (50, 120)), ((40, 100), (0, 120)))


@pytest.fixture(scope="module")
def model():
    return network_model()


def cut(write_tiff, pixels, places, *, mask=None, alpha=False, **profile):
    """Write parts of an image; return their names."""
    names = []
    for number, ((top, bottom), (left, right)) in enumerate(places):
        here = np.s_[..., top:bottom, left:right]
        profile["transform"] = GRID * Affine.translation(left, top)
        hidden = None if mask is None else mask[here]
        name = write_tiff(
            f"part{number}.tif",
            pixels[here],
            mask=hidden,
            descriptions=(*NAMES[: len(pixels) - alpha], *["alpha"] * alpha),
            **profile,
        )
        if alpha:
            with rasterio.open(name, "r+") as dataset:
                dataset.colorinterp = (
                    *[ColorInterp.undefined] * (len(pixels) - 1),
                    ColorInterp.alpha,
                )
        names.append(name)
    return names


def make(model, images, folder, options=SMALL):
    return map_everything(model, images, folder, options)


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def with_hole(pixels, value):
    pixels = pixels.copy()
    pixels[:, 20:80, 30:90] = value
    return pixels


PLAIN = np.kron(random_image(20, 24), np.ones((5, 5), np.uint16))
HIDDEN = np.full(SHAPE, 255, np.uint8)
HIDDEN[20:80, 30:90] = 0
BYTES = (PLAIN // 4).astype(np.uint8)
KINDS = {
    "uint16 that says nothing": (with_hole(PLAIN, 0), {}),
    "uint16 with nodata": (with_hole(PLAIN, 1234), {"nodata": 1234}),
    "uint16 with a mask": (PLAIN, {"mask": HIDDEN}),
    "uint16 with alpha": (
        np.concatenate([PLAIN, HIDDEN[None].astype(np.uint16) * 257]),
        {"alpha": True},
    ),
    "bytes that say nothing": (with_hole(BYTES, 0), {}),
    "bytes with nodata": (with_hole(BYTES, 0), {"nodata": 0}),
    "bytes with a mask": (BYTES, {"mask": HIDDEN}),
    "bytes with alpha": (np.concatenate([BYTES, HIDDEN[None]]), {"alpha": True}),
    "floats with nodata": (
        with_hole(PLAIN.astype(np.float32), -9999),
        {"nodata": -9999},
    ),
    "floats with NaN": (
        with_hole(PLAIN.astype(np.float32), np.nan),
        {"nodata": np.nan},
    ),
}


@pytest.mark.parametrize("kind", KINDS)
def test_cut_images_give_the_map_of_the_whole(write_tiff, model, tmp_path, kind):
    pixels, how = KINDS[kind]
    whole, *parts = cut(write_tiff, pixels, [((0, 100), (0, 120)), *PLACES], **how)
    make(model, [whole], tmp_path / "whole")
    make(model, parts, tmp_path / "parts", TOGETHER)
    assert contents(tmp_path / "parts") == contents(tmp_path / "whole")
    assert not parts_folder(tmp_path / "parts" / "b.geojson").exists()
    with rasterio.open(tmp_path / "parts" / "c.tif") as dataset:
        assert set(np.unique(dataset.read(1))) == {
            0,
            1,
            *[255] * (kind != "bytes that say nothing"),
        }


def test_remote_images_are_read_where_they_are(write_tiff, model, tmp_path, s3):
    pixels, how = KINDS["bytes with a mask"]
    whole, *parts = cut(write_tiff, pixels, [((0, 100), (0, 120)), *PLACES], **how)
    make(model, [whole], tmp_path / "whole")
    for part in parts:
        s3.put(Path(part).name, Path(part))
    remote = [f"s3://{s3.bucket}/{Path(part).name}" for part in parts]
    make(model, remote, tmp_path / "parts", TOGETHER)
    asked = {it.path for it in s3.requests if it.method == "GET"}
    assert asked == {f"/{s3.bucket}/{Path(part).name}" for part in parts}  # no listing
    assert contents(tmp_path / "parts") == contents(tmp_path / "whole")


@pytest.fixture
def pair(write_tiff):
    """Return ``pair(**other) -> images``: two side by side, the second one changed."""

    def write(pixels=PLAIN, **other):
        first = {"descriptions": NAMES, "transform": GRID}
        beside = {"transform": GRID * Affine.translation(120, 0)}
        return [
            write_tiff("first.tif", PLAIN, **first),
            write_tiff("second.tif", pixels, **first | beside | other),
        ]

    return write


TAP = r"bring all to one grid: gdalwarp -tap -tr 0\.5 0\.5 "


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ({"crs": "EPSG:32612"}, f"CRS EPSG:32612, expected EPSG:32611; {TAP}"),
        (
            {"transform": GRID * Affine.scale(0.8)},
            f"pixels of 0.4 x 0.4, expected 0.5 x 0.5; {TAP}",
        ),
        (
            {"transform": GRID * Affine.rotation(1)},
            rf"pixels of 0.5 x 0.5 \(turned\), expected 0.5 x 0.5; {TAP}",
        ),
        (
            {"transform": GRID * Affine.translation(120.3, 0)},
            f"its pixels lie 0.3 pixels off the grid; {TAP}",
        ),
        ({"pixels": PLAIN[:3], "descriptions": NAMES[:3]}, "bands red, green, blue,"),
        ({"descriptions": ("red", "green", "nir", "blue")}, "bands red, green, nir"),
        ({"pixels": BYTES}, "pixels of type uint8, expected uint16 in all bands"),
        ({"nodata": 0}, "nodata value 0.0, expected none; change it with gdalwarp"),
    ],
)
def test_what_keeps_two_images_from_one_mosaic_is_said(pair, tmp_path, other, message):
    images = [describe(path) for path in pair(**other)]
    fit = "second.tif does not fit .*first.tif in one mosaic: "
    with pytest.raises(RasterError, match=fit + message):
        lay_out(images, tmp_path, nodata="auto")


def test_images_far_apart_are_refused_before_anything_is_written(pair, model, tmp_path):
    images = pair(transform=GRID * Affine.translation(2000, 2000))
    with pytest.raises(RasterError, match="cover 0.5 % .* of 2120 x 2100 pixels, exp"):
        make(model, images, tmp_path / "map", TOGETHER)
    assert not any((tmp_path / "map").iterdir())


def test_a_mask_and_silence_do_not_go_together(pair, tmp_path):
    images = [describe(path) for path in pair(mask=HIDDEN)]
    with pytest.raises(
        RasterError, match="second.tif has a mask, .*first.tif declares no"
    ):
        lay_out(images, tmp_path, nodata="auto")


def test_images_here_and_far_away_are_not_mixed(pair, tmp_path):
    here, other = (describe(path) for path in pair())
    there = replace(other, path="s3://bucket/second.tif")
    with pytest.raises(RasterError, match="s3://bucket/second.tif is on a network"):
        lay_out([here, there], tmp_path, nodata="auto")


def test_gaps_that_a_model_would_take_for_data_are_refused(pair, tmp_path):
    near = [describe(path) for path in pair()]
    assert lay_out(near, tmp_path, nodata="none").grid.width == 240
    beyond = GRID * Affine.translation(130, 0)
    apart = [describe(path) for path in pair(transform=beyond)]
    with pytest.raises(RasterError, match="uint16 cannot represent .* nodata none"):
        lay_out(apart, tmp_path, nodata="none")
    mosaic = lay_out(apart, tmp_path, nodata="9999")
    mosaic.write()
    with open_raster(mosaic.grid.path) as dataset:
        _, valid = read_window(dataset, (1, 4), mosaic.grid.window, nodata="9999")
    assert valid.sum(axis=0).tolist() == [100] * 120 + [0] * 10 + [100] * 120


RGBA = np.concatenate([BYTES[:3], HIDDEN[None]])
#: Of alpha in four bands GDAL makes a mask by itself, in five it makes none.
MORE = {"bytes in four bands with alpha": (RGBA, {"alpha": True})}


@pytest.mark.parametrize("kind", KINDS | MORE)
def test_later_images_lie_over_earlier_ones_where_they_are_valid(
    write_tiff, tmp_path, kind
):
    pixels, how = (KINDS | MORE)[kind]
    everywhere = ((0, 100), (0, 120))
    first, second = cut(write_tiff, pixels, [everywhere, everywhere], **how)
    bands = describe(first).band_indexes
    with rasterio.open(first, "r+") as dataset:
        dataset.write(np.full((len(bands), *SHAPE), 5, pixels.dtype), bands)
        if how.get("alpha"):
            dataset.write(np.full(SHAPE, 255, pixels.dtype), len(bands) + 1)
        if "mask" in how:
            with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True):
                dataset.write_mask(np.ones(SHAPE, bool))
    mosaic = lay_out([describe(first), describe(second)], tmp_path, nodata="auto")
    mosaic.write()
    assert describe(mosaic.grid.path).band_names == NAMES[: len(bands)]
    with open_raster(second) as dataset:
        of_second, on_top = read_window(dataset, bands, mosaic.grid.window)
    with open_raster(mosaic.grid.path) as dataset:
        found, valid = read_window(dataset, bands, mosaic.grid.window)
    assert valid.all()
    assert on_top.any() and on_top.all() == (kind == "bytes that say nothing")
    np.testing.assert_array_equal(found, np.where(on_top, of_second, 5))


def test_a_stopped_mosaic_goes_on_and_is_refused_in_another_order(
    write_tiff, model, tmp_path, monkeypatch
):
    monkeypatch.setattr("geoseg.geo.predict.blocks.WINDOWS", 3)
    parts, options = cut(write_tiff, PLAIN, PLACES), replace(TOGETHER, window=32)
    make(model, parts, tmp_path / "whole", options)
    original = job.predict_rows

    def two_rows(*args, **options):
        yield from islice(original(*args, **options), 2)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(job, "predict_rows", two_rows)
        make(model, parts, tmp_path / "map", options)
    assert (parts_folder(tmp_path / "map" / "b.geojson") / "mosaic.vrt").exists()
    with pytest.raises(OutputExistsError, match="begun with a mosaic in another order"):
        make(model, parts[::-1], tmp_path / "map", options)
    make(model, parts, tmp_path / "map", options)
    assert contents(tmp_path / "map") == contents(tmp_path / "whole")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_two_processes_make_the_same_map_of_a_mosaic(write_tiff, model, tmp_path):
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    parts = cut(write_tiff, PLAIN, PLACES)
    try:
        make(model, parts, tmp_path / "one", TOGETHER)
        make(model, parts, tmp_path / "two", replace(TOGETHER, workers=2))
    finally:
        torch.set_num_threads(before)
    assert contents(tmp_path / "two") == contents(tmp_path / "one")


def test_a_mosaic_is_told_as_its_images(write_tiff, model, tmp_path, caplog):
    parts = cut(write_tiff, np.zeros_like(PLAIN), PLACES)
    summary = make(model, parts, tmp_path / "map", replace(TOGETHER, stac=True))
    assert summary.blank == ("the mosaic of 3 images",)
    assert "the mosaic of 3 images has no valid pixel" in caplog.text
    item = json.loads((tmp_path / "map" / "b.stac.json").read_text())
    sources = [it["href"] for it in item["links"] if it["rel"] == "derived_from"]
    assert sources == ["../part0.tif", "../part1.tif", "../part2.tif"]
    classes = item["assets"]["classes"]
    assert (classes["title"], classes["proj:shape"]) == (
        "Classes of all images",
        [100, 120],
    )
