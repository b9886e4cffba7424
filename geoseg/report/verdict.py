"""The result in words: how good, against which control, and whether better."""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from geoseg.geo.scores import Scores
from geoseg.metrics import Floats, Interval, bootstrap_interval, iou


class Verdict(NamedTuple):
    """What the top of a page says.

    Attributes:
        sentence: The result.
        comparison: How it stands against the best control.
        standing: ``better``, ``worse``, ``open`` or ``alone``, for the colour.
    """

    sentence: str
    comparison: str
    standing: str


def verdict(entries: list[Scores], *, seed: int = 0) -> Verdict:
    """Judge the first entry by the best control among the others.

    The difference is resampled over tiles, the same tiles for both: tiles differ more
    from one another than methods do.
    """
    own = entries[0]
    score = own.metrics(seed=seed)["iou"]
    tiles = f"{len(own.tiles)} test tile{'s' if len(own.tiles) > 1 else ''}"
    if math.isnan(score.value):
        sentence = f"The {tiles} hold no building, and none was found: there is no IoU."
        return Verdict(sentence, "", "alone")
    sentence = (
        f"On {tiles} the buildings are mapped with IoU {score.value:.2f}"
        f"{_between(score)}."
    )
    controls = [e for e in entries[1:] if e.role == "control"]
    rivals = [e for e in controls if not math.isnan(float(iou(e.confusions.sum(0))))]
    if not rivals:
        return Verdict(
            sentence,
            "No control was scored beside it, so the number says little: what colour "
            "alone reaches on these tiles is not known.",
            "alone",
        )
    best = max(rivals, key=lambda entry: float(iou(entry.confusions.sum(0))))
    return Verdict(sentence, *_compare(own, best, len(rivals), seed))


def _compare(own: Scores, best: Scores, count: int, seed: int) -> tuple[str, str]:
    gain = difference(own, best, seed=seed)
    rival = float(iou(best.confusions.sum(0)))
    what = f"{best.name}, the best of {count} controls" if count > 1 else best.name
    numbers = f"{rival:.2f}; difference {_signed(gain.value)}"
    if math.isnan(gain.low):
        text = f"One tile cannot tell it from {what} ({numbers})."
        return text, "open"
    numbers += f", 95 % interval {_signed(gain.low)} to {_signed(gain.high)}"
    if gain.low > 0:
        return f"That is better than {what} ({numbers}).", "better"
    if gain.high < 0:
        return f"That is worse than {what} ({numbers}).", "worse"
    side = "higher" if gain.value > 0 else "lower"
    text = (
        f"That is {side} than {what} ({numbers}): on so few or so unequal tiles the "
        "difference may be chance."
    )
    return text, "open"


def difference(first: Scores, second: Scores, *, seed: int = 0) -> Interval:
    """Return how much more IoU the first has, with its interval over paired tiles."""
    pairs = np.stack([first.confusions, second.confusions], axis=1)  # (T, 2, C, C)

    def gain(counts: NDArray[np.int64]) -> Floats:
        scores = iou(counts)
        return np.asarray(scores[..., 0] - scores[..., 1])

    return bootstrap_interval(pairs, gain, seed=seed)


def _between(score: Interval) -> str:
    if math.isnan(score.low):
        return ""
    return f" (95 % interval {score.low:.2f} to {score.high:.2f})"


def _signed(value: float) -> str:
    return f"{value:+.2f}".replace("-", "−")
