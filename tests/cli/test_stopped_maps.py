"""What a kill or Ctrl-C does to ``geoseg predict``."""

import signal
import time

import pytest

#: 169 windows and 3 blocks a tile: 18 blocks in all.
SLOW = ("--window", 32, "--overlap", 24, "--batch-size", 2, "--threads", 1)


def predict(work, folder):
    folder.mkdir(exist_ok=True)
    outputs = ("-o", folder / "b.geojson", "--raster", folder / "classes")
    outputs += ("--probability", folder / "probability")
    return ("predict", *work.images, "--model", work.run, *outputs, *SLOW)


def contents(folder):
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def wait_for_blocks(folder, count, process):
    parts, deadline = folder / ".b.geojson.parts", time.monotonic() + 200
    while len(list(parts.glob("*.block"))) < count:
        assert process.poll() is None, process.stderr_path.read_text()
        assert time.monotonic() < deadline, "the prediction does not get on"
        time.sleep(0.002)


@pytest.mark.slow
def test_a_map_killed_again_and_again_ends_in_the_same_bytes(spawn, work, tmp_path):
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    process = spawn(*predict(work, whole))
    assert process.wait() == 0, process.stderr_path.read_text()
    for count in (1, 2, 10, 18):
        process = spawn(*predict(work, killed))
        wait_for_blocks(killed, count, process)
        process.kill()
        assert process.wait() == -signal.SIGKILL
        assert not (killed / "b.geojson").exists()
    process = spawn(*predict(work, killed))
    assert process.wait() == 0, process.stderr_path.read_text()
    assert "continuing " in process.stderr_path.read_text()
    assert contents(killed) == contents(whole)


@pytest.mark.slow
def test_ctrl_c_keeps_what_is_done_and_says_so(spawn, work, tmp_path):
    process = spawn(*predict(work, tmp_path / "map"))
    wait_for_blocks(tmp_path / "map", 2, process)
    process.send_signal(signal.SIGINT)
    assert process.wait() == 130
    *_, last = process.stderr_path.read_text().splitlines()
    parts = tmp_path / "map" / ".b.geojson.parts"
    assert last == (
        f"stopped; the same command continues; {parts} keeps the finished blocks: delete "
        "it to start anew"
    )
    assert [path for path in (tmp_path / "map").iterdir()] == [parts]


@pytest.mark.slow
def test_two_processes_refuse_each_other_and_one_finishes(spawn, work, tmp_path):
    first = spawn(*predict(work, tmp_path / "map"))
    wait_for_blocks(tmp_path / "map", 1, first)
    first.send_signal(signal.SIGSTOP)
    second = spawn(*predict(work, tmp_path / "map"))
    assert second.wait() == 1
    assert "another geoseg is writing" in second.stderr_path.read_text()
    first.send_signal(signal.SIGCONT)
    assert first.wait() == 0, first.stderr_path.read_text()
    assert (tmp_path / "map" / "b.geojson").exists()


@pytest.mark.slow
@pytest.mark.parametrize("several", [False, True])
def test_two_maps_with_one_raster_refuse_each_other(spawn, work, tmp_path, several):
    images = work.images[: 2 if several else 1]
    raster = tmp_path / ("classes" if several else "classes.tif")

    def start(name):
        outputs = ("-o", tmp_path / name, "--raster", raster)
        return spawn("predict", *images, "--model", work.run, *outputs, *SLOW)

    first = start("b.geojson")
    wait_for_blocks(tmp_path, 1, first)
    first.send_signal(signal.SIGSTOP)
    second = start("other.geojson")
    assert second.wait() == 1
    into = "into " if several else ""
    expected = f"another geoseg is writing {into}{raster}: wait until it is done"
    assert expected in second.stderr_path.read_text()
    first.send_signal(signal.SIGCONT)
    assert first.wait() == 0, first.stderr_path.read_text()
    assert raster.exists() and not (tmp_path / "other.geojson").exists()
    assert not list(tmp_path.rglob(".*"))
