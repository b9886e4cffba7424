import re
import shlex
from dataclasses import fields
from pathlib import Path

import pytest

from geoseg.core.errors import ParameterError
from geoseg.methods import METHODS, build_method, check_parameters, method_defaults
from geoseg.methods.presets import PRESETS, additions, in_options, preset_of
from geoseg.runs.settings import RunSettings

ROOT = Path(__file__).parents[2]
USUAL = {field.name: field.default for field in fields(RunSettings)}


@pytest.mark.parametrize("name", PRESETS)
def test_its_method_takes_its_parameters_as_they_are(name):
    preset = PRESETS[name]
    checked = check_parameters(preset.method, preset.parameters)
    assert checked == preset.parameters
    assert {k: type(v) for k, v in checked.items()} == {
        key: type(method_defaults(preset.method)[key]) for key in checked
    }
    build_method(preset.method, 3, preset.parameters)
    assert preset.family == METHODS[preset.method].family


@pytest.mark.parametrize("name", PRESETS)
def test_its_settings_are_those_of_a_run_and_none_is_the_usual_one(name):
    for key, value in PRESETS[name].settings.items():
        assert value != USUAL[key]
    RunSettings(preset=name, **additions(name, {}))


@pytest.mark.parametrize("name", PRESETS)
def test_its_scores_stand_where_it_says(name):
    page, _, heading = PRESETS[name].measured.partition(", ")
    text = (ROOT / page).read_text(encoding="utf-8")
    assert re.search(rf"^## {heading}$", text, re.MULTILINE)


@pytest.mark.parametrize("name", PRESETS)
def test_the_page_of_methods_says_what_it_sets(name):
    preset = PRESETS[name]
    text = (ROOT / "docs" / "methods" / "README.md").read_text(encoding="utf-8")
    (row,) = re.findall(rf"^\| `{name}` \|.*$", text, re.MULTILINE)
    assert f"[{preset.method}]({preset.method}.md)" in row
    added = {**additions(name, {})}
    del added["method"]
    assert (f"`{in_options(added)}`" in row) is bool(in_options(added))


def test_what_is_chosen_wins():
    added = additions("iic", {"parameters": {"jitter": "0.1"}})
    assert "jitter" not in added["parameters"]
    assert added["parameters"]["half_width"] == 5
    added = additions("iic", {"patch_size": 64, "method": "iic"})
    assert "patch_size" not in added
    assert added["max_steps"] == 200


@pytest.mark.parametrize("limit", ["max_steps", "max_epochs", "max_seconds"])
def test_any_chosen_limit_stands_in_place_of_its_steps(limit):
    assert "max_steps" not in additions("labels", {limit: 3})


def test_a_model_to_start_from_brings_its_trunk():
    added = additions("semisup", {"init": "runs/iic"})
    assert added["parameters"] == {"half_width": 5}


def test_another_method_or_preset_is_refused():
    with pytest.raises(ParameterError, match="labels trains supervised, but --method"):
        additions("labels", {"method": "iic"})
    with pytest.raises(ParameterError, match=r"no preset 'forrest' \(did you mean for"):
        preset_of("forrest")


def test_the_command_of_a_run_names_its_preset_and_what_differs():
    def command(**chosen):
        chosen = {"aoi": "sample", **chosen}
        added = additions("iic", chosen)
        parameters = {**added.pop("parameters"), **chosen.pop("parameters", {})}
        settings = RunSettings(preset="iic", parameters=parameters, **chosen | added)
        return shlex.split(settings.command())[4:]

    assert command() == ["--preset", "iic"]
    # what is as usual, and not as in the preset, differs
    assert command(patch_size=128)[2:] == ["--patch-size", "128"]
    assert command(parameters={"jitter": 0.1})[2:] == ["-p", "jitter=0.1"]
    assert command(max_seconds=60.0)[2:] == ["--max-time", "00:01:00"]
    assert "width=8" not in command(init="m")


def test_a_preset_that_this_version_does_not_have_is_written_out():
    settings = RunSettings(aoi="sample", preset="former", parameters={"width": 8})
    assert settings.command().endswith("--preset former -p width=8")
