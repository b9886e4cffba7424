"""Weights of codebooks, chosen on held-out tiles."""

import numpy as np
import pytest
import torch
from rasterio.transform import from_origin

from geoseg.geo.evaluation.evaluation import evaluate_model
from geoseg.geo.evaluation.matching import match_model
from geoseg.geo.evaluation.together import candidates
from geoseg.geo.maps.rasters import predict_raster
from geoseg.geo.tiles.tiles import Tile
from geoseg.methods import build_method, method_defaults
from geoseg.model.card import ModelCard
from geoseg.model.file import Model, load_model, save_model

SIDE = 48


@pytest.fixture
def tiles(write_tiff):
    """Buildings are bright in both bands; each band has noise of its own."""
    made = []
    for number in range(10):
        draws = np.random.default_rng(number)
        labels = np.zeros((SIDE, SIDE), np.uint8)
        row, column = draws.integers(4, 20, 2)
        labels[row : row + 16, column : column + 20] = 1
        noise = draws.random((2, SIDE, SIDE)) < 0.15
        pixels = np.where(labels.astype(bool) ^ noise, 850, 150).astype(np.uint16)
        place = from_origin(664000 + 100 * number, 4000000, 0.5, 0.5)
        bands = ("red", "green")
        image = write_tiff(
            f"t{number}.tif", pixels, transform=place, descriptions=bands
        )
        mask = write_tiff(f"t{number}_mask.tif", labels[None], transform=place)
        made.append(Tile(f"t{number}", image, mask))
    return made


def of_band(bright_model, *bands: int) -> Model:
    """A model of two clusters that sees only some bands, equally bright or dark."""
    model = bright_model(("red", "green"), matched=False, gsd_m=0.5)
    centroids = torch.full((2, 2), 0.5)
    for band in bands:
        centroids[:, band] = torch.tensor([0.1, 0.9])
    parameters = method_defaults("color_kmeans") | {"clusters": 2}
    method = build_method("color_kmeans", 2, parameters)
    method.get_buffer("centroids").copy_(centroids)
    card: ModelCard = model.card
    return Model(method.eval(), card)


def iou_of(model: Model, tiles) -> float:
    scores = evaluate_model(model, tiles, name="a", polygons=False)
    (_, wrong), (missed, right) = scores.confusions.sum(0)
    return right / (right + wrong + missed)


def test_codebooks_that_know_different_things_are_taken_together(
    bright_model, tiles, tmp_path
) -> None:
    model = of_band(bright_model, 0).with_codebooks({"green": of_band(bright_model, 1)})
    named = match_model(model, tiles[:6], objective="f1", naming="share")
    combined = named.card.combined
    weights = (combined.weight, named.card.codebooks[0].weight)
    assert min(weights) > 0 and sum(weights) == 1
    both = iou_of(named, tiles[6:])
    alone = [
        iou_of(named.with_card(combined=None), tiles[6:]),
        iou_of(
            match_model(
                of_band(bright_model, 1), tiles[:6], objective="f1", naming="share"
            ),
            tiles[6:],
        ),
    ]
    assert both > max(alone) + 0.05
    assert len(combined.tried) == 5
    save_model(tmp_path / "m.safetensors", named)
    again = load_model(tmp_path / "m.safetensors")
    for one, other in zip(
        predict_raster(named, tiles[7].image),
        predict_raster(again, tiles[7].image),
        strict=True,
    ):
        assert one.classes.tobytes() == other.classes.tobytes()


def test_a_codebook_that_knows_nothing_more_gets_no_weight(bright_model, tiles) -> None:
    """Then the map is that of the first codebook alone, bit for bit."""
    colours = of_band(bright_model, 0, 1)
    blind = of_band(bright_model)  # all pixels in one cluster
    model = blind.with_codebooks({"colors": colours})
    named = match_model(model, tiles[:6], objective="f1", naming="share")
    assert named.card.combined.weight == 0 and named.card.codebooks[0].weight == 1
    alone = match_model(colours, tiles[:6], objective="f1", naming="share")
    assert named.card.combined.smoothed == alone.card.matchings["main"].smoothed
    for tile in tiles[6:]:
        one, other = (
            b"".join(s.classes.tobytes() for s in predict_raster(each, tile.image))
            for each in (named, alone)
        )
        assert one == other


def test_naming_again_chooses_weights_again(bright_model, tiles) -> None:
    model = of_band(bright_model, 0).with_codebooks({"green": of_band(bright_model, 1)})
    named = match_model(model, tiles[:6], objective="f1", naming="share")
    again = match_model(named, tiles[:6], objective="f1", naming="share")
    assert again.card == named.card
    voted = match_model(named, tiles[:6], objective="f1", naming="vote")
    assert voted.card.combined is None


@pytest.mark.parametrize("count", [2, 3, 4])
def test_candidates_share_out_the_weight(count) -> None:
    tried = candidates(count)
    assert len(set(tried)) == len(tried) <= 12
    assert all(sum(weights) == pytest.approx(1) for weights in tried)
    alone = [tuple(float(i == j) for j in range(count)) for i in range(count)]
    assert tried[:count] == alone
