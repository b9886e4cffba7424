"""Compare maps of the same tiles by every score of the verdict.

A map is better than another when one of its scores is higher beyond chance and none is
lower beyond chance: pixels and footprints can disagree.
"""

import math
from collections.abc import Iterable, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from geoseg.scores.metrics import (
    Floats,
    Interval,
    Metric,
    bootstrap_scores,
    ends,
    iou,
    mean_iou,
    polygon_f1,
)
from geoseg.scores.scores import Scores

#: The scores of several trainings or splits of one method; of a single map, one.
Runs = Sequence[Scores]
Standing = Literal["better", "worse", "mixed", "open"]

#: Key of a score in ``scores.json`` → its name in sentences and tables.
SCORE_NAMES = {"iou": "IoU", "mean_iou": "mean IoU", "polygon_f1": "footprint F1"}
_METRICS: dict[str, Metric] = {
    "iou": iou,
    "mean_iou": mean_iou,
    "polygon_f1": polygon_f1,
}


class Gain(NamedTuple):
    """Difference of a map's score from the best of its rivals.

    Attributes:
        key: Of the score, in :data:`SCORE_NAMES`.
        rival: Index of that rival, in the order given.
        score: Of that rival.
        gain: Own score minus the rival's, with the 95 % interval over resampled tiles.
        spread: Standard deviation of the gain over runs; ``nan`` for one run.
        runs: Number of runs compared.
    """

    key: str
    rival: int
    score: float
    gain: Interval
    spread: float = math.nan
    runs: int = 1

    @property
    def direction(self) -> int:
        """Return 1 if higher beyond chance, −1 if lower beyond chance, else 0.

        The interval must exclude zero, and the gain must exceed its spread over runs.
        """
        if abs(self.gain.value) <= self.spread:
            return 0
        return int(self.gain.low > 0) - int(self.gain.high < 0)


def main_key(class_names: Sequence[str]) -> str:
    """Return the score by which maps are ranked: IoU of building, or the mean IoU.

    With more than two classes, the IoU of one class ignores the others.
    """
    return "iou" if len(class_names) == 2 else "mean_iou"


def judged_keys(scores: Scores) -> tuple[str, ...]:
    """Return the scores that decide a verdict, the main one first."""
    main = main_key(scores.class_names)
    return (main, "polygon_f1") if main == "iou" else (main,)


def score_of(scores: Scores, key: str) -> float:
    """Return one score over all tiles; ``nan`` where it is undefined or not counted."""
    counts = _counts(scores, key)
    return math.nan if counts is None else float(_METRICS[key](counts.sum(0)))


def gains(own: Runs, rivals: Sequence[Runs], *, seed: int = 0) -> list[Gain]:
    """Compare a map with the best of its rivals, score by score.

    Args:
        own: Scores of each of its runs.
        rivals: As many runs each, on the same tiles in the same order.
        seed: Of the resampling of tiles, the same tiles for both.

    Returns:
        One gain for each of :func:`judged_keys` that both sides have.
    """
    compared = []
    for key in judged_keys(own[0]):
        values = [_mean(score_of(run, key) for run in rival) for rival in rivals]
        known = [number for number, value in enumerate(values) if value == value]
        if not known or math.isnan(_mean(score_of(run, key) for run in own)):
            continue
        best = max(known, key=lambda number: values[number])
        gain, spread, runs = _gain(own, rivals[best], key, seed)
        if not math.isnan(gain.value):
            compared.append(Gain(key, best, values[best], gain, spread, runs))
    return compared


def standing(compared: Sequence[Gain]) -> Standing:
    """Return better or worse only if no score says the opposite."""
    directions = {gain.direction for gain in compared}
    if {1, -1} <= directions:
        return "mixed"
    if 1 in directions:
        return "better"
    return "worse" if -1 in directions else "open"


def _gain(own: Runs, rival: Runs, key: str, seed: int) -> tuple[Interval, float, int]:
    """Return the mean gain with its interval, its spread and the number of runs."""
    metric = _METRICS[key]

    def difference(counts: NDArray[Any]) -> Floats:
        scores = metric(counts)
        return np.asarray(scores[..., 0] - scores[..., 1])

    # runs on the same tiles share their resamples; other splits have their own
    tiles = [tuple(tile.tile for tile in run.tiles) for run in own]
    splits = list(dict.fromkeys(tiles))
    values, drawn = [], []
    for first, second, names in zip(own, rival, tiles, strict=True):
        counts = (_counts(first, key), _counts(second, key))
        if counts[0] is None or counts[1] is None:
            continue
        pair = np.stack([counts[0], counts[1]], axis=1)  # (T, 2, …)
        value = float(difference(pair.sum(0)))
        if not math.isnan(value):
            values.append(value)
            own_seed = seed + splits.index(names)
            drawn.append(bootstrap_scores(pair, difference, seed=own_seed))
    if not values:
        return Interval(math.nan, math.nan, math.nan), math.nan, 0
    whole = all(len(scores) for scores in drawn)
    low, high = ends(np.mean(drawn, axis=0)) if whole else (math.nan, math.nan)
    spread = float(np.std(values, ddof=1)) if len(values) > 1 else math.nan
    return Interval(float(np.mean(values)), low, high), spread, len(values)


def _counts(scores: Scores, key: str) -> NDArray[np.int64] | None:
    """Return the ``(T, …)`` counts of a score, or None if not counted."""
    return scores.polygons if key == "polygon_f1" else scores.confusions


def _mean(values: Iterable[float]) -> float:
    known = [value for value in values if not math.isnan(value)]
    return sum(known) / len(known) if known else math.nan
