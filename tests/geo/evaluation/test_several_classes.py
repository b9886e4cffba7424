"""The road from labels to scores and maps with several classes, on small real files."""

import json
from itertools import permutations
from pathlib import Path

import fiona
import numpy as np
import pytest
import rasterio
import shapely
import torch
from shapely.geometry import shape

from geoseg.core.classes import TWO_CLASSES, LabelClasses
from geoseg.core.errors import LabelError, ParameterError, RasterError
from geoseg.geo.evaluation.evaluation import evaluate_model, evaluate_output
from geoseg.geo.evaluation.matching import match_model
from geoseg.geo.maps.mapping import map_buildings
from geoseg.geo.maps.options import MapOptions
from geoseg.geo.tiles.tiles import Tile
from geoseg.methods import build_method, method_defaults
from geoseg.model.file import Model
from geoseg.scores.scores import majority_scores, write_scores
from geoseg.scores.tables import score_document

NAMES = ("ground", "building", "road", "tree")
LEVELS = (100, 300, 500, 700, 900)
#: Most probable class of each grey level, for the labels below.
USUAL = np.array([0, 1, 2, 3, 2])
OPTIONS = MapOptions(
    min_area_m2=0, tolerance_m=0, window=32, overlap=8, footprint_classes=NAMES[1:]
)


@pytest.fixture
def grey_model(bright_model):
    """A model of five clusters, the grey levels."""
    parameters = {**method_defaults("color_kmeans"), "clusters": 5}
    method = build_method("color_kmeans", 1, parameters)
    method.get_buffer("centroids").copy_(torch.tensor(LEVELS)[:, None] / 1000)
    card = bright_model(("pan",), matched=False).card
    return Model(method.eval(), card).with_card(parameters=parameters)


@pytest.fixture
def scene(write_tiff):
    """Return ``make(name, seed, order=…)``: a tile whose labels mostly follow greys."""

    def make(name, seed, *, names=NAMES, order=range(4), classes=None):
        draws = np.random.default_rng(seed)
        greys = np.kron(draws.integers(0, 5, (6, 8)), np.ones((6, 6), int))
        noise = draws.integers(0, 4, greys.shape)
        ids = np.where(draws.random(greys.shape) < 0.8, USUAL[greys], noise)
        ids = np.minimum(ids, len(names) - 1)
        pixels = np.array(LEVELS, np.uint16)[greys]
        image = write_tiff(f"{name}.tif", pixels[None])
        values = np.array(order)[ids].astype(np.uint8)
        mask = write_tiff(f"{name}_mask.tif", values[None])
        return Tile(name, image, mask, None, classes or named(names, order))

    return make


def named(names, order):
    """Classes whose id of ``names[i]`` is ``order[i]``."""
    return LabelClasses.parse(",".join(names[i] for i in np.argsort(order)))


def everything(model, tiles, folder):
    """Match on the first tile, score and map the second; return all that came out."""
    first, second = tiles
    matched = match_model(model, [first], objective="f1", window=32, overlap=8)
    scores = evaluate_model(matched, [second], name="x", window=32, overlap=8)
    folder.mkdir()
    output, raster = folder / "m.geojson", folder / "m.tif"
    names = MapOptions(**{**vars(OPTIONS), "footprint_classes": ()})
    map_buildings(matched, [second.image], output, classes=raster, options=names)
    read = evaluate_output(raster, [second], name="x")
    return matched, scores, read, output, raster


def test_naming_the_two_classes_changes_no_bit(grey_model, scene, tmp_path):
    found = []
    for text in (None, "background,building"):
        classes = TWO_CLASSES if text is None else LabelClasses.parse(text)
        names = ("background", "building")
        tiles = [
            scene(n, s, names=names, classes=classes) for n, s in (("a", 1), ("b", 2))
        ]
        found.append(everything(grey_model, tiles, tmp_path / str(text)))
    (model, scores, read, *files), (other, *others, output, raster) = found
    assert other.card == model.card
    for ours, theirs in zip((scores, read), others, strict=True):
        assert ours.to_json() == theirs.to_json()
        assert str(score_document([ours])) == str(score_document([theirs]))
    assert output.read_bytes() == files[0].read_bytes()
    assert raster.read_bytes() == files[1].read_bytes()


@pytest.mark.parametrize("order", list(permutations((1, 2, 3)))[1::2])
def test_permuting_class_ids_permutes_the_results(grey_model, scene, tmp_path, order):
    ids = (0, *order)
    plain, moved = (
        everything(
            grey_model,
            [scene(name, seed, order=by) for name, seed in (("a", 1), ("b", 2))],
            tmp_path / str(number),
        )
        for number, by in enumerate((range(4), ids))
    )
    matching, other = (it[0].card.matchings["main"] for it in (plain, moved))
    assert [ids[c] for c in matching.cluster_to_class] == list(other.cluster_to_class)
    one, two = (it[1].to_json() for it in (plain, moved))
    values, others = (
        {name: score["value"] for name, score in it["metrics"].items()}
        for it in (one, two)
    )
    assert values == pytest.approx(others)
    assert one["target"] == two["target"] == "building"
    assert one["classes"] == two["classes"]
    confusion = np.array(two["confusion"])
    np.testing.assert_array_equal(confusion[np.ix_(ids, ids)], one["confusion"])
    assert json.loads(plain[3].read_text()) == json.loads(moved[3].read_text())
    first, second = (rasterio.open(it[4]) for it in (plain, moved))
    with first, second:
        np.testing.assert_array_equal(np.array(ids)[first.read(1)], second.read(1))


def test_every_grey_gets_its_usual_class(grey_model, scene):
    model = match_model(grey_model, [scene("a", 1)], objective="f1")
    assert model.card.class_names == NAMES
    matching = model.card.matchings["main"]
    assert matching.cluster_to_class == tuple(USUAL)
    assert matching.objective == "accuracy" and matching.threshold is None


def test_the_map_read_back_scores_as_the_model_does(grey_model, scene, tmp_path):
    tiles = [scene("a", 1), scene("b", 2)]
    _, scores, read, *_ = everything(grey_model, tiles, tmp_path / "m")
    assert scores.to_json() == read.to_json()
    assert scores.metrics()["accuracy"].value > 0.7


def test_matching_tiles_have_the_same_classes(grey_model, scene):
    tiles = [scene("a", 1), scene("b", 2, order=(0, 2, 1, 3))]
    with pytest.raises(LabelError, match="2 matching tiles have different classes"):
        match_model(grey_model, tiles, objective="f1")
    model = match_model(grey_model, tiles[:1], objective="f1")
    with pytest.raises(LabelError, match="tile b have classes ground, road, building"):
        evaluate_model(model, tiles[1:], name="x")


def test_footprints_of_several_classes_share_their_walls(grey_model, scene, tmp_path):
    tile = scene("a", 1)
    model = match_model(grey_model, [tile], objective="f1")
    output = tmp_path / "all.gpkg"
    map_buildings(model, [tile.image], output, options=OPTIONS)
    with fiona.open(output) as source:
        found = [(item.properties["class"], shape(item.geometry)) for item in source]
    assert {name for name, _ in found} == set(NAMES[1:])
    polygons = np.array([polygon for _, polygon in found])
    union = shapely.union_all(polygons)
    assert union.area == pytest.approx(shapely.area(polygons).sum(), rel=1e-9)
    left, right = shapely.STRtree(polygons).query(polygons, predicate="touches")
    walls = [
        shapely.length(shapely.intersection(polygons[a], polygons[b]))
        for a, b in zip(left, right, strict=True)
        if found[a][0] != found[b][0]
    ]
    assert sum(walls) > 0
    one = tmp_path / "buildings.gpkg"
    map_buildings(model, [tile.image], one, options=MapOptions(min_area_m2=0))
    with fiona.open(one) as source:
        assert {item.properties["class"] for item in source} == {"building"}


def test_footprints_on_disk_are_scored_as_their_class(grey_model, scene, tmp_path):
    tile = scene("a", 1)
    model = match_model(grey_model, [tile], objective="f1")
    output, raster = tmp_path / "all.gpkg", tmp_path / "m.tif"
    map_buildings(model, [tile.image], output, classes=raster, options=OPTIONS)
    scores = evaluate_output(raster, [tile])
    for class_id, name in enumerate(NAMES[1:], start=1):
        alone = Tile("a", tile.image, tile.labels, None, tile.classes.binary(class_id))
        found = evaluate_output(output, [alone]).metrics()
        expected = scores.of_class(class_id).metrics()
        for metric in ("iou", "f1", "precision", "recall"):
            assert found[metric].value == pytest.approx(expected[metric].value), name


def test_class_rasters_of_others_have_the_values_of_the_labels(scene, write_tiff):
    tile = scene("a", 1)
    with rasterio.open(tile.labels) as source:
        ids = source.read(1)
    legend = np.array([0, 17, 6, 200], np.uint8)
    path = Path(write_tiff("theirs.tif", legend[ids][None]))
    text = "ground=0,ground=1,building=17,road=6,tree=200"
    theirs = Tile("a", tile.image, str(path), None, LabelClasses.parse(text))
    assert evaluate_output(path, [theirs]).metrics()["accuracy"].value == 1.0
    with pytest.raises(RasterError, match="holds value .*--classes"):
        evaluate_output(path, [tile])


def test_tables_and_scores_have_every_class(grey_model, scene, tmp_path):
    tiles = [scene("a", 1), scene("b", 2)]
    model = match_model(grey_model, tiles[:1], objective="f1")
    scores = evaluate_model(
        model, tiles[1:], name="greys", footprint_classes=("road", "tree")
    )
    assert scores.target == NAMES.index("road")
    entries = [scores, majority_scores(scores)]
    write_scores(tmp_path / "scores.json", entries)
    entry, control = json.loads((tmp_path / "scores.json").read_text())["entries"]
    assert entry["target"] == "road" and list(entry["classes"]) == list(NAMES)
    confusion = np.array(entry["confusion"])
    for class_id, name in enumerate(NAMES):
        hits = confusion[class_id, class_id]
        union = confusion[class_id].sum() + confusion[:, class_id].sum() - hits
        iou = entry["classes"][name]["iou"]["value"]
        assert iou == pytest.approx(hits / union)
        assert ("polygon_f1" in entry["classes"][name]) == (name in ("road", "tree"))
    assert entry["metrics"]["iou"] == entry["classes"]["road"]["iou"]
    winner = NAMES[int(confusion.sum(1).argmax())]
    assert control["classes"][winner]["recall"]["value"] == 1.0
    table = str(score_document(entries))
    assert table.splitlines()[0] == "| | mean IoU | accuracy | balanced | κ |"
    assert "greys, class by class:" in table and "\n| tree | " in table
    assert "of the labelled pixels are road" in table
    assert all(line.count("|") != 1 for line in table.splitlines())


def test_more_clusters_than_bytes_count_are_no_raster(bright_model, scene, tmp_path):
    parameters = {**method_defaults("color_kmeans"), "clusters": 256}
    method = build_method("color_kmeans", 1, parameters).eval()
    card = bright_model(("pan",)).card
    model = Model(method, card).with_card(parameters=parameters)
    with pytest.raises(ParameterError, match="cannot hold 256 clusters, expected 255"):
        map_buildings(
            *(model, [scene("a", 1).image], tmp_path / "m.gpkg"),
            clusters=tmp_path / "c.tif",
        )
    assert not list(tmp_path.glob("*.gpkg"))
