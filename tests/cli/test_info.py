"""``geoseg info``, on what a user has."""

import json
import re
import shutil
import subprocess
import sys
import zipfile

import numpy as np
import pytest
import rasterio
from affine import Affine

from geoseg.core.locks import locked
from geoseg.model.card import load_card
from geoseg.model.file import load_model, save_model
from geoseg.runs.folders import forget_scores
from geoseg.scores.tables import TABLE_COLUMNS


def facts(info, *words):
    (found,) = json.loads(info(*words, "--json"))
    return found


def write(path, pixels, crs="EPSG:32611", **more):
    with rasterio.open(
        path,
        "w",
        driver="GTiff",
        count=len(pixels),
        height=pixels.shape[1],
        width=pixels.shape[2],
        dtype=pixels.dtype,
        crs=crs,
        transform=Affine(0.3, 0, 664000, 0, -0.3, 4000000),
        **more,
    ) as dataset:
        dataset.write(pixels)
    return path


def test_an_image(there, info):
    found = facts(info, there.images[0])
    assert (found["kind"], found["width"], found["height"]) == ("image", 128, 128)
    assert found["crs"] and found["valid_share"] > 0
    training = found["training"]
    assert set(training["stretch"]) <= {band["name"] for band in found["bands"]}
    assert training["patches_per_epoch"] == 1
    text = info(there.images[0])
    assert text.startswith(f"{there.images[0]}: image\n  size        128 x 128 pixels")
    assert "training" in text


def test_bands_are_those_asked_for(there, info):
    found = facts(info, there.images[0], "-b", "red")
    assert list(found["training"]["stretch"]) == ["red"]


def test_a_folder_and_its_split(there, info):
    folder = there.images[0].parent
    found = facts(info, folder)
    assert (found["tiles"], found["labelled"], found["differences"]) == (6, 6, [])
    roles = {"match": 3, "select": 0, "test": 3, "hidden": 0, "unlabelled": 0}
    assert found["split"] == roles
    assert "6 images, 6 with labels" in info(folder)


def test_roles_and_neighbours_of_the_test_are_told(tmp_path, there, info):
    folder = tmp_path / "run"
    shutil.copytree(there.run, folder)
    values = json.loads((folder / "run.json").read_text())
    values["roles"][0]["role"] = "hidden"
    values["adjoining_test"] = {"hidden": 1}
    (folder / "run.json").write_text(json.dumps(values))
    found = facts(info, folder)
    assert found["roles"] == {"hidden": 1, "match": 2, "test": 3}
    assert found["adjoining_test"] == {"hidden": 1}
    text = info(folder)
    assert "1 hidden, 2 match, 3 test; 3 train; outlines in roles.geojson" in text
    assert "1 of 1 hidden tiles touch or overlap test tiles" in text
    assert "made from   sample: 3 match, 3 test" in text
    model = load_model(folder / "model.safetensors")
    card = model.card
    provenance = {**card.provenance, "adjoining_test": {"hidden": 1}}
    provenance["tiles"] = {**card.provenance["tiles"], "hidden": ["img9", "img8"]}
    save_model(folder / "model.safetensors", model.with_card(provenance=provenance))
    text = info(folder / "model.safetensors")
    assert "3 match, 3 test, 2 hidden" in text
    assert "1 of 2 hidden tiles touch or overlap test tiles" in text


def test_an_area_of_interest_is_its_folder(there, info):
    by_name, by_path = facts(info, "--aoi", "sample"), facts(info, "sample_tiles")
    assert by_name["tiles"] == by_name["labelled"] == 6
    for key in ("split", "bands", "gsd_m"):
        assert by_name[key] == by_path[key]
    assert info("--aoi", "sample_tiles") == info("sample_tiles")


def test_an_area_below_data_is_found(tmp_path, info):
    base = tmp_path / "data" / "AOI_3_Paris_Train"
    images, labels = base / "MUL-PanSharpen", base / "geojson" / "buildings"
    images.mkdir(parents=True)
    labels.mkdir(parents=True)
    write(images / "x_AOI_3_Paris_img1.tif", np.ones((3, 8, 8), np.uint16))
    (labels / "buildings_AOI_3_Paris_img1.geojson").write_text("")
    text = info("--aoi", "paris", "--data", tmp_path / "data")
    assert "1 image, 1 with labels" in text


def test_a_folder_that_training_would_refuse_says_why(tmp_path, info):
    write(tmp_path / "a.tif", np.full((1, 40, 40), 900, np.uint16))
    write(tmp_path / "b.tif", np.full((1, 40, 40), 90, np.uint8))
    found = facts(info, tmp_path)
    assert found["differences"] == ["type uint16 (1: a.tif), uint8 (1: b.tif)"]
    assert "b.tif holds uint8 with values up to 90" in found["problem"]


def test_a_mask_beside_an_image_is_told_from_it(tmp_path, geoseg):
    image = write(tmp_path / "a.tif", np.full((8, 40, 40), 90, np.uint8))
    mask = write(tmp_path / "mask.tif", np.ones((1, 40, 40), np.uint8))
    for words in (("info", tmp_path), ("train", "--images", tmp_path)):
        done = geoseg(*words)
        assert done.exit_code == 1
        assert f"{mask} looks like a mask among the images" in done.stderr
        assert f"--images {image} --labels {mask}" in done.stderr


def test_a_model_and_a_run(there, info):
    model = there.run / "model.safetensors"
    card = facts(info, model)["card"]
    assert card == load_card(model).to_json()
    found = facts(info, there.run)
    assert found["steps"] == 2
    assert found["command"].startswith("geoseg train --aoi sample")
    assert "--max-steps 2" in found["command"]
    assert found["model"]["card"] == card
    text = info(there.run)
    assert "test tiles, 95 % interval" in text and "clusters, matched on" in text
    assert re.search(r"named by share: over \S+, colors \S+; building above", text)


def test_a_folder_of_runs_lists_them(there, tmp_path, info):
    shutil.copytree(there.run, tmp_path / "whole")
    shutil.copytree(there.run, tmp_path / "begun")
    for name in ("model.safetensors", "scores.json"):
        (tmp_path / "begun" / name).unlink()
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "run.json").write_text("{")
    (tmp_path / "notes").mkdir()
    card = load_card(there.run / "model.safetensors")
    iou = card.metrics["iou"]["value"]
    begun, broken, whole = facts(info, tmp_path)["runs"]
    assert whole == {
        **{"name": "whole", "method": "iic", "state": "finished"},
        **{"iou": iou, "problem": None},
    }
    assert (begun["state"], begun["iou"]) == ("stopped", None)
    assert broken["state"] == "damaged" and "run.json is damaged" in broken["problem"]
    text = info(tmp_path)
    assert re.search(rf"whole +iic +finished +IoU {iou:.3f}", text)
    assert re.search(r"begun +iic +stopped +not scored\n", text)


@pytest.mark.parametrize(
    ("limits", "state"),
    [
        ({}, "trained"),
        ({"max_steps": None, "max_epochs": 9}, "trained"),
        ({"max_steps": 3}, "stopped"),
    ],
)
def test_a_run_without_scores_is_trained_if_its_steps_are_made(
    run_with, tmp_path, info, limits, state
):
    (run_with({"metrics": {}}, limits) / "scores.json").unlink()
    (run,) = facts(info, tmp_path)["runs"]
    assert (run["state"], run["iou"]) == (state, None)
    assert re.search(rf"copied +iic +{state} +not scored$", info(tmp_path))


@pytest.fixture
def run_with(there, tmp_path):
    """Return ``run_with(card changes, settings changes) -> folder`` of a changed run."""

    def make(card=None, settings=None):
        folder = tmp_path / "copied"
        shutil.copytree(there.run, folder, dirs_exist_ok=True)
        model = load_model(folder / "model.safetensors")
        save_model(folder / "model.safetensors", model.with_card(**(card or {})))
        stored = json.loads((folder / "run.json").read_text())
        stored["settings"] |= settings or {}
        (folder / "run.json").write_text(json.dumps(stored))
        return folder

    return make


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"max_steps": 80}, "stopped at step 2 of 80; go on with"),
        ({"max_steps": None}, "stopped at step 2 of 600; go on with"),
        ({"max_epochs": 9}, "stopped at step 2; go on with"),
        ({}, "ended before they were written; go on with"),
    ],
)
def test_a_run_that_was_stopped_says_where(run_with, info, settings, reason):
    folder = run_with({"metrics": {}}, settings)
    no_scores = facts(info, folder)["model"]["no_scores"]
    assert no_scores == f"none yet: {reason}: geoseg train --resume {folder}"
    assert no_scores in info(folder)
    assert re.search(r"2 (of \d+ )?steps made", info(folder))


def test_a_run_matched_again_has_no_scores_and_says_so(run_with, there, info, geoseg):
    folder = run_with()
    assert "no_scores" not in facts(info, folder)["model"]
    done = geoseg("-q", "match", folder, "--aoi", "sample")
    assert done.exit_code == 0, done.output
    assert "matched again later" in facts(info, folder)["model"]["no_scores"]


def test_without_test_tiles_or_classes_or_a_run_the_reason_is_another(run_with, info):
    origin = load_card(run_with() / "model.safetensors").provenance
    none = {**origin, "tiles": {**origin["tiles"], "test": []}}
    folder = run_with({"metrics": {}, "provenance": none})
    assert "no test tiles" in facts(info, folder)["model"]["no_scores"]
    folder = run_with({"metrics": {}, "provenance": origin, "matchings": {}})
    assert "without classes" in facts(info, folder)["model"]["no_scores"]
    shutil.rmtree(folder)
    folder = run_with({"metrics": {}})
    (folder / "run.json").unlink()
    no_scores = facts(info, folder / "model.safetensors")["no_scores"]
    assert no_scores == "none: not scored when this was saved, after 2 steps"


def test_scores_have_the_names_and_the_order_of_the_tables(there, info):
    lines = info(there.run).splitlines()
    start = next(i for i, line in enumerate(lines) if "95 % interval" in line)
    shown = [line.strip() for line in lines[start + 1 : start + 9]]
    for line, (head, _, _) in zip(shown, TABLE_COLUMNS, strict=True):
        assert line.startswith(f"{head}  ")
    assert max(map(len, lines)) < 100


def test_the_command_of_a_run_names_its_folder_unless_train_chose_it(
    there, run_with, info
):
    assert " -o " not in facts(info, there.run)["command"]
    folder = run_with()
    assert facts(info, folder)["command"].endswith(f" -o {folder}")


def test_a_run_without_a_model_says_how_to_go_on(tmp_path, there, info):
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "run.json").write_text((there.run / "run.json").read_text())
    assert f"geoseg train --resume {folder}" in info(folder)


def test_a_run_that_is_going_on_is_not_called_stopped(run_with, info):
    folder = run_with({"metrics": {}}, {"max_steps": 80})
    forget_scores(folder)
    assert facts(info, folder)["state"] == "stopped"
    with locked(folder):
        found, text = facts(info, folder), info(folder)
    assert found["state"] == "running"
    assert found["model"]["no_scores"].startswith("none yet: the run is in progress")
    assert f"running now: 2 of 80 steps made; watch: tail -f {folder}" in text
    assert f"should it stop, go on with: geoseg train --resume {folder}" in text
    assert "stopped" not in text


def test_a_lock_that_a_killed_run_left_does_not_count(run_with, info):
    folder = run_with()
    (folder / ".lock").touch()
    assert facts(info, folder)["state"] == "finished"
    assert "finished: 2 of 2 steps made, numbers in metrics.csv" in info(folder)


def test_a_damaged_run_is_one_line(tmp_path, geoseg):
    (tmp_path / "run.json").write_text("{}")
    done = geoseg("info", tmp_path)
    assert done.exit_code == 1
    assert "run.json is damaged" in done.stderr


def test_images_that_fit_a_model_and_images_that_do_not(there, tmp_path, info):
    assert facts(info, there.images[0], "--model", there.run)["model"]["fits"]
    folder = there.images[0].parent
    assert facts(info, folder, "--model", there.run)["model"]["problems"] == []
    pan = write(tmp_path / "pan.tif", np.ones((1, 40, 40), np.uint16), crs=None)
    verdict = facts(info, pan, "--model", there.run)["model"]
    assert not verdict["fits"]
    crs, bands = verdict["problems"]
    assert "has no CRS" in crs and "absent" in bands


def test_other_values_and_pixel_sizes_are_warned_of(there, tmp_path, info):
    names = load_card(there.run / "model.safetensors").normalization.bands
    pixels = np.full((len(names), 40, 40), 60000, np.uint16)
    with rasterio.open(write(tmp_path / "a.tif", pixels), "r+") as dataset:
        dataset.descriptions = names
        dataset.transform = Affine(5, 0, 664000, 0, -5, 4000000)
    verdict = facts(info, tmp_path / "a.tif", "--model", there.run)["model"]
    assert verdict["fits"]
    gsd, values = verdict["warnings"]
    assert "pixels of 5 m, trained at" in gsd
    assert "100 % of the values of band" in values and "lie outside" in values
    for name in "bc":
        shutil.copy(tmp_path / "a.tif", tmp_path / f"{name}.tif")
    model = facts(info, tmp_path, "--model", there.run)["model"]
    assert len(model["warnings"]) == 6
    text = info(tmp_path, "--model", there.run)
    assert text.count("a.tif: ") == text.count("(3 of 3 images looked at)") == 2
    assert "b.tif: " not in text


def test_labels_and_own_outputs(there, tmp_path, info, geoseg):
    outputs = tmp_path / "b.gpkg", tmp_path / "c.tif"
    done = geoseg(
        *("predict", there.images[0], "--model", there.run),
        *("-o", outputs[0], "--raster", outputs[1]),
    )
    assert done.exit_code == 0, done.output
    (layer,) = facts(info, outputs[0])["layers"]
    assert {"id", "class", "score", "area_m2"} <= set(layer["attributes"])
    labels = sorted(there.folder.rglob("*.geojson"))[0]
    assert facts(info, labels)["kind"] == "vector"
    assert "attributes" in info(labels)


def test_what_cannot_be_read_is_named_and_the_rest_is_shown(there, tmp_path, geoseg):
    broken = tmp_path / "broken.tif"
    broken.write_bytes(b"II*\0")
    done = geoseg("-q", "info", broken, there.images[0], tmp_path / "none.tif")
    assert done.exit_code == 1
    assert f"{there.images[0]}: image" in done.stdout
    first, second = done.stderr.strip().splitlines()
    assert f"{broken} cannot be opened" in first
    assert "none.tif does not exist, expected an image, a folder" in second


def test_a_path_that_does_not_exist_is_told_before_anything_heavy_is_imported():
    code = (
        "import sys\n"
        "from geoseg.cli import cli\n"
        "try: cli.main(['info', 'nothing.tif'])\n"
        "except SystemExit as end: assert end.code == 1\n"
        "print(sorted({'torch', 'rasterio', 'numpy'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
    assert "nothing.tif does not exist" in done.stderr


def test_archives_and_other_files_say_what_to_do(tmp_path, geoseg):
    archive, text = tmp_path / "tiles.zip", tmp_path / "notes.md"
    for path in (archive, text):
        path.write_bytes(b"PK")
    done = geoseg("info", archive)
    assert done.exit_code == 1
    assert f"look into it with geoseg info /vsizip/{archive}" in done.stderr
    assert "notes.md is not an image that geoseg reads" in geoseg("info", text).stderr


def test_an_image_needs_no_suffix_and_a_list_is_a_folder(there, tmp_path, info):
    shutil.copy(there.images[0], tmp_path / "bare")
    assert facts(info, tmp_path / "bare")["kind"] == "image"
    (tmp_path / "list.txt").write_text("\n".join(map(str, there.images[:2])))
    assert facts(info, tmp_path / "list.txt")["tiles"] == 2


def test_a_single_thing_that_is_none_is_one_line(tmp_path, geoseg):
    done = geoseg("info", tmp_path / "nothing")
    assert done.exit_code == 1
    assert len(done.stderr.strip().splitlines()) == 1


def test_images_that_gdal_fetches_and_folders_of_them(tmp_path, info):
    pixels = np.full((1, 40, 40), 900, np.uint16)
    with zipfile.ZipFile(tmp_path / "tiles.zip", "w") as archive:
        for name in ("a.tif", "b.tif"):
            archive.write(write(tmp_path / name, pixels), name)
    root = f"/vsizip/{tmp_path}/tiles.zip"
    assert facts(info, f"{root}/a.tif")["bands"][0]["median"] == 900
    assert facts(info, root)["tiles"] == 2
