"""Several classes, from training to scores, as a user types it."""

import json

import fiona
import pytest

NAMES = "other,building,road,vegetation"


@pytest.mark.slow
def test_a_run_with_several_classes_from_training_to_scores(geoseg, there, tmp_path):
    images = there.images[0].parent
    labels = ("--images", images, "--labels", images.parent / "masks")
    run = tmp_path / "run"
    trained = geoseg(
        *("train", *labels, "--classes", NAMES, "--method", "color_kmeans"),
        *("--match-tiles", 3, "--no-controls", "-p", "clusters=8", "-o", run),
    )
    assert trained.exit_code == 0, trained.output
    assert "4 classes: every cluster takes the class" in trained.stderr
    # what is logged of a run ends each line of its table
    rows = [line for line in trained.stderr.splitlines() if line.startswith("| ")]
    assert any("color_kmeans" in row for row in rows) and "\\n" not in trained.stderr
    entries = json.loads((run / "scores.json").read_text())["entries"]
    assert [entry["name"] for entry in entries] == [
        "color_kmeans (main, K=8), many-to-one",
        "color_kmeans (main, K=8), one-to-one",
        "majority",
    ]
    assert list(entries[0]["classes"]) == NAMES.split(",")

    matched = geoseg("match", run, *labels, "--classes", NAMES, "--tiles", 3)
    assert matched.exit_code == 0, matched.output
    for head in ("cluster", "class", "one-to-one", "other", "building", "road"):
        assert head in matched.stdout

    roads, rasters = tmp_path / "roads.gpkg", tmp_path / "classes"
    mapped = geoseg(
        *("predict", *there.images, "--model", run, "-o", roads, "--raster", rasters),
        *("--footprint-class", "road"),
    )
    assert mapped.exit_code == 0, mapped.output
    with fiona.open(roads) as source:
        assert {item.properties["class"] for item in source} == {"road"}

    # the model knows its classes; without it they have to be named
    known = geoseg("evaluate", rasters, *labels, "--model", run)
    assert known.exit_code == 0, known.output
    assert "\n| vegetation " in known.stdout
    unnamed = geoseg("evaluate", rasters, *labels)
    assert unnamed.exit_code == 1 and "--classes" in unnamed.output
    scored = geoseg(
        *("evaluate", roads, *labels, "--classes", NAMES, "--footprint-class", "road")
    )
    assert scored.exit_code == 0
    assert "pixels are road" in " ".join(scored.stdout.split())


def test_classes_that_are_not_there_are_wrong_usage(geoseg, there, tmp_path):
    output = tmp_path / "b.gpkg"
    found = geoseg(
        *("predict", there.images[0], "--model", there.run, "-o", output),
        *("--footprint-class", "lake"),
    )
    assert found.exit_code == 2
    assert "of class 'lake', expected one of building" in found.output
    assert not output.exists()
    found = geoseg("match", there.run, "--aoi", "sample", "--classes", "a,b,a")
    assert found.exit_code == 2 and "'a' is named twice" in found.output
