"""What a kill or Ctrl-C does to a real process."""

import csv
import json
import re
import signal
import subprocess
import sys
import time

import psutil
import pytest

from geoseg.model.file import file_sha256, load_model

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
    assert process.wait() == 130, process.stderr_path.read_text()
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


@pytest.mark.slow
def test_a_scheduler_ends_a_run_with_143_and_leaves_a_usable_model(
    spawn, town, tmp_path
):
    run = tmp_path / "run"
    train = ("train", "--images", town.images, "--labels", town.labels, *TINY)
    process = spawn(*train, "--max-steps", 100000, "-o", run)
    wait_for(run, 3, process)
    process.send_signal(signal.SIGTERM)
    assert process.wait() == 143
    said = process.stderr_path.read_text()
    assert f"geoseg train --resume {run}" in said
    assert "Traceback" not in said
    assert set(load_model(run / "model.safetensors").card.matchings) == {"main", "over"}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)]
)
def test_a_stop_after_the_training_is_one_line_that_says_how_to_go_on(
    spawn, town, tmp_path, number, code
):
    run = tmp_path / "run"
    train = ("train", "--images", town.images, "--labels", town.labels, *TINY)
    process = spawn(*train, "--max-steps", 2, "-o", run)
    deadline = time.monotonic() + 90
    while "matching on 3 tiles" not in process.stderr_path.read_text():
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.005)
    process.send_signal(number)
    assert process.wait() == code, process.stderr_path.read_text()
    *_, last = process.stderr_path.read_text().splitlines()
    assert last == f"stopped; go on with: geoseg train --resume {run}"
    said = process.stderr_path.read_text()
    assert "Traceback" not in said and "SIGTERM" not in said


#: Ctrl-C while a dataclass is made, which executes a text.
STOPPED_IN_A_TEXT = """
import click
from geoseg.cli import main

click.Group.invoke = lambda *_: exec("raise KeyboardInterrupt")
main()
"""


def test_ctrl_c_while_a_text_is_executed_ends_with_130_too(tmp_path):
    (tmp_path / "stopped.py").write_text(STOPPED_IN_A_TEXT)
    words = [sys.executable, "-m", "stopped", "methods"]  # the entry of -m, as geoseg's
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "stopped\n")


@pytest.mark.slow
def test_two_devices_end_together_however_one_ends_and_resume_to_the_same_file(
    spawn, town, tmp_path
):
    train = ("train", "--images", town.images, "--labels", town.labels, *TINY)
    train += ("--devices", 2, "--max-steps", 40, "--report", "none")
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    process = spawn(*train, "-o", whole)
    assert process.wait() == 0, process.stderr_path.read_text()

    process = spawn(*train, "-o", parts)  # one of the two is killed
    wait_for(parts, 5, process)
    workers = workers_of(process)
    workers[1].kill()
    assert process.wait() == 1
    assert psutil.wait_procs(workers, timeout=20)[1] == []
    *_, last = process.stderr_path.read_text().splitlines()
    assert re.match(rf"Error: the process of device \d died .*--resume {parts}", last)

    words = ("train", "--resume", parts)
    process = spawn(*words)  # the leader is killed
    wait_for(parts, 15, process)
    workers = workers_of(process)
    process.kill()
    process.wait()
    assert psutil.wait_procs(workers, timeout=20)[1] == []

    process = spawn(*words)  # Ctrl-C
    wait_for(parts, 25, process)
    workers = workers_of(process)
    process.send_signal(signal.SIGINT)
    assert process.wait() == 130
    assert psutil.wait_procs(workers, timeout=20)[1] == []
    assert f"--resume {parts}" in process.stderr_path.read_text()

    process = spawn(*words)
    assert process.wait() == 0, process.stderr_path.read_text()
    found, expected = parts / "model.safetensors", whole / "model.safetensors"
    assert file_sha256(found) == file_sha256(expected)
    for name in ("metrics.csv", "areas.csv", "run.json"):
        assert (parts / name).read_bytes() == (whole / name).read_bytes(), name


def workers_of(process) -> list[psutil.Process]:
    """Return the processes that train, which the leader has spawned."""
    children = psutil.Process(process.pid).children()
    return [child for child in children if "spawn_main" in " ".join(child.cmdline())]
