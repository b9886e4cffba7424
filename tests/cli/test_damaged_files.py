"""Damaged files of runs, models and benchmarks: one line each, and never the others'."""

import json
import shutil
from dataclasses import fields

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.torch import save_file

from geoseg.core.errors import TrainingError
from geoseg.leaderboard.plan import Row
from geoseg.leaderboard.trial_files import read_blind, read_maps, read_trials
from geoseg.model.card import CARD_KEY
from geoseg.runs.folders import is_finished
from geoseg.runs.settings import RunSettings

#: None of these is what a field of ``run.json`` or a card may be, whichever it is.
ODD = (
    *(None, True, -1, 0, 10**30, 1.5, "", "x", "a\0b", "\ud800", "\x1b[31m\n"),
    *([], ["a"], [[]], {}, {"a": 1}, [None, {"a": [1]}]),
)
#: Nor can these be written by Python's json, but by others.
RAW = ("NaN", "1e999", "-Infinity", "[" * 200 + "]" * 200, "9" * 5000, '"a', "")


def said(result) -> list[str]:
    """Return the lines of stderr but what the command began with."""
    lines = result.stderr.strip().splitlines()
    return [text for text in lines if not text.startswith("looking at ")]


def one_line(result):
    """Check that a command ended well, or in one line."""
    assert result.exception is None or isinstance(result.exception, SystemExit)
    assert "Traceback" not in result.output
    if result.exit_code:
        assert result.exit_code in (1, 2)
        assert len(said(result)) == 1, result.stderr
        assert "\x1b" not in result.output


@pytest.fixture
def run(there, tmp_path):
    """A copy of a finished run without its model, beside a whole one."""
    shutil.copytree(there.run, tmp_path / "runs" / "whole")
    shutil.copytree(there.run, tmp_path / "runs" / "spoilt")
    (tmp_path / "runs" / "spoilt" / "model.safetensors").unlink()
    return tmp_path / "runs" / "spoilt"


def listed(geoseg, run):
    """Check that the folder of all runs lists the whole one."""
    result = geoseg("info", run.parent, "--json")
    assert result.exit_code == 0, result.output
    (sheet,) = json.loads(result.stdout)
    by_name = {row["name"]: row for row in sheet["runs"]}
    assert (
        by_name["whole"]["state"] == "finished" and by_name["whole"]["iou"] is not None
    )
    text = geoseg("info", run.parent).stdout
    assert len(text.strip().splitlines()) == 3
    return by_name["spoilt"]


@pytest.mark.parametrize("field", [field.name for field in fields(RunSettings)])
def test_any_value_of_a_setting_is_taken_or_refused_in_one_line(geoseg, run, field):
    values = json.loads((run / "run.json").read_text())
    refused = 0
    for odd in ODD:
        values["settings"][field] = odd
        (run / "run.json").write_text(json.dumps(values))
        result = geoseg("info", run)
        one_line(result)
        if result.exit_code:
            refused += 1
            assert f"settings.{field}" in result.stderr
            assert not is_finished(run)
            again = geoseg("train", "--resume", run)
            one_line(again)
            assert again.exit_code == 1 and f"settings.{field}" in again.stderr
    assert refused >= 5


@pytest.mark.parametrize("field", ["settings", "normalization", "fingerprint", "roles"])
def test_so_is_any_other_value_of_a_run(geoseg, run, field):
    values = json.loads((run / "run.json").read_text())
    for odd in (odd for odd in ODD if odd not in ("", "x", "\x1b[31m\n", [])):
        (run / "run.json").write_text(json.dumps({**values, field: odd}))
        one_line(geoseg("info", run))
        result = geoseg("train", "--resume", run)
        one_line(result)
        assert result.exit_code == 1


@pytest.mark.parametrize("raw", RAW)
def test_a_run_of_no_json_is_one_line_and_hides_no_other(geoseg, run, raw):
    text = (run / "run.json").read_text()
    (run / "run.json").write_text(text.replace('"images": null', f'"images": {raw}'))
    if raw == "":
        (run / "run.json").write_bytes(b"")
    for words in (("info", run), ("train", "--resume", run)):
        result = geoseg(*words)
        one_line(result)
        assert result.exit_code == 1 and "run.json is damaged" in result.stderr
    assert "run.json is damaged" in listed(geoseg, run)["problem"]


@pytest.mark.parametrize(
    ("name", "data", "hurts"),
    [
        ("metrics.csv", bytes(64), False),
        ("metrics.csv", b"\xff\xfe\r\n\0\r\n1,2\r\n", True),
        ("times.json", b'{"training": "long"}', False),
        ("times.json", b'{"training": 1e999}', False),
        ("scores.json", b"\0", False),
        ("model.safetensors", b"\0" * 100, True),
        ("model.safetensors", b"", True),
        ("run.json", b"\xff\xfe{\0}\0", True),
        ("run.json", bytes(1000), True),
    ],
)
def test_damaged_files_of_a_run_hide_no_other(geoseg, run, name, data, hurts):
    with (run / name).open("ab" if name == "metrics.csv" else "wb") as file:
        file.write(data)
    one_line(geoseg("info", run))
    assert (listed(geoseg, run)["state"] == "damaged") == hurts


def edited(model, path, change):
    """Write a model whose card is changed."""
    with safe_open(model, "pt") as file:
        card = json.loads(file.metadata()[CARD_KEY])
        weights = {name: file.get_tensor(name) for name in file.keys()}
    change(card)
    save_file(weights, path, metadata={CARD_KEY: json.dumps(card)})


PLACES = [
    *[(name,) for name in ("method", "head", "seed", "patch_size", "nodata")],
    *[(name,) for name in ("class_names", "gsd_m", "parameters", "matchings")],
    *[(name,) for name in ("normalization", "provenance", "metrics")],
    *[("normalization", name) for name in ("bands", "low", "fill", "whitening")],
    *[("metrics", name) for name in ("iou", "test_tiles", "f1", "mean_iou")],
    *[("metrics", "iou", name) for name in ("value", "interval")],
    *[("provenance", name) for name in ("source", "tiles", "tile_keys", "matched_on")],
    *[("provenance", name) for name in ("steps", "restarts", "versions", "init")],
    *[("provenance", name) for name in ("logs", "labels", "image_bands", "preset")],
    *[("provenance", name) for name in ("learns_from_labels", "transductive")],
    *[("provenance", name) for name in ("refit", "adjoining_test")],
]


@pytest.mark.parametrize("place", PLACES, ids=".".join)
def test_any_value_of_a_card_is_taken_or_refused_in_one_line(
    geoseg, there, tmp_path, place
):
    model, path = there.run / "model.safetensors", tmp_path / "m.safetensors"
    for odd in ODD:

        def change(card, odd=odd):
            for name in place[:-1]:
                card = card[name]
            card[place[-1]] = odd

        edited(model, path, change)
        result = geoseg("info", path)
        one_line(result)
        if result.exit_code:
            assert str(path) in result.stderr
        one_line(geoseg("info", there.images[0], "--model", path))


@pytest.fixture
def trial(there, tmp_path_factory):
    """A benchmark of one row with a finished trial, a blind one, and its maps."""
    bench = tmp_path_factory.mktemp("bench")
    folder = bench / "runs" / "iic" / "split0-seed0"
    shutil.copytree(there.run, folder)
    scores = json.loads((folder / "scores.json").read_text())["entries"][0]
    count = len(scores["tiles"])
    np.savez(
        folder / "counts.npz",
        test=np.ones((count, 3, 2), np.int64),
        matching=np.ones((2, 3, 2), np.int64),
    )
    np.savez(folder / "maps.npz", t=np.zeros((4, 4), np.uint8))
    numbers = {"learns_from_labels": False, "labelled": 2, "steps": 2, "k": []}
    (folder / "trial.json").write_text(json.dumps(numbers))
    (folder.parent / "split0-seed0-tiles1").mkdir()
    (folder.parent / "split0-seed0-tiles1" / "blind.json").write_text('{"labelled": 1}')
    return bench


ROW = Row("iic")


def spoil_counts(**arrays):
    return lambda path: np.savez(path, **arrays)


@pytest.mark.parametrize(
    ("name", "spoil"),
    [
        *(("trial.json", text) for text in ("", "{", "[]", "{}", '{"labelled": "2"}')),
        ("trial.json", '{"learns_from_labels": 1, "labelled": 2}'),
        ("trial.json", '{"learns_from_labels": true, "labelled": 2, "labels": [1]}'),
        *(("scores.json", text) for text in ("", "[]", '{"entries": []}')),
        ("scores.json", '{"entries": [{"name": "a", "class_names": 5}]}'),
        ("counts.npz", ""),
        ("counts.npz", "PK\3\4 no archive"),
        ("counts.npz", spoil_counts(test=np.ones((1, 3, 2), int))),
        ("counts.npz", spoil_counts(test=np.ones(3), matching=np.ones(3))),
        (
            "counts.npz",
            spoil_counts(test=np.array([{}]), matching=np.ones((2, 3, 2), int)),
        ),
    ],
)
def test_a_damaged_trial_is_named_and_left_out(trial, tmp_path, name, spoil):
    shutil.copytree(trial / "runs", tmp_path / "runs")
    other = tmp_path / "runs" / "iic" / "split0-seed1"
    shutil.copytree(tmp_path / "runs" / "iic" / "split0-seed0", other)
    assert len(read_trials(tmp_path, ROW)) == 2
    if callable(spoil):
        spoil(other / name)
    else:
        (other / name).write_text(spoil)
    with pytest.raises(TrainingError, match="split0-seed1 are damaged") as caught:
        read_trials(tmp_path, ROW)
    assert len(str(caught.value).splitlines()) == 1
    told = []
    (left,) = read_trials(tmp_path, ROW, lambda job, error: told.append(job))
    assert left.job.seed == 0 and [job.seed for job in told] == [1]


def test_damaged_notes_of_blind_runs_and_maps_are_named(trial, tmp_path):
    shutil.copytree(trial / "runs", tmp_path / "runs")
    folder = tmp_path / "runs" / "iic"
    assert read_blind(tmp_path, ROW) == [(1, 0)]
    for text in ("", "[]", '{"labelled": "1"}', '{"labelled": -1}', "{}"):
        (folder / "split0-seed0-tiles1" / "blind.json").write_text(text)
        with pytest.raises(TrainingError, match="tiles1 are damaged"):
            read_blind(tmp_path, ROW)
    maps = folder / "split0-seed0"
    assert list(read_maps(maps, "maps.npz")) == ["t"]
    for data in (b"", b"PK\3\4", (maps / "maps.npz").read_bytes()[:-40]):
        (maps / "maps.npz").write_bytes(data)
        with pytest.raises(TrainingError, match="split0-seed0 are damaged"):
            read_maps(maps, "maps.npz")
