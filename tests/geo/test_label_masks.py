"""Values of masks made classes."""

import numpy as np
import pytest

from geoseg.classes import LabelClasses
from geoseg.errors import LabelError
from geoseg.geo.aoi import Tile
from geoseg.geo.labels import check_labels, read_footprints, read_labels
from geoseg.geo.raster import describe

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
    declared = write_tiff("n.tif", VALUES[None], nodata=6)
    assert labels_of(image, declared, coarse) == [[0, 0, 0, 0], [255, 2, 1, 255]]


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
