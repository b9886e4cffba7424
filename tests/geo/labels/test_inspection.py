"""What labels say of tiles, counted by hand."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from geoseg.core.classes import LabelClasses
from geoseg.geo.evaluation.evaluation import evaluate_output
from geoseg.geo.labels import inspection as label_inspection
from geoseg.geo.labels.inspection import inspect_labels
from geoseg.geo.rasters import inspection
from geoseg.geo.tiles.tiles import Tile


def mask(*values, side=8):
    """Columns of one value each."""
    return np.tile(
        np.repeat(np.array(values, np.uint8), side // len(values)), (side, 1)
    )


def tiles_with(write_tiff, *masks, **classes):
    return [
        Tile(
            f"t{number}",
            write_tiff(f"images/t{number}.tif", np.ones((3, *values.shape), np.uint8)),
            write_tiff(f"masks/t{number}.tif", values[np.newaxis], nodata=255),
            **classes,
        )
        for number, values in enumerate(masks)
    ]


def test_shares_are_of_the_labelled_pixels(write_tiff):
    tiles = tiles_with(write_tiff, mask(0, 0, 0, 1), mask(255, 255, 0, 2), mask(0))
    facts = inspect_labels(tiles)
    assert (facts.kind, facts.files, facts.looked_at) == ("mask", 3, 3)
    # of 64 + 32 + 64 labelled pixels 16 + 16 are building
    assert facts.classes == {"background": 0.8, "building": 0.2}
    assert facts.unlabelled == 32 / 192
    assert facts.by_tile == (0, 0.5)
    assert facts.empty == 1
    assert facts.values == {
        "0": 128 / 192,
        "no data": 32 / 192,
        "1": 1 / 12,
        "2": 1 / 12,
    }
    assert (facts.polygons, facts.inside, facts.fields) == (None, None, {})
    assert facts.crs == "EPSG:32611" and not facts.other_crs and not facts.other_grid


def test_values_of_no_class_are_unlabelled(write_tiff):
    classes = LabelClasses.parse("background=0,building=1")
    (tile,) = tiles_with(write_tiff, mask(0, 0, 1, 2), classes=classes)
    facts = inspect_labels([tile])
    assert facts.classes == {"background": 2 / 3, "building": 1 / 3}
    assert facts.unlabelled == 0.25


def test_pixels_where_the_image_has_no_data_count_nowhere(write_tiff):
    pixels = np.ones((3, 8, 8), np.uint8)
    pixels[:, :, 6:] = 0
    image = write_tiff("image.tif", pixels, nodata=0)
    labels = write_tiff("mask.tif", mask(0, 1, 255, 1)[np.newaxis], nodata=255)
    tile = Tile("a", image, labels)
    facts = inspect_labels([tile])
    assert facts.classes == {"background": 0.5, "building": 0.5}
    assert facts.unlabelled == 1 / 3
    assert inspect_labels([tile], nodata="none").unlabelled == 1 / 4
    scored = evaluate_output(Path(labels), [tile]).confusions.sum(0)
    assert scored.sum(1).tolist() == [16, 16]  # as evaluate has it
    empty = Tile("b", write_tiff("empty.tif", 0 * pixels, nodata=0), labels)
    facts = inspect_labels([empty])
    assert (facts.unlabelled, facts.by_tile) == (0, None)


def test_of_remote_images_fewer_pixels_are_read(write_tiff, monkeypatch):
    tiles = tiles_with(write_tiff, mask(0), mask(1), mask(0), mask(1))
    monkeypatch.setattr(label_inspection, "REMOTE_PIXELS", 128)
    assert inspect_labels(tiles).looked_at == 4
    below = [replace(t, image=f"/vsisubfile/0_,{t.image}") for t in tiles]
    assert inspect_labels(below).looked_at == 2


def test_of_many_pixels_some_tiles_are_looked_at(write_tiff, monkeypatch):
    tiles = tiles_with(write_tiff, mask(0), mask(1), mask(0), mask(1))
    monkeypatch.setattr(label_inspection, "WHOLE_PIXELS", 128)
    facts = inspect_labels(tiles)
    assert (facts.tiles, facts.looked_at) == (4, 2)
    assert facts.classes["building"] == 0


def test_of_a_large_image_some_windows_are_read(write_tiff, monkeypatch):
    monkeypatch.setattr(inspection, "_WINDOW", 4)
    monkeypatch.setattr(label_inspection, "WHOLE_PIXELS", 100)
    (tile,) = tiles_with(write_tiff, mask(0, 1, side=64))
    facts = inspect_labels([tile])
    assert facts.classes == {"background": 0.5, "building": 0.5}


def test_a_feature_of_several_parts_is_one_polygon(
    write_tiff, write_geojson, rectangle
):
    image = write_tiff("image.tif", np.ones((3, 8, 8), np.uint8))
    parts = [rectangle(0, 0, 2, 2), rectangle(4, 4, 2, 2), rectangle(90, 90, 2, 2)]
    both = {
        "type": "MultiPolygon",
        "coordinates": [part["coordinates"] for part in parts],
    }
    far = rectangle(80, 80, 2, 2)
    shapes = [both, rectangle(0, 6, 2, 2), far]
    labels = write_geojson("a.geojson", shapes, crs="EPSG:32611")
    facts = inspect_labels([Tile("a", image, labels)])
    assert (facts.polygons, facts.inside) == (3, 2)
    # 3 parts of 4 pixels lie in the image
    assert facts.classes["building"] == 12 / 64
