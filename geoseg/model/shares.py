"""Class shares of clusters, from their counts on labelled tiles."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoseg.core.errors import ParameterError

#: Default shrinkage, as a share of a mean cluster's labelled pixels. A fixed number of
#: pixels would outweigh whole clusters with many clusters or few small tiles.
SHRINKAGE = 0.25


def pixels_of_trust(total: NDArray[np.int64], shrinkage: float | None) -> float:
    """Return the given shrinkage in pixels, or the default.

    Args:
        total: ``(K, C)`` labelled pixels.
        shrinkage: In pixels; None for the default.

    Raises:
        ParameterError: If it is negative or infinite.
    """
    mean_cluster = total.sum() / len(total)
    m = float(SHRINKAGE * mean_cluster if shrinkage is None else shrinkage)
    if not 0.0 <= m < np.inf:
        raise ParameterError(f"shrinkage is {m}, expected pixels, zero or more")
    return m


def shrunken_shares(
    total: NDArray[np.int64], prior: NDArray[Any], m: float
) -> NDArray[np.float64]:
    """Return ``(..., K, C)`` class shares of clusters, drawn to the prior.

    They are (n_kc + m · π_c) / (n_k + m), and the prior where both are 0.

    Args:
        total: ``(..., K, C)`` labelled pixels.
        prior: ``(..., C)`` shares of the classes over all clusters.
        m: Weight of the prior, pixels.
    """
    prior = np.asarray(prior)[..., None, :]
    weight = total.sum(-1, keepdims=True) + m
    shares = (total + m * prior) / np.where(weight > 0, weight, 1.0)
    return np.asarray(np.where(weight > 0, shares, prior))


def held_out_shares(
    tables: NDArray[np.int64], folds: NDArray[np.int64], m: float
) -> NDArray[np.float64]:
    """Return the class shares of clusters without each fold's tiles.

    Args:
        tables: ``(T, K, C)`` labelled pixels of each tile.
        folds: ``(T,)`` fold of each tile, from 0.
        m: Weight of the prior, pixels.

    Returns:
        ``(F, K, C)`` shares; of a fold without which no pixel is left, one over C.
    """
    whole = tables.sum(0)
    rest = np.stack(
        [whole - tables[folds == fold].sum(0) for fold in range(int(folds.max()) + 1)]
    )
    pixels = rest.sum((1, 2))[:, None]
    prior = np.where(
        pixels > 0, rest.sum(1) / np.maximum(pixels, 1), 1 / tables.shape[2]
    )
    return shrunken_shares(rest, prior, m)
