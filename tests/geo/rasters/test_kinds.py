"""Masks and geoseg's own rasters are told from images."""

import numpy as np
import pytest

from geoseg.geo.rasters.inspection import inspect_image

TAGS = {"GEOSEG_VERSION": "0"}


def noise(dtype, bands=1, values=None):
    drawn = np.random.default_rng(0).integers(0, values or 200, (bands, 40, 40))
    return drawn.astype(dtype)


@pytest.mark.parametrize(
    ("pixels", "kind"),
    [
        (noise("uint8"), "image"),
        (noise("uint16"), "image"),
        (noise("float32") / 7, "image"),
        (noise("uint8", values=2), "mask"),
        (noise("float32", values=2), "mask"),
        (noise("uint16", values=16), "mask"),
        (noise("uint16", values=17), "image"),
        # a flat image is not a mask, a mask of a tile without a building is one
        (np.full((1, 8, 8), 900, np.uint16), "image"),
        (np.zeros((1, 8, 8), np.uint16), "image"),
        (np.zeros((1, 8, 8), np.uint8), "mask"),
        # colours, as in the maps of ISPRS
        (noise("uint8", bands=3, values=2) * 255, "mask"),
        (noise("uint8", bands=3), "image"),
        (noise("uint8", bands=4, values=2), "image"),
    ],
)
def test_few_values_make_a_mask(write_tiff, pixels, kind):
    facts = inspect_image(write_tiff("a.tif", pixels))
    assert facts.kind == kind
    assert (kind == "mask") <= bool(facts.values)


def test_values_are_as_classes_name_them(write_tiff):
    pixels = np.zeros((3, 2, 2), np.uint8)
    pixels[0, 0] = 255
    facts = inspect_image(write_tiff("a.tif", pixels))
    assert facts.values == {"#ff0000": 0.5, "#000000": 0.5}
    pixels = np.array([[[0, 2], [2, 9]]], np.uint8)
    facts = inspect_image(write_tiff("b.tif", pixels, nodata=9))
    assert facts.values == {"2": 0.5, "0": 0.25, "no data": 0.25}
