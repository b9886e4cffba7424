"""The road of a user, command by command."""

import csv
import json
import re
import shutil

import geopandas
import numpy as np
import pytest
import rasterio
from pyproj import Transformer
from shapely.geometry import box, shape

from geoseg.model.class_table import SEEN
from geoseg.model.file import file_sha256, load_model, save_model
from geoseg.runs.demo import run_demo
from geoseg.runs.settings import RunSettings


def box_in_degrees(path):
    with rasterio.open(path) as dataset:
        to_degrees = Transformer.from_crs(dataset.crs, "OGC:CRS84", always_xy=True)
        return box(*to_degrees.transform_bounds(*dataset.bounds))


def test_train_leaves_a_scored_model_and_names_it(work):
    assert work.trained.stdout == "runs/sample-iic-001/model.safetensors\n"
    assert "majority" in work.trained.stderr
    model = load_model(work.run / "model.safetensors")
    assert set(model.card.matchings) == {"main", "over"}
    assert model.card.parameters["width"] == 2
    with (work.run / "metrics.csv").open(newline="") as file:
        assert len(list(csv.DictReader(file))) == 2


def test_predict_writes_valid_polygons_inside_the_tile(geoseg, there, tmp_path):
    image, output = there.images[0], tmp_path / "b.geojson"
    result = geoseg("predict", image, "-o", output, "--min-area", 1)
    assert result.exit_code == 0, result.output
    assert "model: runs/sample-iic-001/model.safetensors" in result.stderr
    collection = json.loads(output.read_text())
    assert f"{len(collection['features'])} footprints in {output}" in result.stderr
    around = box_in_degrees(image).buffer(1e-7)
    for number, feature in enumerate(collection["features"], 1):
        polygon = shape(feature["geometry"])
        assert polygon.geom_type == "Polygon"
        assert polygon.is_valid
        assert polygon.exterior.is_ccw  # RFC 7946
        assert around.covers(polygon)
        values = feature["properties"]
        assert values["id"] == number
        assert values["class"] == "building"
        assert 0.0 <= values["score"] <= 1.0
        assert values["area_m2"] >= 0.5  # before simplification it was 1
        assert values["perimeter_m"] > 0
        assert 0.0 <= values["orientation"] < 180.0


def test_predict_writes_rasters_on_the_grid_of_the_image(geoseg, there, tmp_path):
    rasters = ("--raster", "--probability", "--raster-clusters")
    words = [w for name in rasters for w in (name, tmp_path / f"{name[2:]}.tif")]
    image = there.images[1]
    result = geoseg("predict", image, "-o", tmp_path / "b.gpkg", *words)
    assert result.exit_code == 0, result.output
    found = {}
    for name in rasters:
        with rasterio.open(image) as grid, rasterio.open(
            tmp_path / f"{name[2:]}.tif"
        ) as dataset:
            assert dataset.transform == grid.transform
            assert (dataset.crs, dataset.shape) == (grid.crs, grid.shape)
            assert (dataset.dtypes, dataset.nodata) == (("uint8",), 255)
            found[name] = dataset.read(1)
    assert set(np.unique(found["--raster"])) <= {0, 1, 255}
    assert found["--probability"][found["--probability"] != 255].max() <= 100
    matching = load_model(there.run / "model.safetensors").card.matchings["over"]
    clusters = found["--raster-clusters"]
    assert clusters[clusters != 255].max() < matching.num_clusters


def test_predict_takes_several_images(geoseg, there, tmp_path):
    words = ["-o", tmp_path / "b.geojson", "--raster", tmp_path / "classes"]
    result = geoseg("predict", *there.images[:2], *words)
    assert result.exit_code == 0, result.output
    names = sorted(path.name for path in (tmp_path / "classes").glob("*.tif"))
    assert names == [path.name for path in there.images[:2]]


def test_outputs_are_replaced_when_told(geoseg, there, tmp_path):
    output = tmp_path / "b.geojson"
    output.write_text("old")
    words = ["predict", there.images[0], "-o", output]
    assert geoseg(*words).exit_code == 2
    assert geoseg(*words, "--overwrite").exit_code == 0
    assert json.loads(output.read_text())["type"] == "FeatureCollection"


def test_evaluate_scores_the_reference_as_perfect(geoseg, there, tmp_path):
    (tmp_path / "classes").mkdir()
    for path in (there.images[0].parents[1] / "masks").iterdir():
        with rasterio.open(path) as dataset:
            classes, profile = dataset.read(), dataset.profile
        image = path.name.replace("classes_", "MUL-PanSharpen_")
        with rasterio.open(tmp_path / "classes" / image, "w", **profile) as dataset:
            dataset.write((classes == 1).astype(np.uint8))
    words = ["evaluate", tmp_path / "classes", "--aoi", "sample"]
    result = geoseg(*words, "-o", tmp_path / "scores")
    assert result.exit_code == 0, result.output
    first = json.loads((tmp_path / "scores" / "scores.json").read_text())
    text = json.dumps(first)
    assert "majority" in result.stdout
    assert "the buildings are mapped with IoU 1.00" in " ".join(result.stdout.split())
    assert "scoring all 6 labelled tiles" in result.stderr
    iou = re.search(r'"iou": \{"value": ([0-9.]+)', text)
    assert float(iou[1]) == 1.0


def test_evaluate_warns_of_a_map_that_another_model_made(geoseg, there, tmp_path):
    own, other = there.run / "model.safetensors", tmp_path / "other.safetensors"
    raster = tmp_path / "classes.tif"
    words = ["predict", there.images[0], "-o", tmp_path / "b.gpkg", "--raster", raster]
    assert geoseg(*words).exit_code == 0
    model = load_model(own)
    roles = model.card.provenance["tiles"]
    all_seen = {"tiles": {"match": [name for role in roles.values() for name in role]}}
    save_model(other, model.with_card(provenance=all_seen))
    words = ["evaluate", raster, "--aoi", "sample", "--model", other]
    done = geoseg(*words)  # which ends before anything is scored
    assert "the model has seen all labelled tiles" in done.stderr
    digests = [file_sha256(path)[:8] for path in (own, other)]
    footprints = geoseg("evaluate", tmp_path / "b.gpkg", *words[2:])
    assert (
        f"b.gpkg was made by another model (SHA-256 {digests[0]}" in footprints.stderr
    )
    assert f"model_sha256 {digests[0]}" in geoseg("info", tmp_path / "b.gpkg").stdout
    assert f"{raster} was made by another model (SHA-256 {digests[0]}…)" in done.stderr
    assert f"than {other} ({digests[1]}…)" in done.stderr
    shutil.copy(own, other)
    done = geoseg(*words[:-1], other, "--footprint-class", "road")
    assert "another model" not in done.stderr


@pytest.mark.slow
def test_evaluate_beside_the_controls(geoseg, there, tmp_path):
    classes = tmp_path / "classes"
    words = ["predict", *there.images, "-o", tmp_path / "b.gpkg", "--raster", classes]
    assert geoseg(*words).exit_code == 0
    words = ["evaluate", classes, "--aoi", "sample", "--model", there.run]
    result = geoseg(*words, "-o", tmp_path / "scores")
    assert result.exit_code == 0, result.output
    entries = json.loads((tmp_path / "scores/scores.json").read_text())["entries"]
    names = " ".join(entry["name"] for entry in entries)
    for name in ("colour k-means (K=24", "untrained network (K=24", "majority"):
        assert name in names and name.split()[0] in result.stdout
    lines = result.stderr.splitlines()
    assert lines[0] == "looking at the tiles of sample"
    assert "scoring 3 of 6 labelled tiles; left out are the 3" in lines[1]
    stages = [
        *(f"control: colour k-means, by {way}" for way in ("vote", "share")),
        *("control: untrained network, by share", "panel.png"),
    ]
    assert lines[2:] == stages
    assert (tmp_path / "scores" / "panel.png").exists()
    assert geoseg(*words, "-o", tmp_path / "scores").exit_code == 2


def test_match_prints_its_table_and_writes_the_model(geoseg, there, tmp_path):
    output = tmp_path / "other.safetensors"
    words = ["match", "--model", there.run, "--aoi", "sample", "-o", output]
    result = geoseg(*words, "--objective", "accuracy")
    assert result.exit_code == 0, result.output
    assert "head main: 6 tiles" in result.stdout
    before = load_model(there.run / "model.safetensors").card
    matching = load_model(output).card.matchings["over"]
    assert matching.objective == "accuracy"
    assert before.matchings["over"].objective == "f1"
    rows = re.findall(r"^\| \d+ \| (\w+) \|", result.stdout, flags=re.MULTILINE)
    total = sum(map(sum, matching.counts))
    names = ("background", "building")
    pairs = zip(matching.cluster_to_class, matching.counts, strict=True)
    seen = [names[c] for c, row in pairs if sum(row) / total >= SEEN]
    assert rows[-len(seen) :] == seen
    if len(seen) < 24:
        assert f"(nearly) never seen: {24 - len(seen)} cluster" in result.stdout
    assert f"the matched model is in {output}" in result.stderr
    assert "those of the former matching" not in result.stderr


@pytest.mark.slow
def test_the_demo_makes_its_tiles_and_maps_those_not_seen(tmp_path, monkeypatch):
    from geoseg.geo.sample.write import write_sample
    from geoseg.geo.tiles import tiles
    from geoseg.runs import demo

    def write_few(folder):
        write_sample(folder, tiles=6, size=128)

    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("GEOSEG_DATA", raising=False)
    # as where geoseg is installed, away from its repository
    monkeypatch.setattr(tiles, "__file__", str(tmp_path / "site" / "geo" / "tiles.py"))
    monkeypatch.setattr(demo, "write_sample", write_few)
    settings = RunSettings(
        aoi="sample", max_steps=2, parameters={"width": 2}, controls=False
    )
    for _ in range(2):  # the second finds the tiles of the first, replaces the rest
        table = run_demo(tmp_path / "demo", settings)
        assert "majority" in str(table)
        found = {path.name for path in (tmp_path / "demo").iterdir()}
        assert found == {
            *("run", "classes", "sample_tiles"),
            *("buildings.geojson", "buildings.png", "buildings.qml"),
        }
    card = load_model(tmp_path / "demo" / "run" / "model.safetensors").card
    tested = [name for name in card.provenance["tiles"]["test"]]
    mapped = sorted(path.stem for path in (tmp_path / "demo" / "classes").glob("*.tif"))
    assert len(mapped) == len(tested) == 3
    assert all(any(name.endswith(tile) for name in mapped) for tile in tested)


@pytest.mark.slow
def test_evaluate_writes_a_page_with_and_without_the_model(there, geoseg, tmp_path):
    output = tmp_path / "b.geojson"
    assert geoseg("predict", *there.images, "-o", output).exit_code == 0
    words = ("evaluate", output, "--aoi", "sample", "--report", tmp_path / "r.html")
    assert geoseg(*words).exit_code == 0
    text = (tmp_path / "r.html").read_text()
    assert "name it with --model" in text
    assert f"geoseg evaluate {output} --aoi sample" in text
    again = geoseg(*words)
    assert again.exit_code == 2 and "exists already: give --overwrite" in again.stderr
    assert (tmp_path / "r.html").read_text() == text
    done = geoseg(*words, "--model", there.run, "--overwrite")
    assert done.exit_code == 0, done.output
    text = (tmp_path / "r.html").read_text()
    assert "k-means of the trained network" in text
    assert "cluster areas, head over" in text


def test_a_folder_is_mapped_like_its_images(there, geoseg, tmp_path):
    folder = tmp_path / "tiles"
    folder.mkdir()
    for image in there.images[:2]:
        shutil.copy(image, folder)
    (folder / "notes.txt").write_text("no image")
    copies = sorted(folder.glob("*.tif"))
    for name, images in (("a.gpkg", [folder]), ("b.gpkg", copies)):
        done = geoseg("predict", *images, "--no-style", "-o", tmp_path / name)
        assert done.exit_code == 0, done.output
    first, second = (
        geopandas.read_file(tmp_path / name) for name in ("a.gpkg", "b.gpkg")
    )
    assert first.equals(second)
