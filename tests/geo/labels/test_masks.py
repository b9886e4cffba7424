"""Values of masks made classes."""

import numpy as np
import pytest
import rasterio

from geoseg.core.classes import LabelClasses
from geoseg.core.errors import LabelError
from geoseg.geo.labels import masks as label_masks
from geoseg.geo.labels.labels import (
    check_labels,
    check_two_classes,
    read_footprints,
    read_labels,
)
from geoseg.geo.rasters.description import PixelWindow
from geoseg.geo.rasters.raster import describe, open_raster
from geoseg.geo.tiles.tiles import Tile

VALUES = np.array([[0, 1, 2, 3], [6, 7, 17, 255]], np.uint8)


@pytest.fixture
def image(write_tiff):
    return write_tiff("image.tif", np.ones((3, 2, 4), np.uint8))


def labels_of(image, path, text):
    tile = Tile("a", image, str(path), None, LabelClasses.parse(text))
    return read_labels(tile, describe(image)).tolist()


def test_values_become_the_classes_that_name_them(image, write_tiff):
    path = write_tiff("m.tif", VALUES[None])
    found = labels_of(image, path, "background,building,road,tree")
    assert found == [[0, 1, 2, 3], [255, 255, 255, 255]]
    coarse = "background=*,building=17,road=6,road=7"
    assert labels_of(image, path, coarse) == [[0, 0, 0, 0], [2, 2, 1, 255]]
    # 255 is a value like others where it is named
    named = "background=*,building=255"
    assert labels_of(image, path, named) == [[0, 0, 0, 0], [0, 0, 0, 1]]
    declared = write_tiff("n.tif", VALUES[None], nodata=3)
    assert labels_of(image, declared, coarse) == [[0, 0, 0, 255], [2, 2, 1, 255]]
    # a name says more than the file: with nodata 0, 0 may be the background all the same
    declared = write_tiff("o.tif", VALUES[None], nodata=6)
    assert labels_of(image, declared, coarse) == [[0, 0, 0, 0], [2, 2, 1, 255]]


@pytest.mark.parametrize("kind", [np.int16, np.uint32, np.float32])
def test_masks_may_have_any_numbers(image, write_tiff, kind):
    values = np.array([[0, 1, 1000, 3], [-1, 7, 17, 300]]).astype(kind)
    path = write_tiff("m.tif", values[None])
    found = labels_of(image, path, "background=0,building=1000,building=300")
    assert found == [[0, 255, 1, 255], [255, 255, 255, 1]]


def test_colours_are_classes_as_in_isprs_maps(image, write_tiff):
    legend = {"#ffffff": 0, "#0000ff": 1, "#00ff00": 2, "#ff0000": 255}
    ids = np.array([[0, 1, 2, 255], [1, 1, 0, 2]])
    colours = np.zeros((3, 2, 4), np.uint8)
    for colour, class_id in legend.items():
        rgb = [int(colour[i : i + 2], 16) for i in (1, 3, 5)]
        colours[:, ids == class_id] = np.array(rgb)[:, None]
    path = write_tiff("m.tif", colours, photometric="rgb")
    text = "ground=#FFFFFF,building=#0000ff,tree=#00ff00"
    assert labels_of(image, path, text) == ids.tolist()
    single = write_tiff("s.tif", VALUES[None])
    with pytest.raises(LabelError, match="has 1 bands and the classes are colours"):
        labels_of(image, single, text)


def test_unknown_values_are_counted_in_one_line(image, write_tiff, caplog):
    path = write_tiff("m.tif", VALUES[None])
    classes = LabelClasses.parse("background,building,road")
    check_labels([Tile(name, image, path, None, classes) for name in "ab"])
    (line,) = caplog.messages
    assert "3 (1), 6 (1), 7 (1), 17 (1) in 1 of 1 file, " in line
    assert "--classes" in line


def test_a_mask_of_0_and_255_is_read_once_255_is_named(image, write_tiff):
    mask = np.where(VALUES > 2, 255, 0).astype(np.uint8)
    path = write_tiff("m.tif", mask[None])
    with pytest.raises(LabelError, match="--classes background=0,building=255"):
        read_labels(Tile("a", image, path), describe(image))
    found = labels_of(image, path, "background=0,building=255")
    assert found == (mask == 255).astype(int).tolist()


def test_footprints_of_a_mask_are_those_of_the_class(image, write_tiff):
    path = write_tiff("m.tif", VALUES[None])
    tile = Tile("a", image, path, None, LabelClasses.parse("background=*,road=6,b=17"))
    (road,) = read_footprints(tile, pixels=True, class_id=1)
    assert road.bounds == (0, 1, 1, 2)
    (other,) = read_footprints(tile, pixels=True, class_id=2)
    assert other.bounds == (2, 1, 3, 2)


@pytest.mark.parametrize("text", [None, "background=*,building=6"])
def test_values_that_nobody_named_are_said_to_be_building(
    image, write_tiff, caplog, text
):
    values = np.where(VALUES == 255, 0, VALUES)
    path = write_tiff("m.tif", values[None])
    classes = LabelClasses() if text is None else LabelClasses.parse(text)
    check_labels([Tile(name, image, path, None, classes) for name in "ab"])
    assert len(caplog.messages) == (text is None)
    found = ", ".join(map(str, sorted(set(values[values > 0].tolist()))))
    assert all(
        message.startswith(f"label values {found} all count as building")
        for message in caplog.messages
    )


def mask_of(values, *, classes=None, **profile):
    """Return ``read(image, write_tiff)`` of a mask, and its tile."""
    pixels = np.asarray(values)
    pixels = pixels if pixels.ndim == 3 else pixels[None]
    classes = LabelClasses() if classes is None else LabelClasses.parse(classes)

    def read(image, write_tiff):
        path = write_tiff("m.tif", pixels, **profile)
        tile = Tile("a", image, path, None, classes)
        return tile, read_labels(tile, describe(image)).tolist()

    return read


HOUSE = np.array([[0, 1, 1, 0], [0, 1, 0, 0]], np.uint8)
GAP = np.array([[1, 1, 1, 0], [1, 1, 1, 1]], np.uint8)  # the last of the first row
PARTLY = [[0, 1, 1, 255], [0, 1, 0, 0]]


@pytest.mark.parametrize(
    ("read", "expected"),
    [
        (mask_of(np.stack([HOUSE, 255 * GAP]), alpha=True), PARTLY),
        (mask_of(HOUSE, mask=255 * GAP), PARTLY),
        (mask_of(np.where(GAP, HOUSE, 9), nodata=9), PARTLY),
        (mask_of(np.where(GAP, HOUSE, np.nan).astype("float32")), PARTLY),
        (mask_of(np.where(GAP, 1.0 * HOUSE, -3.4028235e38).astype("float32")), PARTLY),
        (
            mask_of(np.where(GAP, 1.0 * HOUSE, -9999).astype("float32"), nodata=-9999),
            PARTLY,
        ),
        (mask_of(np.where(GAP, 1.0 * HOUSE, -1).astype("int16"), nodata=-1), PARTLY),
        (mask_of(np.where(GAP, HOUSE, 255)), PARTLY),
        # 0 in more than 8 bit is no gap, as it is in images
        (mask_of(HOUSE.astype("uint16")), HOUSE.tolist()),
        (mask_of(HOUSE.astype("float64")), HOUSE.tolist()),
        (mask_of(HOUSE, nbits=1), HOUSE.tolist()),
        (mask_of(np.stack([HOUSE] * 3), photometric="rgb"), HOUSE.tolist()),
        (
            mask_of(
                255 * np.stack([HOUSE, HOUSE, HOUSE, GAP]),
                classes="ground=#000000,house=#ffffff",
                photometric="rgb",
                alpha=True,
            ),
            PARTLY,
        ),
        (mask_of(255 * HOUSE, nodata=0, classes="land=0,house=255"), HOUSE.tolist()),
        (mask_of(HOUSE, nodata=0, classes="background,house"), HOUSE.tolist()),
    ],
)
def test_masks_have_the_gaps_that_images_have(image, write_tiff, read, expected):
    _, found = read(image, write_tiff)
    assert found == expected


def test_a_palette_names_the_colours_of_a_mask(image, write_tiff):
    path = write_tiff("m.tif", HOUSE[None] * 7)
    with rasterio.open(path, "r+") as dataset:
        dataset.write_colormap(1, {0: (0, 0, 0, 255), 7: (255, 0, 16, 255)})
    assert labels_of(image, path, "ground=#000000,house=#ff0010") == HOUSE.tolist()
    assert labels_of(image, path, "ground=0,house=7") == HOUSE.tolist()


def test_bands_that_differ_are_no_class_values(image, write_tiff):
    read = mask_of(np.stack([HOUSE, 1 - HOUSE]))
    with pytest.raises(LabelError, match="2 bands that differ, expected one of class"):
        read(image, write_tiff)


@pytest.mark.parametrize(
    ("read", "said"),
    [
        (
            mask_of(HOUSE * 3, nodata=0),
            "where it holds 0, its nodata value: if that is the background, name it by "
            "--classes background=0,building=3",
        ),
        (mask_of(np.stack([HOUSE, 255 * HOUSE]), alpha=True), "drop that band"),
        (mask_of(HOUSE, mask=255 * HOUSE), "gdal_translate -mask none"),
    ],
)
def test_what_hides_the_background_is_said_where_building_is_left(
    image, write_tiff, read, said, caplog
):
    tile, _ = read(image, write_tiff)
    with pytest.raises(LabelError, match="nothing but building, so clusters") as error:
        check_two_classes([tile])
    assert said in str(error.value)
    check_labels([tile])
    assert ("nodata" in caplog.text) == (" 0, its nodata" in said)


def test_a_name_for_nodata_and_an_undeclared_255_are_said(image, write_tiff, caplog):
    tile, _ = mask_of(HOUSE, nodata=0, classes="background,house")(image, write_tiff)
    check_labels([tile])
    assert "the value 0, which --classes names, is nodata in 1 of 1 mask" in caplog.text
    caplog.clear()
    tile, _ = mask_of(np.where(GAP, HOUSE, 255))(image, write_tiff)
    check_labels([tile])
    assert "the value 255 counts as unlabelled, though" in caplog.text


def test_an_undeclared_255_reads_a_mask_once(write_tiff, monkeypatch):
    """A window without a class asks the rest of the mask, and not each time."""
    values = np.zeros((1, 64, 64), np.uint8)
    values[0, 32:], values[0, 1, 1] = 255, 1
    image = write_tiff("big.tif", values)
    tile = Tile("a", image, write_tiff("m.tif", values), PixelWindow(40, 40, 8, 8))
    opened = []
    monkeypatch.setattr(
        label_masks,
        "open_raster",
        lambda path: opened.append(path) or open_raster(path),
    )
    grid = describe(image)
    for _ in range(5):
        assert (read_labels(tile, grid) == 255).all()
    assert len(opened) == 5 + 1
