"""What users get wrong ends in one line that says so, and leaves nothing behind."""

import shutil
import subprocess
import sys

import numpy as np
import pytest
import rasterio


def line(result, exit_code: int) -> str:
    """Return the one line of an error, after checking that it is one."""
    assert result.exit_code == exit_code, result.output
    assert result.stdout == ""
    *before, last = result.stderr.strip().splitlines()
    assert last.startswith("Error: ")
    assert not [text for text in before if "Traceback" in text or "Error" in text]
    return last


@pytest.fixture
def rewrite(there, tmp_path):
    """Return ``rewrite(change, **profile) -> Path`` of a changed sample tile."""

    def write(change=lambda pixels: pixels, **changes):
        with rasterio.open(there.images[0]) as dataset:
            pixels, profile = change(dataset.read()), dataset.profile
        profile |= {"dtype": pixels.dtype.name, **changes}
        with rasterio.open(tmp_path / "tile.tif", "w", **profile) as dataset:
            dataset.write(pixels)
        return tmp_path / "tile.tif"

    return write


def test_an_image_without_crs_is_named_and_no_folder_is_made(geoseg, rewrite, tmp_path):
    image = rewrite(crs=None)
    result = geoseg(
        *("predict", image, "-o", tmp_path / "b.geojson"),
        *("--raster", tmp_path / "new" / "c.tif"),
    )
    assert f"{image} has no CRS" in line(result, 1)
    assert list(tmp_path.iterdir()) == [image]


def test_an_image_without_a_valid_pixel_is_mapped_with_a_warning(
    geoseg, rewrite, tmp_path
):
    image = rewrite(np.zeros_like)
    result = geoseg("predict", image, "-o", tmp_path / "b.geojson")
    assert result.exit_code == 0
    assert f"{image} has no valid pixel" in result.stderr


@pytest.mark.parametrize("command", ["train", "match", "evaluate"])
def test_labels_beside_an_aoi_are_refused_not_ignored(geoseg, there, command):
    subject = {"train": [], "match": [there.run], "evaluate": ["map.gpkg"]}[command]
    result = geoseg(command, *subject, "--aoi", "sample", "--labels", "other")
    assert "an AOI brings its own labels" in line(result, 2)


def test_a_run_folder_that_cannot_be_made_is_named(geoseg, there, tmp_path):
    (tmp_path / "file").touch()
    run = tmp_path / "file" / "run"
    result = geoseg("train", "--aoi", "sample", "-p", "width=2", "-o", run)
    assert f"folder {run} cannot be created" in line(result, 1)


def test_a_link_that_leads_nowhere_is_an_unreadable_image(geoseg, there, tmp_path):
    shutil.copy(there.images[0], tmp_path)
    (tmp_path / "lost.tif").symlink_to(tmp_path / "nowhere.tif")
    result = geoseg("train", "--images", tmp_path)
    assert f"{tmp_path / 'lost.tif'} does not exist" in line(result, 1)


def test_an_unmatched_model_is_refused_before_the_images_are_read(
    geoseg, there, tmp_path
):
    trained = geoseg(
        *("train", "--images", there.images[0], "-p", "width=2", "--max-steps", 1),
        *("--patch-size", 64, "--batch-size", 1, "-o", tmp_path / "run"),
    )
    assert f"geoseg match {tmp_path / 'run'}" in trained.stderr
    result = geoseg(
        *("predict", there.images[0], "-o", tmp_path / "b.geojson"),
        *("--model", tmp_path / "run"),
    )
    assert "has a class yet: run geoseg match" in line(result, 1)
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_a_model_file_is_readable_by_whom_the_umask_lets(there):
    other = there.run / "run.json"
    model = there.run / "model.safetensors"
    assert model.stat().st_mode == other.stat().st_mode


FAIL_WHILE_READING = """
from geoseg.cli import main
from geoseg.core.errors import OutputError
from geoseg.geo.maps import work

def footprints(strips, *_, **__):
    next(iter(strips))
    raise OutputError("the disk is full")
    yield

work.footprints = footprints
main()
"""


@pytest.mark.slow
def test_a_failure_while_a_thread_reads_is_one_line_too(there, tmp_path):
    words = (
        "predict",
        there.images[0],
        "-o",
        tmp_path / "b.gpkg",
        "--model",
        there.run,
    )
    process = subprocess.run(
        [sys.executable, "-c", FAIL_WHILE_READING, *map(str, words)]
        + ["--window", "32", "--overlap", "0"],
        capture_output=True,
        text=True,
        timeout=100,
    )
    began, error = process.stderr.splitlines()
    assert began == f"looking at {there.images[0]}"
    assert (process.returncode, error) == (1, "Error: the disk is full")
    assert list(tmp_path.iterdir()) == []
