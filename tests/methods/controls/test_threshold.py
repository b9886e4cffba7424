import numpy as np
import pytest
import torch

from geoseg.core.errors import ParameterError, TrainingError
from geoseg.core.patches import IGNORE, PatchBatch
from geoseg.methods import build_method, method_class
from geoseg.methods.controls.threshold import BINS, otsu_threshold

#: For ``small_methods``: parameters that train in a moment.
SIZES = {"threshold": {}}


def batch_of(image: torch.Tensor) -> PatchBatch:
    shape = (len(image), *image.shape[2:])
    valid, mask = torch.ones(shape).bool(), torch.full(shape, IGNORE)
    return PatchBatch(image, valid, mask, torch.arange(len(image)))


def variance_within(values: np.ndarray, cut: float) -> float:
    """Otsu's other form: the variance left inside the two groups, to be small."""
    sides = (values[values < cut], values[values >= cut])
    return sum(len(side) * side.var() for side in sides if len(side)) / len(values)


@pytest.mark.parametrize("seed", range(20))
def test_no_cut_leaves_less_variance_within_the_groups_than_otsus(seed):
    random = np.random.default_rng(seed)
    counts = random.integers(0, 30, 12) * random.integers(0, 2, 12)
    counts[random.integers(12)] += 1
    values = np.repeat(np.arange(12), counts) + 0.5
    cut = otsu_threshold(torch.from_numpy(counts))
    best = min(variance_within(values, other) for other in range(1, 13))
    assert variance_within(values, cut) == pytest.approx(best, abs=1e-9)


def test_a_cut_stands_in_the_middle_of_the_gap():
    counts = torch.zeros(100, dtype=torch.long)
    counts[10:20], counts[80:90] = 7, 7
    assert otsu_threshold(counts) == 50.0


def test_one_value_alone_is_below_the_cut():
    assert otsu_threshold(torch.tensor([0, 0, 9, 0])) == 3.0


def test_brightness_and_vegetation_are_told_apart():
    # columns: dark soil, bright roof, dark wood, bright meadow; channels: red, nir
    columns = torch.tensor([[0.2, 0.2], [0.8, 0.8], [0.05, 0.35], [0.3, 1.0]])
    image = columns.T[None, :, None, :].repeat(1, 1, 8, 1)
    method = build_method("threshold", 2, {"red": 0, "near_infrared": 1})
    method.finish(lambda: [batch_of(image)])
    found = method.predict(image, torch.ones(1, 8, 4).bool())
    assert found.argmax(dim=1)[0, 0].tolist() == [0, 1, 2, 3]
    brightness, plants = method.thresholds.tolist()
    assert 0.2 < brightness < 0.65 and 0.0 < plants < 0.53


def test_thresholds_do_not_depend_on_how_pixels_come_in_batches():
    image = torch.rand((6, 3, 16, 16), generator=torch.Generator().manual_seed(0))
    found = []
    for size in (1, 6):
        method = build_method("threshold", 3)
        method.finish(lambda: map(batch_of, image.split(size)))
        found.append(method.thresholds)
    assert torch.equal(*found)
    mean = image.mean(dim=1).flatten()
    best = min(variance_within(mean.numpy(), cut) for cut in np.linspace(0.3, 0.7, 801))
    own = variance_within(mean.numpy(), float(found[0][0]))
    assert own == pytest.approx(best, abs=1 / BINS**2 + 1e-6)


def test_vegetation_wants_both_bands():
    derive = method_class("threshold").parameters_of_data
    classes = ("background", "building")
    assert derive(("red", "green", "blue"), classes) == {"red": 0, "near_infrared": -1}
    assert derive(("nir", "red", "green"), classes) == {"red": 1, "near_infrared": 0}
    assert build_method("threshold", 3, {"red": 0}).heads == {"main": 2}
    assert build_method("threshold", 3, {"red": 1, "near_infrared": 0}).heads == {
        "main": 4
    }


def test_a_channel_that_is_not_there_is_refused():
    with pytest.raises(ParameterError, match="red is channel 3 of 3, expected 0 to 2"):
        build_method("threshold", 3, {"red": 3})


def test_pixels_without_data_do_not_count():
    batch = batch_of(torch.rand((1, 3, 8, 8)))
    batch.valid[:] = False
    with pytest.raises(TrainingError, match="no pixel of the training patches is vali"):
        build_method("threshold", 3).finish(lambda: [batch])
