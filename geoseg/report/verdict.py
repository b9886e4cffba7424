"""Verdict in words: the scores, and the comparison with the best control."""

import math
from collections.abc import Sequence
from typing import NamedTuple

from geoseg.core.words import counted
from geoseg.model.file import Model
from geoseg.scores.comparison import (
    SCORE_NAMES,
    Gain,
    gains,
    main_key,
    score_of,
    standing,
)
from geoseg.scores.metrics import Interval, class_iou
from geoseg.scores.scores import EVERYTHING_NAME, MAJORITY_NAME, Scores

#: Below this, in units of a score, two maps are called about equal.
_EQUAL = 0.005
#: Said where some interval holds zero.
CHANCE = (
    "Where the interval holds 0 the tiles are too few or too unequal to tell: the "
    "difference may be chance."
)


class Maker(NamedTuple):
    """Method that made the evaluated map, as far as advice depends on it.

    Attributes:
        method: Its name.
        learned: Whether it learned the classes from labels.
        steps: Whether it makes optimiser steps, of which there may be more.
    """

    method: str
    learned: bool = False
    steps: bool = True

    @classmethod
    def of(cls, model: Model) -> "Maker":
        """Return the maker of a model's maps."""
        method = model.method
        return cls(model.card.method, model.learned_classes, method.gradient)


class Verdict(NamedTuple):
    """Verdict at the top of a report page and at the end of a command.

    Attributes:
        sentence: The result.
        comparison: How it stands against the best control.
        standing: ``better``, ``worse``, ``mixed``, ``open`` or ``alone``, for the colour.
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
    """Compare the first entry with the best control among the others, score by score.

    Of two classes IoU and footprint F1 are weighed, each against the control that is
    best in it. The differences are resampled over tiles, the same tiles for both: tiles
    differ more from one another than methods do.

    Args:
        entries: Scores of the map, then of others on the same tiles.
        maker: Of the map. None: unknown, and so is whether it has seen the tiles.
        seed: Of the resampling.
    """
    own = entries[0]
    tiles = counted(len(own.tiles), "tile" if maker is None else "test tile")
    main = main_key(own.class_names)
    if math.isnan(score_of(own, main)):
        sentence = f"The {tiles} hold no building, and none was found: there is no IoU."
        return Verdict(sentence, "", "alone")
    sentence = f"On {tiles} {_mapped(own, seed)}"
    controls = [entry for entry in entries[1:] if entry.role == "control"]
    rivals = [entry for entry in controls if not math.isnan(score_of(entry, main))]
    if all(entry.name in (MAJORITY_NAME, EVERYTHING_NAME) for entry in rivals):
        return Verdict(sentence, _beside(rivals) + _unknown(maker), "alone")
    compared = gains([own], [[entry] for entry in rivals], seed=seed)
    names = [entry.name for entry in rivals]
    judged = standing(compared)
    advice = _advice(maker) if maker is not None and judged == "worse" else ""
    return Verdict(sentence, comparison(compared, names), judged, advice)


def _beside(rivals: Sequence[Scores]) -> str:
    """Return the sentence for a map scored beside constant maps only."""
    what = "No control was"
    if len(rivals) == 1:
        what = "Only the majority class was"
    elif rivals:
        what = "Only constant maps were"
    return f"{what} scored beside it, so the number says little"


def _unknown(maker: Maker | None) -> str:
    """Say that only a control could show the gain; colour k-means is itself a control."""
    if maker is not None and maker.method == "color_kmeans":
        return "."
    return ": what colour alone reaches on these tiles is not known."


def comparison(compared: Sequence[Gain], names: Sequence[str]) -> str:
    """Return the comparison of a map with its rivals, in one or two sentences.

    Args:
        compared: From :func:`geoseg.scores.comparison.gains`.
        names: Of the rivals.
    """
    if not compared:
        return ""
    first = compared[0]
    best = names[first.rival]
    if len(names) > 1:
        best += f", the best of {len(names)} controls,"
    text = f"That {clause(first, best, by=len(compared) > 1)}"
    for gain in compared[1:]:
        but = "but" if gain.direction == -first.direction != 0 else "and"
        text += f", {but} {clause(gain, names[gain.rival], by=True)}"
    return f"{text}. {CHANCE}" if any(map(is_open, compared)) else f"{text}."


def clause(gain: Gain, rival: str, *, by: bool) -> str:
    """Compare one score: ``is better than k-means by IoU (0.43; difference …)``.

    Args:
        gain: In that score.
        rival: Its name.
        by: Name the score.
    """
    score = f" by {SCORE_NAMES[gain.key]}" if by else ""
    if gain.gain.value == 0:
        return f"equals {rival.rstrip(',')}{score} ({gain.score:.2f})"
    numbers = f"{gain.score:.2f}; difference {_signed(gain.gain.value)}"
    if math.isnan(gain.gain.low):
        return f"cannot be told from {rival}{score} by one tile ({numbers})"
    ends = f"{_signed(gain.gain.low)} to {_signed(gain.gain.high)}"
    numbers += f", 95 % interval {ends}"
    if not math.isnan(gain.spread):
        numbers += f", spread over {counted(gain.runs, 'run')} {gain.spread:.2f}"
    return (
        f"is {_side(gain)} {rival if score else rival.rstrip(',')}{score} ({numbers})"
    )


def _side(gain: Gain) -> str:
    """Return whether a map is better than, worse than or about equal to its rival."""
    if gain.direction:
        return "better than" if gain.direction > 0 else "worse than"
    if abs(gain.gain.value) < _EQUAL:
        return "about equal to"
    return "higher than" if gain.gain.value > 0 else "lower than"


def is_open(gain: Gain) -> bool:
    """Tell whether a difference may be due to chance."""
    return not gain.direction and gain.gain.value != 0 and not math.isnan(gain.gain.low)


def not_found(scores: Scores) -> list[str]:
    """Return the classes in the reference with an IoU that rounds to 0.00."""
    total = scores.confusions.sum(0)
    ious, real = class_iou(total), total.sum(1) > 0
    return [
        name
        for name, value, there in zip(scores.class_names, ious, real, strict=True)
        if there and value < 0.005
    ]


def _mapped(own: Scores, seed: int) -> str:
    found = own.metrics(seed=seed)
    score = found[main_key(own.class_names)]
    if len(own.class_names) == 2:
        text = f"the buildings are mapped with IoU {score.value:.2f}{_between(score)}"
        outlines = found.get("polygon_f1")
        if outlines is not None and not math.isnan(outlines.value):
            text += f" and footprint F1 {outlines.value:.2f}{_between(outlines)}"
        return f"{text}."
    text = (
        f"the {len(own.class_names)} classes are mapped with mean IoU "
        f"{score.value:.2f}{_between(score)}."
    )
    if lost := not_found(own):
        *first, last = lost
        named = f"{', '.join(first)} and {last}" if first else last
        text += f" Not found: {named} (IoU 0.00)."
    return text


def _advice(maker: Maker) -> str:
    """Return advice for a map that is worse than a control."""
    ways = []
    if maker.learned:
        ways = ["label more tiles (--match-tiles)"]
    elif maker.method != "color_kmeans":
        ways = ["try --preset colors"]
    if ways and maker.steps:
        ways.append("train longer (--max-steps)")
    text = ", or ".join(ways)
    return f"{text[0].upper()}{text[1:]}." if text else ""


def _between(score: Interval) -> str:
    if math.isnan(score.low):
        return ""
    return f" (95 % interval {score.low:.2f} to {score.high:.2f})"


def _signed(value: float) -> str:
    return f"{value:+.2f}".replace("-", "−")
