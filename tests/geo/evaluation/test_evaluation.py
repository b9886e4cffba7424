"""Tests of geoseg.geo.evaluation.evaluation and geoseg.scores.scores."""

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import rasterio
import torch
from affine import Affine

from geoseg.core.classes import LabelClasses
from geoseg.core.errors import (
    DatasetError,
    LabelError,
    OutputExistsError,
    ParameterError,
    RasterError,
)
from geoseg.core.normalization import Normalization
from geoseg.geo.evaluation.evaluation import (
    count_classes,
    evaluate_model,
    evaluate_output,
)
from geoseg.geo.rasters.description import PixelWindow
from geoseg.geo.tiles.tiles import Tile
from geoseg.scores.metrics import PolygonCounts
from geoseg.scores.scores import Scores, TileCounts, majority_scores, write_scores
from geoseg.scores.tables import score_document

SIZE = 40
EDGE = 500_000.0, 4_000_000.0


def write(path, pixels, *, row=0, col=0, **profile):
    """Write (B, H, W) pixels at half a metre, moved by rows and columns."""
    pixels = np.atleast_3d(pixels) if pixels.ndim == 3 else pixels[np.newaxis]
    left, top = EDGE[0] + col / 2, EDGE[1] - row / 2
    transform = Affine(0.5, 0, left, 0, -0.5, top)
    with rasterio.open(
        path,
        "w",
        **{"driver": "GTiff", "crs": "EPSG:32611", "transform": transform} | profile,
        width=pixels.shape[2],
        height=pixels.shape[1],
        count=pixels.shape[0],
        dtype=pixels.dtype,
    ) as dataset:
        dataset.write(pixels)
    return path


def house(row, col, height, width):
    """GeoJSON rectangle over whole pixels of the grid of :func:`write`."""
    left, top = EDGE[0] + col / 2, EDGE[1] - row / 2
    right, bottom = left + width / 2, top - height / 2
    ring = [(left, top), (right, top), (right, bottom), (left, bottom), (left, top)]
    return {
        "type": "Feature",
        "properties": {},
        "geometry": {"type": "Polygon", "coordinates": [ring]},
    }


def write_houses(path, *houses):
    name = {"type": "name", "properties": {"name": "urn:ogc:def:crs:EPSG::32611"}}
    path.write_text(
        json.dumps(
            {
                "type": "FeatureCollection",
                "crs": name,
                "features": [house(*place) for place in houses],
            }
        )
    )
    return path


@pytest.fixture
def tile(tmp_path):
    """A tile with two houses of 100 pixels each."""
    image = np.full((3, SIZE, SIZE), 50, dtype=np.uint8)
    image[:, 5:15, 5:15] = 200
    image[:, 20:30, 20:30] = 200
    path = write(tmp_path / "img1.tif", image)
    labels = write_houses(tmp_path / "img1.geojson", (5, 5, 10, 10), (20, 20, 10, 10))
    return Tile("img1", str(path), str(labels))


def one_house():
    classes = np.zeros((SIZE, SIZE), dtype=np.uint8)
    classes[5:15, 5:15] = 1
    return classes


ONE_FOUND = [[SIZE * SIZE - 200, 0], [100, 100]]


def test_a_class_raster_is_scored_pixel_by_pixel_and_house_by_house(tile, tmp_path):
    raster = write(tmp_path / "classes.tif", one_house(), nodata=255)
    scores = evaluate_output(raster, [tile])
    assert scores.confusions.tolist() == [ONE_FOUND]
    assert scores.tiles[0].polygons == (1, 0, 1)
    assert scores.metrics()["iou"].value == pytest.approx(0.5)
    assert scores.metrics()["polygon_f1"].value == pytest.approx(2 / 3)


def test_a_map_of_0_and_255_must_say_what_255_is(tile, tmp_path):
    """Most other tools write 255 for building, and geoseg for nodata."""
    raster = write(tmp_path / "classes.tif", 255 * one_house())
    said = "holds only 0 and 255 .*expected 1 .*-scale 0 255 0 1.*-a_nodata 255"
    with pytest.raises(RasterError, match=said):
        evaluate_output(raster, [tile])
    named = replace(tile, classes=LabelClasses.parse("background=0,building=255"))
    scores = evaluate_output(raster, [named])
    assert scores.confusions.tolist() == [ONE_FOUND]
    # a part without a building, of a map that has one, says enough by itself
    classes = one_house()
    classes[20:] = 255
    raster = write(tmp_path / "gaps.tif", classes)
    part = replace(tile, window=PixelWindow(16, 0, SIZE - 16, SIZE))
    assert evaluate_output(raster, [part]).confusions.sum() == (SIZE - 16) * SIZE


def test_footprints_are_scored_like_the_raster_they_cover(tile, tmp_path):
    footprints = write_houses(tmp_path / "footprints.geojson", (5, 5, 10, 10))
    scores = evaluate_output(footprints, [tile])
    assert scores.confusions.tolist() == [ONE_FOUND]
    assert scores.tiles[0].polygons == (1, 0, 1)


def test_the_reference_scores_perfectly_against_itself(tile):
    scores = evaluate_output(Path(tile.labels), [tile])
    values = scores.metrics()
    assert values["accuracy"].value == values["iou"].value == 1.0
    assert values["polygon_f1"].value == values["kappa"].value == 1.0


@pytest.mark.parametrize("mapped, warned", [(1, True), (2, False)])
def test_footprints_on_few_of_the_tiles_are_warned_of(
    tile, tmp_path, caplog, mapped, warned
):
    rows = [PixelWindow(row, 0, 5, SIZE) for row in (5, 10, 20)]  # all have buildings
    tiles = [Tile(f"part{i}", tile.image, tile.labels, r) for i, r in enumerate(rows)]
    houses = [(row.row, 5, 5, 10) for row in rows[:mapped]]
    evaluate_output(write_houses(tmp_path / "footprints.geojson", *houses), tiles)
    assert ("no footprint on 2 of 3 tiles" in caplog.text) is warned


def test_a_tile_that_is_a_window_is_scored_within_it(tile, tmp_path):
    part = Tile("part", tile.image, tile.labels, PixelWindow(0, 0, 18, SIZE))
    raster = write(tmp_path / "classes.tif", one_house(), nodata=255)
    scores = evaluate_output(raster, [part])
    assert scores.confusions.tolist() == [[[18 * SIZE - 100, 0], [0, 100]]]
    assert scores.tiles[0].polygons == (1, 0, 0)


def test_a_larger_class_raster_on_the_same_grid_is_read_at_the_tile(tile, tmp_path):
    mosaic = np.full((100, 90), 1, dtype=np.uint8)
    mosaic[30 : 30 + SIZE, 20 : 20 + SIZE] = one_house()
    path = write(tmp_path / "mosaic.tif", mosaic, row=-30, col=-20)
    assert evaluate_output(path, [tile]).confusions.tolist() == [ONE_FOUND]


@pytest.mark.parametrize(
    ("change", "crs"),
    [({"row": 0.5}, {}), ({"col": 1}, {}), ({}, {"crs": "EPSG:32612"})],
    ids=["half a pixel", "outside", "another CRS"],
)
def test_a_class_raster_off_the_grid_is_refused(tile, tmp_path, change, crs):
    path = write(tmp_path / "classes.tif", one_house(), **change, **crs)
    with pytest.raises(RasterError, match="no class raster covers tile img1"):
        evaluate_output(path, [tile])


def test_of_a_folder_the_raster_named_like_the_image_is_taken(tile, tmp_path):
    folder = tmp_path / "maps"
    folder.mkdir()
    write(folder / "img10_classes.tif", np.ones((SIZE, SIZE), dtype=np.uint8))
    write(folder / "img1_classes.tif", one_house())
    assert evaluate_output(folder, [tile]).confusions.tolist() == [ONE_FOUND]


def test_of_a_folder_with_other_names_the_raster_that_covers_is_taken(tile, tmp_path):
    folder = tmp_path / "maps"
    folder.mkdir()
    write(folder / "a.tif", np.ones((SIZE, SIZE), dtype=np.uint8), row=7)
    write(folder / "b.tif", one_house())
    assert evaluate_output(folder, [tile]).confusions.tolist() == [ONE_FOUND]


def test_nodata_of_the_prediction_is_background_and_of_the_image_is_left_out(
    tile, tmp_path
):
    classes = one_house()
    classes[20:30, 20:30] = 255  # nothing predicted over the second house
    raster = write(tmp_path / "classes.tif", classes, nodata=255)
    assert evaluate_output(raster, [tile]).confusions.tolist() == [ONE_FOUND]
    image = np.full((3, SIZE, SIZE), 50, dtype=np.uint8)
    image[:, 20:] = 0
    write(tmp_path / "img1.tif", image, nodata=0)
    scores = evaluate_output(raster, [tile])
    assert scores.confusions.tolist() == [[[20 * SIZE - 100, 0], [0, 100]]]


@pytest.mark.parametrize(
    ("pixels", "words"),
    [
        (np.full((SIZE, SIZE), 7, dtype=np.uint8), "holds value 7, expected class ids"),
        (
            np.zeros((SIZE, SIZE), dtype=np.float32),
            "bands of float32, expected a class",
        ),
        (np.zeros((2, SIZE, SIZE), dtype=np.uint8), "has 2 bands of uint8"),
    ],
)
def test_rasters_that_are_not_of_classes_are_refused(tile, tmp_path, pixels, words):
    path = write(tmp_path / "classes.tif", pixels)
    with pytest.raises(RasterError, match=words):
        evaluate_output(path, [tile])


def test_what_cannot_be_scored_is_refused(tile, tmp_path):
    raster = write(tmp_path / "classes.tif", one_house())
    with pytest.raises(DatasetError, match="no tiles to score"):
        evaluate_output(raster, [])
    with pytest.raises(LabelError, match="1 of 1 tile without labels"):
        evaluate_output(raster, [Tile("bare", tile.image)])
    with pytest.raises(RasterError, match="ends in '.kml', expected class rasters"):
        evaluate_output(tmp_path / "houses.kml", [tile])
    with pytest.raises(RasterError, match="no class raster in"):
        (tmp_path / "empty").mkdir()
        evaluate_output(tmp_path / "empty", [tile])
    three = replace(tile, classes=LabelClasses.parse("background,building,road"))
    with pytest.raises(ParameterError, match="found 3 classes: score the class raster"):
        evaluate_output(tmp_path / "f.geojson", [three])


class BrightIsBuilding:
    """A model that knows the answer for the fixture's tile."""

    card = SimpleNamespace(
        normalization=Normalization(
            bands=("red", "green", "blue"),
            low=(0.0,) * 3,
            high=(255.0,) * 3,
            fill=(0.5,) * 3,
        ),
        nodata="auto",
        class_names=("background", "building"),
    )

    def class_probabilities(self, image, valid):
        building = (image.mean(1) > 0.5).float()
        return torch.stack([1 - building, building], dim=1)


def test_a_model_is_scored_on_the_maps_it_predicts(tile):
    scores = evaluate_model(
        BrightIsBuilding(), [tile], name="bright", window=32, overlap=8
    )
    assert scores.name == "bright"
    assert scores.confusions.tolist() == [[[SIZE * SIZE - 200, 0], [0, 200]]]
    assert scores.tiles[0].polygons == (2, 0, 0)


def test_a_model_is_scored_within_a_tiles_window(tile):
    part = Tile("part", tile.image, tile.labels, PixelWindow(16, 16, 20, 20))
    scores = evaluate_model(
        BrightIsBuilding(), [part], name="bright", window=16, overlap=4
    )
    assert scores.confusions.tolist() == [[[300, 0], [0, 100]]]
    assert scores.tiles[0].polygons == (1, 0, 0)


def test_a_model_is_not_scored_on_the_tiles_it_was_matched_on(tile):
    with pytest.raises(DatasetError, match="tiles img1 were used for matching"):
        evaluate_model(BrightIsBuilding(), [tile], name="x", match_tiles=[tile])


def test_confusion_leaves_unlabelled_pixels_out():
    predicted = np.array([[0, 1, 1, 255]], dtype=np.uint8)
    reference = np.array([[1, 255, 1, 1]], dtype=np.uint8)
    found = count_classes(predicted, reference, num_classes=2)
    assert found.tolist() == [[0, 0], [2, 1]]


def example(name="iic/over"):
    tiles = (
        TileCounts("a", np.array([[60, 10], [10, 20]]), PolygonCounts(6, 2, 4)),
        TileCounts("b", np.array([[90, 0], [5, 5]]), PolygonCounts(1, 0, 3)),
    )
    return Scores(name, ("background", "building"), tiles)


def test_majority_gets_all_background_right_and_finds_no_house():
    control = majority_scores(example())
    assert control.name == "majority"
    assert control.confusions.tolist() == [[[70, 0], [30, 0]], [[90, 0], [10, 0]]]
    assert [tile.polygons for tile in control.tiles] == [(0, 0, 10), (0, 0, 4)]
    assert control.metrics()["iou"].value == 0.0


def test_scores_file_holds_values_intervals_tiles_and_how_they_came_to_be(tmp_path):
    path = tmp_path / "scores.json"
    entries = [example(), majority_scores(example())]
    write_scores(path, entries, command="geoseg evaluate x", seed=3)
    document = json.loads(path.read_text())
    assert document["command"] == "geoseg evaluate x" and document["seed"] == 3
    entry, control = document["entries"]
    assert entry["metrics"]["iou"]["value"] == pytest.approx(25 / 50)
    low, high = entry["metrics"]["iou"]["interval"]
    assert low <= 0.5 <= high
    assert entry["metrics"]["building_share"]["value"] == pytest.approx(0.2)
    assert entry["class_iou"]["building"] == pytest.approx(0.5)
    assert [tile["tile"] for tile in entry["tiles"]] == ["a", "b"]
    assert entry["tiles"][1]["polygons"] == {"tp": 1, "fp": 0, "fn": 3}
    assert control["metrics"]["precision"] == {"value": None, "interval": [None, None]}
    assert list(tmp_path.iterdir()) == [path]


def test_scores_file_is_not_overwritten_unasked(tmp_path):
    path = tmp_path / "scores.json"
    path.write_text("mine")
    with pytest.raises(OutputExistsError, match="exists already"):
        write_scores(path, [example()])
    assert path.read_text() == "mine"
    write_scores(path, [example()], overwrite=True)
    assert json.loads(path.read_text())["entries"]


def test_table_has_a_row_an_entry_and_says_what_a_constant_scores():
    lines = str(score_document([example(), majority_scores(example())])).splitlines()
    assert lines[0].count("|") == lines[2].count("|") == lines[3].count("|")
    assert lines[2].startswith("| iic/over | 0.500 [")
    assert lines[3].startswith("| majority | 0.000 [0.00, 0.00] |")
    assert "| – |" in lines[3]  # no precision without a prediction
    assert "2 tiles, 20.0 % of the labelled pixels are building" in lines[-1]
    assert "0.800 accuracy" in lines[-1]


def test_scores_without_footprints_have_no_footprint_f1():
    tiles = (TileCounts("a", np.array([[60, 10], [10, 20]])),)
    scores = Scores("x", ("background", "building"), tiles)
    assert scores.polygons is None
    assert "polygon_f1" not in scores.metrics()
    assert str(score_document([scores])).splitlines()[2].endswith("| – |")
