"""Class shares of clusters, with and without some tiles."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from geoseg.core.errors import ParameterError
from geoseg.model.shares import held_out_shares, pixels_of_trust, shrunken_shares


@given(seed=st.integers(0, 999), m=st.floats(0, 500))
def test_held_out_shares_are_those_of_the_other_tiles(seed: int, m: float) -> None:
    rng = np.random.default_rng(seed)
    tables = rng.integers(0, 50, (7, 5, 3)) * (rng.random((7, 5, 1)) > 0.3)
    folds = np.array([0, 0, 1, 2, 2, 3, 1])
    found = held_out_shares(tables, folds, m)
    for fold in range(4):
        rest = sum(
            table for table, own in zip(tables, folds, strict=True) if own != fold
        )
        if not rest.sum():
            continue
        prior = rest.sum(0) / rest.sum()
        for cluster, counts in enumerate(rest):
            weight = counts.sum() + m
            shares = (counts + m * prior) / weight if weight else prior
            np.testing.assert_allclose(found[fold, cluster], shares, rtol=1e-12)


def test_without_the_only_labelled_tile_nothing_is_known() -> None:
    tables = np.zeros((2, 3, 2), np.int64)
    tables[0] = 5
    found = held_out_shares(tables, np.array([0, 1]), 10.0)
    np.testing.assert_allclose(found[0], 0.5)


def test_shares_sum_to_one_and_are_drawn_to_the_prior() -> None:
    total = np.array([[90, 10], [0, 1], [0, 0]])
    prior = total.sum(0) / total.sum()
    found = shrunken_shares(total, prior, 20.0)
    np.testing.assert_allclose(found.sum(1), 1)
    np.testing.assert_allclose(found[2], prior)
    assert found[1, 1] < 0.2  # one pixel makes no building


def test_shrinkage_is_a_share_of_a_mean_cluster_unless_given() -> None:
    total = np.full((4, 2), 100)
    assert pixels_of_trust(total, None) == 50
    assert pixels_of_trust(total, 7) == 7
    with pytest.raises(ParameterError, match="zero or more"):
        pixels_of_trust(total, -1.0)
