"""The model for the map, made once more with the test tiles too."""

import json
import shutil
from dataclasses import replace

import pytest
from click.testing import CliRunner
from small_runs import COLOUR, SMALL, settings_of

from geoseg.cli import cli
from geoseg.core.run_files import MODEL_NAME, REFITTED_NAME, SCORED_NAME
from geoseg.methods.presets import PRESETS, additions, in_options
from geoseg.model.card import load_card
from geoseg.model.file import load_model
from geoseg.runs import train as runs
from geoseg.runs.folders import is_finished
from geoseg.runs.settings import RunSettings

FOREST = {
    **COLOUR,
    "method": "forest",
    "parameters": {"trees": 4, "leaves": 8, "depth": 4, "scales": 2},
    "report": "none",
}
SUPERVISED = {
    **SMALL,
    "method": "supervised",
    "parameters": {"width": 2},
    "report": "none",
}
KMEANS = {**COLOUR, "report": "none"}
METHODS = pytest.mark.parametrize(
    "values", [FOREST, SUPERVISED, KMEANS], ids=["forest", "supervised", "kmeans"]
)


def start(town, folder, values, **changes):
    return runs.start(settings_of(town, values, **changes), folder)


def bytes_of(folder):
    return {
        name: (folder / name).read_bytes()
        for name in (MODEL_NAME, SCORED_NAME, REFITTED_NAME, "scores.json")
        if (folder / name).exists()
    }


@METHODS
def test_the_refitted_model_has_all_labels_and_the_scored_one_is_kept(
    town, tmp_path, values
):
    plain = start(town, tmp_path / "plain", values)
    result = start(town, tmp_path / "refit", values, refit=True)
    scored, refitted = (load_card(result.run / n) for n in (SCORED_NAME, MODEL_NAME))
    assert (result.run / SCORED_NAME).read_bytes() == plain.model_path.read_bytes()
    own = plain.model.card.provenance["tiles"]
    assert scored.provenance["tiles"] == own and own["test"]
    again = refitted.provenance["tiles"]
    assert again["match"] == own["match"] + own["test"] and not again["test"]
    assert refitted.matchings[refitted.head].tiles == 6
    assert refitted.provenance["refit"]["test_tiles"] == len(own["test"])
    assert refitted.metrics == {**scored.metrics, "scored_model": SCORED_NAME}
    assert "scores are of scored.safetensors" in result.summary()
    same = scored.parameters == refitted.parameters and all(
        (a == b).all()
        for a, b in zip(
            load_model(result.run / SCORED_NAME).method.state_dict().values(),
            load_model(result.run / MODEL_NAME).method.state_dict().values(),
            strict=True,
        )
    )
    assert same == (values is KMEANS)  # there labels only name clusters


@pytest.mark.parametrize("values", [FOREST, SUPERVISED], ids=["forest", "supervised"])
def test_the_refitted_model_is_that_of_a_training_on_those_tiles(
    town, tmp_path, values, monkeypatch
):
    """A run whose matching tiles are those of both has the same weights and matching."""
    result = start(town, tmp_path / "refit", values, refit=True)
    real = runs.split_of

    def all_match(settings, tiles):
        split = real(settings, tiles)
        return replace(split, match=split.match + split.test, test=())

    monkeypatch.setattr(runs, "split_of", all_match)
    whole = start(town, tmp_path / "whole", values)
    first, second = result.model, whole.model
    assert first.card.matchings == second.card.matchings
    assert first.card.normalization == second.card.normalization
    weights, others = first.method.state_dict(), second.method.state_dict()
    assert all((weights[name] == others[name]).all() for name in others)


def test_a_finished_run_is_left_and_other_wishes_are_followed(town, tmp_path):
    result = start(town, tmp_path / "run", FOREST, refit=True)
    folder, whole = result.run, bytes_of(result.run)
    assert is_finished(folder)
    assert runs.resume(folder).finished
    assert bytes_of(folder) == whole
    back = runs.resume(folder, refit=False)
    assert not back.finished and is_finished(folder)
    assert not (folder / SCORED_NAME).exists()
    assert (folder / MODEL_NAME).read_bytes() == whole[SCORED_NAME]
    assert runs.resume(folder).finished
    runs.resume(folder, refit=True)
    assert bytes_of(folder) == whole


@pytest.mark.parametrize("values", [FOREST, SUPERVISED], ids=["forest", "supervised"])
@pytest.mark.parametrize(
    "left", ["nothing", "the folder", "the scored model", "both models"]
)
def test_a_run_that_was_killed_in_its_refit_goes_on_to_the_same(
    town, tmp_path, values, left
):
    result = start(town, tmp_path / "run", values, refit=True)
    folder, whole = result.run, bytes_of(result.run)
    (folder / REFITTED_NAME).unlink()
    if left != "both models":
        (folder / MODEL_NAME).write_bytes(whole[SCORED_NAME])
    if left in ("nothing", "the folder"):
        (folder / SCORED_NAME).unlink()
    if left == "nothing":
        shutil.rmtree(folder / "refit")
    assert not is_finished(folder)
    info = CliRunner().invoke(cli, ["info", str(folder)]).output
    assert "not refitted yet; go on with: geoseg train --resume" in info
    again = runs.resume(folder)
    assert not again.finished and is_finished(folder)
    assert bytes_of(folder) == whole


def test_a_signal_in_the_refit_leaves_the_scored_model(town, tmp_path, monkeypatch):
    from geoseg.runs import refitting

    def stopped(plan, folder, *, resume, profile):
        model, trained = real(plan, folder, resume=resume, profile=profile)
        return model, replace(trained, signal=2)

    real = refitting.train_plan
    monkeypatch.setattr(refitting, "train_plan", stopped)
    result = start(town, tmp_path / "run", SUPERVISED, refit=True)
    assert result.interrupted and not is_finished(result.run)
    assert not (result.run / SCORED_NAME).exists()
    assert "refit" not in load_card(result.model_path).provenance
    assert "go on with: geoseg train --resume" in result.summary()
    monkeypatch.undo()
    assert "refit" in runs.resume(result.run).model.card.provenance


def test_a_refit_that_fails_leaves_the_scored_model_and_a_finished_run(
    town, tmp_path, monkeypatch, caplog
):
    from geoseg.runs import refitting

    def collapsed(plan, folder, *, resume, profile):
        model, trained = real(plan, folder, resume=resume, profile=profile)
        return model, replace(trained, collapse="all pixels in one cluster")

    real = refitting.train_plan
    monkeypatch.setattr(refitting, "train_plan", collapsed)
    result = start(town, tmp_path / "run", SUPERVISED, refit=True)
    assert "no refit: all pixels in one cluster" in caplog.text
    assert is_finished(result.run) and not (result.run / SCORED_NAME).exists()
    assert json.loads((result.run / REFITTED_NAME).read_text())["model"] == "scored"
    assert runs.resume(result.run).finished


def test_a_run_that_trains_longer_is_scored_and_refitted_anew(town, tmp_path):
    from geoseg.training.limits import Limits

    result = start(town, tmp_path / "run", SUPERVISED, refit=True)
    runs.resume(result.run, limits=Limits(max_steps=5))
    straight = start(town, tmp_path / "whole", SUPERVISED, refit=True, max_steps=5)
    assert bytes_of(result.run) == bytes_of(straight.run)


def test_evaluate_says_which_model_to_score(town, tmp_path):
    result = start(town, tmp_path / "run", FOREST, refit=True)
    raster = str(tmp_path / "maps")
    images = [f"{town.images}/tile{n}.tif" for n in range(6)]
    given = ["--images", town.images, "--labels", town.labels]
    called = CliRunner().invoke
    for name in (MODEL_NAME, SCORED_NAME):
        words = ["-q", "predict", *images, "-o", str(tmp_path / "m.gpkg")]
        words += ["--raster", raster, "--overwrite", "--model", str(result.run / name)]
        assert called(cli, words).exit_code == 0
        words = ["evaluate", raster, *given, "--model", str(result.run / name)]
        done = called(cli, words)
        if name == MODEL_NAME:
            assert done.exit_code == 1
            assert (
                "refitted on the test tiles too; predict and evaluate with scored"
                in (done.stderr.splitlines()[-1])
            )
        else:
            assert done.exit_code == 0, done.stderr
            assert "scoring 3 of 6 labelled tiles" in done.stderr


def test_info_says_which_is_which(town, tmp_path):
    result = start(town, tmp_path / "run", FOREST, refit=True)
    said = CliRunner().invoke(cli, ["info", str(result.run)]).output
    assert "of scored.safetensors, the model before the refit on 6 tiles" in said
    assert "trained again with 3 matching and 3 test tiles together" in said
    said = CliRunner().invoke(cli, ["info", str(result.run / SCORED_NAME)]).output
    assert "refit" not in said


def test_a_new_matching_is_no_refit(town, tmp_path):
    result = start(town, tmp_path / "run", KMEANS, refit=True)
    words = ["match", str(result.run), "--images", town.images]
    done = CliRunner().invoke(cli, [*words, "--labels", town.labels])
    assert done.exit_code == 0, done.output
    assert "refit" not in load_card(result.model_path).provenance


def test_presets_that_learn_from_labels_refit():
    from geoseg.methods import method_class

    for name, preset in PRESETS.items():
        learns = method_class(preset.method).uses_labels
        assert preset.settings.get("refit", False) == learns, name
    added = additions("forest", {})
    assert "--refit" in in_options(added).split()
    settings = RunSettings(images="tiles", preset="forest", **added)
    assert "refit" not in settings.command()
    settings = RunSettings(images="tiles", preset="forest", **{**added, "refit": False})
    assert settings.command().endswith("--no-refit")


def test_without_test_tiles_there_is_nothing_to_refit(town, tmp_path):
    result = runs.start(
        RunSettings(
            images=f"{town.images}/tile0.tif",
            labels=f"{town.labels}/tile0.geojson",
            refit=True,
            **KMEANS,
        ),
        tmp_path / "run",
    )
    assert not (result.run / SCORED_NAME).exists()
