"""Every method as an ONNX graph: onnxruntime gives what the method gives."""

import numpy as np
import onnxruntime
import pytest
import torch
from small_methods import SMALL, labelled_batches, small_method

from geoseg.core.normalization import Normalization
from geoseg.core.whitening import Whitening
from geoseg.export.checking import TOLERANCE
from geoseg.export.onnx_file import ExportOptions, check_onnx, write_onnx
from geoseg.methods import METHODS
from geoseg.model.card import ModelCard
from geoseg.model.file import Model
from geoseg.model.matching import match_clusters
from geoseg.model.thresholds import graded_matching

STRETCH = Normalization(
    ("red", "green", "blue"), (100.0, 50.0, 200.0), (2000.0, 2500.0, 3000.0), (0.4,) * 3
)
ZCA = Whitening((0.4, 0.5, 0.6), ((2.0, -0.5, 0.1), (-0.5, 3.0, 0.2), (0.1, 0.2, 1.5)))


def small_model(name, whitening=None, **changes) -> Model:
    """Return a matched model of a method; its last fit has been made."""
    method = small_method(name, 3, **changes)
    stretch = Normalization(
        STRETCH.bands, STRETCH.low, STRETCH.high, STRETCH.fill, whitening
    )
    method.whiten(whitening)
    method.finish(lambda: labelled_batches(3))
    generator = torch.Generator().manual_seed(1)
    tables = {
        head: torch.randint(1, 99, (1, count, 2), generator=generator)
        for head, count in method.heads.items()
    }
    grades = torch.randint(1, 99, (1, 100, 2), generator=generator)
    grades[:, 30:, 1] += 200  # so that the best threshold is a low one
    card = ModelCard(
        method=name,
        parameters=SMALL[name] | changes,
        normalization=stretch,
        head=method.default_head,
        matchings={
            head: (
                graded_matching(grades)
                if head == method.class_head
                else match_clusters(table)
            )
            for head, table in tables.items()
        },
    )
    return Model(method.eval().requires_grad_(False), card)


def difference(path, model, **options) -> float:
    wanted = ExportOptions(**options)
    write_onnx(path, model, wanted, sha256="0")
    return check_onnx(path, model, wanted)


@pytest.mark.parametrize("name", METHODS)
def test_the_graph_of_a_method_gives_its_classes_at_any_size_and_in_batches(
    name, tmp_path
):
    model = small_model(name, ZCA)
    assert difference(tmp_path / "a.onnx", model, any_size=True) <= TOLERANCE
    session = onnxruntime.InferenceSession(tmp_path / "a.onnx")
    batch = np.random.default_rng(3).uniform(0, 12, (2, 3, 35, 50)).astype(np.float32)
    (both,) = session.run(None, {"image": batch})
    for number in range(2):
        (one,) = session.run(None, {"image": batch[number : number + 1]})
        np.testing.assert_allclose(both[number], one[0], atol=TOLERANCE)


@pytest.mark.parametrize("nodata", ["none", "0", "-9999"])
def test_pixels_without_data_are_left_out(nodata, tmp_path):
    model = small_model("iic", sobel="append")
    found = difference(tmp_path / "a.onnx", model, tile_size=37, nodata=nodata)
    assert found <= TOLERANCE


@pytest.mark.slow
@pytest.mark.parametrize("trunk", ["fpn", "unet", "pyramid", "res12"])
def test_all_trunks_can_be_written(trunk, tmp_path):
    model = small_model("iic", trunk=trunk, sub_heads=3)
    assert difference(tmp_path / "a.onnx", model, any_size=True) <= TOLERANCE
    assert difference(tmp_path / "a.onnx", model, tile_size=75) <= TOLERANCE


def test_neighbours_can_vote_in_a_graph(tmp_path):
    model = small_model("probe", kind="knn", bank=200)
    assert difference(tmp_path / "a.onnx", model, any_size=True) <= TOLERANCE


def test_the_threshold_of_learned_classes_is_in_the_graph(tmp_path):
    model = small_model("supervised")
    matching = model.card.matchings["classes"]
    assert matching.threshold is not None and matching.threshold != 0.5
    assert difference(tmp_path / "a.onnx", model, tile_size=33) <= TOLERANCE
