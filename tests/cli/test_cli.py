import json
import os
import re
import subprocess
import sys
import time

import pytest
import torch

import geoseg as package
from geoseg.cli import COMMANDS
from geoseg.methods import METHODS, method_class, method_defaults, method_help
from geoseg.methods.presets import PRESETS
from geoseg.model.file import load_model, save_model


def errors(result) -> str:
    """Return the one line that a refused command says, without a traceback."""
    assert result.exception is None or isinstance(result.exception, SystemExit)
    assert "Traceback" not in result.output
    last = result.stderr.splitlines()[-1]
    assert last.startswith("Error: ")
    return last


def assert_data_error(result, message: str) -> None:
    assert message in errors(result)
    began = result.stderr.startswith("looking at ")
    assert result.stderr.count("\n") == 1 + began
    assert result.exit_code == 1


def assert_usage_error(result, message: str) -> None:
    assert message in errors(result)
    assert result.exit_code == 2


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_explains_itself(geoseg, name):
    result = geoseg(name, "--help")
    assert result.exit_code == 0
    assert result.stdout.startswith(f"Usage: cli {name} ")
    assert len(result.stdout.splitlines()) > 5


def test_help_lists_the_commands_in_the_order_of_the_work(geoseg):
    text = geoseg("-h").stdout
    places = [text.index(f"\n  {name} ") for name in COMMANDS]
    assert places == sorted(places)
    road = ["train", "match", "predict", "evaluate"]
    assert [name for name in COMMANDS if name in road] == road


def test_help_of_every_command_imports_nothing_heavy():
    code = (
        "import sys\n"
        "from geoseg.cli import COMMANDS, cli\n"
        "for name in COMMANDS:\n"
        "    cli.main([name, '--help'], standalone_mode=False)\n"
        "assert not {'torch', 'rasterio', 'numpy', 'geoseg.model.file'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)


def test_help_answers_at_once(spawn):
    seconds = []
    for _ in range(3):
        started = time.monotonic()
        assert spawn("--help").wait() == 0
        seconds.append(time.monotonic() - started)
    assert min(seconds) < 1.0  # 0.1 s on an idle machine


def test_the_version_is_the_package_s(geoseg):
    assert geoseg("--version").stdout.strip().endswith(package.__version__)


def test_python_runs_the_package(spawn):
    out, _ = (process := spawn("--version")).communicate()
    assert process.returncode == 0
    assert out.decode() == f"geoseg, version {package.__version__}\n"


def test_methods_are_listed_by_what_they_learn_from(geoseg):
    *sections, presets = geoseg("methods").stdout.split("\n\n")
    listed = [[line.split()[0] for line in text.splitlines()[1:]] for text in sections]
    families = ("unsupervised", "reference", "control")
    for names, family in zip(listed, families, strict=True):
        assert names == [key for key, row in METHODS.items() if row.family == family]
    assert [text.split(",")[0] for text in sections] == [
        *("Unsupervised", "References", "Controls")
    ]
    assert [line.split()[0] for line in presets.splitlines()] == ["Presets,", *PRESETS]


def test_what_learns_from_labels_says_so(geoseg):
    listed = geoseg("methods").stdout.partition("Presets")[0]
    train = geoseg("train", "--help").stdout
    assert "but for the references (see" in train
    for name, entry in METHODS.items():
        if entry.family != "reference":
            (line,) = re.findall(rf"^  {name} .*", listed, re.MULTILINE)
            learns = method_class(name).uses_labels
            assert ("learns from labels" in line) is learns
            assert (re.search(rf"\b{name}\b", train) is not None) >= learns


def test_methods_in_json_have_names_and_defaults(geoseg):
    expected = {
        name: {**method_defaults(name), "help": method_help(name)} for name in METHODS
    }
    found = json.loads(geoseg("methods", "--json").stdout)
    presets = found.pop("presets")
    assert found == expected
    assert {name: row["method"] for name, row in presets.items()} == {
        name: row.method for name, row in PRESETS.items()
    }
    assert json.loads(geoseg("methods", "iic", "--json").stdout) == {
        "iic": expected["iic"],
        "presets": {"iic": presets["iic"]},
    }


def test_the_parameters_of_a_method_are_listed_as_train_takes_them(geoseg):
    found = geoseg("methods", "color_kmeans").stdout
    assert re.search(r"^    -p clusters=24 +K\.$", found, re.MULTILINE)
    assert "    chosen without labels: nothing to choose\n" in found
    assert (
        "  colors " in found
        and "    sets --method color_kmeans -p clusters=192\n" in found
    )


def test_a_mistyped_command_method_or_parameter_is_guessed(geoseg):
    assert "'trian' (did you mean train?), expected" in geoseg("trian").stderr
    assert "'iicc' (did you mean iic?), expected" in geoseg("methods", "iicc").stderr
    done = geoseg("train", "--aoi", "sample", "-p", "with=8")
    assert "'with' (did you mean width?); it has" in done.stderr


def test_what_the_system_refuses_is_one_line_too(geoseg, there):
    (there.folder / "a_file").write_text("")
    result = geoseg("-q", "predict", there.images[0], "-o", "a_file/b.gpkg")
    assert result.exit_code == 1
    assert "a_file" in errors(result)


def test_a_data_folder_in_the_environment_is_no_setting_of_a_resumed_run(
    geoseg, tmp_path, monkeypatch
):
    monkeypatch.setenv("GEOSEG_DATA", str(tmp_path))
    assert_data_error(geoseg("train", "--resume", tmp_path), "has no run.json")


def test_a_device_that_is_not_there_is_wrong_usage(geoseg, there):
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    words = ["--device", "cuda", "-o"]
    result = geoseg("train", "--aoi", "sample", *words, "new")
    assert_usage_error(result, "no device 'cuda' here")
    result = geoseg("predict", there.images[0], *words, "new.gpkg")
    assert_usage_error(result, "no device 'cuda' here")
    assert not (there.folder / "new").exists()


def test_sample_writes_tiles_and_says_where(geoseg, tmp_path):
    result = geoseg("sample", "-o", tmp_path / "t", "--tiles", 2, "--size", 64)
    assert result.stdout == f"{tmp_path / 't'}\n"
    assert len(list((tmp_path / "t").rglob("*.tif"))) == 4  # images and masks


def test_sample_keeps_what_exists_unless_told(geoseg, tmp_path):
    words = ["sample", "-o", tmp_path / "t", "--tiles", 1, "--size", 64]
    assert geoseg(*words).exit_code == 0
    before = {p: p.read_bytes() for p in (tmp_path / "t").rglob("*") if p.is_file()}
    assert_usage_error(geoseg(*words), "exists already")
    assert geoseg(*words, "--overwrite").exit_code == 0
    after = {p: p.read_bytes() for p in (tmp_path / "t").rglob("*") if p.is_file()}
    assert after == before


@pytest.mark.parametrize(
    "words",
    [
        ["predict", "a.tif", "-o", "taken.gpkg"],
        ["match", "runs/sample-iic-001", "--aoi", "sample", "-o", "taken.gpkg"],
        ["evaluate", "a.tif", "--aoi", "sample", "-o", "scores"],
    ],
    ids=lambda words: words[0],
)
def test_an_output_that_exists_is_wrong_usage(geoseg, there, words):
    (there.folder / "taken.gpkg").write_text("mine")
    (there.folder / "scores").mkdir(exist_ok=True)
    (there.folder / "scores" / "scores.json").write_text("mine")
    assert_usage_error(geoseg(*words), "exists already: give --overwrite")
    assert (there.folder / "taken.gpkg").read_text() == "mine"


def test_demo_does_not_touch_a_folder_that_exists(geoseg, tmp_path):
    assert_usage_error(geoseg("demo", "-o", tmp_path), "exists already")
    assert not os.listdir(tmp_path)


def test_train_does_not_touch_a_folder_that_holds_something(geoseg, there, tmp_path):
    (tmp_path / "notes").write_text("mine")
    result = geoseg("train", "--aoi", "sample", "-o", tmp_path)
    assert_usage_error(result, "not empty")
    assert os.listdir(tmp_path) == ["notes"]


def test_train_warns_of_steps_that_a_method_does_not_make(geoseg, there, tmp_path):
    words = ["train", "--aoi", "sample", "--method", "majority", "--max-steps", 9]
    words += ["--no-controls", "--report", "none", "-o", tmp_path / "run"]
    result = geoseg(*words)
    assert result.exit_code == 0, result.output
    warning = "majority makes no optimiser steps: without effect is --max-steps 9\n"
    assert result.stderr.count(warning) == 1


def test_without_a_model_predict_says_to_train(geoseg, work, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = geoseg("predict", work.images[0], "-o", "b.gpkg")
    assert_data_error(result, "train one with geoseg train")


def test_a_model_without_a_matching_says_to_match(geoseg, work, tmp_path):
    model = load_model(work.run / "model.safetensors").with_card(matchings={})
    save_model(tmp_path / "m", model)
    output = tmp_path / "b.gpkg"
    result = geoseg("predict", work.images[0], "-o", output, "--model", tmp_path / "m")
    assert_data_error(result, "run geoseg match")
    assert os.listdir(tmp_path) == ["m"]


@pytest.mark.parametrize("words", [("--match-tiles", "50%"), ("--tiles", 3)])
def test_match_takes_a_number_of_tiles_or_a_share(geoseg, there, tmp_path, words):
    output = tmp_path / "matched.safetensors"
    done = geoseg("match", there.run, "--aoi", "sample", *words, "-o", output)
    assert done.exit_code == 0, done.output
    assert "left out (--match-tiles)" in done.stderr
    assert len(load_model(output).card.provenance["matched_on"]) == 3


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--match-tiles", 4, "--test-tiles", 3), "--match-tiles 4 and --test-tiles 3"),
        (("--test-tiles", "100%"), "--test-tiles 6: expected at least one to match on"),
        (("--match-tiles", "100%"), "cannot be split by --match-tiles 6"),
        (("--select-tiles", 5), "cannot be split by --select-tiles 5"),
    ],
)
def test_numbers_of_tiles_that_do_not_fit_together_are_one_line(
    geoseg, there, tmp_path, words, message
):
    run = tmp_path / "run"
    done = geoseg("train", "--aoi", "sample", *words, "-o", run)
    assert done.exit_code == 2 and not run.exists()
    assert message in done.stderr.splitlines()[-1]
    done = geoseg("train", "--aoi", "sample", "--test-tiles", "0", "-o", run)
    assert done.exit_code == 2 and "expected 1 or more" in done.stderr


def test_a_damaged_model_is_wrong_data(geoseg, work, tmp_path):
    content = (work.run / "model.safetensors").read_bytes()
    (tmp_path / "m").write_bytes(content[: len(content) // 2])
    words = ["-o", tmp_path / "b.gpkg", "--model", tmp_path / "m"]
    result = geoseg("predict", work.images[0], *words)
    assert_data_error(result, "not a readable safetensors file")


def test_quiet_leaves_out_what_is_no_error(geoseg, there, tmp_path):
    fine = load_model(there.run / "model.safetensors").with_card(gsd_m=0.01)
    save_model(tmp_path / "m", fine)
    words = ["predict", there.images[0], "--model", tmp_path / "m", "-o"]
    result = geoseg("-q", *words, tmp_path / "a.gpkg")
    assert result.exit_code == 0
    assert result.stderr == ""
    result = geoseg(*words, tmp_path / "b.gpkg")
    assert re.search("footprints? in", result.stderr)
    assert "the model was trained at 0.01 m: expect a poor map" in result.stderr


def test_an_automatic_device_is_named(geoseg, there, tmp_path):
    words = ("predict", there.images[0], "-o", tmp_path / "b.geojson")
    result = geoseg(*words, "--device", "auto")
    assert result.exit_code == 0, result.output
    found = "cuda" if torch.cuda.is_available() else "cpu"
    assert f"--device auto: {found}" in result.stderr


def test_every_option_of_train_stands_below_one_heading():
    from geoseg.cli.train import SECTIONS, command

    listed = [name for names in SECTIONS.values() for name in names]
    assert len(listed) == len(set(listed))
    assert set(listed) == {str(option.name) for option in command.params}
