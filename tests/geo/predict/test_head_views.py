"""Tests of geoseg.geo.predict.head_views: several heads in one pass are each as if alone."""

import numpy as np
import pytest
import torch

from geoseg.geo.evaluation.evaluation import evaluate_model, evaluate_models
from geoseg.geo.evaluation.matching import contingency_tables, match_model
from geoseg.geo.predict.head_views import ClassView, ClusterView
from geoseg.geo.predict.predictor import predict_strips
from geoseg.geo.rasters.raster import describe
from geoseg.geo.tiles.tiles import Tile
from geoseg.methods import build_method
from geoseg.model.file import Model
from geoseg.model.one_to_one import one_to_one

OPTIONS = {"window": 32, "overlap": 8}
PARAMETERS = {"width": 2, "main_clusters": 4, "over_clusters": 6}


@pytest.fixture
def tiles(write_tiff):
    """Two tiles of noise, with labels of noise."""
    draws = np.random.default_rng(0)
    found = []
    for name in "ab":
        image = write_tiff(f"{name}.tif", draws.integers(1, 1000, (1, 44, 40), "u2"))
        mask = write_tiff(f"{name}_mask.tif", draws.integers(0, 2, (1, 44, 40), "u1"))
        found.append(Tile(name, image, mask))
    return found


@pytest.fixture
def model(bright_model):
    """A network with two heads, as it starts."""
    method = build_method("iic", 1, PARAMETERS, seed=3).eval()
    card = bright_model(("pan",), matched=False).card
    return Model(method, card).with_card(
        method="iic", parameters=PARAMETERS, head="over"
    )


def probability_of(model, tile):
    strips = list(predict_strips(model, describe(tile.image), **OPTIONS))
    return np.concatenate([strip.probability for strip in strips], axis=1)


def test_counts_of_two_heads_are_those_of_each(model, tiles):
    both = contingency_tables(model, tiles, ["main", "over"], **OPTIONS)
    for head, table in both.items():
        alone = contingency_tables(model, tiles, [head], **OPTIONS)[head]
        assert torch.equal(table, alone)
        assert table.shape == (2, model.method.heads[head], 2)


def test_the_parts_of_a_strip_have_the_bits_of_each_model_alone(model, tiles):
    matched = match_model(model, tiles[:1], objective="f1", **OPTIONS)
    main = matched.with_card(head="main")
    strict = {"main": one_to_one(matched.card.matchings["main"])}
    models = [matched, main, main.with_card(matchings=strict)]
    view = ClassView(models)
    strips = list(predict_strips(view, describe(tiles[1].image), **OPTIONS))
    assert len(strips) > 1
    for number, own in enumerate(models):
        parts = [view.split(strip)[number].probability for strip in strips]
        alone = probability_of(own, tiles[1])
        assert np.array_equal(np.concatenate(parts, axis=1), alone)


def test_cluster_planes_follow_one_another_by_head(model):
    view = ClusterView(model, "over", "main")
    assert view.card.class_names == (*"012345", *"0123")
    image, valid = torch.rand((1, 1, 8, 8)), torch.ones((1, 8, 8), dtype=torch.bool)
    with torch.no_grad():
        found = view.class_probabilities(image, valid)
        for head, part in (("over", found[:, :6]), ("main", found[:, 6:])):
            assert torch.equal(part, model.cluster_probabilities(image, valid, head))


def test_models_scored_together_score_as_alone(model, tiles):
    matched = match_model(model, tiles[:1], objective="f1", **OPTIONS)
    models = {head: matched.with_card(head=head) for head in ("over", "main")}
    together = evaluate_models(models, tiles[1:], match_tiles=tiles[:1])
    for (name, own), scores in zip(models.items(), together, strict=True):
        alone = evaluate_model(own, tiles[1:], name=name)
        assert scores.to_json() == alone.to_json()
