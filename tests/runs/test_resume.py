"""Runs that go on: stopped, finished, extended, damaged."""

import json
import os
import shutil
from dataclasses import replace
from datetime import timedelta

import pytest
import torch
from small_runs import SMALL, files_of, settings_of

from geoseg.core.errors import ParameterError, TrainingError
from geoseg.core.run_files import MODEL_NAME
from geoseg.model.file import file_sha256
from geoseg.runs import train as runs
from geoseg.runs.folders import forget_scores, is_finished
from geoseg.training.limits import Limits


def test_a_finished_run_resumes_to_the_same_file(iic_run, tmp_path, no_pictures):
    folder = tmp_path / "run"
    shutil.copytree(iic_run.run, folder)
    os.remove(folder / MODEL_NAME)
    resumed = runs.resume(folder)
    assert file_sha256(resumed.model_path) == file_sha256(iic_run.model_path)


def test_a_finished_run_is_left_as_it_is(iic_run):
    before = {path: path.stat().st_mtime_ns for path in iic_run.run.iterdir()}
    again = runs.resume(iic_run.run)
    assert again.summary().startswith(
        f"already finished: {iic_run.run} has its model, scores and report; to train "
        f"longer: geoseg train --resume {iic_run.run} --max-steps N"
    )
    assert {path: path.stat().st_mtime_ns for path in iic_run.run.iterdir()} == before


@pytest.mark.slow
def test_what_does_not_alter_the_training_may_differ_when_a_run_goes_on(
    iic_run, tmp_path
):
    folder = tmp_path / "run"
    shutil.copytree(iic_run.run, folder)
    assert runs.resume(folder, report="none").finished  # it has more than that
    (folder / MODEL_NAME).unlink()
    resumed = runs.resume(folder, report="none", loader_workers=1)
    assert file_sha256(resumed.model_path) == file_sha256(iic_run.model_path)
    assert not (folder / "report.html").exists() and is_finished(folder)
    stored = json.loads((folder / "run.json").read_text())["settings"]
    assert (stored["report"], stored["loader_workers"]) == ("none", 1)
    assert not runs.resume(folder, report="quick").finished
    assert (folder / "report.html").exists() and runs.resume(folder).finished
    with pytest.raises(TypeError, match="cannot go on with other batch_size"):
        runs.resume(folder, batch_size=3)


def test_a_longer_limit_ends_as_if_it_had_been_there_from_the_start(
    town, tmp_path, iic_run, no_pictures
):
    whole = runs.start(settings_of(town, SMALL, max_steps=7), tmp_path / "whole")
    folder = tmp_path / "run"
    shutil.copytree(iic_run.run, folder)  # 3 steps, finished
    longer = runs.resume(folder, limits=Limits(max_steps=7))
    assert longer.model.card.provenance["steps"] == 7
    assert file_sha256(longer.model_path) == file_sha256(whole.model_path)
    for name in ("metrics.csv", "areas.csv", "scores.json", "run.json"):
        assert (folder / name).read_bytes() == (whole.run / name).read_bytes(), name


def test_an_extension_that_stops_is_no_finished_run(town, tmp_path, monkeypatch):
    folder = tmp_path / "run"
    monkeypatch.chdir(tmp_path)
    runs.start(settings_of(town, SMALL, report="none"), folder)
    assert is_finished(folder)

    def die(*args, **kwargs):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(runs, "train_best", die)
        with pytest.raises(KeyboardInterrupt):
            runs.resume(folder, limits=Limits(max_epochs=3))
    assert not is_finished(folder)
    stored = json.loads((folder / "run.json").read_text())["settings"]
    assert (stored["max_steps"], stored["max_epochs"]) == (None, 3)


@pytest.mark.parametrize(
    ("changes", "limits", "message"),
    [
        ({}, Limits(max_steps=2), "new limit is 2 steps, but the run has made 3: give"),
        (
            {"lr_schedule": "cosine"},
            Limits(max_steps=9),
            "--lr-schedule cosine was made for 3 steps, .* start a new run",
        ),
        (
            {},
            Limits(max_time=timedelta(microseconds=1)),
            r"--max-time is 0 s, but the run has spent \d+ s: give more",
        ),
    ],
)
def test_limits_that_a_run_cannot_have_are_refused(
    town, tmp_path, changes, limits, message
):
    folder = tmp_path / "run"
    unlabelled = replace(settings_of(town, SMALL, **changes), labels=None)
    runs.start(unlabelled, folder)
    before = {path: path.read_bytes() for path in folder.iterdir()}
    with pytest.raises(ParameterError, match=message):
        runs.resume(folder, limits=limits)
    assert {path: path.read_bytes() for path in folder.iterdir()} == before


def test_a_run_without_steps_has_no_limits_to_extend(colour_run):
    with pytest.raises(ParameterError, match="color_kmeans makes no optimiser steps"):
        runs.resume(colour_run.run, limits=Limits(max_steps=9))


def test_a_finished_run_without_a_report_does_not_speak_of_one(town, tmp_path):
    runs.start(settings_of(town, report="none"), tmp_path / "run")
    said = runs.resume(tmp_path / "run").summary()
    assert said.startswith(
        f"already finished: {tmp_path / 'run'} has its model and sco"
    )
    assert "report" not in said


def test_a_run_whose_scores_are_lost_is_not_finished(iic_run, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(iic_run.run, folder)
    assert is_finished(folder)
    (folder / "report.html").unlink()
    assert not is_finished(folder)
    forget_scores(folder)
    assert files_of(folder) == files_of(iic_run.run) - {
        *("scores.json", "panel.png", "report.html")
    }
    assert not is_finished(folder) and not is_finished(tmp_path)


def test_a_folder_that_is_no_run_cannot_be_resumed(tmp_path):
    with pytest.raises(TrainingError, match="has no run.json, expected the folder"):
        runs.resume(tmp_path)
    with pytest.raises(TrainingError, match="has no run.json, expected the folder"):
        runs.resume(tmp_path / "nowhere")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"settings": {"colour": 1}}',
        '{"settings": {}, "normalization": {}, "fingerprint": ""}',
    ],
)
def test_damaged_settings_cannot_be_resumed(tmp_path, text):
    (tmp_path / "run.json").write_text(text)
    with pytest.raises(TrainingError, match="run.json is damaged .*start a new run"):
        runs.resume(tmp_path)


def test_a_run_whose_tiles_have_changed_cannot_be_resumed(
    own_town, tmp_path, no_pictures
):
    folder = tmp_path / "run"
    runs.start(settings_of(own_town), folder)
    before = {path: path.read_bytes() for path in folder.iterdir()}
    os.remove(f"{own_town.images}/tile3.tif")
    with pytest.raises(TrainingError, match="tiles of .* have changed since it began"):
        runs.resume(folder)
    assert {path: path.read_bytes() for path in folder.iterdir()} == before


def test_a_whitened_run_resumes_whitened(town, tmp_path, no_pictures):
    settings = settings_of(town, SMALL, whiten="zca", checkpoint_steps=1)
    whole = runs.start(settings, tmp_path / "run")
    (tmp_path / "run" / MODEL_NAME).unlink()
    again = runs.resume(tmp_path / "run")
    assert again.model.card.normalization == whole.model.card.normalization
    for name, value in whole.model.method.state_dict().items():
        assert torch.equal(value, again.model.method.state_dict()[name])
