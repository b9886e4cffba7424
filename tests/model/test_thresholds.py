"""Tests of geoseg.model.thresholds."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from geoseg.core.errors import ShapeError
from geoseg.model.thresholds import (
    GRADES,
    best_threshold,
    class_matching,
    grade,
    graded_matching,
    move_threshold,
)


def f1(found, truth):
    hits = (found & truth).sum()
    return float(2 * hits / (found.sum() + truth.sum()))


def drawn(seed, pixels=4000, share=0.2):
    """Probabilities of building that say the truth: so many percent are buildings."""
    generator = torch.Generator().manual_seed(seed)
    logits = 1.5 * torch.randn(pixels, generator=generator) + torch.logit(
        torch.tensor(share)
    )
    probability = torch.sigmoid(logits)
    truth = torch.rand(pixels, generator=generator) < probability
    return probability, truth


def counted(probability, truth):
    counts = torch.zeros(GRADES, 2, dtype=torch.long)
    counts.index_put_(
        (grade(probability), truth.long()), torch.tensor(1), accumulate=True
    )
    return counts


@settings(deadline=None)
@given(st.floats(0, 1, width=32), st.integers(0, GRADES - 1))
def test_a_grade_says_if_a_probability_is_above_a_threshold(probability, threshold):
    value = torch.tensor(probability)
    above = bool(value * GRADES > threshold)
    if threshold:  # nothing is graded below the lowest
        assert (int(grade(value)) >= threshold) == above


@pytest.mark.parametrize("seed", range(5))
def test_the_threshold_has_the_best_f1_of_all(seed):
    probability, truth = drawn(seed)
    threshold = best_threshold(counted(probability, truth))
    scores = [f1(probability > t / GRADES, truth) for t in range(GRADES)]
    assert scores[round(threshold * GRADES)] == max(scores)


def test_the_threshold_of_calibrated_probabilities_is_half_of_their_f1():
    probability, truth = drawn(0, pixels=1_000_000)
    threshold = best_threshold(counted(probability, truth))
    assert threshold == pytest.approx(f1(probability > threshold, truth) / 2, abs=0.02)


@pytest.mark.parametrize("constant", [0.0, 0.2, 1.0])
def test_what_is_the_same_everywhere_has_no_threshold(constant):
    truth = torch.arange(100) < 20
    counts = counted(torch.full((100,), constant), truth)
    assert best_threshold(counts) is None


def test_equal_f1_takes_the_highest_threshold():
    counts = torch.zeros(GRADES, 2, dtype=torch.long)
    counts[10, 0] = counts[70, 1] = 5  # 0.11 to 0.70 all tell them apart
    assert best_threshold(counts) == 0.7


def test_counts_of_another_shape_are_refused():
    with pytest.raises(ShapeError, match=r"expected \(100, 2\)"):
        best_threshold(torch.zeros(3, 2))


def test_the_matching_counts_what_lies_above_the_threshold():
    probability, truth = drawn(1)
    matching = graded_matching(counted(probability, truth)[None])
    found = probability > matching.threshold
    assert matching.objective == "f1"
    assert matching.cluster_to_class == (0, 1)
    assert matching.counts[1] == (int((found & ~truth).sum()), int(truth[found].sum()))


def test_without_a_threshold_the_matching_is_that_of_the_most_probable_class():
    truth = torch.arange(100) < 20
    matching = graded_matching(counted(torch.full((100,), 0.2), truth)[None])
    expected = class_matching(torch.tensor([[[80, 20], [0, 0]]]))
    assert matching == expected


@settings(deadline=None)
@given(
    st.floats(0, 1, width=32),
    st.floats(0, 1, width=32),
    st.floats(0.01, 0.99),
)
def test_a_moved_threshold_lies_at_one_half_and_keeps_the_order(one, other, threshold):
    building = torch.tensor([one, other], dtype=torch.float64)
    probability = torch.stack((1 - building, building))[None, :, None]
    moved = move_threshold(probability, threshold)
    torch.testing.assert_close(moved.sum(1), torch.ones_like(moved.sum(1)))
    first, second = moved[0, 1, 0]
    assert (first <= second) == (one <= other) or one == pytest.approx(other)
    for before, after in zip((one, other), (first, second), strict=True):
        if abs(before - threshold) > 1e-9:
            assert (after > 0.5) == (before > threshold)


def test_moving_to_one_half_changes_nothing():
    building = torch.tensor([0.0, 0.3, 0.5, 1.0])
    probability = torch.stack((1 - building, building))[None, :, None]
    torch.testing.assert_close(move_threshold(probability, 0.5), probability)
