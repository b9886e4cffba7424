"""Tiles that a model has seen: known by their images, not by their names."""

import os
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import rasterio
from small_runs import settings_of

from geoseg.core.errors import DatasetError, ModelFileError
from geoseg.geo.rasters.description import PixelWindow
from geoseg.geo.tiles.keys import content_of, tile_keys
from geoseg.geo.tiles.roles import split_blocks
from geoseg.geo.tiles.tiles import find_tiles
from geoseg.model.card import load_card
from geoseg.runs import scoring
from geoseg.runs import train as runs
from geoseg.runs.matching import match_again
from geoseg.runs.tiles.run_tiles import tiles_of
from geoseg.runs.tiles.seen import seen_tiles


@pytest.fixture(scope="module")
def run(town, tmp_path_factory):
    """A run that matches on two tiles, tests on three, and hides the labels of one."""
    settings = settings_of(town, match_tiles=2, report="none")
    return runs.start(settings, tmp_path_factory.mktemp("seen") / "run")


def trained_on(card) -> set[str]:
    roles = card.provenance["tiles"]
    return {tile for role in roles if role != "test" for tile in roles[role]}


def brighter(folder: Path, target: Path) -> None:
    """Copy images of the same names and grids with other values."""
    target.mkdir()
    for path in folder.glob("*.tif"):
        with rasterio.open(path) as image:
            profile, pixels = image.profile, image.read()
        with rasterio.open(target / path.name, "w", **profile) as other:
            other.write(pixels + np.uint16(1))


def test_tiles_are_seen_where_their_images_have_moved(run, town, tmp_path, monkeypatch):
    card = run.model.card
    assert len(trained_on(card)) == 3
    shutil.copytree(town.images, tmp_path / "copy")
    (tmp_path / "link").symlink_to(town.images)
    listed = tmp_path / "some.txt"
    listed.write_text("".join(f"{p}\n" for p in Path(town.images).glob("*.tif")))
    monkeypatch.chdir(tmp_path)
    for images in (town.images, "copy", "link", "some.txt", "copy/../link"):
        seen = seen_tiles(card, find_tiles(images))
        assert seen.images == trained_on(card)
        assert seen.labels == seen.matched == set(card.provenance["tiles"]["match"])
        assert seen.test == set(card.provenance["tiles"]["test"])


def test_tiles_of_other_images_with_the_same_names_are_not(run, town, tmp_path):
    brighter(Path(town.images), tmp_path / "town")
    assert seen_tiles(run.model.card, find_tiles(tmp_path / "town")).images == set()


def test_a_note_in_the_file_makes_no_other_image(own_town):
    tile, *_ = find_tiles(own_town.images)
    (before,) = tile_keys([tile])
    with rasterio.open(tile.image, "r+") as image:
        image.update_tags(season="winter")
    (after,) = tile_keys([tile])
    assert after.content != before.content and after.meets(before)


def test_another_image_at_the_same_place_is_another(own_town):
    first, second, *_ = find_tiles(own_town.images)
    (before,) = tile_keys([first])
    os.replace(second.image, first.image)
    (after,) = tile_keys([first])
    assert not after.meets(before)


def test_a_large_file_is_known_by_its_beginning_middle_and_end(tmp_path):
    path = tmp_path / "a.tif"
    content = bytearray(400_000)
    keys = set()
    for place in (None, 10, 200_000, 399_999):
        changed = content.copy()
        if place is not None:
            changed[place] ^= 1
        path.write_bytes(changed)
        keys.add(content_of(str(path)))
    assert len(keys) == 4


def test_blocks_meet_the_blocks_and_images_that_they_share_pixels_with(town, tmp_path):
    settings = settings_of(town, blocks=2, match_tiles=4, test_tiles=16, report="none")
    card = runs.start(settings, tmp_path / "run").model.card
    trained = trained_on(card)
    assert len(trained) == 8
    whole = find_tiles(town.images)
    assert seen_tiles(card, split_blocks(whole, 2, 16)).images == trained
    assert seen_tiles(card, whole).images == {name.split("#")[0] for name in trained}
    gap = [replace(tile, window=PixelWindow(25, 25, 14, 14)) for tile in whole]
    assert seen_tiles(card, gap).images == set()


def test_a_transductive_model_has_seen_its_test_images_without_labels(town, tmp_path):
    settings = settings_of(town, transductive=True, report="none")
    card = runs.start(settings, tmp_path / "run").model.card
    seen = seen_tiles(card, find_tiles(town.images))
    assert len(seen.images) == 6 and seen.labels.isdisjoint(seen.test)


def test_cards_of_former_versions_know_ids_alone_and_it_is_said(
    run, town, tmp_path, caplog
):
    card = run.model.card
    provenance = {k: v for k, v in card.provenance.items() if k != "tile_keys"}
    former = replace(card, provenance=provenance)
    seen = seen_tiles(former, find_tiles(town.images))
    assert seen == seen_tiles(card, find_tiles(town.images))
    assert "names its tiles only by id: tile" in caplog.messages[0]
    assert len(caplog.messages) == 1


def test_damaged_keys_are_named(run, town):
    card = run.model.card
    for keys in ({"match": [["a", "b"]]}, {"match": [[1, None, None]]}, {"match": 7}):
        damaged = replace(card, provenance={**card.provenance, "tile_keys": keys})
        with pytest.raises(ModelFileError, match="tile keys are damaged"):
            seen_tiles(damaged, find_tiles(town.images))


def test_matching_again_elsewhere_is_what_the_controls_are_matched_on(
    run, town, tmp_path, caplog
):
    brighter(Path(town.images), tmp_path / "town")
    other = replace(settings_of(town, match_tiles=2), images=str(tmp_path / "town"))
    model = match_again(run.model, other)
    matched = set(model.card.provenance["matched_on"])
    there = seen_tiles(model.card, tiles_of(other))
    assert there.images == there.matched == matched and len(matched) == 2
    here = seen_tiles(model.card, find_tiles(town.images))
    assert here.images == trained_on(model.card) and here.matched == set()
    assert not caplog.messages
    match_again(run.model, settings_of(town))
    assert "3 of the 6 tiles to match on were test tiles of the model" in caplog.text


@pytest.fixture
def judged(monkeypatch):
    """Return what controls are given: labelled tiles to match on, masks of patches."""
    seen = {}

    def look(model, test, match, batches, **options):
        seen["match"] = [tile.id for tile in match]
        seen["test"] = [tile.id for tile in test]
        seen["masks"] = {int(v) for b in batches() for v in b.mask.unique()}
        return []

    monkeypatch.setattr(scoring, "score_controls", look)
    return seen


def predicted(run, tiles, folder: Path) -> Path:
    from geoseg.geo.maps.mapping import map_buildings

    output = folder / "buildings.geojson"
    map_buildings(run.model, [t.image for t in tiles], output)
    return output


def test_evaluate_leaves_out_what_was_seen_and_hands_on_no_label_of_it(
    run, town, tmp_path, judged
):
    tiles = find_tiles(town.images)
    output = predicted(run, tiles, tmp_path)
    scoring.score_map(output, settings_of(town), run.model)
    roles = load_card(run.model_path).provenance["tiles"]
    assert set(judged["test"]) == set(roles["test"])
    assert set(judged["match"]) == set(roles["match"])
    assert judged["masks"] == {255}


def test_evaluate_scores_all_of_another_town_with_the_same_names(
    run, town, tmp_path, judged
):
    brighter(Path(town.images), tmp_path / "town")
    other = replace(settings_of(town), images=str(tmp_path / "town"))
    output = predicted(run, tiles_of(other), tmp_path)
    table = str(scoring.score_map(output, other, run.model).table)
    assert "majority" in str(table) and not judged  # nothing there to match controls on
    with pytest.raises(DatasetError, match="has seen all labelled tiles"):
        model = match_again(run.model, replace(other, match_tiles=6))
        scoring.score_map(output, other, model)
