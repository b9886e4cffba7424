"""geoseg benchmark as a command: usage, and processes that are stopped."""

import json
import re
import signal
import time

import pytest

SMALL = ("--max-steps", 2, "-p", "width=2", "--patch-size", 32, "--batch-size", 2)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--methods", "finetune"], "name the method that trains it as METHOD:OTHER"),
        (["--methods", "iic", "-p", "hue=1"], "has a parameter 'hue'"),
        (["--methods", "iic", "--label-tiles", "1,x"], "separated by commas"),
        (["--methods", "iic", "--clusters", "1"], "at least 2"),
        (["--methods", "iic", "--aoi", "sample"], "(not both)"),
    ],
)
def test_wrong_usage_is_said_in_one_line(geoseg, town, tmp_path, words, message):
    result = geoseg("benchmark", "--images", town.images, "-o", tmp_path / "b", *words)
    assert result.exit_code == 2
    assert message in result.stderr
    assert "Traceback" not in result.output
    assert not (tmp_path / "b").exists()


def test_tiles_without_labels_are_refused(geoseg, town, tmp_path):
    words = ["--images", town.images, "--methods", "iic", "-o", tmp_path / "b", *SMALL]
    result = geoseg("benchmark", *words)
    assert result.exit_code == 1
    assert "expected some of each: give labels" in result.stderr


@pytest.mark.slow
def test_a_stopped_benchmark_goes_on_with_the_same_command(
    spawn, geoseg, town, tmp_path
):
    bench = tmp_path / "b"
    words = ["benchmark", "--images", town.images, "--labels", town.labels, "-o", bench]
    words += ["--methods", "color_kmeans,iic", "--seeds", 1, "--label-tiles", "1,2"]
    words += SMALL
    process = spawn(*words)
    done = bench / "runs/iic/split0-seed0/trial.json"
    deadline = time.monotonic() + 300
    while not done.exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    process.send_signal(signal.SIGTERM)
    assert process.wait(120) == 128 + signal.SIGTERM
    assert "geoseg benchmark" in process.stderr_path.read_text().splitlines()[-1]
    before = done.stat().st_mtime_ns
    result = geoseg(*words)
    assert result.exit_code == 0, result.output
    assert done.stat().st_mtime_ns == before
    board = json.loads((bench / "leaderboard.json").read_text())
    constant = {"majority", "everything is building"}
    assert {row["name"] for row in board["rows"]} == {"iic", "color_kmeans", *constant}
    assert board["left"] == 0
    assert "--label-tiles 1,2" in board["command"]
    for row in board["rows"]:
        if row["name"] not in constant:
            assert 2**27 < row["memory"] < 2**33  # of its own process alone
    for said in re.findall("^- (Of .*)", (bench / "leaderboard.md").read_text(), re.M):
        assert said in result.stdout
    last = result.stderr.splitlines()
    assert f"open {bench / 'leaderboard.html'}" in last[-2]
    assert "geoseg train" in last[-1]
