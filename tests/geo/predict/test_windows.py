"""Windows cover everything, stay inside and overlap enough; weights blend to one."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from geoseg.core.errors import ParameterError
from geoseg.geo.predict.windows import blend_profile, window_starts

lengths = st.integers(1, 300)
windows = st.integers(1, 80).flatmap(
    lambda size: st.tuples(st.just(size), st.integers(0, size - 1))
)


@given(lengths, windows)
def test_windows_cover_every_pixel_and_stay_inside(length, window):
    size, overlap = window
    starts = window_starts(length, size, overlap)
    covered = np.zeros(max(length, size), dtype=bool)
    for start in starts:
        assert start >= 0
        assert start + size <= max(length, size)
        covered[start : start + size] = True
    assert covered.all()


@given(lengths, windows)
def test_windows_ascend_from_one_end_to_the_other_and_overlap(length, window):
    size, overlap = window
    starts = window_starts(length, size, overlap)
    assert starts[0] == 0
    assert starts[-1] == max(0, length - size)
    steps = np.diff(starts)
    assert (steps > 0).all()
    assert (size - steps >= overlap).all()


@given(lengths, windows)
def test_no_window_could_be_left_out(length, window):
    size, overlap = window
    starts = window_starts(length, size, overlap)
    # n windows reach at most size + (n - 1) (size - overlap) pixels.
    assert size + (len(starts) - 2) * (size - overlap) < length or len(starts) == 1


@given(windows)
def test_weights_are_zero_nowhere_and_symmetric(window):
    size, overlap = window
    profile = blend_profile(size, overlap)
    assert profile.shape == (size,) and profile.dtype == np.float32
    assert (profile > 0).all() and (profile <= 1).all()
    assert (profile == profile[::-1]).all()


@given(lengths, windows)
def test_normalised_weights_of_all_windows_sum_to_one(length, window):
    size, overlap = window
    starts = window_starts(length, size, overlap)
    profile = blend_profile(size, overlap).astype(np.float64)
    total = np.zeros(max(length, size))
    for start in starts:
        total[start : start + size] += profile
    blended = np.zeros_like(total)
    for start in starts:
        blended[start : start + size] += profile / total[start : start + size]
    assert (total > 0).all()
    np.testing.assert_allclose(blended, 1, rtol=1e-12)


def test_two_ramps_that_overlap_by_their_width_sum_to_one():
    profile = blend_profile(32, 8)
    np.testing.assert_allclose(profile[-8:] + profile[:8], 1, rtol=1e-6)
    assert (profile[8:-8] == 1).all()


def test_without_overlap_all_weights_are_one():
    assert blend_profile(5, 0).tolist() == [1.0] * 5


@pytest.mark.parametrize("overlap", [-1, 4])
def test_an_overlap_as_large_as_the_window_is_refused(overlap):
    with pytest.raises(ParameterError, match=f"overlap is {overlap}"):
        window_starts(10, 4, overlap)
    with pytest.raises(ParameterError, match=f"overlap is {overlap}"):
        blend_profile(4, overlap)


def test_an_empty_axis_is_refused():
    with pytest.raises(ParameterError, match="length is 0"):
        window_starts(0, 4, 1)


def test_a_window_without_pixels_is_refused():
    with pytest.raises(ParameterError, match="size is 0"):
        window_starts(4, 0, 0)
