"""Codebooks: weighted log-odds, and their place in a model file."""

import json
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.torch import save_file

from geoseg.core.errors import ModelFileError
from geoseg.methods import build_method, method_defaults
from geoseg.model.card import CARD_KEY
from geoseg.model.codebooks import Combination, combine
from geoseg.model.decisions import Decision, Smoothing
from geoseg.model.file import Model, load_model, save_model


def logit(p: torch.Tensor) -> torch.Tensor:
    return torch.log(p) - torch.log1p(-p)


def two_classes(building: torch.Tensor) -> torch.Tensor:
    return torch.stack((1 - building, building), dim=1)


@given(
    weights=st.lists(st.floats(0.01, 1), min_size=2, max_size=3),
    prior=st.floats(0.01, 0.9),
    seed=st.integers(0, 99),
)
def test_log_odds_add_up(weights, prior, seed) -> None:
    draws = torch.Generator().manual_seed(seed)
    scores = [torch.rand((2, 5), generator=draws, dtype=torch.float64) for _ in weights]
    scores = [own.clamp(0.002, 0.998) for own in scores]
    base = logit(torch.tensor(prior, dtype=torch.float64))
    expected = base + sum(
        w * (logit(own) - base) for w, own in zip(weights, scores, strict=True)
    )
    found = combine([two_classes(own) for own in scores], weights, (1 - prior, prior))
    torch.testing.assert_close(found[:, 1], expected.sigmoid(), rtol=1e-6, atol=1e-9)
    torch.testing.assert_close(found.sum(1), torch.ones_like(found[:, 0]))


def test_one_codebook_alone_keeps_its_bits() -> None:
    scores = torch.rand((3, 2, 4, 4))
    assert combine([torch.rand_like(scores), scores], (0, 1), (0.9, 0.1)) is scores


def test_certainty_of_one_codebook_is_bounded() -> None:
    sure, unsure = torch.tensor([[1.0, 0.0]]), torch.tensor([[0.2, 0.8]])
    found = combine([sure, unsure], (0.5, 0.5), (0.5, 0.5))
    assert found.isfinite().all() and 0 < found[0, 1] < 0.5


def test_three_classes_are_weighted_geometric_means() -> None:
    one, two = torch.tensor([[0.7, 0.2, 0.1]]), torch.tensor([[0.4, 0.4, 0.2]])
    found = combine([one, two], (0.5, 0.5), (1 / 3,) * 3)
    expected = (one * two).sqrt()
    torch.testing.assert_close(found, expected / expected.sum())


@pytest.fixture
def together(bright_model) -> Model:
    """A model of brightness with a codebook of colours, named together."""
    model = bright_model()
    parameters = method_defaults("color_kmeans") | {"clusters": 3}
    book = build_method("color_kmeans", 3, parameters)
    book.get_buffer("centroids").copy_(torch.eye(3))
    card = replace(model.card, parameters=parameters)
    model = model.with_codebooks({"colors": Model(book.eval(), card)})
    matching = replace(
        model.card.matchings["main"],
        naming="share",
        cluster_to_class=(0, 1, 0),
        scores=((0.9, 0.1), (0.3, 0.7), (0.6, 0.4)),
        counts=((9, 1), (3, 7), (6, 4)),
    )
    books = (replace(model.card.codebooks[0], matching=matching, weight=0.25),)
    combined = Combination(
        "main", 0.75, (0.6, 0.4), Smoothing(2), Decision(1.2, 0, 0.4), Decision()
    )
    return model.with_card(codebooks=books, combined=combined)


def test_a_model_with_codebooks_comes_back_and_predicts_the_same(
    together, tmp_path
) -> None:
    path = tmp_path / "m.safetensors"
    save_model(path, together)
    again = load_model(path)
    assert again.card == together.card
    image, valid = torch.rand((2, 3, 8, 8)), torch.ones((2, 8, 8), dtype=torch.bool)
    expected = together.class_probabilities(image, valid)
    assert torch.equal(again.class_probabilities(image, valid), expected)
    assert again.rule() == together.card.combined.rule()
    alone = together.with_card(combined=None).class_probabilities(image, valid)
    assert not torch.equal(alone, expected)


def test_scores_are_those_of_the_parts_combined(together) -> None:
    image, valid = torch.rand((2, 3, 8, 8)), torch.ones((2, 8, 8), dtype=torch.bool)
    parts = [
        together.with_card(combined=None),
        together.codebook(together.card.codebooks[0]),
    ]
    scores = [part.class_probabilities(image, valid) for part in parts]
    expected = combine(scores, (0.75, 0.25), (0.6, 0.4))
    torch.testing.assert_close(together.class_probabilities(image, valid), expected)


def test_weights_that_a_card_does_not_name_are_refused(together, tmp_path) -> None:
    path = tmp_path / "m.safetensors"
    save_model(path, together)
    with safe_open(path, framework="pt") as file:
        weights = {name: file.get_tensor(name) for name in file.keys()}
        card = json.loads(file.metadata()[CARD_KEY])
    assert "codebooks.colors.centroids" in weights
    card["codebooks"][0]["name"] = "other"
    save_file(weights, path, metadata={CARD_KEY: json.dumps(card)})
    with pytest.raises(ModelFileError, match="do not fit its card"):
        load_model(path)


def test_a_hard_codebook_makes_scores_jump(together) -> None:
    head = together.card.combined.head
    soft = replace(together, method=build_method("iic", 3, {"width": 2}))
    assert soft.jumps
    (book,) = together.card.codebooks
    assert not soft.with_card(codebooks=(replace(book, weight=0.0),)).jumps
    assert not soft.with_card(combined=None).jumps and head == "main"
