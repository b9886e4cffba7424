"""The guided filter: closed forms, and bits that depend on nothing but the image."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from geoseg.geo.predict.smoothing import STEPS, Smoother, guided_filter
from geoseg.geo.rasters.strips import Strip
from geoseg.model.decisions import Smoothing

HEIGHT, WIDTH = 61, 83
SMOOTHING = Smoothing(radius=4, epsilon=0.002)


def scores(classes: int = 2, seed: int = 0) -> np.ndarray:
    planes = np.random.default_rng(seed).random((classes, HEIGHT, WIDTH))
    return (planes / planes.sum(0)).astype(np.float32)


def guide(seed: int = 1) -> np.ndarray:
    return (
        np.random.default_rng(seed).integers(0, 256, (HEIGHT, WIDTH)).astype(np.uint8)
    )


def holes(seed: int = 2) -> np.ndarray:
    valid = np.random.default_rng(seed).random((HEIGHT, WIDTH)) > 0.1
    valid[:9, :20] = False
    return valid


def means(values: np.ndarray, valid: np.ndarray, radius: int) -> np.ndarray:
    """Means over squares, by an explicit loop; of valid pixels alone."""
    result = np.zeros(values.shape)
    for row, column in np.argwhere(valid):
        square = np.s_[
            max(row - radius, 0) : row + radius + 1,
            max(column - radius, 0) : column + radius + 1,
        ]
        result[row, column] = values[square][valid[square]].mean()
    return result


def by_the_paper(plane, bright, valid, smoothing):
    """Equations 5, 6 and 8 of He, Sun and Tang, in floating point."""
    radius, bright = smoothing.radius, bright.astype(float) / 255
    mean = means(bright, valid, radius)
    average = means(plane, valid, radius)
    covariance = means(bright * plane, valid, radius) - mean * average
    variance = means(bright**2, valid, radius) - mean**2
    slope = covariance / (variance + smoothing.epsilon)
    offset = average - slope * mean
    return means(slope, valid, radius) * bright + means(offset, valid, radius)


@pytest.mark.parametrize("classes", [2, 3])
def test_it_is_the_filter_of_the_paper(classes: int) -> None:
    planes, bright, valid = scores(classes), guide(), holes()
    found = guided_filter(planes, bright, valid, SMOOTHING)
    expected = np.stack(
        [by_the_paper(plane, bright, valid, SMOOTHING) for plane in planes]
    ).clip(0, 1)
    expected = expected / np.where(valid, expected.sum(0), 1) * valid
    np.testing.assert_allclose(found, expected, atol=3 / STEPS)
    np.testing.assert_allclose(found.sum(0)[valid], 1, atol=1e-6)
    assert not found[:, ~valid].any()


def test_where_the_guide_is_flat_the_mean_is_taken_twice() -> None:
    planes, valid = scores(), holes()
    found = guided_filter(planes, np.full_like(guide(), 90), valid, SMOOTHING)
    twice = means(means(planes[1], valid, 4), valid, 4)
    np.testing.assert_allclose(found[1], twice, atol=2 / STEPS)


def test_a_score_that_is_linear_in_the_guide_stays() -> None:
    bright, valid = guide(), holes()
    building = 0.1 + 0.7 * bright / np.float32(255)
    planes = np.stack((1 - building, building)).astype(np.float32)
    smoothing = Smoothing(radius=3, epsilon=1e-6)
    found = guided_filter(planes, bright, valid, smoothing)
    np.testing.assert_allclose(found[1], planes[1] * valid, atol=1e-3)


def test_an_edge_of_the_image_stays_sharp_and_noise_goes() -> None:
    bright = np.full((HEIGHT, WIDTH), 60, np.uint8)
    bright[:, 40:] = 200
    noise = np.random.default_rng(3).normal(0, 0.1, bright.shape)
    building = np.where(bright > 100, 0.8, 0.2) + noise
    planes = np.stack((1 - building, building)).clip(0, 1).astype(np.float32)
    found = guided_filter(planes, bright, np.ones_like(bright, bool), SMOOTHING)[1]
    assert found[:, 39].max() < 0.3 and found[:, 40].min() > 0.7
    assert found[:, 45:].std() < 0.2 * planes[1][:, 45:].std()


def strips(planes, bright, valid, cuts):
    for first, end in zip([0, *cuts], [*cuts, HEIGHT], strict=True):
        rows = slice(first, end)
        yield Strip(first, planes[:, rows], valid[rows], bright[rows])


@settings(deadline=None, max_examples=25)
@given(
    cuts=st.sets(st.integers(1, HEIGHT - 1), max_size=9),
    radius=st.integers(1, 12),
    seed=st.integers(0, 99),
)
def test_strips_give_the_bits_of_the_whole(cuts, radius, seed) -> None:
    planes, bright, valid = scores(2, seed), guide(seed), holes(seed)
    smoothing = Smoothing(radius)
    smoother, parts = Smoother(smoothing), []
    for strip in strips(planes, bright, valid, sorted(cuts)):
        parts += smoother.feed(strip)
    parts += smoother.done()
    assert [part.row for part in parts] == np.cumsum(
        [0, *(len(part.valid) for part in parts[:-1])]
    ).tolist()
    whole = guided_filter(planes, bright, valid, smoothing)
    found = np.concatenate([part.probability for part in parts], axis=1)
    assert found.tobytes() == whole.tobytes()
    for field, expected in (("valid", valid), ("guide", bright)):
        joined = np.concatenate([getattr(part, field) for part in parts])
        np.testing.assert_array_equal(joined, expected)


@pytest.mark.parametrize("turns", [1, 2, 3])
@pytest.mark.parametrize("mirrored", [False, True])
def test_a_turned_image_gives_the_turned_bits(turns: int, mirrored: bool) -> None:
    def turn(array: np.ndarray) -> np.ndarray:
        turned = np.rot90(array, turns, axes=(-2, -1))
        return np.ascontiguousarray(turned[..., ::-1] if mirrored else turned)

    planes, bright, valid = scores(3), guide(), holes()
    whole = guided_filter(planes, bright, valid, SMOOTHING)
    turned = guided_filter(turn(planes), turn(bright), turn(valid), SMOOTHING)
    assert turned.tobytes() == turn(whole).tobytes()


def test_columns_are_filtered_in_parts_with_the_bits_of_the_whole(monkeypatch) -> None:
    planes, bright, valid = scores(), guide(), holes()
    whole = guided_filter(planes, bright, valid, SMOOTHING)
    monkeypatch.setattr("geoseg.geo.predict.smoothing._COLUMNS", 17)
    parts = guided_filter(planes, bright, valid, SMOOTHING)
    assert parts.tobytes() == whole.tobytes()
