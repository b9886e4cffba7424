"""Roles that a run was begun with, and goes on with."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from small_runs import SMALL, settings_of

from geoseg.core.errors import TrainingError
from geoseg.core.run_files import MODEL_NAME, SETTINGS_NAME
from geoseg.model.card import load_card
from geoseg.model.file import file_sha256
from geoseg.runs import train as runs
from geoseg.runs.tiles.run_roles import TileRole, read_roles, roles_of, split_of_run
from geoseg.runs.tiles.run_tiles import split_of, tiles_of


@pytest.fixture(scope="module")
def begun(town, tmp_path_factory):
    """A run that matches on two tiles, tests on three, and hides the labels of one."""
    folder = tmp_path_factory.mktemp("begun") / "run"
    settings = settings_of(town, SMALL, match_tiles=2, report="none")
    return runs.start(settings, folder).run


def stored(folder: Path):
    return json.loads((folder / SETTINGS_NAME).read_text())


def numbers(tiles) -> str:
    return " ".join(tile.id.removeprefix("tile") for tile in tiles)


def test_a_run_says_which_tile_of_which_image_has_which_role(begun, town):
    roles = stored(begun)["roles"]
    counted = [entry["role"] for entry in roles]
    assert {role: counted.count(role) for role in counted} == {
        **{"match": 2, "test": 3, "hidden": 1}
    }
    for entry in roles:
        assert Path(entry["image"]) == Path(town.images, f"{entry['tile']}.tif")
        assert (entry["source"], entry["window"]) == ("town", None)
    tiles = load_card(begun / MODEL_NAME).provenance["tiles"]
    for role, ids in tiles.items():
        assert ids == [e["tile"] for e in roles if e["role"] == role]


def test_windows_of_blocks_are_written_down(town):
    settings = settings_of(town, blocks=2)
    roles = roles_of(split_of(settings, tiles_of(settings)), "town")
    (own,) = (entry for entry in roles if entry.tile == "tile0#r1c0")
    assert own.to_json()["window"] == [40, 0, 24, 24]
    assert TileRole.from_json(json.loads(json.dumps(own.to_json()))) == own


def test_a_run_goes_on_with_its_roles_whatever_the_rule_says_now(
    begun, tmp_path, no_pictures
):
    folder = tmp_path / "run"
    shutil.copytree(begun, folder)
    values = stored(folder)
    values["settings"] |= {"match_tiles": 1, "test_tiles": 5, "split_seed": 9}
    (folder / SETTINGS_NAME).write_text(json.dumps(values))
    (folder / MODEL_NAME).unlink()
    resumed = runs.resume(folder)
    assert file_sha256(resumed.model_path) == file_sha256(begun / MODEL_NAME)


def test_labels_that_came_later_stay_hidden_and_lost_ones_are_asked_for(begun, town):
    roles = read_roles(stored(begun))
    settings = settings_of(town, SMALL)
    tiles = tiles_of(settings)
    split = split_of_run(roles, settings, tiles)
    assert [tile.labels for tile in split.hidden] == [None]
    lost = [replace(t, labels=None) if t == split.test[0] else t for t in tiles]
    with pytest.raises(TrainingError, match=f"tile {split.test[0].id} had labels when"):
        split_of_run(roles, settings, lost)
    with pytest.raises(
        TrainingError, match="roles of 6 tiles, expected .* the 5 tiles"
    ):
        split_of_run(roles, settings, tiles[1:])


@pytest.mark.parametrize(
    "change",
    [
        lambda roles: 7,
        lambda roles: {},
        lambda roles: [{}],
        lambda roles: [[]],
        lambda roles: [roles[0] | {"role": "judge"}],
        lambda roles: [roles[0] | {"tile": 3}],
        lambda roles: [roles[0] | {"image": None}],
        lambda roles: [roles[0] | {"window": [1, 2, 3]}],
        lambda roles: [roles[0] | {"window": [1, 2, 3, "4"]}],
        lambda roles: [roles[0] | {"window": {"a": 1}}],
        lambda roles: [roles[0] | {"place": 1}],
        lambda roles: [roles[0] | {"content": 1}],
    ],
)
def test_damaged_roles_are_named(begun, change):
    roles = stored(begun)["roles"]
    assert len(read_roles({"roles": roles})) == 6
    with pytest.raises(TrainingError, match="the roles in run.json are damaged"):
        read_roles({"roles": change(roles)})


@pytest.mark.parametrize(
    ("changes", "match", "select", "test", "unlabelled"),
    [
        ({"seed": 0}, "4 5", "", "0 1 2 3", ""),
        ({"seed": 1}, "1 4", "", "0 2 3 5", ""),
        ({"seed": 2, "select_tiles": 1}, "1 4", "0", "2 3 5", ""),
        ({"seed": 3, "label_tiles": 1}, "4", "", "0 1 2 5", "3"),
        ({"seed": 4, "transductive": True}, "1 2", "", "0 3 4 5", "0 3 4 5"),
        ({"seed": 4, "match_tiles": 50}, "1 2 5", "", "0 3 4", ""),
    ],
)
def test_a_run_without_stored_roles_goes_on_with_those_that_it_had(
    town, changes, match, select, test, unlabelled
):
    """The former version dealt the tiles of this town out like this."""
    settings = settings_of(town, **{"match_tiles": 2} | changes)
    split = split_of_run(None, settings, tiles_of(settings))
    found = (split.match, split.select, split.test, split.unlabelled)
    assert tuple(map(numbers, found)) == (match, select, test, unlabelled)
    assert not split.hidden
    assert not any(tile.labels for tile in split.unlabelled)
