"""Adjusted mutual information (AMI) of clusters and classes.

It needs no matching, so it compares clusterings with any number of clusters: random
clusters of the same sizes have 0 on average, and perfect agreement is 1.

References:
    N. X. Vinh, J. Epps, J. Bailey. Information Theoretic Measures for Clusterings
    Comparison: Variants, Properties, Normalization and Correction for Chance. JMLR 11,
    2010, https://jmlr.org/papers/v11/vinh10a.html
"""

import numpy as np
from numpy.typing import NDArray

from geoseg.core.errors import ShapeError

Floats = NDArray[np.float64]

#: The expectation leaves out terms farther from the mean than this many standard
#: deviations and pixels: they are below the precision of a float.
DEVIATIONS, PIXELS = 12.0, 60


def adjusted_mutual_information(
    table: NDArray[np.integer], expected: Floats | float | None = None
) -> Floats:
    """Return the AMI of contingency tables, normalised by the mean of both entropies.

    Args:
        table: ``(..., K, C)`` counts.
        expected: Expected mutual information, ``(...)``; by default that of each table.
            Resampled tables may share that of their sum: with many pixels it is close
            to zero and hardly varies.

    Returns:
        ``(...)`` at most 1; ``nan`` for a single class and a single cluster.

    Raises:
        ShapeError: If there are fewer than two dimensions.
    """
    counts = np.asarray(table, dtype=np.float64)
    if counts.ndim < 2:
        raise ShapeError(f"table has shape {counts.shape}, expected (..., K, C)")
    if expected is None:
        flat = counts.reshape(-1, *counts.shape[-2:])
        values = [expected_mutual_information(one) for one in flat]
        expected = np.array(values).reshape(counts.shape[:-2])
    joint = _entropy(counts.reshape(*counts.shape[:-2], -1))
    clusters, classes = _entropy(counts.sum(-1)), _entropy(counts.sum(-2))
    gain = clusters + classes - joint - expected
    most = (clusters + classes) / 2 - expected
    out = np.full(np.shape(gain), np.nan)
    np.divide(gain, most, out=out, where=most > 1e-15)
    return out


def expected_mutual_information(table: NDArray[np.floating]) -> float:
    """Return the mean mutual information of random tables with the same margins.

    Equation 24a of Vinh et al.: pixels are assigned at random, so each cell is
    hypergeometric. The sum covers only counts near the mean (:data:`DEVIATIONS`), so
    the cost grows with the square root of the number of pixels.

    Args:
        table: ``(K, C)`` counts.

    Returns:
        In nats, at least 0.
    """
    rows, columns = table.sum(1), table.sum(0)
    rows, columns = rows[rows > 0], columns[columns > 0]
    total = float(rows.sum())
    if not total:
        return 0.0
    return sum(_cell(float(a), float(b), total) for a in rows for b in columns)


def _cell(row: float, column: float, total: float) -> float:
    """Return the contribution of one cell to the expectation."""
    from scipy.special import gammaln

    mean = row * column / total
    spread = mean * (total - row) * (total - column) / (total * max(total - 1, 1.0))
    reach = DEVIATIONS * np.sqrt(spread) + PIXELS
    low = max(1.0, row + column - total, np.floor(mean - reach))
    high = min(row, column, np.ceil(mean + reach))
    counts = np.arange(low, high + 1)
    logs = -(
        gammaln(counts + 1)
        + gammaln(row - counts + 1)
        + gammaln(column - counts + 1)
        + gammaln(total - row - column + counts + 1)
    )
    constant = (
        gammaln(row + 1)
        + gammaln(column + 1)
        + gammaln(total - row + 1)
        + gammaln(total - column + 1)
        - gammaln(total + 1)
    )
    chances = np.exp(logs + constant)
    return float((counts / total * np.log(counts / mean) * chances).sum())


def _entropy(counts: Floats) -> Floats:
    """Return the entropy in nats of ``(..., n)`` counts; 0 if all counts are 0."""
    total = np.maximum(counts.sum(-1, keepdims=True), 1.0)
    shares = counts / total
    logs = np.log(shares, out=np.zeros_like(shares), where=shares > 0)
    entropy: Floats = -(shares * logs).sum(-1)
    return entropy
