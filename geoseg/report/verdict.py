"""The result in words: how good, against which control, and whether better."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from geoseg.geo.scores import Scores
from geoseg.metrics import (
    Floats,
    Interval,
    Metric,
    bootstrap_interval,
    class_iou,
    iou,
    mean_iou,
)
from geoseg.model import Model
from geoseg.words import counted


class Maker(NamedTuple):
    """What made the map that is judged, as far as advice on it depends on that.

    Attributes:
        method: Its name.
        learned: Whether it learned the classes from labels.
        steps: Whether it makes optimiser steps, of which there may be more.
        clusters: Of the head that predicts.
    """

    method: str
    learned: bool = False
    steps: bool = True
    clusters: int | None = None

    @classmethod
    def of(cls, model: Model) -> "Maker":
        """Return what there is to know of a model."""
        method = model.method
        clusters = method.heads[model.card.head]
        return cls(model.card.method, model.learned_classes, method.gradient, clusters)


class Verdict(NamedTuple):
    """What the top of a page, and the end of a command, says.

    Attributes:
        sentence: The result.
        comparison: How it stands against the best control.
        standing: ``better``, ``worse``, ``open`` or ``alone``, for the colour.
        advice: What to try next where it is worse, if its maker is known.
    """

    sentence: str
    comparison: str
    standing: str
    advice: str = ""

    def __str__(self) -> str:
        """One line of plain text."""
        return " ".join(filter(None, (self.sentence, self.comparison, self.advice)))


def verdict(
    entries: Sequence[Scores], maker: Maker | None = None, *, seed: int = 0
) -> Verdict:
    """Judge the first entry by the best control among the others.

    The difference is resampled over tiles, the same tiles for both: tiles differ more
    from one another than methods do.

    Args:
        entries: Scores of the map, then of others on the same tiles.
        maker: Of the map. None: unknown, and so is whether it has seen the tiles.
        seed: Of the resampling.
    """
    own = entries[0]
    name, measure = main_score(own)
    score = own.metrics(seed=seed)[name]
    tiles = counted(len(own.tiles), "tile" if maker is None else "test tile")
    if math.isnan(score.value):
        sentence = f"The {tiles} hold no building, and none was found: there is no IoU."
        return Verdict(sentence, "", "alone")
    sentence = f"On {tiles} {_mapped(own, score)}"
    controls = [e for e in entries[1:] if e.role == "control"]
    rivals = [e for e in controls if not math.isnan(float(measure(_total(e))))]
    if not rivals:
        return Verdict(
            sentence,
            "No control was scored beside it, so the number says little"
            + _unknown(maker),
            "alone",
        )
    if all(entry.name == "majority" for entry in rivals):
        return Verdict(
            sentence,
            "Only the majority class was scored beside it, so the number says little"
            + _unknown(maker),
            "alone",
        )
    best = max(rivals, key=lambda entry: float(measure(_total(entry))))
    comparison, standing = _compare(own, best, len(rivals), seed)
    advice = _advice(maker) if maker is not None and standing == "worse" else ""
    return Verdict(sentence, comparison, standing, advice)


def _unknown(maker: Maker | None) -> str:
    """Say what only a control could tell; of k-means of colours, it is the score itself."""
    if maker is not None and maker.method == "color_kmeans":
        return "."
    return ": what colour alone reaches on these tiles is not known."


def main_score(scores: Scores) -> tuple[str, Metric]:
    """Return name and measure of what is judged: IoU of building, or the mean IoU.

    With more than two classes the IoU of one of them says nothing of the others.
    """
    if len(scores.class_names) == 2:
        return "iou", iou
    return "mean_iou", mean_iou


def not_found(scores: Scores) -> list[str]:
    """Return the classes that the reference holds and whose IoU rounds to 0.00."""
    total = _total(scores)
    ious, real = class_iou(total), total.sum(1) > 0
    return [
        name
        for name, value, there in zip(scores.class_names, ious, real, strict=True)
        if there and value < 0.005
    ]


def _mapped(own: Scores, score: Interval) -> str:
    if len(own.class_names) == 2:
        return f"the buildings are mapped with IoU {score.value:.2f}{_between(score)}."
    text = (
        f"the {len(own.class_names)} classes are mapped with mean IoU "
        f"{score.value:.2f}{_between(score)}."
    )
    if lost := not_found(own):
        *first, last = lost
        named = f"{', '.join(first)} and {last}" if first else last
        text += f" Not found: {named} (IoU 0.00)."
    return text


def _total(scores: Scores) -> NDArray[np.int64]:
    return np.asarray(scores.confusions.sum(0))


def _advice(maker: Maker) -> str:
    """Say what to try in the place of what is worse than a control."""
    ways = []
    if maker.learned:
        ways = ["label more tiles (--match-tiles)"]
    elif maker.method != "color_kmeans":
        option = f" -p clusters={maker.clusters}" if maker.clusters else ""
        ways = [f"try --method color_kmeans{option}"]
    if ways and maker.steps:
        ways.append("train longer (--max-steps)")
    text = ", or ".join(ways)
    return f"{text[0].upper()}{text[1:]}." if text else ""


def _compare(own: Scores, best: Scores, count: int, seed: int) -> tuple[str, str]:
    gain = difference(own, best, seed=seed)
    rival = float(main_score(own)[1](_total(best)))
    what = f"{best.name}, the best of {count} controls" if count > 1 else best.name
    if gain.value == 0:
        return f"That equals {what} ({rival:.2f}).", "open"
    numbers = f"{rival:.2f}; difference {_signed(gain.value)}"
    if math.isnan(gain.low):
        text = f"One tile cannot tell it from {what} ({numbers})."
        return text, "open"
    numbers += f", 95 % interval {_signed(gain.low)} to {_signed(gain.high)}"
    if gain.low > 0:
        return f"That is better than {what} ({numbers}).", "better"
    if gain.high < 0:
        return f"That is worse than {what} ({numbers}).", "worse"
    side = "higher than" if gain.value > 0 else "lower than"
    if abs(gain.value) < 0.005:
        side = "about equal to"
    text = (
        f"That is {side} {what} ({numbers}): on so few or so unequal tiles the "
        "difference may be chance."
    )
    return text, "open"


def difference(first: Scores, second: Scores, *, seed: int = 0) -> Interval:
    """Return the gain in what is judged, with its interval over paired tiles."""
    measure = main_score(first)[1]
    pairs = np.stack([first.confusions, second.confusions], axis=1)  # (T, 2, C, C)

    def gain(counts: NDArray[np.int64]) -> Floats:
        scores = measure(counts)
        return np.asarray(scores[..., 0] - scores[..., 1])

    return bootstrap_interval(pairs, gain, seed=seed)


def _between(score: Interval) -> str:
    if math.isnan(score.low):
        return ""
    return f" (95 % interval {score.low:.2f} to {score.high:.2f})"


def _signed(value: float) -> str:
    return f"{value:+.2f}".replace("-", "−")
