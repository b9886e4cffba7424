"""Batches change nothing but the time, and hold nothing up for long."""

from pathlib import Path

import numpy as np
import pytest
import torch
from pixel_models import PixelModel, network_model, random_image, whole, write_image
from torch import Tensor

from geoseg.core.errors import ModelFileError
from geoseg.geo.predict.predictor import predict_rows, predict_strips
from geoseg.geo.predict.stitching import WindowSums, in_steps, lay_windows
from geoseg.geo.predict.window_batches import WindowBatches
from geoseg.geo.predict.window_rows import MARGIN
from geoseg.geo.rasters.raster import describe

SIZE = 64


class CountedModel:
    """A real network that counts its calls."""

    def __init__(self) -> None:
        self._model = network_model()
        self.card = self._model.card
        self.calls = 0

    def class_probabilities(self, image: Tensor, valid: Tensor) -> Tensor:
        self.calls += 1
        return self._model.class_probabilities(image, valid)


def test_a_network_gives_the_same_bits_whatever_the_batch(tmp_path: Path) -> None:
    pixels = random_image(230, 300)
    pixels[:, 100:200, :120] = 0
    path = write_image(tmp_path / "image.tif", pixels)
    alone, together = CountedModel(), CountedModel()
    one, other = (
        whole(
            predict_strips(
                model, describe(path), window=SIZE, overlap=16, batch_size=size
            )
        )
        for model, size in ((alone, 1), (together, 8))
    )
    np.testing.assert_array_equal(one.probability, other.probability)
    assert one.probability.any()
    assert together.calls < alone.calls / 3


def test_a_tile_of_nine_windows_takes_two_calls(tmp_path: Path) -> None:
    path = write_image(tmp_path / "image.tif", random_image(160, 160))
    model = PixelModel()
    list(predict_strips(model, describe(path), window=SIZE, overlap=16))
    side = SIZE + 2 * MARGIN
    assert sorted(model.batches) == [(1, 4, SIZE, SIZE), (8, 4, side, side)]


def windows(batches: WindowBatches, row: int, columns: range) -> int:
    """Bring windows; return how many are through then."""
    side = SIZE + 2 * MARGIN
    image, valid = torch.rand(4, side, side), torch.ones(side, side).bool()
    found = [batches.add(row, column, image, valid) for column in columns]
    return sum(map(len, found))


def test_a_window_waits_for_some_rows_and_no_longer() -> None:
    tiling = lay_windows(64 * 30, 64 * 30, window=SIZE, overlap=0)
    batches = WindowBatches(PixelModel(), tiling, 8)
    assert windows(batches, 2, range(5, 6)) == 0
    for row in range(2, 10):
        assert batches.run_overdue(row) == []
        assert batches.complete(row + 1) == 2
    ((place, probability),) = batches.run_overdue(10)
    assert place == (2, 5)
    assert probability.shape == (2, SIZE, SIZE)
    assert batches.complete(11) == 11


def test_many_classes_make_windows_wait_less() -> None:
    tiling = lay_windows(64 * 30, 64 * 30, window=SIZE, overlap=0)
    model = PixelModel()
    # 30 windows of 1000 classes and two bytes are 234 MiB: no row may wait.
    model.card = model.card.__class__(
        model.card.normalization, class_names=tuple(map(str, range(1000)))
    )
    batches = WindowBatches(model, tiling, 8)
    assert windows(batches, 2, range(29, 30)) == 0
    assert windows(batches, 3, range(0, 1)) == 2


def test_the_order_of_windows_changes_no_bit(tmp_path: Path) -> None:
    path = write_image(tmp_path / "image.tif", random_image(180, 200))
    tiling = lay_windows(180, 200, window=SIZE, overlap=50)
    rows = list(predict_rows(PixelModel(), describe(path), tiling))
    rng = np.random.default_rng(0)
    results = []
    for shuffled in (False, True):
        sums = WindowSums(tiling, (2, 180, 200))
        for row in rows:
            order = np.arange(len(row.columns))
            if shuffled:
                rng.shuffle(order)
            sums.add(
                row._replace(
                    columns=[row.columns[i] for i in order],
                    probability=[row.probability[i] for i in order],
                )
            )
        results.append(whole(sums.finished(len(rows))).probability)
    np.testing.assert_array_equal(*results)


def test_a_model_that_gives_no_number_is_named() -> None:
    probability = np.full((2, 3, 3), 0.5, dtype=np.float32)
    assert (in_steps(probability) == 32767).all()
    probability[0, 1, 1] = np.nan
    with pytest.raises(ModelFileError, match="gives NaN, expected prob.* train"):
        in_steps(probability)
