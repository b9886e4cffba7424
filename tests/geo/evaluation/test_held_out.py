"""Naming by share: folds, decisions on held-out tiles, and the vote as its limit."""

from dataclasses import replace

import numpy as np
import pytest
import rasterio
from rasterio.transform import from_origin

from geoseg.core.patches import IGNORE
from geoseg.geo.evaluation.evaluation import evaluate_model
from geoseg.geo.evaluation.held_out import FOLDS, fold_tiles
from geoseg.geo.evaluation.matching import match_model
from geoseg.geo.maps.rasters import predict_raster
from geoseg.geo.rasters.description import PixelWindow
from geoseg.geo.tiles.tiles import Tile
from geoseg.model.card import ModelCard
from geoseg.model.decisions import Decision
from geoseg.model.file import load_model, save_model

BAND = ("pan",)
SIDE = 48


@pytest.fixture
def tiles(write_tiff):
    """Return ``make(count, noise)``: tiles whose bright pixels are mostly buildings.

    They lie side by side, 100 m apart. Contrasts are low, so that smoothing averages.
    """

    def make(count=6, noise=0.2):
        made = []
        for number in range(count):
            draws = np.random.default_rng(number)
            labels = np.zeros((SIDE, SIDE), np.uint8)
            row, column = draws.integers(4, 20, 2)
            labels[row : row + 16, column : column + 20] = 1
            bright = labels.astype(bool) ^ (draws.random(labels.shape) < noise)
            pixels = np.where(bright, 520, 480).astype(np.uint16)
            place = from_origin(664000 + 100 * number, 4000000, 0.5, 0.5)
            image = write_tiff(f"t{number}.tif", pixels[None], transform=place)
            mask = write_tiff(f"t{number}_mask.tif", labels[None], transform=place)
            made.append(Tile(f"t{number}", image, mask))
        return made

    return make


def classes_of(model, tile, smooth=True):
    if not smooth:
        head = model.card.head
        matching = replace(model.card.matchings[head], smoothing=None)
        model = model.with_card(matchings={head: matching})
    return np.concatenate([s.classes for s in predict_raster(model, tile.image)])


def test_smoothing_names_pixels_that_a_vote_gets_wrong(bright_model, tiles) -> None:
    made = tiles(8)
    model = bright_model(BAND, matched=False, gsd_m=0.5)
    named = match_model(model, made[:5], objective="f1", naming="share")
    voted = match_model(model, made[:5], objective="f1")
    by_share, by_vote = (
        evaluate_model(one, made[5:], name="a", polygons=False).confusions.sum(0)
        for one in (named, voted)
    )
    assert by_share.diagonal().sum() > by_vote.diagonal().sum()
    assert by_vote.sum() == by_share.sum()


def test_the_vote_is_the_limit_of_shares(bright_model, tiles) -> None:
    made = tiles()
    voted = match_model(bright_model(BAND, matched=False), made, objective="f1")
    matching = voted.card.matchings["main"]
    limit = replace(
        matching,
        naming="share",
        scores=tuple(map(tuple, matching.votes.tolist())),
        plain=Decision(threshold=0.5),
    )
    shared = voted.with_card(matchings={"main": limit})
    for tile in made:
        expected = classes_of(voted, tile)
        assert 0 < (expected == 1).sum() < expected.size
        assert classes_of(shared, tile).tobytes() == expected.tobytes()


def test_decisions_follow_from_tiles_that_did_not_count(bright_model, tiles) -> None:
    """A model of one decision for each fold, by hand, has the histogram of the whole."""
    made = tiles(4)
    model = bright_model(BAND, matched=False)
    named = match_model(model, made, objective="accuracy", naming="share")
    assert named.card.matchings["main"].plain.threshold == 0.5
    truth, probability = [], []
    for tile in made:
        others = [other for other in made if other is not tile]
        own = match_model(model, others, objective="accuracy", naming="share")
        head = replace(
            own.card.matchings["main"],
            shrinkage=named.card.matchings["main"].shrinkage,
            plain=named.card.matchings["main"].plain,
            smoothing=None,
        )
        held_out = own.with_card(matchings={"main": head})
        strips = list(predict_raster(held_out, tile.image))
        score = np.concatenate([strip.score for strip in strips])
        called = np.concatenate([strip.classes for strip in strips])
        probability.append(np.where(called == 1, score, 1 - score))
        truth.append(_labels(tile))
    drawn, known = np.concatenate(probability), np.concatenate(truth)
    assert drawn.mean() == pytest.approx(known.mean(), abs=0.02)  # calibrated


def _labels(tile: Tile) -> np.ndarray:
    with rasterio.open(tile.labels) as file:
        return file.read(1)


def test_a_model_named_by_share_comes_back_as_it_was(
    bright_model, tiles, tmp_path
) -> None:
    model = match_model(
        bright_model(BAND, matched=False), tiles(), objective="f1", naming="share"
    )
    assert model.card.to_json()["format_version"] == 2
    save_model(tmp_path / "m.safetensors", model)
    assert load_model(tmp_path / "m.safetensors").card == model.card
    again = ModelCard.from_json(model.card.to_json())
    assert again.matchings == model.card.matchings


def test_a_vote_is_written_as_before(bright_model, tiles) -> None:
    model = match_model(bright_model(BAND, matched=False), tiles(), objective="f1")
    values = model.card.to_json()
    assert values["format_version"] == 1
    assert "naming" not in values["matchings"]["main"]


def test_tiles_are_dealt_into_folds_of_neighbours(tiles) -> None:
    made = tiles(25)
    same, folds = fold_tiles(made)
    assert same == made
    assert set(folds.tolist()) == set(range(FOLDS))
    assert max(np.bincount(folds)) <= 3
    near = [np.flatnonzero(folds == fold) for fold in range(FOLDS)]
    assert all(np.ptp(numbers) == len(numbers) - 1 for numbers in near)


def test_a_single_tile_is_cut_into_quarters(tiles, bright_model) -> None:
    (tile,) = tiles(1)
    parts, folds = fold_tiles([tile])
    assert len(parts) == 4 and sorted(folds.tolist()) == [0, 1, 2, 3]
    named = match_model(
        bright_model(BAND, matched=False), [tile], objective="f1", naming="share"
    )
    assert (classes_of(named, tile) == 1).any()


def test_a_block_is_scored_as_it_lies_in_the_map(bright_model, tiles) -> None:
    made = tiles()
    named = match_model(
        bright_model(BAND, matched=False, gsd_m=0.5),
        made,
        objective="f1",
        naming="share",
    )
    whole = classes_of(named, made[0])
    rows, columns = slice(9, 31), slice(14, 40)
    block = replace(made[0], window=PixelWindow(9, 14, 22, 26))
    scores = evaluate_model(named, [block], name="a", polygons=False)
    labels, called = _labels(made[0])[rows, columns], whole[rows, columns]
    assert (called != IGNORE).all()
    expected = np.array(
        [[((labels == a) & (called == b)).sum() for b in (0, 1)] for a in (0, 1)]
    )
    np.testing.assert_array_equal(scores.confusions[0], expected)


def test_tiles_that_all_overlap_are_cut_too(tiles) -> None:
    (tile,) = tiles(1)
    parts, folds = fold_tiles([tile, replace(tile, id="again")])
    assert len(parts) == 8
    by_place = {}
    for part, fold in zip(parts, folds.tolist(), strict=True):
        by_place.setdefault(part.window, set()).add(fold)
    assert sorted(by_place.values(), key=min) == [{0}, {1}, {2}, {3}]
