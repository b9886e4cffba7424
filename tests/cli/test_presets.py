"""``geoseg train --preset``: what is trained, what wins, what is refused."""

import json
import re

import pytest

from geoseg.core.run_files import MODEL_NAME, REPORT_NAME, SETTINGS_NAME
from geoseg.methods.presets import PRESETS
from geoseg.model.file import load_model

SMALL = ("--patch-size", 32, "--batch-size", 2, "--no-controls")
#: Makes a preset small: a step of the thinnest network, a few pixels.
SMALLER = dict.fromkeys(PRESETS, ("--max-steps", 1, "-p", "width=2"))
SMALLER["colors"] = ("-p", "pixels=1000")
SMALLER["forest"] = ("-p", "pixels=1000", "-p", "trees=2", "-p", "scales=1")


def settings(run):
    return json.loads((run / SETTINGS_NAME).read_text())["settings"]


@pytest.mark.slow
@pytest.mark.parametrize("name", PRESETS)
def test_it_trains_its_method_and_the_run_says_so(geoseg, there, tmp_path, name):
    run = tmp_path / "run"
    words = ("--aoi", "sample", "-o", run, "--report", "none", *SMALL, *SMALLER[name])
    done = geoseg("train", "--preset", name, *words)
    assert done.exit_code == 0, done.output
    assert f"preset {name} sets --method {PRESETS[name].method}" in done.stderr
    found = settings(run)
    assert (found["preset"], found["method"]) == (name, PRESETS[name].method)
    assert found["patch_size"] == 32
    assert load_model(run / MODEL_NAME).card.provenance["preset"] == name


def test_the_run_card_names_it(geoseg, there, tmp_path):
    run = tmp_path / "run"
    words = ("--aoi", "sample", "-o", run, *SMALL, *SMALLER["colors"])
    assert geoseg("train", "--preset", "colors", *words).exit_code == 0
    page = (run / REPORT_NAME).read_text(encoding="utf-8")
    assert re.search(r">preset</\w+>\s*<\w+>colors<", page)
    assert "preset colors" in geoseg("info", run).stdout


def test_what_is_given_wins_and_the_rest_is_the_preset_s(geoseg, there, tmp_path):
    words = ["-p", "width=2", "-p", "jitter=0.1", "--max-epochs", 1]
    words += ["--patches-per-epoch", 2, "--batch-size", 2, "--report", "none"]
    done = geoseg(
        *("train", "--aoi", "sample", "--preset", "iic"),
        *(*words, "--no-controls", "-o", tmp_path / "run"),
    )
    assert done.exit_code == 0, done.output
    (said,) = re.findall("^preset .*", done.stderr, re.MULTILINE)
    assert "--patch-size 96" in said and "half_width=5" in said
    assert not re.search("width=8|jitter|--max", said)
    found = settings(tmp_path / "run")
    assert found["parameters"] == {
        **PRESETS["iic"].parameters,
        **{"width": "2", "jitter": "0.1"},
    }
    assert (found["max_steps"], found["max_epochs"], found["patch_size"]) == (
        *(None, 1, 96),
    )


@pytest.mark.slow
def test_a_value_as_usual_wins_too_where_it_is_given(geoseg, there, tmp_path):
    words = ["--patch-size", 128, "--max-steps", 1, "-p", "width=2", "--no-controls"]
    done = geoseg(
        *("train", "--aoi", "sample", "--preset", "labels", "-o", tmp_path / "run"),
        *(*words, "--batch-size", 1, "--report", "none"),
    )
    assert done.exit_code == 0, done.output
    assert settings(tmp_path / "run")["patch_size"] == 128


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["--preset", "labels", "--method", "iic"], "trains supervised, but --method"),
        (["--preset", "unsuprevised"], "(did you mean unsupervised?), expected one of"),
    ],
)
def test_what_does_not_go_together_is_refused(geoseg, there, tmp_path, words, line):
    run = tmp_path / "run"
    done = geoseg("train", "--aoi", "sample", "-o", run, *words)
    assert done.exit_code == 2
    (said,) = done.stderr.strip().splitlines()
    assert line in said
    assert not run.exists()


def test_a_run_that_goes_on_takes_no_preset(geoseg, there):
    done = geoseg("train", "--resume", there.run, "--preset", "unsupervised")
    assert done.exit_code == 2
    assert "settings of the run, but --preset was given too" in done.stderr


def test_a_run_that_goes_on_takes_what_does_not_alter_the_training(geoseg, there):
    done = geoseg("train", "--resume", there.run, "--report", "none", "--no-controls")
    assert done.exit_code == 0, done.output
    assert "already finished" in done.stderr
