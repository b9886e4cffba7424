"""From tiles and labels to scores in QGIS's toolbox, each step with the last one's."""

import json
from pathlib import Path

import geopandas as gpd
import pandas as pd
import pytest

from geoseg.model import load_model

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
