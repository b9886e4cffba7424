"""Scores of footprints where labels cover a part, or are sparse."""

import json
from dataclasses import replace

import numpy as np
import pytest
import shapely
from label_layers import write_layer

from geoseg.geo.evaluation.evaluation import evaluate_output
from geoseg.geo.evaluation.footprint_counts import mostly_inside
from geoseg.geo.tiles.tiles import Tile
from geoseg.report.contents import Contents
from geoseg.report.score_tables import score_blocks
from geoseg.runs.settings import RunSettings
from geoseg.scores.scores import Scores, majority_scores
from geoseg.scores.tables import score_document

SIZE = 60
#: Row, column, height, width: two houses in the labelled area, one that is mostly inside,
#: one that is mostly outside, one outside.
HOUSES = ((5, 5, 10, 10), (30, 5, 10, 10), (5, 22, 10, 10), (30, 26, 10, 10))
HOUSES += ((45, 45, 10, 10),)
#: The labelled area ends at this column.
EDGE = 28


@pytest.fixture
def at(rectangle):
    return lambda *place: shapely.geometry.shape(rectangle(*place))


@pytest.fixture
def tile(write_tiff, tmp_path, at):
    """A tile whose left part is labelled, with houses in it and around."""
    image = write_tiff("image.tif", np.ones((3, SIZE, SIZE), np.uint8))
    labels = write_layer(
        tmp_path / "l.gpkg", "houses", [at(*place) for place in HOUSES]
    )
    write_layer(labels, "labelled", [at(0, 0, SIZE, EDGE)])
    return Tile("a", image, labels)


def classes_of(*places):
    classes = np.zeros((1, SIZE, SIZE), np.uint8)
    for row, col, height, width in places:
        classes[0, row : row + height, col : col + width] = 1
    return classes


@pytest.mark.parametrize("kind", ["raster", "footprints"])
def test_a_footprint_counts_where_most_of_it_is_labelled(
    tile, tmp_path, write_tiff, at, kind
):
    def counts(*places):
        if kind == "raster":
            path = write_tiff("map.tif", classes_of(*places))
        else:
            path = write_layer(tmp_path / "map.gpkg", "m", [at(*p) for p in places])
        scores = evaluate_output(type(tmp_path)(path), [tile])
        return tuple(scores.polygons[0]), int(scores.confusions.sum())

    labelled = SIZE * EDGE
    assert counts(*HOUSES) == ((3, 0, 0), labelled)
    # found whole, though four tenths of it are not labelled
    assert counts(*HOUSES[:3]) == ((3, 0, 0), labelled)
    # what is mostly outside, or all, is neither found nor invented
    assert counts(HOUSES[0], *HOUSES[3:], (45, 30, 8, 8)) == ((1, 0, 2), labelled)
    # an invented one that is mostly inside is
    assert counts(HOUSES[0], (45, 21, 10, 10)) == ((1, 1, 2), labelled)


def test_parts_of_a_mask_without_data_are_not_labelled(tile, tmp_path, write_tiff):
    mask = classes_of(*HOUSES)
    mask[:, :, EDGE:] = 255
    labels = write_tiff("mask.tif", mask, nodata=255)
    found = write_tiff("map.tif", classes_of(*HOUSES))
    scores = evaluate_output(type(tmp_path)(found), [replace(tile, labels=labels)])
    # of the house at the edge the mask shows a part, with too little in common
    assert tuple(scores.polygons[0]) == (3, 0, 1)


def test_most_of_an_area_is_more_than_half_of_its_pixels():
    inside = np.zeros((20, 30), bool)
    inside[:, :10] = True
    boxes = {
        "inside": shapely.box(1, 1, 5, 5),
        "outside": shapely.box(15, 1, 25, 5),
        "most": shapely.box(6, 1, 13, 5),
        "half": shapely.box(8, 1, 12, 5),
        "sticks out": shapely.box(-3, -3, 4, 4),
        "less than a pixel": shapely.box(2.1, 2.1, 2.3, 2.3),
        "less, outside": shapely.box(22.1, 2.1, 22.3, 2.3),
    }
    kept = mostly_inside(list(boxes.values()), inside)
    named = [name for name, box in boxes.items() if box in kept]
    assert named == ["inside", "most", "sticks out", "less than a pixel"]
    moved = [shapely.affinity.translate(box, 7, 100) for box in boxes.values()]
    again = mostly_inside(moved, inside, row=100, col=7)
    assert [box in again for box in moved] == [box in kept for box in boxes.values()]
    assert mostly_inside(moved, np.ones((20, 30), bool)) == moved
    donut = shapely.box(0, 0, 20, 20) - shapely.box(1, 1, 10, 19)
    assert mostly_inside([donut], inside) == []


@pytest.fixture
def sparse(tile, tmp_path, at):
    """The same tile with three sparse labels."""
    kinds = {"class": ["building", "building", "background"]}
    shapes = [at(*HOUSES[0]), at(*HOUSES[1]).centroid, at(20, 40, 9, 9)]
    labels = write_layer(tmp_path / "sparse.gpkg", "s", shapes, **kinds)
    classes = RunSettings(images="i", sparse=True).label_classes
    return replace(tile, labels=labels, classes=classes)


@pytest.mark.parametrize("kind", ["raster", "footprints"])
def test_sparse_labels_have_pixel_scores_and_no_footprints(
    sparse, tmp_path, write_tiff, at, kind
):
    if kind == "raster":
        path = write_tiff("map.tif", classes_of(*HOUSES))
    else:
        path = write_layer(tmp_path / "map.gpkg", "m", [at(*p) for p in HOUSES])
    scores = evaluate_output(type(tmp_path)(path), [sparse])
    assert scores.polygons is None and scores.sparse
    (tn, fp), (fn, tp) = scores.confusions[0].tolist()
    assert (fn, fp, tn) == (0, 0, 81) and 100 < tp < 120
    again = Scores.from_json(json.loads(json.dumps(scores.to_json())))
    table = str(score_document([again, majority_scores(again)]))
    rows = [line for line in table.splitlines() if line.startswith("| m")]
    assert all(row.endswith("| – |") for row in rows) and len(rows) == 2
    assert "Footprints are not counted: sparse labels do not say where" in table
    (block,) = score_blocks(Contents("t", "", [again]))
    assert "Footprints are not counted: sparse labels" in block.note


def test_labels_that_are_not_sparse_say_nothing_of_it(tile, write_tiff, tmp_path):
    path = write_tiff("map.tif", classes_of(*HOUSES))
    scores = evaluate_output(type(tmp_path)(path), [tile])
    assert "sparse" not in str(score_document([scores]))
    assert "sparse_labels" not in scores.to_json()
