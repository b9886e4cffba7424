"""A benchmark of cheap methods; its runs are carried out in this process."""

import csv
import json
import re
import shutil
from dataclasses import replace

import numpy as np
import pytest
import rasterio
from rasterio.transform import from_origin

from geoseg.core.errors import (
    GeosegError,
    OutputError,
    OutputExistsError,
    ParameterError,
    TrainingError,
)
from geoseg.core.locks import locked
from geoseg.leaderboard import conduct
from geoseg.leaderboard.conduct import run_benchmark
from geoseg.leaderboard.plan import BenchmarkPlan, parse_rows
from geoseg.leaderboard.tables import markdown
from geoseg.leaderboard.trial import carry_out
from geoseg.model.card import load_card
from geoseg.report.html import check_html
from geoseg.runs.settings import RunSettings
from geoseg.runs.tiles.run_tiles import split_of, tiles_of

pytestmark = pytest.mark.slow

#: Rows that stand in every table of two classes.
CONSTANT = {"majority", "everything is building"}


def plan_of(town, names="color_kmeans,supervised", **changes) -> BenchmarkPlan:
    base = RunSettings(
        images=town.images,
        labels=town.labels,
        patch_size=32,
        batch_size=2,
        max_steps=1,
        match_tiles=3,
        controls=False,
        report="none",
        **changes.pop("base", {}),
    )
    options = {"seeds": 2, "shared": {"width": "2", "clusters": "3"}} | changes
    return BenchmarkPlan(base=base, rows=parse_rows(names), **options)


@pytest.fixture
def here(monkeypatch):
    """Carry runs out without processes; return the names of those that were."""
    _stay(monkeypatch, done := [])
    return done


def _stay(monkeypatch, done):
    def run_here(order, log_path):
        done.append(str(order.folder.relative_to(order.folder.parents[1])))
        try:
            carry_out(order)
        except GeosegError as error:
            raise TrainingError(str(error)) from error

    monkeypatch.setattr(conduct, "run_apart", run_here)


@pytest.fixture(scope="module")
def bench(town, tmp_path_factory):
    """A finished benchmark: two rows, two seeds, fewer labels; not to be changed."""
    folder = tmp_path_factory.mktemp("bench") / "b"
    with pytest.MonkeyPatch.context() as patch:
        _stay(patch, done := [])
        plan = plan_of(town, label_tiles=(1,), clusters=(2, 3))
        board = run_benchmark(plan, folder, "geoseg benchmark …")
    text = markdown(board)
    return folder, text, done


def board_of(folder):
    return json.loads((folder / "leaderboard.json").read_text())


def test_the_tables_hold_what_the_runs_scores_hold(bench):
    folder, text, done = bench
    assert len(done) == 2 * 2 + 2
    rows = {row["name"]: row for row in board_of(folder)["rows"]}
    assert set(rows) == {"color_kmeans", "supervised", *CONSTANT}
    for name in ("color_kmeans", "supervised"):
        for metric in ("iou", "accuracy", "polygon_f1"):
            values = [
                json.loads(
                    (folder / f"runs/{name}/split0-seed{n}/scores.json").read_text()
                )["entries"][0]["metrics"][metric]["value"]
                for n in range(2)
            ]
            found = rows[name]["metrics"][metric]
            assert [run["metrics"][metric] for run in rows[name]["runs"]] == values
            assert found["mean"] == pytest.approx(np.mean(values))
            assert found["spread"] == pytest.approx(np.std(values, ddof=1))
        low, high = rows[name]["metrics"]["iou"]["interval"]
        assert low <= rows[name]["metrics"]["iou"]["mean"] <= high
        assert rows[name]["memory"] > 2**20
        assert rows[name]["training_seconds"] > 0
        assert f"{rows[name]['metrics']['iou']['mean']:.3f}" in text
    with (folder / "leaderboard.csv").open(newline="") as file:
        lines = {line["name"]: line for line in csv.DictReader(file)}
    for name, row in rows.items():
        assert float(lines[name]["iou"]) == row["metrics"]["iou"]["mean"]
    assert text == (folder / "leaderboard.md").read_text()


def test_families_are_marked_and_budget_and_winners_are_said(bench):
    folder, text, _ = bench
    scores = [row["metrics"]["iou"]["mean"] for row in board_of(folder)["rows"]]
    assert scores == sorted(scores, reverse=True)  # one table, by score
    families = re.findall(r"^\| \**[\w ()]+\** \| (\w+) \|", text, re.MULTILINE)
    assert set(families[1:]) == {"reference", "control"}
    assert "training: 1 steps of 2 patches of 32 × 32 pixels" in text
    assert "geoseg benchmark …" in text
    assert "test images: never seen in training" in text
    document = board_of(folder)
    assert all(
        said in document["sentence"] for said in re.findall("^- (Of .*)", text, re.M)
    )
    best = [row["name"] for row in document["rows"] if row["best_of_family"]]
    assert "supervised" in best
    assert (
        "Of the references, which learn from labels, supervised" in document["sentence"]
    )
    check_html(folder / "leaderboard.html")
    page = (folder / "leaderboard.html").read_text()
    # three test tiles: image, reference, two maps each
    assert page.count("<img") == 3 * 4


def test_scores_with_fewer_labels_and_other_numbers_of_clusters(bench):
    folder, text, _ = bench
    rows = {row["name"]: row for row in board_of(folder)["rows"]}
    for name in ("color_kmeans", "supervised"):
        points = rows[name]["by_labelled_tiles"]
        assert [point["number"] for point in points] == [1, 3]
        assert [len(point["values"]) for point in points] == [2, 2]
        last = points[-1]["values"]
        assert last == pytest.approx([r["metrics"]["iou"] for r in rows[name]["runs"]])
    assert [p["number"] for p in rows["supervised"]["by_clusters"]] == [2, 3]
    assert rows["color_kmeans"]["by_clusters"] == []
    assert (
        load_card(folder / "runs/supervised/split0-seed0-tiles1/model.safetensors")
        .matchings["classes"]
        .tiles
        == 1
    )
    assert "## Score and labelled tiles" in text


def test_it_goes_on_where_it_stopped_and_a_method_adds_a_row(town, tmp_path, here):
    folder = tmp_path / "b"
    first = plan_of(town, "random_trunk", seeds=1)
    run_benchmark(first, folder, "c")
    assert here == ["random_trunk/split0-seed0"]
    run_benchmark(first, folder, "c")
    assert len(here) == 1
    # as a process leaves it that was killed before its first file was whole
    left = folder / "runs/finetune-iic/split0-seed0"
    left.mkdir(parents=True)
    (left / ".run.json.0123456789abcdef.aside").write_text("{")
    (folder / "runs/random_trunk/split0-seed0/trial.json").unlink()
    run_benchmark(plan_of(town, "finetune:iic", seeds=1), folder, "c")
    assert here[1:] == ["iic/split0-seed0", "finetune-iic/split0-seed0"]
    names = [row["name"] for row in board_of(folder)["rows"]]
    assert set(names) == {"finetune:iic", *CONSTANT}
    card = load_card(folder / "runs/finetune-iic/split0-seed0/model.safetensors")
    assert card.provenance["init"]["method"] == "iic"
    run_benchmark(first, folder, "c")
    assert here[3:] == ["random_trunk/split0-seed0"]
    names = {row["name"] for row in board_of(folder)["rows"]}
    assert names == {"finetune:iic", "random_trunk", *CONSTANT}


def test_changed_settings_are_refused(town, bench, here):
    folder, *_ = bench
    plan = plan_of(town)
    for changed, message in (
        (replace(plan, base=replace(plan.base, max_steps=2)), "max steps 1, found 2"),
        (replace(plan, shared={"width": "4"}), "parameters"),
        (
            replace(plan, own={"color_kmeans": {"clusters": "2"}}),
            "the run of color_kmeans, split 0, seed 0 in .* was begun with parameters",
        ),
    ):
        with pytest.raises(ParameterError, match=message):
            run_benchmark(changed, folder, "c")
    assert not here


def test_a_benchmark_of_the_former_rule_of_roles_is_refused(
    town, bench, tmp_path, here
):
    folder = tmp_path / "b"
    shutil.copytree(bench[0], folder)
    values = json.loads((folder / "benchmark.json").read_text())
    del values["settings"]["test_tiles"]
    values["settings"]["match_tiles"] = 50
    (folder / "benchmark.json").write_text(json.dumps(values))
    with pytest.raises(ParameterError, match="a former version.*give another folder$"):
        run_benchmark(plan_of(town), folder, "c")
    assert not here


def test_roles_are_counted_and_neighbours_of_the_test_named(
    own_town, tmp_path, here, monkeypatch
):
    near = {"hidden": 1}
    monkeypatch.setattr(conduct, "adjoining_test", lambda split: near)
    plan = plan_of(
        own_town, "color_kmeans", seeds=1, shared={}, base={"test_tiles": "34%"}
    )
    text = markdown(run_benchmark(plan, tmp_path / "b", "c"))
    said = "3 to match or learn from, 2 to test, 1 with labels hidden, 4 in training"
    assert said in text
    assert "1 of 1 hidden tiles touch or overlap test tiles" in text


def test_another_benchmark_in_the_folder_is_refused(town, tmp_path, here):
    with locked(tmp_path), pytest.raises(OutputError, match="another geoseg"):
        run_benchmark(plan_of(town), tmp_path, "c")


def test_a_folder_with_something_else_is_refused(town, tmp_path, here):
    (tmp_path / "mine.txt").touch()
    with pytest.raises(OutputExistsError, match="not a benchmark"):
        run_benchmark(plan_of(town), tmp_path, "c")


def test_transductive_runs_say_so_in_every_table(town, tmp_path, here):
    plan = plan_of(
        town, "color_kmeans", seeds=1, shared={}, base={"transductive": True}
    )
    text = markdown(run_benchmark(plan, tmp_path / "b", "c"))
    assert "**transductive**: seen in training, without labels" in text
    assert board_of(tmp_path / "b")["transductive"] is True
    assert "True" in (tmp_path / "b/leaderboard.csv").read_text()
    page = (tmp_path / "b/leaderboard.html").read_text()
    assert "Transductive: training saw the images of the test tiles" in page
    card = load_card(tmp_path / "b/runs/color_kmeans/split0-seed0/model.safetensors")
    assert card.provenance["transductive"] is True
    tiles = card.provenance["tiles"]
    assert len(tiles["test"]) == 3 and not tiles["unlabelled"]


def test_a_run_that_fails_leaves_the_others_and_is_named(
    town, tmp_path, here, monkeypatch
):
    stay = conduct.run_apart

    def fail(order, log_path):
        if order.settings.method == "iic":
            raise TrainingError("out of luck")
        stay(order, log_path)

    monkeypatch.setattr(conduct, "run_apart", fail)
    plan = plan_of(town, "finetune:iic,color_kmeans", seeds=1)
    message = "2 of 3 runs failed, the first of iic, split 0, seed 0: out of luck"
    with pytest.raises(TrainingError, match=message):
        run_benchmark(plan, tmp_path / "b", "c")
    text = (tmp_path / "b/leaderboard.md").read_text()
    assert "No run of finetune:iic, split 0, seed 0: there is no run of iic" in text
    assert "**2 runs are not finished yet.**" in text
    assert "| **color_kmeans** |" in text


def test_splits_differ_and_are_the_same_for_all_rows(town, tmp_path, here):
    names = "color_kmeans,random_trunk"
    run_benchmark(plan_of(town, names, seeds=1, splits=2), tmp_path / "b", "c")
    tested = {
        (row, split): tuple(
            load_card(
                tmp_path / f"b/runs/{row}/split{split}-seed0/model.safetensors"
            ).provenance["tiles"]["test"]
        )
        for row in names.split(",")
        for split in range(2)
    }
    assert len(set(tested.values())) == 2
    assert tested["color_kmeans", 1] == tested["random_trunk", 1]
    majority = board_of(tmp_path / "b")["rows"][-1]
    assert [run["split"] for run in majority["runs"]] == [0, 1]


def write_pair(folder, number, mask):
    """Write an image whose buildings are brighter, and its mask."""
    noise = np.random.default_rng(number).normal(0, 5, (3, 32, 32))
    image = (80 + 80 * mask + noise).clip(1, 255)
    for kind, pixels in (("images", image), ("labels", mask[None])):
        path = folder / kind / f"t{number}.tif"
        path.parent.mkdir(exist_ok=True)
        options = {"width": 32, "height": 32, "count": len(pixels), "dtype": "uint8"}
        grid = from_origin(5e5 + 16 * number, 5.4e6, 0.5, 0.5)
        with rasterio.open(
            path, "w", driver="GTiff", crs="EPSG:32633", transform=grid, **options
        ) as file:
            file.write(pixels.astype(np.uint8))


def test_tiles_without_a_building_leave_scores_undefined_and_no_run_fails(
    tmp_path, here
):
    empty = np.zeros((32, 32), np.uint8)
    for number in range(2):
        write_pair(tmp_path, number, empty)
    places = {"images": str(tmp_path / "images"), "labels": str(tmp_path / "labels")}
    base = RunSettings(
        **places, method="color_kmeans", patch_size=16, controls=False, report="none"
    )
    matched = split_of(replace(base, split_seed=0), tiles_of(base)).match[0]
    built = empty.copy()
    built[8:16, 8:16] = 1
    write_pair(tmp_path, int(matched.id[-1]), built)

    plan = BenchmarkPlan(base=base, rows=parse_rows("color_kmeans"), seeds=1)
    board = run_benchmark(plan, tmp_path / "b", "c")
    assert not board.failures
    assert "there is no IoU" in markdown(board)
    rows = {row["name"]: row for row in board_of(tmp_path / "b")["rows"]}
    row = rows["color_kmeans"]
    assert row["metrics"]["iou"]["mean"] is None
    assert rows["everything is building"]["metrics"]["iou"]["mean"] == 0.0
    assert row["by_labelled_tiles"] == []
