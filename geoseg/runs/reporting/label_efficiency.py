"""How good a map is with fewer labelled tiles: from counts made once, no prediction."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from geoseg.core.classes import BACKGROUND
from geoseg.core.errors import MatchingError, ParameterError
from geoseg.model.matching import Objective, match_clusters
from geoseg.scores.metrics import Metric, iou

#: Numbers of labelled tiles that the literature compares.
SIZES = (1, 5, 10, 50)


class LabelPoint(NamedTuple):
    """The score with so many labelled tiles.

    Attributes:
        tiles: Matching tiles in each draw.
        mean: Over the draws.
        low: 5 % of the draws score less; ``high``: 5 % score more.
        draws: How many there were; one where all tiles are taken.
        blind: Share of the draws without a building: their maps are empty.
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

    A draw whose tiles show no building names no cluster: its map is all background, and
    its score counts.

    Args:
        matching: ``(T, K, C)`` counts, one contingency table per matching tile.
        test: ``(S, K, C)`` counts of the test tiles.
        objective: Of the matching.
        sizes: Numbers of tiles to draw; those of T and more give way to T itself.
        draws: Random subsets per number.
        seed: Of the draws.
        metric: Of the summed confusion ``(..., C, C)``.

    Returns:
        Ascending numbers of tiles, the last one T; scores are those of the draws where
        the metric is defined, ``nan`` where it is in none.

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
    # where the test tiles hold no building, a map without one has no IoU
    known = [score for score in scores if not math.isnan(score)]
    if not known:
        return LabelPoint(size, math.nan, math.nan, math.nan, len(scores), blind)
    low, high = np.quantile(known, [0.05, 0.95])
    mean = float(np.mean(known))
    return LabelPoint(size, mean, float(low), float(high), len(scores), blind)


def _fold(tables: NDArray[Any], objective: Objective) -> NDArray[np.int64] | None:
    """Return ``(K,)`` class ids, or None where the tiles cannot tell."""
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
