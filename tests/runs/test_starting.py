from dataclasses import replace

import pytest
import torch

from geoseg.core.errors import LabelError, MatchingError, ParameterError
from geoseg.geo.evaluation.matching import contingency_tables, match_model
from geoseg.geo.patches.dataset import PatchSampler, TileDataset
from geoseg.info.models import model_sheet
from geoseg.model.file import load_model
from geoseg.model.matching import match_clusters
from geoseg.runs import train as runs
from geoseg.runs.controls import build_control
from geoseg.runs.matching import match_again, refuse_worse
from geoseg.runs.settings import RunSettings
from geoseg.runs.starting import check_start, parameters_of, warn_of_seen
from geoseg.runs.tiles.run_tiles import (
    loader_of,
    normalization_of,
    patch_tiles,
    split_of,
    tiles_of,
)

SMALL = {
    "parameters": {"width": 2},
    "patch_size": 32,
    "batch_size": 2,
    "max_steps": 2,
    "controls": False,
    "report": "none",
}


def settings_of(town, **changes) -> RunSettings:
    return RunSettings(images=town.images, labels=town.labels, **SMALL | changes)


@pytest.fixture(scope="module")
def iic_run(town, tmp_path_factory):
    parameters = {"width": 2, "over_clusters": 4, "half_width": 2}
    settings = settings_of(town, method="iic", parameters=parameters)
    return runs.start(settings, tmp_path_factory.mktemp("init") / "iic")


def test_only_methods_that_learn_from_labels_see_any_and_those_of_matching_alone(town):
    settings = settings_of(town)
    split = split_of(settings, tiles_of(settings))
    unsupervised = patch_tiles("iic", split)
    assert not any(tile.labels for tile in unsupervised)
    assert {t.id for t in unsupervised} == {t.id for t in split.match}
    supervised = patch_tiles("supervised", split)
    assert supervised == split.match
    assert all(tile.labels for tile in supervised)


def test_patches_come_from_labelled_tiles_in_their_share(town):
    settings = settings_of(town)
    tiles = tiles_of(settings)
    mixed = [tiles[0], *(replace(tile, labels=None) for tile in tiles[1:])]
    dataset = TileDataset(mixed, normalization_of(settings, tiles))

    def share(labelled_share):
        sampler = PatchSampler(
            dataset, size=16, length=2000, labelled_share=labelled_share
        )
        return sum(query.tile == 0 for query in sampler) / 2000

    assert share(None) == pytest.approx(1 / len(tiles), abs=0.04)
    assert share(0.5) == pytest.approx(0.5, abs=0.04)
    assert share(1.0) == 1


def test_supervised_learns_from_the_masks_and_iic_does_not_see_them(town):
    settings = settings_of(town)
    split = split_of(settings, tiles_of(settings))
    normalization = normalization_of(settings, split.match)
    for method, labelled in (("supervised", True), ("iic", False)):
        chosen = replace(settings, method=method)
        loader = loader_of(chosen, patch_tiles(chosen.method, split), normalization)
        batch, *_ = loader.batches(0)
        assert bool((batch.mask < 2).any()) is labelled


def test_a_class_head_keeps_its_classes_and_notes_what_it_hits(town, tmp_path):
    result = runs.start(settings_of(town, method="supervised"), tmp_path / "run")
    card = load_model(result.model_path).card
    assert card.parameters["classes"] == 2
    assert card.matchings["classes"].cluster_to_class == (0, 1)
    assert card.matchings["classes"].objective in ("accuracy", "f1")
    assert sum(map(sum, card.matchings["classes"].counts)) > 0
    assert card.provenance["learns_from_labels"] is True


def test_maps_of_learned_classes_keep_the_threshold_of_the_matching_tiles(
    town, tmp_path
):
    settings = settings_of(town, method="supervised", max_steps=4)
    tiles = split_of(settings, tiles_of(settings)).match
    model = runs.start(settings, tmp_path / "run").model
    for threshold in (0.2, 0.6):  # whatever so short a training has found
        own = model.card.matchings["classes"]
        moved = model.with_card(
            matchings={"classes": replace(own, threshold=threshold)}
        )
        image, valid = torch.rand(2, 4, 32, 32), torch.ones(2, 32, 32, dtype=torch.bool)
        image = image[:, : model.method.in_channels]
        with torch.no_grad():
            before = model.method.predict(image, valid, "classes")[:, 1]
            after = moved.class_probabilities(image, valid)
        assert torch.equal(after.argmax(1) == 1, before > threshold)
    found = match_model(model, tiles, objective="f1").card.matchings["classes"]
    plain = match_model(model, tiles, objective="accuracy").card.matchings["classes"]
    assert found == model.card.matchings["classes"]
    assert plain.threshold is None
    decided = model.with_card(matchings={"classes": found})
    counts = contingency_tables(decided, tiles, ["classes"])["classes"].sum(0)
    assert counts.tolist() == [list(row) for row in found.counts]


def test_learned_classes_are_not_matched_again(town, tmp_path):
    settings = settings_of(town, method="supervised")
    model = runs.start(settings, tmp_path / "run").model
    with pytest.raises(MatchingError, match="nothing to match"):
        match_again(model, settings)


def test_learning_from_labels_needs_labels(town, tmp_path):
    settings = replace(settings_of(town, method="supervised"), labels=None)
    with pytest.raises(LabelError, match="name them with --labels"):
        runs.start(settings, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_run_starts_from_the_trunk_and_bands_of_another(iic_run, town, tmp_path):
    settings = settings_of(
        *(town,), method="finetune", parameters={}, init=str(iic_run.run)
    )
    still = {"learning_rate": 1e-30, "symmetries": False}
    result = runs.start(replace(settings, parameters=still), tmp_path / "run")
    before, after = iic_run.model.method, result.model.method
    for name, weight in before.trunk.named_parameters():
        torch.testing.assert_close(after.trunk.get_parameter(name), weight)
    card = result.model.card
    assert card.normalization == iic_run.model.card.normalization
    assert card.parameters["width"] == 2
    assert card.provenance["init"]["method"] == "iic"


def test_tiles_of_the_test_that_the_first_model_saw_are_said(
    iic_run, town, tmp_path, caplog
):
    settings = settings_of(
        *(town,), method="finetune", parameters={}, init=str(iic_run.run)
    )
    split = split_of(settings, tiles_of(settings))
    card = iic_run.model.card
    warn_of_seen(settings.source, card, split)
    assert not caplog.messages
    swapped = replace(split, match=split.test, test=split.match)
    warn_of_seen(settings.source, card, swapped)
    (message,) = caplog.messages
    count = len(split.match)
    assert f"trained on {count} of {count} test tile" in message
    assert "without their labels: the scores flatter" in message
    learned = replace(card, provenance={**card.provenance, "learns_from_labels": True})
    warn_of_seen(settings.source, learned, swapped)
    assert f"the labels of {count} of {count}" in caplog.messages[-1]
    caplog.clear()
    renamed = replace(card, provenance={**card.provenance, "source": "other"})
    warn_of_seen(settings.source, renamed, swapped)
    assert len(caplog.messages) == 1  # the images are the same
    provenance = {k: v for k, v in card.provenance.items() if k != "tile_keys"}
    former = replace(card, provenance=provenance)
    warn_of_seen(settings.source, former, swapped)
    assert "names its tiles only by id" in caplog.messages[1]
    assert "trained on 3 of 3 test tiles" in caplog.messages[2]
    elsewhere = replace(card, provenance={**provenance, "source": "other"})
    warn_of_seen(settings.source, elsewhere, swapped)
    assert len(caplog.messages) == 3


def test_another_trunk_than_the_models_is_refused(iic_run, town):
    settings = settings_of(
        *(town,), method="finetune", parameters={"width": 3}, init=str(iic_run.run)
    )
    with pytest.raises(ParameterError, match="width is 3, but the model"):
        parameters_of(settings, ("red", "green", "blue"), iic_run.model.card)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"method": "finetune"}, "name its run with --init"),
        ({"method": "color_kmeans", "init": "x"}, "leave --init out$"),
        ({"method": "supervised", "init": "x"}, "leave --init out, or take finetune"),
        ({"method": "finetune", "init": "x", "bands": "rgb"}, "--bands was given"),
        ({"method": "iic", "init": "x", "whiten": "zca"}, "--whiten was given"),
    ],
)
def test_init_and_method_have_to_go_together(town, changes, message):
    with pytest.raises(ParameterError, match=message):
        check_start(settings_of(town, parameters={}, **{"method": "iic"} | changes))


def test_what_learned_from_labels_is_named_so_wherever_it_appears(town, tmp_path):
    settings = settings_of(town, method="supervised", report="quick")
    result = runs.start(settings, tmp_path / "run")
    assert "supervised (learned from labels)" in result.table
    assert "no classes yet" not in result.summary()
    page = (result.run / "report.html").read_text()
    for said in (
        "supervised (learns from labels)",
        "Head classes: 2 classes, learned from labels",
        "The classes were learned from the labels of the matching tiles",
        "to learn the classes from",
        "This model itself learned from the labels of",
        "matching tiles, with labels, but no test image",
    ):
        assert said in page, said
    assert "Training saw no label" not in page
    sheet = model_sheet(result.model_path).text()
    assert "supervised, which learns from labels" in sheet
    assert "learned from the labels of" in sheet


@pytest.mark.slow
def test_every_reference_trains_from_tiles_to_a_map(iic_run, town, tmp_path):
    for method, parameters in (
        ("probe", {}),
        ("probe", {"kind": "knn", "bank": 64}),
        ("semisup", {"over_clusters": 4, "half_width": 2}),
    ):
        settings = settings_of(
            town, method=method, parameters=parameters, init=str(iic_run.run)
        )
        run = tmp_path / f"{method}{len(parameters)}"
        card = runs.start(settings, run).model.card
        assert card.metrics["iou"]["value"] >= 0
        assert card.matchings["classes"].cluster_to_class == (0, 1)


def test_controls_of_a_model_with_classes_keep_their_own_number_of_clusters(
    town, tmp_path
):
    model = runs.start(settings_of(town, method="supervised"), tmp_path / "run").model
    settings = settings_of(town, method="supervised")
    split = split_of(settings, tiles_of(settings))
    loader = loader_of(settings, split.match, model.card.normalization)
    control = build_control(model, "color_kmeans", lambda: loader.batches(0))
    assert control.method.heads["main"] == 24


def test_a_matching_that_tells_nothing_does_not_replace_the_one_before(bright_model):
    model = bright_model()
    refuse_worse(model)
    (head,) = model.card.matchings
    alike = match_clusters(torch.tensor([[[600, 396], [2, 2]]]), shrinkage=0)
    useless = model.with_card(matchings={head: alike})
    with pytest.raises(MatchingError, match="the model is unchanged: 99.6 %"):
        refuse_worse(useless)
