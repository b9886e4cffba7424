"""The GPU script on a CPU: pack → two pieces → report, without a geodata library."""

import csv
import importlib
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import geoseg
from geoseg.geo.patches.tile_reader import TileReader
from geoseg.geo.tiles.tiles import find_tiles

ROOT = Path(geoseg.__file__).parents[1]
SMALL = ["--device", "cpu", "--precision", "32-true", "--patch-size", "32"]
SMALL += ["--batch-size", "4", "--width", "2", "-p", "half_width=2"]
EARTH = {"rasterio", "fiona", "geopandas", "shapely", "torchgeo", "osgeo", "pyproj"}


@pytest.fixture(scope="module")
def gpu():
    """The script as a module, beside those that it imports."""
    sys.path.insert(0, str(ROOT / "benchmarks"))
    yield importlib.import_module("gpu")
    sys.path.remove(str(ROOT / "benchmarks"))


@pytest.fixture(scope="module")
def packed(gpu):
    return sys.modules["packed"]


@pytest.fixture(scope="module")
def tiles(gpu, town, tmp_path_factory):
    """Two places in one file: the town, and the sample tiles."""
    path = tmp_path_factory.mktemp("pack") / "tiles.npz"
    sources = ["--source", "town", *town]
    sources += ["--source", "sample", str(ROOT / "sample_tiles")]
    gpu.main(["pack", "-o", str(path), *sources, "--bands", "rgb"])
    return path


def train(gpu, tiles, run, steps, *more):
    arguments = ["train", str(tiles), "-o", str(run), "--max-steps", str(steps)]
    gpu.main([*arguments, *SMALL, *more])


def test_a_pack_holds_the_pixels_labels_and_roles_of_its_tiles(packed, tiles, town):
    pack = packed.read_pack(tiles)
    found = {tile.id: tile for tile in pack.tiles if tile.source == "town"}
    originals = find_tiles(town.images, town.labels)
    assert sorted(found) == sorted(tile.id for tile in originals)
    roles = {tile.role for tile in found.values()}
    assert roles == {"match", "test"}
    stretch = pack.card["sources"]["town"]["normalization"]
    reader = TileReader(originals, stretch["bands"])
    low, high = (np.array(stretch[k])[:, None, None] for k in ("low", "high"))
    for number, tile in enumerate(originals):
        decoded = reader.read(number, reader.extents[number])
        expected = ((decoded.pixels - low) / (high - low)).clip(0, 1)
        np.testing.assert_allclose(found[tile.id].image, expected, atol=1e-6)
        assert found[tile.id].mask.equal(torch.from_numpy(decoded.mask).long())
        assert found[tile.id].valid.all()


def test_differences_are_undone_for_all_integers(packed):
    for kind in (np.uint8, np.uint16, np.int16):
        limits = np.iinfo(kind)
        pixels = np.random.default_rng(0).integers(
            limits.min, limits.max, (3, 7, 5), kind, endpoint=True
        )
        assert (packed._sums(packed._differences(pixels)) == pixels).all()


def test_patches_are_windows_of_training_tiles_and_any_batch_can_come_first(
    packed, tiles
):
    training = [t for t in packed.read_pack(tiles).training if t.source == "town"]
    assert {tile.role for tile in training} == {"match"}
    loader = packed.PackedLoader(training, patch_size=32, batch_size=4, seed=1)
    every = list(loader.batches(3))
    assert len(every) == len(loader) > 2
    third, *_ = loader.batches(3, 2)
    assert third.image.equal(every[2].image) and third.index.equal(every[2].index)
    other = next(iter(loader.batches(4)))
    assert not other.image.equal(every[0].image)
    patch = every[0].image[0]
    windows = [tile.image.unfold(1, 32, 1).unfold(2, 32, 1) for tile in training]
    same = [window == patch[:, None, None] for window in windows]
    assert any(found.all(dim=4).all(dim=3).all(dim=0).any() for found in same)


def test_a_pack_over_the_limit_is_refused_and_leaves_nothing(
    gpu, town, tmp_path, capsys
):
    path = tmp_path / "tiles.npz"
    with pytest.raises(SystemExit) as stopped:
        gpu.main(
            ["pack", "-o", str(path), "--source", "t", *town, "--limit-mb", "0.001"]
        )
    assert stopped.value.code == 1
    assert "expected at most 0.001: name fewer sources" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_two_pieces_equal_one_run_and_the_report_scores_all_sources(
    gpu, tiles, tmp_path
):
    whole, pieces = tmp_path / "whole", tmp_path / "pieces"
    train(gpu, tiles, whole, 9)
    train(gpu, tiles, pieces, 3)
    train(gpu, tiles, pieces, 9)
    expected = load_file(whole / "weights.safetensors")
    found = load_file(pieces / "weights.safetensors")
    assert all(found[name].equal(expected[name]) for name in expected)
    noted = json.loads((pieces / "pieces.json").read_text())
    assert [piece["steps"] for piece in noted] == [3, 6]
    with (pieces / "metrics.csv").open(newline="") as file:
        assert [row["step"] for row in csv.DictReader(file)] == list("123456789")
    gpu.main(["report", str(tiles), str(pieces), "--matrix", "64", "--repeats", "1"])
    report = json.loads((pieces / "report.json").read_text())
    pace = report["speed"]
    assert pace["patches_per_second"] > 0 and pace["matrix_tflops"] > 0
    # 32² patches, width 2, by hand: multiply-adds of the six convolutions, forward; the
    # backward pass has two products each, the first convolution's but one.
    pairs = ((3, 2, 1024), (2, 4, 1024), (4, 8, 256), (8, 8, 256), (8, 16, 256))
    macs = [9 * i * o * area for i, o, area in (*pairs, (16, 16, 256))]
    flop = 2 * 2 * (3 * sum(macs) - macs[0])
    assert pace["patch_gflop"] == pytest.approx(flop / 1e9)
    names = {(row["source"], row["name"].split(" (")[0]) for row in report["scores"]}
    kinds = ("iic", "colour k-means", "untrained network")
    assert names == {(s, k) for s in ("town", "sample") for k in kinds}
    # Bright buildings on dark ground: colour tells the town's apart.
    (colour,) = (
        row
        for row in report["scores"]
        if row["source"] == "town" and row["name"].startswith("colour")
    )
    assert colour["iou"][0] > 0.95
    table = (pieces / "report.md").read_text()
    assert "| town | colour k-means (K=24) |" in table and "trunk" in table


@pytest.mark.slow
def test_a_piece_imports_no_geodata_library_and_keeps_its_time(tiles, tmp_path):
    code = (
        "import sys\n"
        f"sys.path.insert(0, {str(ROOT / 'benchmarks')!r})\n"
        "import gpu\n"
        f"gpu.main({['train', str(tiles), '-o', str(tmp_path / 'run')]!r}\n"
        f"         + ['--minutes', '0.02', *{SMALL!r}])\n"
        f"print(sorted({EARTH!r} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == "[]"
    (piece,) = json.loads((tmp_path / "run" / "pieces.json").read_text())
    assert 0 < piece["steps"] and piece["seconds"] < 30


@pytest.mark.slow
def test_a_piece_with_other_settings_is_refused(gpu, tiles, tmp_path, capsys):
    train(gpu, tiles, tmp_path, 1)
    with pytest.raises(SystemExit) as stopped:
        train(gpu, tiles, tmp_path, 2, "--seed", "1")
    assert stopped.value.code == 1
    assert "give the same options, or another folder" in capsys.readouterr().err


def test_a_file_that_is_no_pack_is_refused(packed, tmp_path):
    path = tmp_path / "no.npz"
    path.write_bytes(b"nothing")
    with pytest.raises(Exception, match="no.npz is no pack of tiles"):
        packed.read_pack(path)


def board(gpu, tiles, folder, methods, *more):
    arguments = ["leaderboard", str(tiles), "-o", str(folder), "--methods", methods]
    gpu.main([*arguments, "--seeds", "1", "--max-steps", "2", *SMALL_BOARD, *more])


SMALL_BOARD = [word.replace("half", "iic.half") for word in SMALL]


@pytest.mark.slow
def test_a_leaderboard_goes_on_grows_and_starts_rows_from_others(
    gpu, tiles, tmp_path, capsys
):
    board(gpu, tiles, tmp_path, "iic,color_kmeans", "--minutes", "0")
    assert "0 of 4 runs finished" in capsys.readouterr().out
    board(gpu, tiles, tmp_path, "iic,color_kmeans")
    assert "4 of 4 runs finished" in capsys.readouterr().out
    first = tmp_path / "town" / "iic" / "seed0" / "score.json"
    before = first.stat().st_mtime_ns
    board(gpu, tiles, tmp_path, "iic,color_kmeans,finetune:iic,semisup,majority")
    table = (tmp_path / "leaderboard.md").read_text()
    assert first.stat().st_mtime_ns == before
    assert "10 of 10 runs finished" in table
    assert "| finetune:iic | reference, learns from labels |" in table
    town = table.split("**town**")[1].split("**sample**")[0]
    assert town.index("| color_kmeans |") < town.index("| majority |")
    score = json.loads(
        (tmp_path / "town" / "color_kmeans" / "seed0" / "score.json").read_text()
    )
    assert score["iou"][0] > 0.95


@pytest.mark.slow
def test_a_leaderboard_with_other_settings_is_refused(gpu, tiles, tmp_path, capsys):
    board(gpu, tiles, tmp_path, "iic", "--minutes", "0")
    with pytest.raises(SystemExit) as stopped:
        board(gpu, tiles, tmp_path, "iic", "--patch-size", "16")
    assert stopped.value.code == 1
    assert "was begun with other settings" in capsys.readouterr().err


def test_rows_see_labels_only_if_they_learn_from_them(gpu, packed, tiles):
    from geoseg.core.patches import IGNORE
    from geoseg.leaderboard.plan import Row

    seen = importlib.import_module("gpu_leaderboard").training_tiles
    pack = packed.read_pack(tiles)
    test = {tile.id for tile in pack.select("test", source="town")}
    for row, labels in ((Row("iic"), False), (Row("supervised"), True)):
        found = seen(pack, "town", row)
        assert found and not test & {tile.id for tile in found}
        assert all(bool((t.mask != IGNORE).any()) is labels for t in found)
