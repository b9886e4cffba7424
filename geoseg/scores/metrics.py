"""Compute scores from counts of pixels and footprints, with controls and intervals.

Pixel scores start from a confusion matrix: ``confusion[i, j]`` is the number of pixels
of reference class ``i`` that were predicted as class ``j``. The matrices of all tiles
are summed and the sum is scored, so a tile weighs as much as the pixels it has. All
functions are vectorised over leading dimensions.

A score whose denominator is zero is ``nan`` (:func:`to_json` makes it ``None``), never
0 or 1. The IoU of a class that is neither in the reference nor in the prediction is
``nan``; that of a class in the reference that was never predicted is 0.

References:
    J. Cohen, A coefficient of agreement for nominal scales, Educational and
    Psychological Measurement 20(1), 1960, https://doi.org/10.1177/001316446002000104
"""

import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from geoseg.core.classes import BUILDING
from geoseg.core.errors import ParameterError, ShapeError

Floats = NDArray[np.float64]
Metric = Callable[[NDArray[Any]], Floats]


def _ratio(numerator: NDArray[Any], denominator: NDArray[Any]) -> Floats:
    """Divide; return ``nan`` where the denominator is zero."""
    top = np.asarray(numerator, dtype=np.float64)
    bottom = np.asarray(denominator, dtype=np.float64)
    out = np.full(np.broadcast_shapes(top.shape, bottom.shape), np.nan)
    np.divide(top, bottom, out=out, where=bottom != 0)
    return out


def _checked(confusion: NDArray[Any]) -> NDArray[Any]:
    matrix = np.asarray(confusion)
    if matrix.ndim < 2 or matrix.shape[-1] != matrix.shape[-2] or matrix.shape[-1] < 2:
        raise ShapeError(
            f"confusion has shape {matrix.shape}, expected (..., C, C) with at least "
            "two classes, reference classes in rows"
        )
    return matrix


def _diagonal(matrix: NDArray[Any]) -> NDArray[Any]:
    return np.diagonal(matrix, axis1=-2, axis2=-1)


def accuracy(confusion: NDArray[Any]) -> Floats:
    """Return the share of pixels with the right class, ``(...)`` in [0, 1]."""
    matrix = _checked(confusion)
    return _ratio(_diagonal(matrix).sum(-1), matrix.sum((-2, -1)))


def majority_accuracy(confusion: NDArray[Any]) -> Floats:
    """Return the accuracy of a map that is everywhere the reference's largest class.

    An accuracy means little without this control; ``(...)`` in [1/C, 1].
    """
    matrix = _checked(confusion)
    return _ratio(matrix.sum(-1).max(-1), matrix.sum((-2, -1)))


def building_share(confusion: NDArray[Any]) -> Floats:
    """Return the share of the reference's pixels that are building, ``(...)``."""
    matrix = _checked(confusion)
    return _ratio(matrix[..., BUILDING, :].sum(-1), matrix.sum((-2, -1)))


def predicted_share(confusion: NDArray[Any]) -> Floats:
    """Return the share of the pixels that were predicted as building, ``(...)``."""
    matrix = _checked(confusion)
    return _ratio(matrix[..., BUILDING].sum(-1), matrix.sum((-2, -1)))


def target_first(confusion: NDArray[Any], class_id: int) -> NDArray[Any]:
    """Swap a class with class 1, so that the scores of building apply to the class.

    Args:
        confusion: ``(..., C, C)``.
        class_id: 0 to C - 1.
    """
    matrix = _checked(confusion)
    order = np.arange(matrix.shape[-1])
    order[[BUILDING, class_id]] = class_id, BUILDING
    return matrix[..., order[:, None], order]


def class_iou(confusion: NDArray[Any]) -> Floats:
    """Return intersection over union of every class, ``(..., C)`` in [0, 1]."""
    matrix = _checked(confusion)
    hits = _diagonal(matrix)
    return _ratio(hits, matrix.sum(-1) + matrix.sum(-2) - hits)


def class_recall(confusion: NDArray[Any]) -> Floats:
    """Return the recall of every class's pixels, ``(..., C)`` in [0, 1]."""
    matrix = _checked(confusion)
    return _ratio(_diagonal(matrix), matrix.sum(-1))


def class_precision(confusion: NDArray[Any]) -> Floats:
    """Return the precision of every class's pixels, ``(..., C)`` in [0, 1]."""
    matrix = _checked(confusion)
    return _ratio(_diagonal(matrix), matrix.sum(-2))


def class_f1(confusion: NDArray[Any]) -> Floats:
    """Return the F1 of every class's pixels, ``(..., C)`` in [0, 1].

    2 TP / (2 TP + FP + FN): 0, not ``nan``, where the class was never predicted.
    """
    matrix = _checked(confusion)
    return _ratio(2 * _diagonal(matrix), matrix.sum(-1) + matrix.sum(-2))


def iou(confusion: NDArray[Any]) -> Floats:
    """Return the IoU of the building class, ``(...)``."""
    return class_iou(confusion)[..., BUILDING]


def f1(confusion: NDArray[Any]) -> Floats:
    """Return the F1 of the building class's pixels, ``(...)``."""
    return class_f1(confusion)[..., BUILDING]


def precision(confusion: NDArray[Any]) -> Floats:
    """Return the precision of the building class's pixels, ``(...)``."""
    return class_precision(confusion)[..., BUILDING]


def recall(confusion: NDArray[Any]) -> Floats:
    """Return the recall of the building class's pixels, ``(...)``."""
    return class_recall(confusion)[..., BUILDING]


def _mean_of_defined(values: Floats) -> Floats:
    defined = ~np.isnan(values)
    return _ratio(np.where(defined, values, 0.0).sum(-1), defined.sum(-1))


def mean_iou(confusion: NDArray[Any]) -> Floats:
    """Return the mean IoU over the classes in reference or prediction, ``(...)``."""
    return _mean_of_defined(class_iou(confusion))


def balanced_accuracy(confusion: NDArray[Any]) -> Floats:
    """Return the mean recall over the classes that the reference has, ``(...)``."""
    return _mean_of_defined(class_recall(confusion))


def kappa(confusion: NDArray[Any]) -> Floats:
    """Return Cohen's κ, the accuracy beyond chance, ``(...)`` in [-1, 1].

    ``nan`` where reference and prediction are both one and the same class.
    """
    matrix = _checked(confusion).astype(np.float64)
    share = _ratio(matrix, matrix.sum((-2, -1), keepdims=True))
    chance = (share.sum(-1) * share.sum(-2)).sum(-1)
    return _ratio(_diagonal(share).sum(-1) - chance, 1.0 - chance)


#: Pixel scores in the order of the tables; each maps ``(..., C, C)`` to ``(...)``.
PIXEL_METRICS: Mapping[str, Metric] = {
    "accuracy": accuracy,
    "majority_accuracy": majority_accuracy,
    "balanced_accuracy": balanced_accuracy,
    "iou": iou,
    "mean_iou": mean_iou,
    "f1": f1,
    "precision": precision,
    "recall": recall,
    "kappa": kappa,
    "building_share": building_share,
    "predicted_share": predicted_share,
}


class PolygonCounts(NamedTuple):
    """Numbers of footprints found (tp), invented (fp) and missed (fn)."""

    tp: int
    fp: int
    fn: int


def polygon_f1(counts: NDArray[Any]) -> Floats:
    """Return the F1 of footprints, ``(...)`` from ``(..., 3)`` counts tp, fp, fn."""
    tp, fp, fn = np.moveaxis(np.asarray(counts), -1, 0)
    return _ratio(2 * tp, 2 * tp + fp + fn)


def polygon_precision(counts: NDArray[Any]) -> Floats:
    """Return the precision of footprints, ``(...)`` from ``(..., 3)`` counts."""
    tp, fp, _ = np.moveaxis(np.asarray(counts), -1, 0)
    return _ratio(tp, tp + fp)


def polygon_recall(counts: NDArray[Any]) -> Floats:
    """Return the recall of footprints, ``(...)`` from ``(..., 3)`` counts."""
    tp, _, fn = np.moveaxis(np.asarray(counts), -1, 0)
    return _ratio(tp, tp + fn)


POLYGON_METRICS: Mapping[str, Metric] = {
    "polygon_f1": polygon_f1,
    "polygon_precision": polygon_precision,
    "polygon_recall": polygon_recall,
}


class Interval(NamedTuple):
    """A score with its confidence interval over tiles."""

    value: float
    low: float
    high: float


def bootstrap_interval(
    per_tile: NDArray[Any],
    metric: Metric,
    *,
    samples: int = 1000,
    seed: int = 0,
    level: float = 0.95,
) -> Interval:
    """Return the score of the tiles' summed counts, with a percentile interval.

    Tiles are drawn with replacement, not pixels: the pixels of a tile depend on each
    other, so the sample size is the number of tiles.

    Args:
        per_tile: ``(T, ...)`` counts, for instance ``(T, C, C)`` confusion matrices.
        metric: Maps summed counts ``(S, ...)`` to scores ``(S,)``.
        samples: Number of resamples.
        seed: Seed of the resampling; equal seeds give equal intervals.
        level: Share of the resampled scores that the interval holds, in (0, 1).

    Returns:
        Score and interval. Both ends are ``nan`` with fewer than two tiles; resamples
        whose score is ``nan`` are left out.

    Raises:
        ShapeError: If there is no tile.
        ParameterError: If ``samples`` or ``level`` is out of range.

    References:
        B. Efron, Bootstrap methods: another look at the jackknife, Annals of
        Statistics 7(1), 1979, https://doi.org/10.1214/aos/1176344552
    """
    if not 0.0 < level < 1.0:
        raise ParameterError(f"level is {level}, expected a share between 0 and 1")
    scores = bootstrap_scores(per_tile, metric, samples=samples, seed=seed)
    value = float(metric(np.asarray(per_tile).sum(0)))
    return Interval(value, *ends(scores, level))


def bootstrap_scores(
    per_tile: NDArray[Any], metric: Metric, *, samples: int = 1000, seed: int = 0
) -> Floats:
    """Return scores of resampled tiles, as :func:`bootstrap_interval` draws them.

    Args:
        per_tile: ``(T, ...)`` counts.
        metric: Maps summed counts ``(S, ...)`` to scores ``(S,)``.
        samples: Number of resamples ``S``.
        seed: Of the resampling.

    Returns:
        ``(S,)``; empty with fewer than two tiles.

    Raises:
        ShapeError: If there is no tile.
        ParameterError: If ``samples`` is out of range.
    """
    counts = np.asarray(per_tile)
    if counts.ndim < 2 or not len(counts):
        raise ShapeError(
            f"per_tile has shape {counts.shape}, expected (tiles, ...) with one tile at "
            "least"
        )
    if samples < 1:
        raise ParameterError(f"samples is {samples}, expected a positive number")
    tiles = len(counts)
    if tiles < 2:
        return np.empty(0)
    drawn = np.random.default_rng(seed).multinomial(
        tiles, np.full(tiles, 1.0 / tiles), size=samples
    )  # (S, T): how often each tile is in each resample
    sums = drawn @ counts.reshape(tiles, -1)
    return metric(sums.reshape(samples, *counts.shape[1:]))


def ends(scores: Floats, level: float = 0.95) -> tuple[float, float]:
    """Return both ends of the percentile interval of scores.

    Args:
        scores: ``(S,)``; ``nan`` values are left out.
        level: Share of the scores inside, in (0, 1).

    Returns:
        Lower and upper end; both ``nan`` if there is no score.
    """
    known = scores[~np.isnan(scores)]
    if not len(known):
        return math.nan, math.nan
    low, high = np.quantile(known, [(1.0 - level) / 2.0, (1.0 + level) / 2.0])
    return float(low), float(high)


def to_json(number: float) -> float | None:
    """Return the number, or None for ``nan``, which JSON does not have."""
    return None if math.isnan(number) else float(number)
