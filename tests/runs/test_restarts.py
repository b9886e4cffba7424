"""Trainings from other seeds: the one that matches the matching tiles best is kept."""

import json
import shutil
from dataclasses import replace

import pytest
import small_runs
from small_runs import SMALL

from geoseg.core.errors import LabelError, ParameterError
from geoseg.model.file import load_model
from geoseg.runs import restarts
from geoseg.runs import train as runs
from geoseg.runs.checks import check_settings
from geoseg.runs.folders import curves_of
from geoseg.runs.settings import RunSettings
from geoseg.training.limits import Limits

SETTINGS = SMALL | {"max_steps": 2, "report": "none", "seed": 4, "split_seed": 0}


def settings_of(tiles, **changes) -> RunSettings:
    return small_runs.settings_of(tiles, SETTINGS, **changes)


def weights(folder):
    return load_model(folder / "model.safetensors").method.state_dict()


def same(first, second) -> bool:
    return all(first[name].equal(second[name]) for name in first)


@pytest.fixture(scope="module")
def best(town, tmp_path_factory):
    folder = tmp_path_factory.mktemp("best") / "run"
    return runs.start(settings_of(town, restarts=3), folder)


@pytest.fixture(scope="module")
def alone(town, tmp_path_factory):
    """Run of each seed by itself, without a test: matched on the same tiles."""
    place = tmp_path_factory.mktemp("alone")
    return {
        seed: runs.start(settings_of(town, seed=seed), place / str(seed))
        for seed in (4, 5, 6)
    }


@pytest.mark.slow
def test_the_best_matched_seed_is_kept(best, alone):
    found = best.model.card.provenance["restarts"]
    assert [it["seed"] for it in found] == [4, 5, 6]
    highest = max(found, key=lambda it: it["matching_iou"])
    kept = highest["seed"]
    assert best.model.card.seed == kept
    assert same(weights(best.run), alone[kept].model.method.state_dict())
    assert best.model.card.matchings == alone[kept].model.card.matchings
    assert best.model.card.metrics == alone[kept].model.card.metrics
    curves = (best.run / "metrics.csv").read_bytes()
    assert curves == (alone[kept].run / "metrics.csv").read_bytes()
    assert "2 steps in the best of 3 trainings" in best.summary()


def test_the_test_tiles_have_no_say(town, best, tmp_path, monkeypatch):
    """With other scores than the matching's, another seed is kept."""
    wanted = {4: 0.1, 5: 0.9, 6: 0.5}
    monkeypatch.setattr(
        restarts, "matching_iou", lambda model, _: wanted[model.card.seed]
    )
    again = runs.start(settings_of(town, restarts=3), tmp_path / "run")
    assert again.model.card.seed == 5


@pytest.mark.slow
def test_a_stopped_run_goes_on_to_the_same(town, best, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(best.run, folder)
    for name in ("model.safetensors", "scores.json", "panel.png", "metrics.csv"):
        (folder / name).unlink()
    shutil.rmtree(folder / "restarts" / "seed-6")
    (folder / "restarts" / "seed-5" / "last.ckpt").unlink()
    resumed = runs.resume(folder)
    assert same(weights(folder), weights(best.run))
    assert resumed.model.card.matchings == best.model.card.matchings
    tried = [it["seed"] for it in resumed.model.card.provenance["restarts"]]
    assert tried == [4, 5, 6]


@pytest.mark.slow
def test_more_steps_go_on_in_every_training(town, best, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(best.run, folder)
    longer = runs.resume(folder, limits=Limits(max_steps=3))
    whole = runs.start(
        settings_of(town, restarts=3, max_steps=3), tmp_path / "from_the_beginning"
    )
    assert longer.model.card.seed == whole.model.card.seed
    assert same(weights(folder), weights(whole.run))


def test_the_numbers_of_a_running_training_are_found(tmp_path):
    own = tmp_path / "metrics.csv"
    assert curves_of(tmp_path) == own
    newest = tmp_path / "restarts" / "seed-0" / "metrics.csv"
    newest.parent.mkdir(parents=True)
    newest.write_text("step\n1\n")
    assert curves_of(tmp_path) == newest
    own.write_text("step\n2\n")
    assert curves_of(tmp_path) == own


def test_a_method_that_learns_from_the_labels_is_refused(town):
    settings = settings_of(town, restarts=2, method="supervised", parameters={})
    with pytest.raises(ParameterError, match="supervised learns from them"):
        check_settings(settings)


def test_without_labels_nothing_can_be_kept(town, tmp_path):
    unlabelled = replace(settings_of(town, restarts=2), labels=None)
    with pytest.raises(LabelError, match="no tile of .* has labels"):
        runs.start(unlabelled, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_without_labels_a_preset_with_restarts_trains_once(town, tmp_path, caplog):
    """Nobody asked for several, so there is no error about them."""
    small = {"trunk": "vgg", "width": 2, "clusters": 3}
    base = settings_of(town, restarts=3, method="picie", parameters=small)
    settings = replace(base, preset="unsupervised", labels=None)
    with caplog.at_level("INFO"):
        result = runs.start(settings, tmp_path / "run")
    assert "no tile has labels to choose among the 3 trainings" in caplog.text
    assert not (tmp_path / "run/restarts").exists()
    assert "geoseg match" in result.summary() and "--labels" in result.summary()
    stored = json.loads((tmp_path / "run/run.json").read_text())["settings"]
    assert stored["restarts"] == 1


def test_the_command_says_how_many(town):
    assert "--restarts 3" in settings_of(town, restarts=3).command()
    stored = json.loads(json.dumps(settings_of(town, restarts=3).to_json()))
    assert RunSettings.from_json(stored).restarts == 3
