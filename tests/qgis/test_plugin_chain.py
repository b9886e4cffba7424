"""From tiles and labels to scores in QGIS's toolbox, each step with the last one's."""

import json
from pathlib import Path

import geopandas as gpd
import pandas as pd
import pytest

from geoseg.model.file import load_model

pytestmark = pytest.mark.slow
COLORS, NO_PRESET = 4, 6  # of the presets


def write_labels(town, path: Path) -> str:
    """Write the labels of all tiles, and a polygon of another kind over each."""
    files = sorted(Path(town.labels).glob("*.geojson"))
    buildings = pd.concat([gpd.read_file(file) for file in files])
    buildings["kind"] = "building"
    others = buildings.assign(kind="plot", geometry=buildings.buffer(30))
    labels = gpd.GeoDataFrame(pd.concat([buildings, others]), crs=buildings.crs)
    labels.to_file(path, layer="polygons")
    gpd.GeoDataFrame({"kind": ["none"]}, geometry=[None], crs=buildings.crs).to_file(
        path, layer="other"
    )
    return f"{path}|layername=polygons|subset=\"kind\" = 'building'"


@pytest.fixture(scope="module")
def steps(toolbox, program, town, tmp_path_factory):
    """What came of each step, by name; ``folder`` holds the outputs."""
    folder = tmp_path_factory.mktemp("chain")
    labels = write_labels(town, folder / "labels.gpkg")
    tiles = [f"{town.images}/tile{n}.tif" for n in range(6)]
    learned = {"FOLDER": town.images, "LABELS": labels}
    orders = {
        "train": {
            **learned,
            **{"PRESET": COLORS, "MAX_MINUTES": 5, "OUTPUT": str(folder / "run")},
            **{"MATCH_TILES": "3", "TEST_TILES": "34%"},
            "EXTRA": "-p clusters=4 --no-controls",
        },
        "match": {
            **{"LAYERS": tiles[:2], "LABELS": labels, "MODEL": str(folder / "run")},
            "OUTPUT": str(folder / "matched.safetensors"),
        },
        "predict": {
            **{"LAYERS": tiles, "MODEL": str(folder / "matched.safetensors")},
            "OUTPUT": str(folder / "map.gpkg"),
        },
        "evaluate": {
            **learned,
            "PREDICTION": str(folder / "map.gpkg"),
            "OUTPUT": str(folder / "scores.html"),
            "EXTRA": f"-o '{folder}'",
        },
    }
    said = toolbox(
        *(
            {"algorithm": f"geoseg:{name}", "parameters": order, "program": program}
            for name, order in orders.items()
        ),
        {
            "algorithm": "geoseg:train",
            "parameters": {**learned, "LABEL_FOLDER": town.labels, "OUTPUT": "a"},
            "program": program,
        },
    )
    found = dict(zip([*orders, "both"], said["happened"], strict=True))
    return {**found, "folder": folder}


def test_a_training_gives_a_model_and_the_page_of_scores(steps):
    run = steps["folder"] / "run"
    assert steps["train"]["results"] == {
        "OUTPUT": str(run),
        "MODEL": str(run / "model.safetensors"),
        "REPORT": str(run / "report.html"),
    }
    card = load_model(run / "model.safetensors").card
    assert card.method == "color_kmeans" and card.parameters["clusters"] == 4
    roles = card.provenance["tiles"]
    assert [len(roles[name]) for name in ("match", "test", "hidden")] == [3, 2, 1]


def test_a_filtered_layer_of_a_geopackage_gives_its_own_labels_alone(steps):
    card = load_model(steps["folder"] / "matched.safetensors").card
    counts = card.matchings["main"].counts
    classes = [sum(column) for column in zip(*counts, strict=True)]
    # of the two tiles' buildings, not of the plots over all
    assert classes[1] == 20 * 24 + 20 * 23


def test_a_map_is_scored(steps):
    scores = json.loads((steps["folder"] / "scores.json").read_text())
    assert scores["entries"] and (steps["folder"] / "scores.html").exists()
    assert any("IoU" in line for line in steps["evaluate"]["said"])


def test_two_kinds_of_labels_are_refused(steps):
    error = steps["both"]["error"]
    assert "both of «Labels" in error and "give one" in error


def test_a_training_that_is_cancelled_leaves_a_model_to_go_on_with(
    toolbox, program, town, tmp_path
):
    run = tmp_path / "run"
    order = {
        "algorithm": "geoseg:train",
        "parameters": {
            **{"FOLDER": town.images, "OUTPUT": str(run)},
            **{"PRESET": NO_PRESET, "MAX_STEPS": 100000},
            "EXTRA": "-p width=2 --patch-size 32 --batch-size 2",
        },
        "cancel": 0,
        "program": program,
    }
    (stopped,) = toolbox(order)["happened"]
    assert any("stopped early" in line for line in stopped["said"])
    assert load_model(run / "model.safetensors").card.method == "iic"
    assert (run / "last.ckpt").exists()


def test_labels_may_hold_in_a_part_or_be_sparse(steps, toolbox, program, town):
    folder = steps["folder"]
    files = sorted(Path(town.labels).glob("*.geojson"))[:2]
    few = pd.concat([gpd.read_file(file) for file in files], ignore_index=True)
    few.to_file(folder / "few.gpkg", layer="houses")
    around = few.assign(geometry=few.buffer(3))
    around.to_file(folder / "around.gpkg", layer="around")
    inside = few.assign(geometry=few.centroid, **{"class": "building"})
    beside = few.assign(
        geometry=few.centroid.translate(0, -8), **{"class": "background"}
    )
    pd.concat([inside, beside]).to_file(folder / "points.gpkg", layer="points")
    model = str(folder / "run/model.safetensors")
    given = {
        "refused": {"LABELS": "few.gpkg"},
        "touched": {"LABELS": "few.gpkg", "LABELLED": 1},
        "area": {"LABELS": "few.gpkg", "LABELLED_AREA": str(folder / "around.gpkg")},
        "sparse": {"LABELS": "points.gpkg", "LABELLED": 3, "POINT_RADIUS": 2.0},
    }
    orders = [
        {
            "algorithm": "geoseg:match",
            "parameters": {
                **{"FOLDER": town.images, "MODEL": model, **own},
                "LABELS": str(folder / own["LABELS"]),
                "OUTPUT": str(folder / f"{name}.safetensors"),
            },
            "program": program,
        }
        for name, own in given.items()
    ]
    happened = dict(zip(given, toolbox(*orders)["happened"], strict=True))
    assert "touch 2 of 6 tiles" in happened["refused"]["error"]
    counts = {}
    for name in ("touched", "area", "sparse"):
        assert happened[name].get("error") is None, happened[name]
        matching = load_model(folder / f"{name}.safetensors").card.matchings["main"]
        assert matching.tiles == 2
        counts[name] = [sum(column) for column in zip(*matching.counts, strict=True)]
    houses = 20 * 24 + 20 * 23
    assert counts["touched"] == [2 * 64 * 64 - houses, houses]
    assert counts["area"][1] == houses and 0 < counts["area"][0] < 2 * 64 * 64 - houses
    # discs of four pixels, two of each class
    assert all(90 <= count <= 110 for count in counts["sparse"])
