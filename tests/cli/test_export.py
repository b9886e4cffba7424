"""``geoseg export`` on a real run, its graph run by onnxruntime alone."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import rasterio

from geoseg.geo.rasters.bands import band_numbers
from geoseg.geo.rasters.raster import describe

PAGE = Path(__file__).parents[2] / "docs" / "onnx.md"


@pytest.fixture(scope="module")
def graph(work, geoseg, tmp_path_factory):
    path = tmp_path_factory.mktemp("export") / "buildings.onnx"
    done = geoseg("export", work.run, "-o", path, "--any-size")
    assert done.exit_code == 0, done.output
    return onnxruntime.InferenceSession(path)


def settings(graph):
    written = graph.get_modelmeta().custom_metadata_map
    return {key: json.loads(value) for key, value in written.items()}


def numbers_of(graph, image):
    """Return the numbers of the graph's bands in an image."""
    return band_numbers(describe(str(image)), tuple(settings(graph)["geoseg_bands"]))


def test_the_graph_alone_gives_the_map_of_predict(graph, there, geoseg):
    image = there.images[0]
    done = geoseg(
        *("predict", image, "-o", "map.geojson", "--model", there.run),
        *("--raster", "map.tif", "--window", 128, "--no-smooth"),
    )
    assert done.exit_code == 0, done.output
    with rasterio.open(image) as file:
        pixels = np.pad(
            file.read(numbers_of(graph, image)),
            ((0, 0), (16, 16), (16, 16)),
            mode="edge",
        )
    (found,) = graph.run(None, {"image": np.float32(pixels / 255)[None]})
    with rasterio.open("map.tif") as file:
        classes = file.read(1)
    building = found[0, 1, 16:-16, 16:-16]
    sure = np.abs(building - 0.5) > 1e-4
    np.testing.assert_array_equal(classes[sure], (building > 0.5)[sure])
    assert sure.mean() > 0.99


def test_deepness_finds_its_settings(graph):
    found = settings(graph)
    assert found["model_type"] == "Segmentor"
    assert found["class_names"] == {"0": "background", "1": "building"}


def test_the_script_of_the_docs_maps_a_tile(there, geoseg, tmp_path):
    (script,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert len(script.splitlines()) <= 15
    done = geoseg("export", there.run, "-o", tmp_path / "buildings.onnx", "--any-size")
    assert done.exit_code == 0, done.output
    image = there.images[0]
    shutil.copy(image, tmp_path / "tile.tif")
    session = onnxruntime.InferenceSession(tmp_path / "buildings.onnx")
    ran = subprocess.run(
        [sys.executable, "-c", script, *map(str, numbers_of(session, image))],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 0, ran.stderr
    done = geoseg(
        *("predict", image, "-o", tmp_path / "map.geojson", "--model", there.run),
        *("--raster", tmp_path / "predicted.tif", "--window", 128, "--no-smooth"),
    )
    assert done.exit_code == 0, done.output
    with rasterio.open(tmp_path / "classes.tif") as file:
        found = file.read(1)
    with rasterio.open(tmp_path / "predicted.tif") as file:
        expected = file.read(1)
    assert np.mean(found != expected) < 1e-4  # rounding, where two are equally probable


@pytest.mark.parametrize(
    ("words", "code", "line"),
    [
        (("-o", "model.tif"), 2, "expected '.onnx': rename the output"),
        (("-o", "taken.onnx"), 2, "exists already: give --overwrite"),
        (("-o", "absent/a.onnx"), 1, "folder absent does not exist"),
        (("-o", "a.onnx", "--head", "nose"), 2, "has no head 'nose'"),
        (("-o", "a.onnx", "--tile-size", 9), 2, "9 is not in the range"),
        (("-o", "a.onnx", "--nodata", "black"), 2, "expected none or a finite number"),
    ],
)
def test_requests_that_make_no_sense_are_refused_in_a_line(
    words, code, line, work, geoseg, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "taken.onnx").write_text("mine")
    done = geoseg("export", work.run, *words)
    assert (done.exit_code, line in done.output) == (code, True), done.output
    assert [path.name for path in tmp_path.iterdir()] == ["taken.onnx"]
    assert (tmp_path / "taken.onnx").read_text() == "mine"


def test_a_file_that_is_no_model_is_refused(geoseg, tmp_path):
    (tmp_path / "model.safetensors").write_bytes(b"\xff" * 64)
    done = geoseg("export", tmp_path, "-o", tmp_path / "a.onnx")
    assert done.exit_code == 1
    assert "expected a model written by geoseg train" in done.output
