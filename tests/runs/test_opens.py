"""Every command opens each image once, and each file of labels."""

import os
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import rasterio
from click.testing import CliRunner
from rasterio.windows import Window

from geoseg.cli import cli
from geoseg.geo.rasters import raster
from geoseg.geo.rasters.open_images import each_opened_once
from geoseg.geo.rasters.raster import describe, open_raster


@pytest.fixture
def opens(monkeypatch):
    """Return how often each GeoTIFF was opened for reading."""
    counts: Counter[str] = Counter()
    open_ = rasterio.open

    def count(path, mode="r", *rest, **options):
        if mode == "r":
            counts[os.path.abspath(path)] += 1
        return open_(path, mode, *rest, **options)

    monkeypatch.setattr(rasterio, "open", count)
    return counts


@pytest.fixture
def folder(town, tmp_path, monkeypatch):
    """The tiles of a town, and masks of the same names beside them."""
    monkeypatch.chdir(tmp_path)
    Path("masks").mkdir()
    for path in sorted(Path(town.images).glob("*.tif")):
        with rasterio.open(path) as image:
            profile = image.profile | {"count": 1, "dtype": "uint8", "nodata": None}
            bright = image.read(1) > np.median(image.read(1)) + 1
        with rasterio.open(Path("masks") / path.name, "w", **profile) as mask:
            mask.write(bright.astype(np.uint8), 1)
    return town.images


def run(*words):
    result = CliRunner().invoke(cli, [str(word) for word in words])
    assert result.exit_code == 0, result.output
    return result


def test_commands_open_every_image_and_mask_once(folder, opens):
    count = len(list(Path(folder).glob("*.tif")))
    data = ["--images", folder, "--labels", "masks"]
    small = ["-p", "width=2", "-p", "over_clusters=4", "--patch-size", "32"]
    small += ["--batch-size", "2", "--max-steps", "2", "-o", "run"]
    opens.clear()
    run("train", *data, *small)
    assert len(opens) == 2 * count and set(opens.values()) == {1}
    image = sorted(Path(folder).glob("*.tif"))[0]
    for words in (
        ["match", "run", *data],
        ["info", folder, "--labels", "masks"],
        ["info", image],
        ["predict", image, "--model", "run", "-o", "b.geojson"],
        ["evaluate", "b.geojson", *data],
    ):
        opens.clear()
        run(*words)
        assert opens and set(opens.values()) == {1}, words


def test_an_image_that_changes_within_a_command_is_opened_anew(write, opens):
    path = write(1)
    with each_opened_once():
        assert describe(path).width == 8 and read(path) == 1
        assert describe(path).width == 8 and read(path) == 1
        assert opens.total() == 1
        write(2, width=9)
        assert read(path) == 2 and describe(path).width == 9
        os.remove(path)
        with pytest.raises(raster.RasterError, match="does not exist"):
            open_raster(path)
    write(3)
    opens.clear()
    assert [read(path), read(path)] == [3, 3]
    assert opens.total() == 2  # outside a command nothing stays open


def test_two_readers_of_one_image_have_a_position_each(write, opens):
    path = write(1)
    with each_opened_once():
        with open_raster(path) as first, open_raster(path) as second:
            assert first is not second
        with open_raster(path) as again:
            assert again in (first, second) and not again.closed
        with pytest.raises(KeyError), open_raster(path) as failing:
            raise KeyError
        assert failing.closed  # who knows in what state it was left
        assert read(path) == 1
    assert opens.total() == 3
    assert all(dataset.closed for dataset in (first, second))


def test_no_more_images_stay_open_than_a_process_may_have(write, opens, monkeypatch):
    monkeypatch.setattr("geoseg.geo.rasters.open_images._room", lambda: 2)
    paths = [write(n, name=f"{n}.tif") for n in range(4)]
    with each_opened_once():
        for _ in range(3):
            assert [read(path) for path in paths] == [0, 1, 2, 3]
    assert sorted(opens.values()) == [1, 1, 3, 3]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_forked_process_opens_for_itself(write, opens):
    path = write(7)
    with each_opened_once():
        with open_raster(path) as mine:
            pass
        child = os.fork()
        if child == 0:
            with open_raster(path) as own:
                right = own is not mine and own.read(1)[0, 0] == 7
            os._exit(0 if right and not mine.closed else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert read(path) == 7


@pytest.fixture
def write(tmp_path):
    def make(value, *, width=8, name="a.tif"):
        profile = {"driver": "GTiff", "count": 1, "dtype": "uint8", "crs": "EPSG:32611"}
        profile["transform"] = rasterio.transform.from_origin(600000, 4000000, 1, 1)
        path = tmp_path / name
        with rasterio.open(path, "w", width=width, height=8, **profile) as dataset:
            dataset.write(np.full((1, 8, width), value, np.uint8))
        return str(path)

    return make


def read(path):
    with open_raster(path) as dataset:
        return int(dataset.read(1, window=Window(0, 0, 1, 1))[0, 0])
