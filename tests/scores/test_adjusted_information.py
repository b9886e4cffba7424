import itertools
import math
import time

import numpy as np
import pytest
from scipy.special import gammaln

from geoseg.core.errors import ShapeError
from geoseg.scores.adjusted_information import (
    adjusted_mutual_information,
    expected_mutual_information,
)


def table_of(clusters, classes):
    table = np.zeros((max(clusters) + 1, max(classes) + 1))
    np.add.at(table, (list(clusters), list(classes)), 1)
    return table


def mutual_information(table):
    shares = table / table.sum()
    chance = shares.sum(1, keepdims=True) * shares.sum(0, keepdims=True)
    seen = shares > 0
    return float((shares[seen] * np.log(shares[seen] / chance[seen])).sum())


def test_by_hand():
    # n11 is 0, 1, 2 with chances 1/6, 4/6, 1/6; the information is ln 2, 0, ln 2
    even = np.ones((2, 2))
    assert expected_mutual_information(even) == pytest.approx(math.log(2) / 3)
    assert adjusted_mutual_information(even) == pytest.approx(-0.5)
    assert adjusted_mutual_information(2 * np.eye(2)) == pytest.approx(1)


@pytest.mark.parametrize(
    ("clusters", "classes"),
    [
        ([0, 0, 1, 1, 2, 2], [0, 0, 0, 1, 1, 1]),
        ([0, 1, 1, 0, 0], [0, 0, 1, 1, 2]),
        ([0, 0, 0, 0, 1], [0, 1, 0, 1, 0]),
    ],
)
def test_the_expectation_is_the_mean_over_all_orders(clusters, classes):
    every = [
        mutual_information(table_of(clusters, order))
        for order in itertools.permutations(classes)
    ]
    found = expected_mutual_information(table_of(clusters, classes))
    assert found == pytest.approx(np.mean(every), rel=1e-12)


def full_sum(table):
    """The expectation with every term of its sum."""
    total, found = table.sum(), 0.0
    for a, b in itertools.product(table.sum(1), table.sum(0)):
        n = np.arange(max(1, a + b - total), min(a, b) + 1)
        logs = sum(gammaln(x + 1) for x in (a, b, total - a, total - b))
        logs = logs - gammaln(total + 1) - gammaln(n + 1) - gammaln(a - n + 1)
        logs = logs - gammaln(b - n + 1) - gammaln(total - a - b + n + 1)
        found += (n / total * np.log(total * n / (a * b)) * np.exp(logs)).sum()
    return found


def test_terms_far_from_the_mean_do_not_count():
    table = np.random.default_rng(0).integers(0, 9000, (5, 3)).astype(float)
    table[0] = 1, 0, 2
    found = expected_mutual_information(table)
    assert found == pytest.approx(full_sum(table), rel=1e-9)


def test_many_pixels_cost_little():
    table = np.random.default_rng(1).integers(0, 10**6, (48, 3)).astype(float)
    started = time.process_time()
    found = expected_mutual_information(table)
    assert time.process_time() - started < 5
    # its limit for many pixels
    assert found == pytest.approx(47 * 2 / (2 * table.sum()), rel=0.02)


def test_names_of_clusters_and_classes_do_not_matter():
    generator = np.random.default_rng(2)
    table = generator.integers(0, 40, (6, 3))
    value = adjusted_mutual_information(table)
    mixed = table[generator.permutation(6)][:, generator.permutation(3)]
    assert adjusted_mutual_information(mixed) == pytest.approx(value)
    assert adjusted_mutual_information(table.T) == pytest.approx(value)
    empty = np.vstack([table, np.zeros((2, 3))])
    assert adjusted_mutual_information(empty) == pytest.approx(value)


def test_several_tables_at_once_and_a_given_expectation():
    tables = np.random.default_rng(3).integers(1, 40, (4, 5, 2))
    one_by_one = [float(adjusted_mutual_information(table)) for table in tables]
    assert adjusted_mutual_information(tables) == pytest.approx(one_by_one)
    expected = np.array([expected_mutual_information(t.astype(float)) for t in tables])
    found = adjusted_mutual_information(tables, expected)
    assert found == pytest.approx(one_by_one)


def test_one_cluster_tells_nothing_and_one_class_cannot_be_told():
    assert adjusted_mutual_information(np.array([[3, 4]])) == 0
    assert np.isnan(adjusted_mutual_information(np.array([[7]])))
    assert np.isnan(adjusted_mutual_information(np.zeros((2, 2))))


def test_a_vector_is_no_table():
    with pytest.raises(ShapeError, match=r"expected \(..., K, C\)"):
        adjusted_mutual_information(np.ones(3))
