import json
import os
import shlex
from dataclasses import replace
from pathlib import Path

import pytest

from geoseg.cli import cli
from geoseg.core.errors import DatasetError, ParameterError
from geoseg.core.stored import StoredError
from geoseg.geo.rasters.description import PixelWindow
from geoseg.geo.tiles.roles import ROLES
from geoseg.geo.tiles.tiles import Tile
from geoseg.runs.settings import RunSettings, count_of, source_name
from geoseg.runs.tiles.run_tiles import (
    fingerprint,
    load_tiles,
    normalization_of,
    split_of,
    tiles_of,
    training_tiles,
)

#: No value is a default.
ALL = {
    "images": "my tiles/",
    "labels": "labels.gpkg",
    "labelled_area": "area.gpkg",
    "sparse": True,
    "point_radius": 2.5,
    "data": "/data",
    "method": "color_kmeans",
    "parameters": {"clusters": "7", "pixels": "1000"},
    "preset": "colors",
    "init": "runs/former",
    "bands": "5,3,2",
    "nodata": "0",
    "patch_size": 64,
    "batch_size": 4,
    "patches_per_epoch": 32,
    "max_steps": 10,
    "max_epochs": 2,
    "max_seconds": 3723.0,
    "match_tiles": 3,
    "select_tiles": 1,
    "test_tiles": "40%",
    "label_tiles": 2,
    "split_seed": 7,
    "transductive": True,
    "blocks": 2,
    "objective": "accuracy",
    "seed": 5,
    "device": "cuda",
    "precision": "bf16-mixed",
    "controls": False,
    "checkpoint_steps": 9,
    "accumulate": 2,
    "loader_workers": 1,
    "devices": 2,
    "lr_schedule": "cosine",
    "warmup_steps": 3,
    "stop_on_collapse": False,
    "tensorboard": True,
}


@pytest.fixture
def called(monkeypatch):
    """Return ``call(words) -> RunSettings`` that the train command would start."""
    from geoseg.runs import checks
    from geoseg.runs import train as runs

    seen = []

    def stop(settings, output, *, profile):
        seen.append(settings)
        raise DatasetError("stopped by the test")

    # two GPUs, for instance, are not here
    monkeypatch.setattr(checks, "check_settings", lambda settings, output: None)
    monkeypatch.setattr(runs, "start", stop)

    def call(words):
        with pytest.raises(Exception, match="stopped by the test"):
            cli.main(words, standalone_mode=False)
        return seen.pop()

    return call


@pytest.mark.parametrize("values", [{}, ALL], ids=["defaults", "all"])
def test_settings_survive_json(values):
    settings = RunSettings(**values)
    text = json.dumps(settings.to_json())
    assert RunSettings.from_json(json.loads(text)) == settings


def test_paths_become_text():
    assert RunSettings(data=Path("/data")).to_json()["data"] == "/data"


def test_an_unknown_setting_is_an_error():
    with pytest.raises(StoredError, match="colour"):
        RunSettings.from_json({"colour": 1})


@pytest.mark.parametrize(
    "values",
    [ALL, {"aoi": "sample"}, {"images": "a'b c"}, {"aoi": "paris", "max_steps": 1}],
)
def test_the_command_makes_the_same_settings(called, values):
    settings = RunSettings(**values)
    words = shlex.split(settings.command())
    assert words[:2] == ["geoseg", "train"]
    assert called(words[1:]).to_json() == settings.to_json()


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (59.0, "00:00:59"),
        (3600.0, "01:00:00"),
        (86399.0, "23:59:59"),
        (86400.0, "01:00:00:00"),
        (10 * 86400 + 3 * 3600 + 4 * 60 + 5.0, "10:03:04:05"),
        (0.2, "00:00:01"),
    ],
)
def test_the_command_writes_times_that_train_reads(called, seconds, text):
    command = RunSettings(aoi="sample", max_seconds=seconds).command()
    assert command == f"geoseg train --aoi sample --max-time {text}"
    found = called(shlex.split(command)[1:]).max_seconds
    assert seconds <= found < seconds + 1


def test_the_command_has_no_defaults():
    assert RunSettings(images="tiles").command() == "geoseg train --images tiles"


@pytest.mark.parametrize(
    ("values", "source"),
    [
        ({"aoi": "las_vegas"}, "las_vegas"),
        ({"aoi": "data/my_town/"}, "my_town"),
        ({"images": "data/tiles/"}, "tiles"),
        ({"images": "data/scene.tif"}, "scene"),
    ],
)
def test_the_source_is_one_word(values, source):
    assert RunSettings(**values).source == source


def test_a_source_of_tiles_is_needed():
    with pytest.raises(DatasetError, match="no tiles are named: give --images DIR or"):
        load_tiles(images=None, labels=None, aoi=None, data=None)


def test_every_tile_has_one_role_and_training_sees_all_but_the_test(town):
    settings = RunSettings(images=town.images, labels=town.labels, match_tiles=2)
    tiles = tiles_of(settings)
    split = split_of(settings, tiles)
    roles = [tile for role in ROLES for tile in getattr(split, role)]
    assert sorted(tile.id for tile in roles) == [f"tile{n}" for n in range(6)]
    assert [len(getattr(split, role)) for role in ROLES] == [2, 0, 3, 1, 0]
    seen = {tile.id for tile in training_tiles(split)}
    assert seen == {tile.id for tile in tiles} - {tile.id for tile in split.test}


def test_the_split_says_what_labels_are_for(town, caplog):
    for method, use in (
        ("iic", "name the clusters"),
        ("forest", "learn the classes from"),
    ):
        settings = RunSettings(images=town.images, labels=town.labels, method=method)
        with caplog.at_level("INFO"):
            split_of(settings, tiles_of(settings))
        assert f"6 tiles with labels: 3 to {use}, 3 kept" in caplog.messages[-1]


def test_the_split_has_a_seed_of_its_own_if_given(town):
    settings = RunSettings(images=town.images, labels=town.labels, match_tiles=2)
    tiles = tiles_of(settings)

    def test_of(**changes):
        return split_of(replace(settings, **changes), tiles).test

    assert len({test_of(seed=seed) for seed in range(4)}) > 1
    assert test_of(seed=3) == test_of(split_seed=3, seed=1)
    assert len({test_of(seed=seed, split_seed=0) for seed in range(4)}) == 1


def test_fewer_labels_leave_the_same_test_and_training_tiles(town):
    settings = RunSettings(images=town.images, labels=town.labels, match_tiles=3)
    tiles = tiles_of(settings)
    whole = split_of(settings, tiles)
    previous: set[str] = set()
    for count in (1, 2, 3, 9):
        split = split_of(replace(settings, label_tiles=count), tiles)
        names = {tile.id for tile in split.match}
        assert len(names) == min(count, 3)
        assert previous <= names
        previous = names
        assert split.test == whole.test
        assert {t.id for t in training_tiles(split)} == {t.id for t in whole.match}
        assert not any(tile.labels for tile in split.hidden)


def test_a_transductive_run_sees_the_test_images_and_no_label_of_them(town):
    settings = RunSettings(images=town.images, labels=town.labels, transductive=True)
    split = split_of(settings, tiles_of(settings))
    assert {tile.id for tile in training_tiles(split)} == {f"tile{n}" for n in range(6)}
    seen = {tile.id: tile.labels for tile in training_tiles(split)}
    assert [seen[tile.id] for tile in split.test] == [None, None, None]


@pytest.mark.parametrize(
    ("match", "test", "expected"),
    [("50%", None, [3, 3, 0]), (None, "50%", [3, 3, 0]), ("1%", "20%", [1, 1, 4])],
)
def test_roles_may_be_shares_of_the_labelled_tiles(town, match, test, expected):
    settings = RunSettings(images=town.images, labels=town.labels)
    settings = replace(settings, match_tiles=match, test_tiles=test)
    split = split_of(settings, tiles_of(settings))
    assert [len(split.match), len(split.test), len(split.hidden)] == expected
    assert all(tile.labels for tile in split.test)


def test_blocks_cut_every_image(town):
    tiles = tiles_of(RunSettings(images=town.images, labels=town.labels, blocks=2))
    assert len(tiles) == 6 * 4
    # (64 - 16) / 2 pixels on either side of the gap
    assert {tuple(tile.window)[2:] for tile in tiles} == {(24, 24)}


def test_bands_are_measured_on_the_training_tiles(town):
    settings = RunSettings(images=town.images, bands="green")
    found = normalization_of(settings, tiles_of(settings))
    assert found.bands == ("green",)
    # nine tenths of the pixels are dark (100 to 159), the others 750 brighter
    assert 100 <= found.low[0] <= 105
    assert 850 <= found.high[0] <= 909


def test_the_fingerprint_changes_with_the_tiles(own_town):
    settings = RunSettings(images=own_town.images)
    tiles = tiles_of(settings)
    first = fingerprint(tiles)
    assert fingerprint(tiles_of(settings)) == first
    assert fingerprint(tiles[1:]) != first
    assert fingerprint(tiles[::-1]) != first
    cut = [Tile(t.id, t.image, t.labels, PixelWindow(0, 0, 9, 9)) for t in tiles]
    assert fingerprint(cut) != first
    renamed = [Tile("x", tiles[0].image), *tiles[1:]]
    assert fingerprint(renamed) != first
    with open(tiles[0].image, "ab") as file:
        file.write(b"\0")
    assert fingerprint(tiles) != first
    os.remove(tiles[0].image)
    assert fingerprint(tiles_of(settings)) == fingerprint(tiles[1:])


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/d/zanzibar_tz/images_z19", "zanzibar_tz"),
        ("/d/AOI_2_Vegas/PS-RGB", "AOI_2_Vegas"),
        ("/d/vegas/MUL-PanSharpen", "vegas"),
        ("/d/vegas_ms8/image.tif", "vegas_ms8"),
        ("/d/town", "town"),
        ("/d/imagery_of_x", "imagery_of_x"),
        ("/images", "images"),
    ],
)
def test_a_run_is_named_by_the_folder_that_names_the_data(path, name):
    assert source_name(Path(path)) == name
    assert RunSettings(images=path).source == name


@pytest.mark.parametrize("wanted, count", [("10%", 5), (7, 7), ("12", 12), ("0.1%", 1)])
def test_tiles_are_a_number_or_a_share_of_the_labelled_ones(wanted, count):
    assert count_of(wanted, 46) == count


@pytest.mark.parametrize("wrong", ["0", "0%", "101%", "many", "%", "nan%"])
def test_no_number_of_tiles_is_refused(wrong):
    with pytest.raises(ParameterError, match="or a share of the labelled ones such as"):
        count_of(wrong, 46)
