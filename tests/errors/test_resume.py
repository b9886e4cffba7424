"""Runs that cannot go on."""

import json
import shutil

import pytest

from geoseg.core.run_files import MODEL_NAME


def content(name, text):
    return lambda run: (run / name).write_text(text)


def settings(**changes):
    def make(run):
        stored = json.loads((run / "run.json").read_text())
        stored["settings"].update(changes)
        (run / "run.json").write_text(json.dumps(stored))

    return make


def cut_checkpoint(run):
    path = run / "last.ckpt"
    path.write_bytes(path.read_bytes()[:1000])


def tiles_gone(run):
    settings(images="gone")(run)


CASES = {
    "settings cut": (
        content("run.json", '{"settings": {'),
        "run.json is damaged .*start a new run",
    ),
    "settings of another kind": (content("run.json", "[]"), "run.json is damaged"),
    "settings of the future": (settings(wings=2), "run.json is damaged .*wings"),
    "checkpoint cut": (cut_checkpoint, "last.ckpt is damaged .*remove it to start"),
    "checkpoint of text": (
        content("last.ckpt", "<html>"),
        "last.ckpt is damaged .*remove it to start",
    ),
    "tiles gone": (tiles_gone, "gone does not exist"),
    "other tiles": (
        settings(images="tile.tif"),
        "the tiles of r have changed since it began: put them back",
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_no_going_on(refused, good_run, name):
    spoil, line = CASES[name]

    def make(desk):
        shutil.copytree(good_run, desk.folder / "r")
        (desk.folder / "r" / MODEL_NAME).unlink()
        spoil(desk.folder / "r")

    refused(make, "train --resume r", 1, line)
