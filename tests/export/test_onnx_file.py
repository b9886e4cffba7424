"""What an exported file holds, and which ones are refused."""

import json

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

import geoseg.export
from geoseg.core.errors import ExportError, MatchingError, ParameterError
from geoseg.core.normalization import Normalization
from geoseg.export.checking import check_graph
from geoseg.export.onnx_file import ExportOptions, check_onnx, write_onnx
from geoseg.export.pixel_graph import PixelGraph, nodata_value
from geoseg.methods import build_method
from geoseg.model.card import ModelCard
from geoseg.model.file import Model
from geoseg.model.matching import match_clusters

SMALL = ExportOptions(tile_size=33, overlap=20)


@pytest.fixture(scope="module")
def model() -> Model:
    method = build_method("iic", 2, {"width": 2, "over_clusters": 6})
    counts = torch.tensor([[[9, 1], [1, 9], [8, 2], [2, 8], [7, 3], [3, 7]]])
    card = ModelCard(
        method="iic",
        parameters={"width": 2, "over_clusters": 6},
        normalization=Normalization(
            ("red", "nir"), (10.0,) * 2, (900.0,) * 2, (0.5,) * 2
        ),
        gsd_m=0.305,
        class_names=("background", "building"),
        head="over",
        matchings={"over": match_clusters(counts)},
    )
    return Model(method.eval().requires_grad_(False), card)


@pytest.fixture(scope="module")
def written(model, tmp_path_factory):
    path = tmp_path_factory.mktemp("onnx") / "model.onnx"
    write_onnx(path, model, SMALL, sha256="abc")
    return path


def test_onnxruntime_of_deepness_can_read_it(written):
    found = onnx.load(written)
    assert found.ir_version <= 9
    assert [(it.domain, it.version <= 20) for it in found.opset_import] == [("", True)]
    (image,), (probability,) = found.graph.input, found.graph.output

    def shape(value):
        dims = value.type.tensor_type.shape.dim
        return [dim.dim_param or dim.dim_value for dim in dims]

    assert shape(image) == ["batch", 2, 33, 33]
    assert shape(probability) == ["batch", 2, 33, 33]


def test_the_metadata_are_those_that_deepness_reads_and_the_card(written, model):
    found = {it.key: json.loads(it.value) for it in onnx.load(written).metadata_props}
    card = found.pop("geoseg_card")
    assert ModelCard.from_json(card) == model.card
    assert found == {
        "model_type": "Segmentor",
        "class_names": {"0": "background", "1": "building"},
        "resolution": 30.5,
        "tile_size": 33,
        "tiles_size": 33,
        "tiles_overlap": 20,
        "standardization_mean": [0.0, 0.0],
        "standardization_std": [1.0, 1.0],
        "seg_thresh": 0.0,
        "seg_small_segment": 0,
        "geoseg_bands": ["red", "nir"],
        "geoseg_model_sha256": "abc",
        "geoseg_nodata": None,
    }


def test_who_does_with_a_tile_what_deepness_does_gets_the_models_classes(
    model, tmp_path
):
    options = ExportOptions(tile_size=33, nodata="0")
    write_onnx(tmp_path / "model.onnx", model, options, sha256="abc")
    graph = onnxruntime.InferenceSession(tmp_path / "model.onnx")
    written = graph.get_modelmeta().custom_metadata_map
    settings = {key: json.loads(value) for key, value in written.items()}

    side, bands = settings["tile_size"], len(settings["geoseg_bands"])
    tiles = np.random.default_rng(0).integers(1, 1000, (2, side, side, bands))
    inside = np.ones((2, side, side), bool)
    inside[:, :9] = inside[:, :, 20:] = False  # the image ends north and east of there
    tiles = np.where(inside[..., None], tiles, 0).astype(np.uint16)

    mean, std = (
        np.float32(settings[f"standardization_{name}"]) for name in ("mean", "std")
    )
    scaled = (np.float32(tiles * (1 / 255)) - mean) / std
    (found,) = graph.run(None, {"image": scaled.transpose(0, 3, 1, 2)})
    classes = np.where(found < settings["seg_thresh"], 0, found).argmax(axis=1)

    stretched = [
        model.card.normalization(tile.transpose(2, 0, 1), known)
        for tile, known in zip(tiles, inside, strict=True)
    ]
    expected = model.class_probabilities(
        torch.stack(stretched), torch.from_numpy(inside)
    )
    names = [settings["class_names"][str(id)] for id in range(found.shape[1])]
    assert names == list(model.card.class_names)
    np.testing.assert_array_equal(classes[inside], expected.argmax(dim=1)[inside])
    assert set(np.unique(classes[inside])) == {0, 1}
    assert not classes[~inside].any()


def test_equal_models_give_equal_bytes(written, model, tmp_path):
    write_onnx(tmp_path / "again.onnx", model, SMALL, sha256="abc")
    assert (tmp_path / "again.onnx").read_bytes() == written.read_bytes()


def test_a_graph_of_other_weights_is_refused(written, model, tmp_path):
    graph = onnx.load(written)
    weights = next(it for it in graph.graph.initializer if len(it.dims) == 4)
    changed = onnx.numpy_helper.to_array(weights) * np.float32(1.1)
    weights.CopyFrom(onnx.numpy_helper.from_array(changed, weights.name))
    onnx.save(graph, tmp_path / "other.onnx")
    with pytest.raises(ExportError, match="differ from the model's by up to"):
        check_onnx(tmp_path / "other.onnx", model, SMALL)


def test_a_graph_of_one_size_is_no_graph_of_any(written, model):
    with pytest.raises(ExportError, match="cannot run the graph on 40 × 50 pixels"):
        check_graph(written, model, [(40, 50)])


def test_what_is_no_onnx_is_refused(model, tmp_path):
    (tmp_path / "broken.onnx").write_bytes(b"no graph")
    with pytest.raises(ExportError, match="not valid ONNX"):
        check_onnx(tmp_path / "broken.onnx", model, SMALL)


def test_values_of_16_bits_come_through_the_division_by_255(model):
    graph = PixelGraph(model).eval()
    pixels = np.random.default_rng(0).integers(0, 2**16, (2, 16, 16)).astype(np.uint16)
    found = graph(torch.from_numpy(np.float32(pixels / 255))[None])
    valid = np.ones((16, 16), bool)
    image = model.card.normalization(pixels, valid)
    expected = model.class_probabilities(image[None], torch.from_numpy(valid)[None])
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ("nodata", "pixel", "valid"),
    [
        (None, (0, 0), True),
        (None, (np.nan, 5), False),
        (None, (np.inf, 5), False),
        (0, (0, 0), False),
        (0, (0, 5), True),
        (65535, (65535, 65535), False),
        (65535, (65535, 65534), True),
        (-9999, (-9999, 5), False),
    ],
)
def test_nodata_is_what_it_is_elsewhere(model, nodata, pixel, valid):
    graph = PixelGraph(model, nodata=nodata).eval()
    pixels = torch.full((1, 2, 4, 4), 77.0)
    pixels[0, :, 1, 2] = torch.tensor(pixel)
    total = graph(pixels / 255).sum(dim=1)[0]
    assert bool(total[1, 2] > 0.99) is valid
    total[1, 2] = 1.0
    torch.testing.assert_close(total, torch.ones(4, 4))


def test_nodata_rules_are_numbers_or_none():
    assert nodata_value("auto") is nodata_value("none") is nodata_value("nan") is None
    assert nodata_value(" 255 ") == 255.0
    for rule in ("black", "inf", ""):
        with pytest.raises(ParameterError, match="expected none or a finite number"):
            nodata_value(rule)


def test_clusters_without_classes_are_refused(model, tmp_path):
    with pytest.raises(MatchingError, match="run geoseg match"):
        write_onnx(
            *(tmp_path / "a.onnx", model.with_card(matchings={}), SMALL), sha256=""
        )
    assert not list(tmp_path.iterdir())


def test_missing_packages_are_named_with_the_extra(monkeypatch):
    monkeypatch.setattr(geoseg.export, "find_spec", lambda name: None)
    with pytest.raises(ExportError, match=r'onnx and onnxruntime.*"geoseg\[onnx\]"'):
        geoseg.export.check_installed()
