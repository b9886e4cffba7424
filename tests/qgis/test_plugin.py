"""What a user of the Processing toolbox sees of geoseg, in a real QGIS."""

import ast
import configparser
import os
from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine
from matplotlib.image import imread

from geoseg import __version__
from geoseg.core.palette import BUILDING
from geoseg.methods.presets import PRESETS
from geoseg.model.file import save_model

PLUGIN = Path(__file__).parents[2] / "qgis" / "geoseg_processing"
SIDE = 700  # of the picture that toolbox.py draws
TILE = 64
#: So small a stride that a thousand pixels square take minutes.
SLOW = "--window 64 --overlap 60 --batch-size 1"


@pytest.fixture(scope="module")
def model(bright_model, tmp_path_factory) -> str:
    folder = tmp_path_factory.mktemp("run")
    save_model(folder / "model.safetensors", bright_model())
    return str(folder)


@pytest.fixture(scope="module")
def outputs(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("outputs")


@pytest.fixture(scope="module")
def big_image(tmp_path_factory) -> str:
    path = tmp_path_factory.mktemp("big") / "big.tif"
    pixels = np.random.default_rng(0).integers(1, 1000, (3, 1000, 1000))
    with rasterio.open(
        path,
        "w",
        driver="GTiff",
        count=3,
        height=1000,
        width=1000,
        dtype="uint16",
        crs="EPSG:32611",
        transform=Affine(0.5, 0, 664000, 0, -0.5, 4000000),
    ) as dataset:
        dataset.write(pixels.astype(np.uint16))
    return str(path)


@pytest.fixture(scope="module")
def used(toolbox, program, town, model, outputs, big_image):
    """What QGIS says of the plugin, and of all orders of this file by name."""
    tiles = [f"{town.images}/tile{n}.tif" for n in range(2)]
    one = {"LAYERS": [tiles[0]], "MODEL": model}
    two = {"LAYERS": tiles, "MODEL": model, "OUTPUT": str(outputs / "two.gpkg")}
    orders = {
        "dialog": {
            "parameters": {
                **one,
                "OUTPUT": "TEMPORARY_OUTPUT",
                "CLASSES": "TEMPORARY_OUTPUT",
                "PROBABILITY": str(outputs / "probability.tif"),
            },
            "png": str(outputs / "dialog.png"),
            "base": tiles[0],
        },
        "script": {
            "parameters": {
                **two,
                "MODEL": f"{model}/model.safetensors",
                "CLASS_FOLDER": str(outputs / "classes"),
                "MIN_AREA": 100000,
                "EXTRA": "--stac --threads 1",
            },
            "script": True,
        },
        "a mosaic": {
            "parameters": {
                **two,
                "MOSAIC": True,
                "OUTPUT": str(outputs / "mosaic.gpkg"),
                "CLASSES": str(outputs / "mosaic.tif"),
            },
        },
        "two rasters of one file": {"parameters": {**two, "CLASSES": "a.tif"}},
        "refused by geoseg": {
            "parameters": {**two, "FOOTPRINT_CLASSES": "building, tower"}
        },
        "an open quote": {"parameters": {**two, "EXTRA": "'"}},
        "cancelled": {
            "parameters": {
                **{"LAYERS": [big_image], "MODEL": model, "EXTRA": SLOW},
                "OUTPUT": str(outputs / "cancelled.gpkg"),
                "CLASSES": str(outputs / "cancelled.tif"),
            },
            "cancel": 1,
        },
        "info": {
            "algorithm": "geoseg:info",
            "parameters": {"LAYERS": tiles[:1], "MODEL": model},
        },
        "no program": {"parameters": two, "program": ""},
        "no such program": {"parameters": two, "program": "/no/geoseg"},
    }
    said = toolbox(
        *(
            {"algorithm": "geoseg:predict", "program": program, **order}
            for order in orders.values()
        )
    )
    said["happened"] = dict(zip(orders, said["happened"], strict=True))
    return said


@pytest.mark.slow
def test_the_toolbox_lists_the_commands_until_the_plugin_is_unloaded(used):
    assert set(used["algorithms"]) == {"train", "match", "predict", "evaluate", "info"}
    assert used["icon"] and used["unloaded"]


@pytest.mark.slow
def test_footprints_and_rasters_of_a_dialog_open_styled(used):
    happened = used["happened"]["dialog"]
    assert "error" not in happened
    footprints = happened["layers"]["Footprints"]
    assert footprints["features"] == 1 and footprints["crs"] == "EPSG:32611"
    casing, shape = footprints["symbols"][""]
    assert casing["edge"] == [255, 255, 255, 220]
    assert shape["fill"] == [*BUILDING, 70] and shape["edge"] == [*BUILDING, 255]
    classes = happened["layers"]["Classes (of one image)"]
    assert classes["entries"][1] == [1, "building", [*BUILDING, 190]]
    probability = happened["layers"]["Probability in percent (of one image)"]
    assert probability["renderer"] == "singlebandpseudocolor"


@pytest.mark.slow
def test_images_mapped_as_one_give_one_layer_and_one_raster(used, outputs):
    happened = used["happened"]["a mosaic"]
    assert "error" not in happened
    assert happened["layers"]["Footprints"]["features"] == 2
    with rasterio.open(outputs / "mosaic.tif") as classes:
        # the second tile begins 100 m to the east
        assert (classes.width, classes.height) == (200 + TILE, TILE)


@pytest.mark.slow
def test_the_map_of_a_dialog_is_drawn_where_the_building_is(used, outputs):
    picture = imread(outputs / "dialog.png")[..., :3]
    row, col = (int((part + 0.5) * SIDE / TILE) for part in (18, 22))
    red, green, blue = picture[row, col]
    assert red > green + 0.1 > blue
    red, green, blue = picture[-10, -10]
    assert max(red, green, blue) < min(red, green, blue) + 0.05  # the dark image


@pytest.mark.slow
def test_progress_and_words_of_geoseg_reach_the_dialog(used):
    happened = used["happened"]["dialog"]
    assert happened["stages"][0] == "mapping"
    assert max(happened["progress"]) == 100
    assert any("1 footprint in" in line for line in happened["said"])


@pytest.mark.slow
def test_a_script_gets_the_paths_and_all_parameters_count(used, outputs):
    happened = used["happened"]["script"]
    assert happened["results"] == {
        "OUTPUT": str(outputs / "two.gpkg"),
        "CLASS_FOLDER": str(outputs / "classes"),
    }
    assert any(line.startswith("0 footprints in") for line in happened["said"])
    assert (outputs / "two.stac.json").exists()
    written = {path.name for path in (outputs / "classes").glob("*.tif")}
    assert written == {"tile0.tif", "tile1.tif"}


@pytest.mark.slow
def test_several_images_do_not_go_into_one_raster(used):
    error = used["happened"]["two rasters of one file"]["error"]
    assert "2 images" in error and "folder" in error


@pytest.mark.slow
def test_an_error_of_geoseg_is_the_error_in_qgis(used):
    error = used["happened"]["refused by geoseg"]["error"]
    assert "tower" in error and not error.startswith("Error")
    assert "not closed" in used["happened"]["an open quote"]["error"]


@pytest.mark.slow
def test_cancel_ends_the_program_and_leaves_nothing_half_written(used, outputs):
    happened = used["happened"]["cancelled"]
    assert "geoseg predict was stopped" in happened["error"]
    assert happened["seconds_to_stop"] < 20
    assert not happened["layers"]
    left = [path for path in outputs.rglob("*cancelled*") if path.is_file()]
    assert left == []
    assert not running("cancelled.gpkg")


def running(word: str) -> list[int]:
    """Return the processes whose command line has a word; Linux only, as QGIS's path."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            words = (process / "cmdline").read_bytes()
        except OSError:  # it ended meanwhile
            continue
        if word.encode() in words and int(process.name) != os.getpid():
            found.append(int(process.name))
    return found


@pytest.mark.slow
def test_info_answers_in_words(used):
    happened = used["happened"]["info"]
    assert "64 x 64 pixels, 3 bands" in happened["results"]["OUTPUT"]
    assert "the model   fits" in happened["results"]["OUTPUT"]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["no program", "no such program"])
def test_without_the_program_the_toolbox_says_where_to_set_it(used, name):
    happened = used["happened"][name]
    can, why = happened["can_execute"]
    assert not can and why == happened["error"]
    assert "Options ▸ Processing ▸ Providers ▸ geoseg" in why


@pytest.mark.slow
def test_defaults_are_those_of_the_command_line(used):
    from geoseg.cli.predict import command

    options = {option.name: option.default for option in command.params}
    assert used["algorithms"]["predict"]["MIN_AREA"] == options["min_area_m2"]
    assert used["algorithms"]["predict"]["REGULARIZE"] == options["regularize"]
    assert used["algorithms"]["predict"]["SPLIT"] == options["split_touching"]
    assert used["algorithms"]["predict"]["SYMMETRIES"] == options["symmetries"]


def test_presets_are_those_of_geoseg():
    tree = ast.parse((PLUGIN / "train.py").read_text(encoding="utf-8"))
    (value,) = (
        ast.literal_eval(node.value)
        for node in tree.body
        if isinstance(node, ast.Assign) and node.targets[0].id == "PRESETS"
    )
    assert value == {name: preset.purpose for name, preset in PRESETS.items()}
    assert list(value) == list(PRESETS)  # their order is that of the choices


def test_metadata_has_what_qgis_asks_for_and_geosegs_version():
    parser = configparser.ConfigParser()
    parser.read(PLUGIN / "metadata.txt", encoding="utf-8")
    general = parser["general"]
    assert general["version"] == __version__
    for name in ("name", "qgisMinimumVersion", "description", "about", "author"):
        assert general[name]
    assert general["hasProcessingProvider"] == "yes"
    assert (PLUGIN / general["icon"]).exists()


@pytest.mark.parametrize("path", sorted(PLUGIN.glob("*.py")), ids=lambda it: it.name)
def test_the_plugin_is_python_of_the_oldest_qgis_and_needs_nothing_else(path):
    tree = ast.parse(path.read_text(encoding="utf-8"), feature_version=(3, 7))
    modules = {
        name.split(".")[0]
        for node in ast.walk(tree)
        for name in (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        )
    }
    ours = {it.stem for it in PLUGIN.glob("*.py")} | {"", "qgis", "processing"}
    standard = {"json", "os", "queue", "shlex", "shutil", "subprocess", "threading"}
    assert modules <= ours | standard | {"time", "typing"}
