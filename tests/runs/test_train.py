import csv
import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from small_runs import COLOUR, SMALL, files_of, settings_of

from geoseg.core.errors import (
    DatasetError,
    GeosegError,
    LabelError,
    MatchingError,
    OutputExistsError,
    ParameterError,
)
from geoseg.geo.evaluation.matching import contingency_tables
from geoseg.geo.patches.tile_reader import TileReader
from geoseg.model.file import file_sha256, load_model
from geoseg.runs import train as runs
from geoseg.runs.controls import score_controls
from geoseg.runs.matching import match_again
from geoseg.runs.result import read_seconds
from geoseg.runs.settings import RunSettings
from geoseg.runs.tiles.run_tiles import loader_of, normalization_of, split_of, tiles_of


def test_a_run_leaves_model_scores_and_pictures(iic_run):
    assert files_of(iic_run.run) == {
        *("run.json", "metrics.csv", "areas.csv", "last.ckpt"),
        *("model.safetensors", "roles.geojson"),
        *("scores.json", "panel.png", "curves.png", "report.html", "times.json"),
    }
    with (iic_run.run / "metrics.csv").open(newline="") as file:
        assert [row["step"] for row in csv.DictReader(file)] == ["1", "2", "3"]
    assert not iic_run.interrupted
    assert iic_run.table in iic_run.summary()


def test_the_card_says_where_the_model_comes_from(iic_run, town):
    card = load_model(iic_run.model_path).card
    assert card == iic_run.model.card
    split = split_of(settings_of(town), tiles_of(settings_of(town)))
    roles = card.provenance["tiles"]
    assert roles["match"] == [tile.id for tile in split.match]
    assert roles["test"] == [tile.id for tile in split.test]
    assert card.provenance["steps"] == 3
    assert card.metrics["test_tiles"] == 3
    assert card.gsd_m == pytest.approx(0.5, rel=0.01)
    assert card.parameters["width"] == 2
    assert card.parameters["main_clusters"] == 3  # a default is written down too


def test_scores_name_the_command_that_made_them(iic_run):
    scores = json.loads((iic_run.run / "scores.json").read_text())
    stored = json.loads((iic_run.run / "run.json").read_text())
    command = RunSettings.from_json(stored["settings"]).command()
    assert command.startswith("geoseg train --images ")
    assert scores["command"] == command


def test_a_method_that_is_a_control_stands_beside_the_others_once(
    town, tmp_path, no_pictures
):
    run = runs.start(settings_of(town, controls=True, report="none"), tmp_path / "run")
    entries = json.loads((run.run / "scores.json").read_text())["entries"]
    names = [
        re.sub(", (matched for|by) .*\\)", ")", entry["name"]) for entry in entries
    ]
    assert list(dict.fromkeys(names)) == [
        *("color_kmeans (main, K=2)", "colour k-means (K=2)"),
        *("untrained network (K=2)",),
        *("majority", "everything is building"),
    ]


def test_a_method_without_steps_runs_to_its_scores(colour_run):
    assert "step" not in colour_run.summary().replace("--max-steps", "")
    assert "steps" not in colour_run.model.card.provenance
    # two colours, two clusters: nothing is wrong on tiles that were not seen
    assert colour_run.model.card.metrics["iou"]["value"] == 1.0
    assert files_of(colour_run.run) == {
        *("run.json", "model.safetensors", "scores.json", "panel.png"),
        *("report.html", "times.json", "roles.geojson"),
    }


def test_labels_of_the_test_tiles_change_nothing_but_the_scores(
    own_town, tmp_path, no_pictures
):
    settings = settings_of(own_town)
    first = runs.start(settings, tmp_path / "a")
    for tile in split_of(settings, tiles_of(settings)).test:
        path = Path(tile.labels)
        collection = json.loads(path.read_text())
        for point in collection["features"][0]["geometry"]["coordinates"][0]:
            point[0] += 3.0  # metres to the east: six pixels
        path.write_text(json.dumps(collection))
    second = runs.start(settings, tmp_path / "b")
    assert second.model.card.metrics != first.model.card.metrics
    assert second.model.card.matchings == first.model.card.matchings
    found, expected = (r.model.method.state_dict() for r in (second, first))
    assert all(torch.equal(found[name], expected[name]) for name in expected)


def test_equal_settings_make_equal_files(town, tmp_path, iic_run, no_pictures):
    again = runs.start(settings_of(town, SMALL), tmp_path / "run")
    assert file_sha256(again.model_path) == file_sha256(iic_run.model_path)
    for name in ("metrics.csv", "scores.json", "run.json"):
        assert (again.run / name).read_bytes() == (iic_run.run / name).read_bytes()


def test_patches_that_workers_read_make_the_same_model(
    town, tmp_path, iic_run, no_pictures
):
    read_by_workers = settings_of(town, SMALL, loader_workers=2)
    again = runs.start(read_by_workers, tmp_path / "run")
    assert file_sha256(again.model_path) == file_sha256(iic_run.model_path)
    log = (again.run / "metrics.csv").read_bytes()
    assert log == (iic_run.run / "metrics.csv").read_bytes()


def test_runs_are_numbered(town, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    settings = replace(settings_of(town), labels=None)
    (tmp_path / "runs" / "town-color_kmeans-002").mkdir(parents=True)
    names = [runs.start(settings).run.name for _ in range(2)]
    assert names == ["town-color_kmeans-001", "town-color_kmeans-003"]


def test_a_folder_that_holds_something_is_refused(town, tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(OutputExistsError, match="not empty: .* --resume"):
        runs.start(settings_of(town), tmp_path)
    assert files_of(tmp_path) == {"notes.txt"}


def test_an_empty_folder_is_taken(town, tmp_path, no_pictures):
    (tmp_path / "run").mkdir()
    assert runs.start(settings_of(town), tmp_path / "run").model_path.exists()


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"method": "magic"}, ParameterError, "no method 'magic'"),
        ({"parameters": {"depth": 1}}, ParameterError, "no parameter 'depth'"),
        ({"parameters": {"clusters": 1}}, ParameterError, "has 1 clusters, expected"),
        (
            {"method": "iic", "parameters": {"trunk": "resnet"}},
            ParameterError,
            "no trunk 'resnet'",
        ),
        ({"images": "nowhere"}, DatasetError, "nowhere"),
        ({"labels": "nowhere"}, LabelError, "nowhere"),
        ({"bands": "nir"}, GeosegError, "nir"),
        ({"nodata": "white"}, GeosegError, "white"),
        ({"patch_size": 0}, ParameterError, "patch_size is 0"),
    ],
)
def test_wrong_settings_are_refused_and_leave_no_folder(
    town, tmp_path, changes, error, message
):
    with pytest.raises(error, match=message):
        runs.start(replace(settings_of(town), **changes), tmp_path / "run")
    assert not files_of(tmp_path)


def test_a_device_that_is_not_there_is_refused(town, tmp_path):
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    with pytest.raises(ParameterError, match="no device 'cuda' here"):
        runs.start(settings_of(town, device="cuda"), tmp_path / "run")
    assert not files_of(tmp_path)


@pytest.fixture(scope="module")
def unlabelled_run(town, tmp_path_factory):
    folder = tmp_path_factory.mktemp("unlabelled") / "run"
    return runs.start(replace(settings_of(town), labels=None), folder)


def test_tiles_without_labels_train_and_the_summary_says_to_match(unlabelled_run):
    assert "geoseg match" in unlabelled_run.summary()
    model = load_model(unlabelled_run.model_path)
    assert not model.card.matchings
    assert len(model.card.provenance["tiles"]["unlabelled"]) == 6
    with pytest.raises(MatchingError, match="run geoseg match"):
        model.class_probabilities(torch.zeros(1, 3, 4, 4), torch.ones(1, 4, 4).bool())


def test_matching_again_counts_on_the_labelled_tiles(unlabelled_run, town):
    settings = settings_of(town)
    matched = match_again(unlabelled_run.model, settings)
    tiles = tiles_of(settings)
    expected = contingency_tables(unlabelled_run.model, tiles, ["main"])["main"].sum(0)
    matching = matched.card.matchings["main"]
    assert matching.counts == tuple(map(tuple, expected.tolist()))
    assert sorted(matching.cluster_to_class) == [0, 1]
    assert matched.card.provenance["matched_on"] == [tile.id for tile in tiles]


def test_matching_again_on_few_tiles_leaves_the_others_alone(unlabelled_run, town):
    settings = settings_of(town, match_tiles=2)
    matched = match_again(unlabelled_run.model, settings)
    split = split_of(settings, tiles_of(settings))
    assert len(split.match) == 2
    ids = [tile.id for tile in split.match]
    assert matched.card.provenance["matched_on"] == ids
    assert matched.card.matchings["main"].tiles == 2


def test_matching_again_drops_the_scores_of_the_former_matching(colour_run, town):
    assert colour_run.model.card.metrics
    assert not match_again(colour_run.model, settings_of(town)).card.metrics


def test_matching_again_warns_of_values_unlike_the_trainings(
    unlabelled_run, town, caplog
):
    card = unlabelled_run.model.card
    faint = replace(card.normalization, low=(5e4,) * 3, high=(6e4,) * 3)
    match_again(unlabelled_run.model, settings_of(town))
    assert "lie outside" not in caplog.text
    match_again(unlabelled_run.model.with_card(normalization=faint), settings_of(town))
    (found,) = [text for text in caplog.messages if "lie outside" in text]
    assert found.startswith("6 of 6 images, ")


def test_matching_again_needs_labels(unlabelled_run, town):
    settings = replace(settings_of(town), labels=None)
    with pytest.raises(LabelError, match="no tile of town has labels: .* --labels"):
        match_again(unlabelled_run.model, settings)


def test_selection_tiles_choose_the_head_with_the_better_classes(
    town, tmp_path, no_pictures
):
    settings = settings_of(town, SMALL, select_tiles=2, match_tiles=2, max_steps=20)
    model = runs.start(settings, tmp_path / "run").model
    select = split_of(settings, tiles_of(settings)).select
    assert [tile.id for tile in select] == model.card.provenance["tiles"]["select"]
    ious = {}
    for head, matching in model.card.matchings.items():
        hits = claimed = wanted = 0
        table = contingency_tables(model, select, [head])[head].sum(0)
        for cluster, (background, building) in enumerate(table.tolist()):
            wanted += building
            if matching.cluster_to_class[cluster]:
                hits += building
                claimed += building + background
        ious[head] = hits / (claimed + wanted - hits)
    assert ious[model.card.head] == max(ious.values())


def test_a_summary_ends_with_the_report_and_the_next_step(iic_run):
    *_, report, step = iic_run.summary().splitlines()
    assert report == f"open {iic_run.run / 'report.html'}"
    assert step.endswith(f"-o buildings.geojson --model {iic_run.run}")


@pytest.mark.parametrize("values", [COLOUR, SMALL])
def test_a_whitened_run_predicts_as_it_trained(town, tmp_path, values, no_pictures):
    settings = settings_of(town, values, whiten="zca")
    assert "--whiten zca" in settings.command()
    result = runs.start(settings, tmp_path / "run")
    whitening = result.model.card.normalization.whitening
    assert whitening is not None
    loaded = load_model(result.model_path)
    assert loaded.card.normalization.whitening == whitening
    image, valid = torch.rand(1, 3, 32, 32), torch.ones(1, 32, 32, dtype=torch.bool)
    trained = result.model.cluster_probabilities(image, valid)
    assert torch.equal(loaded.cluster_probabilities(image, valid), trained)
    plain = load_model(result.model_path)
    plain.method.whiten(None)
    assert not torch.equal(plain.cluster_probabilities(image, valid), trained)


def test_the_summary_of_a_collapsed_run_says_how_to_go_on_all_the_same(iic_run):
    lines = replace(iic_run, collapse="stopped at step 9").summary().splitlines()
    assert lines[0].startswith("3 steps; looking at tiles 0:00:")
    said = lines[1]
    assert said.startswith("stopped at step 9; to go on anyway: geoseg train --r")
    assert said.endswith(f"{iic_run.run} --no-stop-on-collapse")


def test_fits_and_controls_read_as_many_patches_as_asked_for(
    town, tmp_path, monkeypatch
):
    """Of an epoch of 40 patches, 8 for the last fit and for each pass of a control."""
    read, controls = [], []
    cut = TileReader.read
    monkeypatch.setattr(
        TileReader, "read", lambda *key: read.append(key[1]) or cut(*key)
    )
    count = score_controls
    monkeypatch.setattr(
        "geoseg.runs.train.score_controls",
        lambda *args, **options: controls.append(len(read)) or count(*args, **options),
    )
    more = {"controls": True, "patches_per_epoch": 40, "fit_patches": 8}
    settings = settings_of(town, COLOUR, report="none", **more)
    run = runs.start(settings, tmp_path / "run").run
    (fitted,) = controls
    # the untrained network takes two passes, colour k-means by vote one; by share it is
    # no control of itself
    assert (fitted, len(read) - fitted) == (8, 24)
    assert set(read[:8]) == set(range(3))  # evenly over all that is trained on
    assert {"controls", "scoring"} <= set(read_seconds(run / "times.json"))


def test_fits_read_4096_patches_by_default(town):
    settings = settings_of(town, patches_per_epoch=100_000)
    tiles = tiles_of(settings)
    normalization = normalization_of(settings, tiles)
    loader = loader_of(settings, tiles, normalization)
    assert len(loader.thinned().sampler) == 4096
    picie = loader_of(
        replace(settings, method="picie", patches_per_epoch=None, fit_patches=8),
        *(tiles, normalization),
    )
    assert len(picie.sampler) == 8
