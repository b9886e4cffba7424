"""What a kill or Ctrl-C does to a real process."""

import csv
import json
import signal
import time

import pytest

from geoseg.model import file_sha256, load_model

#: 20 batches an epoch.
TINY = ("--patch-size", 32, "--batch-size", 2, "--patches-per-epoch", 40)
TINY += ("-p", "width=2", "-p", "over_clusters=4", "-p", "half_width=2")
TINY += ("--no-controls", "--threads", 1, "--checkpoint-steps", 1)


def steps_of(run) -> int:
    """Return the last complete step that the run has logged."""
    path = run / "metrics.csv"
    if not path.exists():
        return 0
    lines = path.read_text().split("\n")[1:-1]
    return int(lines[-1].split(",")[0]) if lines else 0


def wait_for(run, step: int, process) -> None:
    deadline = time.monotonic() + 90
    while steps_of(run) < step:
        assert process.poll() is None, process.stderr_path.read_text()
        assert time.monotonic() < deadline, "the training does not get on"
        time.sleep(0.005)


@pytest.mark.slow
def test_a_run_killed_in_three_epochs_resumes_to_the_same_file(spawn, town, tmp_path):
    train = ("train", "--images", town.images, "--labels", town.labels, *TINY)
    train += ("--max-steps", 60)
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    process = spawn(*train, "-o", whole)
    assert process.wait() == 0, process.stderr_path.read_text()
    words = (*train, "-o", killed)
    for step in (5, 26, 47):
        process = spawn(*words)
        wait_for(killed, step, process)
        process.kill()
        assert process.wait() == -signal.SIGKILL
        assert step <= steps_of(killed) < step + 13  # in the middle of an epoch
        words = ("train", "--resume", killed, "--threads", 1)
    process = spawn(*words)
    assert process.wait() == 0, process.stderr_path.read_text()
    found, expected = killed / "model.safetensors", whole / "model.safetensors"
    assert file_sha256(found) == file_sha256(expected)
    for name in ("metrics.csv", "scores.json", "run.json"):
        assert (killed / name).read_bytes() == (whole / name).read_bytes(), name


@pytest.mark.slow
def test_ctrl_c_leaves_a_usable_model_and_says_how_to_go_on(
    spawn, geoseg, town, tmp_path
):
    run = tmp_path / "run"
    train = ("train", "--images", town.images, "--labels", town.labels, *TINY)
    process = spawn(*train, "--max-steps", 100000, "-o", run)
    wait_for(run, 3, process)
    process.send_signal(signal.SIGINT)
    assert process.wait() == 0, process.stderr_path.read_text()
    assert process.stdout.read().decode() == f"{run / 'model.safetensors'}\n"
    said = process.stderr_path.read_text()
    assert f"geoseg train --resume {run}" in said
    assert "Traceback" not in said
    card = load_model(run / "model.safetensors").card
    assert set(card.matchings) == {"main", "over"}
    with (run / "metrics.csv").open(newline="") as file:
        assert len(list(csv.DictReader(file))) == card.provenance["steps"]
    output = tmp_path / "b.geojson"
    image = f"{town.images}/tile0.tif"
    result = geoseg("predict", image, "-o", output, "--model", run)
    assert result.exit_code == 0, result.output
    assert json.loads(output.read_text())["type"] == "FeatureCollection"
