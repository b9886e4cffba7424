"""What only a process of its own can show: signals, limits, permissions, pipes."""

import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from functools import partial

import pytest

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals and limits"),
]

COMMAND = (sys.executable, "-c", "from geoseg.cli import main; main()")
PREDICT = ("predict", "tile.tif", "-o", "b.gpkg", "--model", "m")
#: A prediction that reads its first strip, writes and then waits to be stopped.
SLOW = """
import sys, time
from geoseg.cli import main
from geoseg.geo.maps import work

def slowly(strips, *_, **__):
    next(iter(strips))
    open("begun", "w").close()
    time.sleep(60)
    yield

work.footprints = slowly
main()
"""


def run(*words, code=COMMAND[2], **options):
    return subprocess.run(
        [sys.executable, "-c", code, *map(str, words)],
        capture_output=True,
        text=True,
        timeout=100,
        **options,
    )


def line(process, exit_code=1) -> str:
    """Return the one line of an error, after checking that nothing else went wrong."""
    assert process.returncode == exit_code, process.stderr
    assert process.stdout == ""
    lines = process.stderr.splitlines(keepends=True)
    *_, error = [text for text in lines if not text.startswith("looking at ")]
    assert error.startswith("Error: ") and len(lines) <= 2, process.stderr
    return error


@pytest.fixture
def slow(desk):
    """Return ``start(*words) -> Popen`` of a prediction that has begun to write."""
    started = []

    def start(*words):
        process = subprocess.Popen(
            [sys.executable, "-c", SLOW, *words], stderr=subprocess.PIPE, text=True
        )
        started.append(process)
        deadline = time.monotonic() + 90
        while not (desk.folder / "begun").exists():
            assert process.poll() is None, process.stderr.read()
            assert time.monotonic() < deadline, "the prediction does not begin"
            time.sleep(0.01)
        (desk.folder / "begun").unlink()
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()
        process.stderr.close()


def file_limit(size: int) -> None:
    """Let no file grow beyond a size, as on a disk that is full."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


def test_gdal_says_nothing_around_the_line(desk):
    desk.cut("tile.tif", "bad.tif", 0.008)
    found = line(run("predict", "bad.tif", "-o", "b.gpkg", "--model", "m"))
    assert "bad.tif" in found


@pytest.mark.parametrize("name", ["b.gpkg", "b.geojson"])
def test_no_space_for_footprints(desk, name):
    before = desk.contents()
    words = ("predict", "tile.tif", "-o", name, "--model", "m")
    found = line(run(*words, preexec_fn=partial(file_limit, 100)))
    assert "check the free space" in found
    assert desk.contents() == before


def test_no_space_for_a_raster(desk):
    before = desk.contents()
    words = (
        "predict",
        "tile.tif",
        "-o",
        "b.geojson",
        "--model",
        "m",
        "--raster",
        "c.tif",
    )
    process = run(*words, preexec_fn=partial(file_limit, 900))
    began, *libtiff, last = process.stderr.splitlines()
    assert began == "looking at tile.tif"
    assert "could not be written" in last and "check the free space" in last
    # libtiff has no other way to tell of a seek beyond the limit
    assert set(libtiff) <= {"_tiffSeekProc: File too large."}
    assert (process.returncode, desk.contents()) == (1, before)


def test_no_space_for_a_model(desk):
    before = desk.contents()
    words = ("match", "m", "--images", "tiles", "--labels", "labels", "-o", "new")
    found = line(run(*words, preexec_fn=partial(file_limit, 100)))
    assert "new could not be written" in found and "check the free space" in found
    assert desk.contents() == before


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stopped_prediction_leaves_what_it_has_done_and_goes_on(desk, slow, number):
    before = desk.contents()
    process = slow(*PREDICT, "--raster", "new/c.tif")
    process.send_signal(number)
    assert process.wait() in (1, 128 + number)
    assert "Traceback" not in process.stderr.read()
    left = desk.contents()
    parts = {path for path in left if path.startswith(".b.gpkg.parts")}
    assert {path: left[path] for path in left.keys() - parts} == before
    again = run(*PREDICT, "--raster", "new/c.tif")
    assert again.returncode == 0, again.stderr
    new = desk.contents().keys() - before.keys()
    assert {"b.gpkg", "new/c.tif"} <= new
    assert not [path for path in new if path.startswith(".")]


def test_two_predictions_of_one_output_do_not_mix(desk, slow):
    first = slow(*PREDICT)
    found = line(run(*PREDICT, "--overwrite"))
    assert "another geoseg is writing b.gpkg: wait until it is done" in found
    first.kill()
    first.wait()
    again = run(*PREDICT)
    assert again.returncode == 0, again.stderr
    assert not [path for path in desk.contents() if path.startswith(".")]


def test_two_runs_do_not_go_on_in_one_folder(desk, good_run):
    from geoseg.core.locks import locked

    shutil.copytree(good_run, desk.folder / "r")
    with locked(desk.folder / "r"):
        before = desk.contents()
        found = line(run("train", "--resume", "r"))
        assert "another geoseg is at work in r: wait until it is done" in found
        assert desk.contents() == before


AS_NOBODY = """
import os, sys
from geoseg.cli import cli, main

# once as root: what is imported late may lie where only root can look
words = ["-q", "predict", "tile.tif", "--model", "m", "-o"]
cli.main([*words, "warm.gpkg"], standalone_mode=False)
os.setgid(65534)
os.setuid(65534)
sys.argv[1:] = [*words, "b.gpkg"]
main()
"""


def test_a_folder_that_is_read_only(desk):
    if os.geteuid() != 0:
        pytest.skip("the test gives up root's rights")
    for folder in (desk.folder, *desk.folder.parents[:3]):
        folder.chmod(0o755)
    found = line(run(code=AS_NOBODY))
    assert "b.gpkg cannot be written (Permission denied): choose another" in found
    assert {path for path in desk.contents() if "b.gpkg" in path} == set()


def test_a_reader_that_goes_away_is_no_error(desk):
    read, write = os.pipe()
    os.close(read)
    process = subprocess.run(
        [*COMMAND, "methods", "iic"], stdout=write, stderr=subprocess.PIPE, text=True
    )
    os.close(write)
    assert (process.returncode, process.stderr) == (1, "")


def test_an_output_stream_that_is_full(desk):
    with open("/dev/full", "w") as full:
        process = subprocess.run(
            [*COMMAND, "methods", "iic"], stdout=full, stderr=subprocess.PIPE, text=True
        )
    assert process.returncode == 1
    assert process.stderr.startswith("Error: No space left on device: make room")
    assert process.stderr.count("\n") == 1


def test_a_current_folder_that_is_gone(desk):
    code = "import os; os.mkdir('x'); os.chdir('x'); os.rmdir('../x')\n" + COMMAND[2]
    found = line(run("train", "--aoi", "sample", code=code))
    assert "the current folder no longer exists: change to another one" in found


def test_no_home(desk):
    environ = {key: value for key, value in os.environ.items() if key != "HOME"}
    assert run(*PREDICT, env=environ).returncode == 0


def test_a_name_that_is_no_text(desk):
    name = os.fsdecode(b"b\xff.tif")
    shutil.copy("tile.tif", name)
    found = line(run("predict", name, "-o", "b.gpkg", "--model", "m"))
    assert "is not UTF-8, expected a name that is: rename the file" in found
