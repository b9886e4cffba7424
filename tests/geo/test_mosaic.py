"""Images mapped as one raster: the map of the whole raster that they were cut from."""

from dataclasses import replace

import numpy as np
import pytest
import rasterio
from affine import Affine
from pixel_models import network_model, random_image
from rasterio.enums import ColorInterp

from geoseg.geo.mapping import MapOptions, map_buildings
from geoseg.geo.unfinished import parts_folder

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
            descriptions=(*NAMES, "alpha")[: len(pixels)],
            **profile,
        )
        if alpha:
            with rasterio.open(name, "r+") as dataset:
                dataset.colorinterp = [ColorInterp.undefined] * 4 + [ColorInterp.alpha]
        names.append(name)
    return names


def make(model, images, folder, options=SMALL, **more):
    folder.mkdir(exist_ok=True)
    return map_buildings(
        model,
        images,
        folder / "b.geojson",
        classes=folder / "c.tif",
        probability=folder / "p.tif",
        clusters=folder / "k.tif",
        options=options,
        **more,
    )


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
    "uint16 with nodata": (with_hole(PLAIN, 77), {"nodata": 77}),
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
