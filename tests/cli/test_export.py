"""``geoseg export`` on a real run, its graph run by onnxruntime alone."""

import json

import numpy as np
import onnxruntime
import pytest
import rasterio

from geoseg.geo.raster import band_numbers, describe


@pytest.fixture(scope="module")
def graph(work, geoseg, tmp_path_factory):
    path = tmp_path_factory.mktemp("export") / "buildings.onnx"
    done = geoseg("export", work.run, "-o", path, "--any-size")
    assert done.exit_code == 0, done.output
    return onnxruntime.InferenceSession(path)


def settings(graph):
    written = graph.get_modelmeta().custom_metadata_map
    return {key: json.loads(value) for key, value in written.items()}


def test_the_graph_alone_gives_the_probabilities_of_predict(graph, there, geoseg):
    image = there.images[0]
    done = geoseg(
        *("predict", image, "-o", "map.geojson", "--model", there.run),
        *("--probability", "map.tif", "--window", 128),
    )
    assert done.exit_code == 0, done.output
    bands = settings(graph)["geoseg_card"]["normalization"]["bands"]
    numbers = band_numbers(describe(str(image)), tuple(bands))
    with rasterio.open(image) as file:
        pixels = np.pad(file.read(numbers), ((0, 0), (16, 16), (16, 16)), mode="edge")
    (found,) = graph.run(None, {"image": np.float32(pixels / 255)[None]})
    with rasterio.open("map.tif") as file:
        percent = file.read()
    expected = found[0, :, 16:-16, 16:-16] * 100
    np.testing.assert_allclose(percent[-1], expected[1], atol=0.51)


def test_deepness_finds_its_settings(graph):
    found = settings(graph)
    assert found["model_type"] == "Segmentor"
    assert found["class_names"] == {"0": "background", "1": "building"}
