"""Tests of geoseg.runs.reporting on runs over the town."""

import json
import re
import shutil
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch

from geoseg.core.patches import Epoch
from geoseg.geo.evaluation.matching import contingency_tables, match_model
from geoseg.geo.maps.rasters import predict_raster
from geoseg.geo.rasters import raster
from geoseg.geo.rasters.description import PixelWindow
from geoseg.runs import scoring
from geoseg.runs import train as runs
from geoseg.runs.reporting.card import caveats, clock, run_card
from geoseg.runs.reporting.gather import _choose, _how_chosen, _worst, gather, surveyor
from geoseg.runs.reporting.k_curve import k_curves
from geoseg.runs.reporting.material import Material
from geoseg.runs.reporting.survey import Place, choose_places, shown_part, survey_tile
from geoseg.runs.settings import RunSettings
from geoseg.runs.tiles.run_tiles import loader_of, split_of, tiles_of, training_tiles
from geoseg.scores.scores import Scores, TileCounts, majority_scores

GATHERING = sys.modules[gather.__module__]


@pytest.fixture(scope="module")
def settings(town) -> RunSettings:
    return RunSettings(
        images=town.images,
        labels=town.labels,
        parameters={"width": 2, "over_clusters": 4, "half_width": 2},
        patch_size=32,
        batch_size=2,
        max_steps=3,
        controls=False,
    )


@pytest.fixture(scope="module")
def run(settings, tmp_path_factory):
    return runs.start(settings, tmp_path_factory.mktemp("report") / "run")


@pytest.fixture(scope="module")
def split(settings):
    return split_of(settings, tiles_of(settings))


@pytest.fixture(scope="module")
def material(run, split, settings):
    entries = scoring.score_heads(run.model, split.test, split.match)
    return Material(
        title="Buildings in town",
        entries=[*entries, majority_scores(entries[0])],
        test=split.test,
        matching=split.match,
        training=training_tiles(split),
        model=run.model,
        run=run.run,
        command=settings.command(),
    )


@pytest.fixture(scope="module")
def contents(material):
    return gather(material)


def judged(tables) -> Scores:
    tiles = [TileCounts(f"tile{n}", np.array(t)) for n, t in enumerate(tables)]
    return Scores("x", ("background", "building"), tuple(tiles))


def test_the_worst_tiles_hold_buildings_or_invented_ones(material):
    tables = [
        [[80, 10], [5, 5]],
        [[100, 0], [0, 0]],  # none, and none found
        [[90, 10], [0, 0]],  # none, but a tenth is called so
        [[80, 2], [1, 17]],
        [[9999, 1], [0, 0]],  # too little to be a failure
    ]
    tile = material.test[0]
    test = [replace(tile, id=f"tile{n}") for n in range(5)]
    seen = _worst(replace(material, entries=[judged(tables)], test=test))
    assert [tile.id for tile in seen] == ["tile2", "tile0", "tile3"]


@pytest.mark.parametrize(
    ("count", "worst", "distinct"), [(3, 0, 4), (5, 2, 5), (12, 3, 10)]
)
def test_tiles_are_shown_once_where_there_are_enough(material, count, worst, distinct):
    tile = material.test[0]
    test = [replace(tile, id=f"tile{n}") for n in range(count)]
    entry = judged([[[80, 10], [5, n + 1]] for n in range(count)])
    chosen = _choose(replace(material, entries=[entry], test=test))
    groups = [chosen.worst, chosen.random, chosen.large]
    assert [len(g) for g in groups] == [worst, 3, min(count, 4)]
    shown = {tile.id for group in groups for tile in group}
    assert len(shown) == min(distinct, count)


def test_footprints_are_shown_where_there_are_some(material):
    tile = material.test[0]
    test = [replace(tile, id=f"tile{n}") for n in range(12)]
    woods, specks = [[1000, 0], [0, 0]], [[998, 2], [0, 0]]
    built, invented = [[900, 0], [100, 0]], [[950, 50], [0, 0]]
    entry = judged([*[woods, specks] * 4, *[built, invented] * 2])
    own = replace(material, entries=[entry], test=test, seed=3)
    chosen = _choose(own).large
    assert {it.id for it in chosen} == {"tile8", "tile9", "tile10", "tile11"}
    assert _how_chosen(own, chosen) == (
        "The 4 test tiles that have building in the reference or in the map; 8 test tiles "
        "with specks or none are left out."
    )
    assert _how_chosen(own, chosen[:2]).startswith(
        "2 of the 4 test tiles that have build"
    )
    assert "drawn by seed 3" in _how_chosen(own, chosen[:2])
    empty = replace(own, entries=[judged([woods] * 12)])
    assert len(_choose(empty).large) == 4
    assert _how_chosen(empty, test[:4]).startswith("No test tile has building")


@pytest.mark.slow
def test_a_run_of_several_classes_shows_all_of_them(town, settings, tmp_path):
    shutil.copytree(town.labels, tmp_path / "labels")
    for number, path in enumerate(sorted((tmp_path / "labels").iterdir())):
        document = json.loads(path.read_text())
        for feature in document["features"]:
            feature["properties"] = {"kind": "road" if number % 2 else "building"}
        path.write_text(json.dumps(document))
    own = replace(
        settings,
        labels=str(tmp_path / "labels"),
        classes="background,building,road",
        class_field="kind",
    )
    done = runs.start(own, tmp_path / "run")
    text = (done.run / "report.html").read_text()
    assert "the 3 classes are mapped with mean IoU" in text
    assert "building invented" not in text and "class by class" in text
    assert text.count("mean IoU ") > 3


def batches_of(settings, split, model):
    loader = loader_of(settings, training_tiles(split), model.card.normalization)
    return Epoch(loader)


def test_a_run_writes_a_page_with_the_numbers_of_its_scores(run):
    text = (run.run / "report.html").read_text()
    for entry in json.loads((run.run / "scores.json").read_text())["entries"]:
        assert entry["name"] in text
        value = entry["metrics"]["iou"]["value"]
        assert f'<td class="num">{value:.3f}' in text
    assert len(text) < 8e6
    assert re.fullmatch(r"<RunResult in \S+, IoU \d\.\d{3}>", repr(run))


def test_what_matching_and_scoring_saw_gives_the_same_page_without_a_prediction(
    run, split, material, contents, monkeypatch
):
    model = run.model
    bare = model.with_card(matchings={}, class_names=("background", "building"))
    matching = surveyor(bare, split.match, test=False)
    match_model(bare, split.match, objective="f1", onlooker=matching)
    test = surveyor(model, split.test, test=True)
    entries = scoring.score_heads(model, split.test, split.match, onlooker=test)
    assert [e.to_json(seed=0) for e in entries] == [
        e.to_json(seed=0) for e in material.entries[:-1]
    ]
    monkeypatch.setattr(GATHERING, "survey_tile", None)
    seen = {**matching.data, **test.data}
    found = gather(replace(material, surveys=seen))
    for name, value in vars(contents).items():
        if name not in ("entries", "maker"):
            assert repr(getattr(found, name)) == repr(value), name


@pytest.mark.slow
def test_a_run_does_not_predict_again_for_its_report(settings, tmp_path, monkeypatch):
    monkeypatch.setattr(GATHERING, "survey_tile", None)
    done = runs.start(replace(settings, max_steps=1), tmp_path / "run")
    assert (done.run / "report.html").exists()


def test_tiles_that_nobody_kept_are_predicted_for_the_page(material, contents):
    seen = surveyor(material.model, material.test[:1], test=True)
    scoring.score_heads(material.model, material.test, (), onlooker=seen)
    assert list(seen.data) == [material.test[0]]
    found = gather(replace(material, surveys=seen.data))
    assert repr(found.heads) == repr(contents.heads)
    assert repr(found.tiles) == repr(contents.tiles)


def test_a_run_gives_every_section_but_those_that_it_cannot(contents):
    assert not contents.absent
    assert not contents.worst  # all test tiles are among the others
    assert [head.head for head in contents.heads] == ["over", "main"]
    assert [areas.head for areas in contents.areas]
    assert {"loss", "entropy", "confidence"} <= {c.name for c in contents.training}
    assert contents.label_curve is not None
    assert contents.label_curve.x == [1, 3]


def test_the_card_says_how_to_make_the_run_again(contents, run, settings):
    card = {label: value for rows in contents.card.values() for label, value in rows}
    assert contents.command == settings.command()
    assert card["steps"] == "3" and card["width"] == "2"
    assert (
        card["fingerprint of training tiles"]
        == run.model.card.provenance["fingerprint"][:16]
    )
    assert card["batch size"] == "2"
    assert {"looking at tiles", "training", "matching", "scoring"} <= set(card)


def test_caveats_follow_from_the_run(contents, material):
    assert any(text.startswith("3 test tiles are few") for text in contents.caveats)
    assert any("3 labelled tiles named 4 clusters" in text for text in contents.caveats)
    # 3 steps x 2 patches of 32 x 32 over three tiles of 64 x 64
    assert any(
        "3 steps cover the training tiles 0.5 times" in t for t in contents.caveats
    )
    assert not any("stopped early" in text for text in contents.caveats)
    shared = replace(material, training=material.test)
    assert any("cut from the same 3 images" in text for text in gather(shared).caveats)


def test_hidden_tiles_and_neighbours_of_the_test_are_told(material):
    card = material.model.card
    provenance = {**card.provenance, "adjoining_test": {"hidden": 1}}
    provenance["tiles"] = {"hidden": ["a", "b"], **card.provenance["tiles"]}
    told = replace(material, model=material.model.with_card(provenance=provenance))
    assert ("to train on, labels hidden", "2 tiles") in run_card(told)["Tiles"]
    words = caveats(told)
    assert any(t.startswith("1 of 2 hidden tiles touch or overlap") for t in words)
    assert any("2 tiles with labels hidden, but no test image" in t for t in words)
    assert not any("hidden" in text for text in caveats(material))


@pytest.mark.parametrize(
    ("pixels", "plain"),
    [
        ([90, 10], "a map without any building has 0.90"),
        ([10, 90], "a map of nothing but building has 0.90"),
        ([8, 80, 12], "a map of nothing but building has 0.80"),
    ],
)
def test_the_caveat_names_the_map_that_accuracy_flatters(material, pixels, plain):
    names = ("background", "building", "road")[: len(pixels)]
    entry = Scores("k", names, (TileCounts("t", np.diag(pixels)),))
    found = caveats(replace(material, entries=[entry]))
    assert f"Accuracy flatters here: {plain}." in found


def test_a_map_without_its_model_has_scores_and_pictures_and_says_the_rest(
    material, town
):
    entries = [material.entries[0], material.entries[-1]]
    seen = gather(
        replace(
            material,
            entries=entries,
            model=None,
            run=None,
            matching=(),
            prediction=_labels_as_map(material),
        )
    )
    assert seen.heads == [] and seen.k_curves
    assert "name it with --model" in seen.absent["clusters"]
    assert "name it with --model" in seen.absent["labels"]
    assert "training" not in seen.absent  # which no --model would bring
    assert any("How the map was made is not known" in text for text in seen.caveats)
    # the labels themselves are the map: all is found, nothing missed
    assert [p.caption for p in seen.tiles[0].pictures] == ["image", "reference", "map"]
    assert seen.tiles[0].pictures[2].note == "IoU 1.00"
    assert all(p.note == "1 footprint, 1 in the reference" for p in seen.footprints[:1])


def _labels_as_map(material):
    from pathlib import Path

    folder = Path(material.test[0].labels).parent
    everything = [json.loads(path.read_text()) for path in sorted(folder.iterdir())]
    whole = everything[0] | {
        "features": [f for one in everything for f in one["features"]]
    }
    path = Path(material.run) / "map.geojson"
    path.write_text(json.dumps(whole))
    return path


def test_one_pass_counts_and_keeps_what_prediction_says(run, split):
    tile, head = split.test[0], "over"
    survey = survey_tile(run.model, tile, ["main", head], keep=True)[head]
    expected = contingency_tables(run.model, [tile], [head])[head][0]
    assert np.array_equal(survey.table, expected.numpy())
    assert survey.clusters.shape == survey.classes.classes.shape == (64, 64)
    predicted = predict_raster(run.model.with_head(head), tile.image)
    classes = np.concatenate([strip.classes for strip in predicted])
    assert np.mean(survey.classes.classes != classes) < 0.01  # rounding alone


def test_typical_places_lie_where_the_cluster_is(bright_model, town):
    tile = tiles_of(RunSettings(images=town.images, labels=town.labels))[0]
    survey = survey_tile(bright_model(), tile, ["main"], keep=False)["main"]
    dark, bright = (spots[0] for spots in survey.places)
    assert dark.share == 1.0 and dark.window.height == 32
    row, col, height, width = bright.window
    assert row <= 8 + 10 < row + height and col <= 10 + 12 < col + width
    assert survey.clusters is None and survey.table.sum() == 64 * 64


def test_places_are_spread_over_tiles(town):
    tiles = tiles_of(RunSettings(images=town.images, labels=town.labels))
    window = PixelWindow(0, 0, 8, 8)
    places = [Place(1 - n / 100, tiles[0], window) for n in range(5)]
    places += [Place(0.6, tiles[1], window), Place(0.4, tiles[2], window)]
    chosen = choose_places(places, 3)
    assert [place.tile.id for place in chosen] == ["tile0", "tile1", "tile0"]


def test_large_tiles_are_shown_by_their_middle(town, monkeypatch):
    monkeypatch.setattr("geoseg.runs.reporting.survey.SHOWN_SIDE", 20)
    tile = tiles_of(RunSettings(images=town.images, labels=town.labels))[0]
    part = shown_part(tile, raster.describe(tile.image))
    assert part.window == (22, 22, 20, 20)


def test_kept_maps_are_those_of_the_middle(bright_model, town, monkeypatch):
    tile = tiles_of(RunSettings(images=town.images, labels=town.labels))[0]
    whole = survey_tile(bright_model(), tile, ["main"], keep=True)["main"]
    monkeypatch.setattr("geoseg.runs.reporting.survey.SHOWN_SIDE", 20)
    part = survey_tile(bright_model(), tile, ["main"], keep=True)["main"]
    assert np.array_equal(part.clusters, whole.clusters[22:42, 22:42])
    assert np.array_equal(part.table, whole.table)


def test_k_means_of_bright_and_dark_finds_every_building(bright_model, settings, split):
    model = bright_model()
    found = k_curves(
        model,
        split.match,
        split.test,
        batches_of(settings, split, model),
        objective="f1",
        clusters=(2, 3),
    )
    assert [curve.name for curve in found] == ["k-means of the colours"]
    assert found[0].x == [2, 3]
    assert found[0].y[0] == 1.0


def test_a_trunk_has_a_curve_of_its_own_and_every_pixel_counts(
    run, settings, split, monkeypatch
):
    counted = []
    real = torch.bincount

    def spy(ids, *args, **kwargs):
        counted.append(len(ids))
        return real(ids, *args, **kwargs)

    monkeypatch.setattr("geoseg.runs.reporting.k_curve.CELL", 24)
    monkeypatch.setattr("geoseg.model.matching.torch.bincount", spy)
    found = k_curves(
        run.model,
        split.match,
        split.test,
        batches_of(settings, split, run.model),
        objective="f1",
        clusters=(4,),
    )
    assert [curve.role for curve in found] == ["other", "control"]
    assert sum(counted) == 2 * 6 * 64 * 64  # spaces x tiles x pixels


@pytest.mark.slow
def test_a_method_without_steps_has_no_section_of_curves(town, tmp_path):
    settings = RunSettings(
        images=town.images,
        labels=town.labels,
        method="color_kmeans",
        parameters={"clusters": 300, "pixels": 3000},
        patch_size=32,
        controls=False,
    )
    runs.start(settings, tmp_path / "run")
    text = (tmp_path / "run" / "report.html").read_text()
    assert 'id="training"' not in text and 'id="absent"' not in text
    assert "300 clusters" in text  # more than a byte holds
    assert re.search(r"Left out of the table, .* the smallest \d+ clusters, ", text)


@pytest.mark.slow
def test_no_report_is_written_where_none_is_wanted(settings, tmp_path):
    runs.start(replace(settings, report="none", max_steps=1), tmp_path / "run")
    assert not (tmp_path / "run" / "report.html").exists()


def test_times_are_for_people():
    assert [clock(s) for s in (0.04, 59.96, 3599.0)] == [
        "0.0 s",
        "60.0 s",
        "59 min 59 s",
    ]
