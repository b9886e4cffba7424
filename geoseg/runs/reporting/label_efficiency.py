"""Score maps with fewer labelled tiles, from stored counts without prediction."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from geoseg.core.classes import BACKGROUND
from geoseg.core.errors import MatchingError, ParameterError
from geoseg.model.decisions import Objective
from geoseg.model.matching import match_clusters
from geoseg.scores.metrics import Metric, iou

#: Numbers of labelled tiles that are common in the literature.
SIZES = (1, 5, 10, 50)


class LabelPoint(NamedTuple):
    """The score with a number of labelled tiles.

    Attributes:
        tiles: Number of matching tiles in each draw.
        mean: Over the draws.
        low: 5 % of the draws score less; ``high``: 5 % score more.
        draws: Number of draws; one if all tiles are taken.
        blind: Share of the draws without buildings, whose maps are empty.
    """

    tiles: int
    mean: float
    low: float
    high: float
    draws: int
    blind: float


def label_efficiency(
    matching: NDArray[Any],
    test: NDArray[Any],
    *,
    objective: Objective,
    sizes: Sequence[int] = SIZES,
    draws: int = 200,
    seed: int = 0,
    metric: Metric = iou,
) -> list[LabelPoint]:
    """Score the test tiles after matching on random subsets of the matching tiles.

    Without a building in a draw, no cluster becomes building: the map is all
    background, and its score counts.

    Args:
        matching: ``(T, K, C)`` counts, one contingency table per matching tile.
        test: ``(S, K, C)`` counts of the test tiles.
        objective: Of the matching.
        sizes: Numbers of tiles to draw; numbers of T or more are replaced by T.
        draws: Random subsets per number.
        seed: Of the draws.
        metric: Of the summed confusion ``(..., C, C)``.

    Returns:
        Points in ascending order of tiles, the last one for T; scores are of the draws
        with a defined metric, or ``nan`` if there are none.

    Raises:
        ParameterError: If there is no tile or no draw.
    """
    tables, total = np.asarray(matching), np.asarray(test).sum(0)
    if not len(tables) or not len(test) or draws < 1:
        raise ParameterError(
            f"{len(tables)} matching tiles, {len(test)} test tiles and {draws} draws, "
            "expected at least one of each"
        )
    generator = np.random.default_rng(seed)
    nothing = np.full(tables.shape[1], BACKGROUND)
    points = []
    for size in sorted({n for n in sizes if 0 < n < len(tables)} | {len(tables)}):
        times = 1 if size == len(tables) else draws
        chosen = [
            generator.choice(len(tables), size, replace=False) for _ in range(times)
        ]
        folds = [_fold(tables[tiles], objective) for tiles in chosen]
        scores = [
            float(metric(_confusion(total, nothing if fold is None else fold)))
            for fold in folds
        ]
        blind = sum(fold is None for fold in folds) / times
        points.append(_point(size, scores, blind))
    return points


def _point(size: int, scores: Sequence[float], blind: float) -> LabelPoint:
    # without buildings on the test tiles, an empty map has no IoU
    known = [score for score in scores if not math.isnan(score)]
    if not known:
        return LabelPoint(size, math.nan, math.nan, math.nan, len(scores), blind)
    low, high = np.quantile(known, [0.05, 0.95])
    mean = float(np.mean(known))
    return LabelPoint(size, mean, float(low), float(high), len(scores), blind)


def _fold(tables: NDArray[Any], objective: Objective) -> NDArray[np.int64] | None:
    """Return ``(K,)`` class ids, or None if the tiles show only one class."""
    try:
        matching = match_clusters(tables, objective=objective)
    except MatchingError:
        return None
    return np.array(matching.cluster_to_class, dtype=np.int64)


def _confusion(table: NDArray[Any], fold: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the ``(C, C)`` confusion of a ``(K, C)`` table, reference in rows."""
    confusion = np.zeros((table.shape[1], table.shape[1]), dtype=np.int64)
    np.add.at(confusion.T, fold, table)
    return confusion
