"""Decisions: how scores of pixels become probabilities, and probabilities classes.

Naming by share gives every pixel the mean class shares of its clusters. These scores
are too moderate: blending and smoothing draw them together, and shares of held-out tiles
differ. So they are calibrated, and the threshold is chosen, on tiles whose labels did
not count in their shares.
"""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray

from geoseg.core.classes import BACKGROUND, BUILDING
from geoseg.core.errors import ParameterError, ShapeError
from geoseg.core.stored import Range

Objective = Literal["accuracy", "f1"]
OBJECTIVES: tuple[Objective, ...] = ("accuracy", "f1")

#: Bins of a histogram of scores between 0 and 1.
BINS = 1000
#: Number of steps between the scores 0 and 1. It is even, so that one half is exact.
STEPS = 65534
#: Powers of the class priors that may divide the scores of more than two classes.
PRIOR_POWERS = (0.0, 0.5, 1.0)

#: Radius of smoothing in metres, and in pixels where the ground sampling distance is
#: not known; they were chosen on 0.3 m imagery.
SMOOTHING_M, SMOOTHING_PIXELS = 1.8, 6
#: Largest radius of smoothing, pixels. It bounds the rows kept between strips.
MOST_SMOOTHING = 64

# Slopes of calibrations: scores that tell classes apart less are no evidence.
_LOWEST_SLOPE, _HIGHEST_SLOPE = 0.01, 100.0
_MOST_STEPS = 100


@dataclass(frozen=True)
class Smoothing:
    """A guided filter of class scores along the edges of the image.

    Attributes:
        radius: Half the side of its squares, pixels.
        epsilon: Variance of the guide, as a share of its range squared, below which
            scores are averaged.
    """

    radius: Annotated[int, Range(1, MOST_SMOOTHING)] = SMOOTHING_PIXELS
    epsilon: Annotated[float, Range(1e-6, 1.0)] = 0.002

    @classmethod
    def of_gsd(cls, gsd_m: float | None) -> "Smoothing":
        """Return the smoothing of images of a ground sampling distance."""
        if gsd_m is None:
            return cls()
        return cls(_radius(SMOOTHING_M / gsd_m))

    def rescaled(self, factor: float) -> "Smoothing":
        """Return the smoothing of images whose pixels are ``factor`` times as fine."""
        return replace(self, radius=_radius(self.radius * factor))


def _radius(pixels: float) -> int:
    return int(min(max(round(pixels), 1), MOST_SMOOTHING))


@dataclass(frozen=True)
class Decision:
    """How class scores become class probabilities, and these a class.

    With two classes, ``logit(probability) = slope · logit(score) + offset``. With more,
    the scores are divided by ``prior ** prior_power`` and scaled to sum to one.

    Attributes:
        slope: Of the calibration.
        offset: Of the calibration.
        threshold: With two classes, a pixel is building if its probability is greater.
            None: the most probable class.
        prior_power: Power of the class priors.
    """

    slope: Annotated[float, Range(_LOWEST_SLOPE, _HIGHEST_SLOPE)] = 1.0
    offset: float = 0.0
    threshold: Annotated[float, Range(0.0, 1.0)] | None = None
    prior_power: Annotated[float, Range(0.0, 1.0)] = 0.0

    @cached_property
    def _table(self) -> NDArray[np.float32]:
        """Return ``(STEPS + 1,)`` building probabilities of all scores.

        A table makes probabilities independent of how the processor computes logarithms.
        """
        scores = np.arange(STEPS + 1) / STEPS
        return calibrated(scores, self.slope, self.offset).astype(np.float32)

    def probabilities(
        self, scores: NDArray[np.float32], prior: tuple[float, ...]
    ) -> NDArray[np.float32]:
        """Return class probabilities that sum to one.

        Args:
            scores: ``(C, ...)`` in [0, 1], which sum to one over C, or are all zero.
            prior: ``C`` shares of the classes.
        """
        if len(scores) == 2:
            steps = np.rint(scores[BUILDING] * np.float32(STEPS)).astype(np.int32)
            building = self._table[steps]
            some = scores.sum(axis=0) > 0
            return np.stack(((1 - building) * some, building * some))
        shape = (-1, *[1] * (scores.ndim - 1))
        balanced = scores / np.reshape(self.divisors(prior), shape).astype(np.float32)
        total = balanced.sum(axis=0)
        return np.asarray(balanced / np.where(total > 0, total, 1), np.float32)

    def divisors(self, prior: tuple[float, ...]) -> list[float]:
        """Return the ``C`` numbers that divide the scores of more than two classes."""
        return [share**self.prior_power or 1.0 for share in prior]


def calibrated(
    scores: NDArray[np.float64], slope: float, offset: float
) -> NDArray[np.float64]:
    """Return ``sigmoid(slope · logit(scores) + offset)``; 0 and 1 stay 0 and 1."""
    with np.errstate(divide="ignore"):
        for_building = np.exp(slope * np.log(scores) + offset / 2)
        against = np.exp(slope * np.log1p(-scores) - offset / 2)
    return np.asarray(for_building / (for_building + against))


def histogram(
    scores: NDArray[np.float32], classes: NDArray[np.integer]
) -> NDArray[np.int64]:
    """Count pixels by building score and class.

    Args:
        scores: ``(n,)`` building scores in [0, 1].
        classes: ``(n,)`` class ids, 0 or 1.

    Returns:
        ``(BINS, 2)``: bin ``b`` has the scores in [b / BINS, (b + 1) / BINS), the last
        one also 1.
    """
    steps = np.rint(scores * np.float32(STEPS)).astype(np.int64)
    bins = np.minimum(steps * BINS // STEPS, BINS - 1)
    cells = np.bincount(2 * bins + classes.astype(np.int64), minlength=2 * BINS)
    return cells.reshape(BINS, 2)


def fit_decision(counts: NDArray[np.int64], objective: Objective) -> Decision:
    """Calibrate scores by their counts on held-out tiles, and choose the threshold.

    Args:
        counts: ``(BINS, 2)``, as :func:`histogram` returns them.
        objective: ``accuracy``: the threshold is 1/2. ``f1``: that of the highest F1 of
            the building pixels, and 1/2 if none is better than to call all building.

    Raises:
        ShapeError: If the counts have another shape.
        ParameterError: If they hold only one class.

    References:
        J. Platt, Probabilistic Outputs for Support Vector Machines, 1999 (the sigmoid).
        The threshold follows Z. C. Lipton et al., Optimal Thresholding of Classifiers
        to Maximize F1 Measure, 2014, https://arxiv.org/abs/1402.1892.
    """
    if counts.shape != (BINS, 2):
        raise ShapeError(f"counts have shape {counts.shape}, expected ({BINS}, 2)")
    if not counts.sum(axis=0).all():
        raise ParameterError("the counts hold one class, expected pixels of both")
    centres = (np.arange(BINS) + 0.5) / BINS
    slope, offset = _sigmoid(np.log(centres / (1 - centres)), counts)
    lowest = best_bin(counts, objective)
    if objective == "accuracy" or not counts[:lowest].any():
        return Decision(slope, offset, 0.5)
    # between two steps, so that all scores of the bin are above
    edge = max(np.ceil(lowest * STEPS / BINS) - 0.5, 0.0) / STEPS
    return Decision(slope, offset, float(calibrated(np.asarray(edge), slope, offset)))


def best_bin(counts: NDArray[np.int64], objective: Objective) -> int:
    """Return the bin from which on pixels are best called building.

    Of a gap without pixels it is the middle, among equals the highest.

    Args:
        counts: ``(BINS, 2)``.
        objective: What is best.
    """
    above = counts[::-1].cumsum(axis=0)[::-1]
    if objective == "f1":
        total = above.sum(axis=1) + above[0, BUILDING]
        score = 2.0 * above[:, BUILDING] / np.maximum(total, 1)
    else:
        score = above[:, BUILDING] - above[:, BACKGROUND].astype(float)
    best = BINS - 1 - int(np.argmax(score[::-1]))
    below = np.flatnonzero(counts[:best].sum(axis=1))
    return (best + int(below[-1]) + 2) // 2 if len(below) else best


def _sigmoid(
    logits: NDArray[np.float64], counts: NDArray[np.int64]
) -> tuple[float, float]:
    """Return the slope and offset of the highest likelihood, by Newton's method.

    Half a pixel of each class in each bin that has pixels keeps them finite where scores
    separate the classes.
    """
    seen = counts.sum(axis=1) > 0
    x = logits[seen]
    weights = counts[seen].sum(axis=1) + 1.0
    share = (counts[seen, BUILDING] + 0.5) / weights
    design = np.stack((x, np.ones_like(x)), axis=1)
    parameters = np.array([1.0, 0.0])

    def loss(values: NDArray[np.float64]) -> float:
        z = design @ values
        return float(weights @ (np.logaddexp(0, z) - share * z))

    best = loss(parameters)
    for _ in range(_MOST_STEPS):
        p = 1 / (1 + np.exp(-(design @ parameters)))
        gradient = design.T @ (weights * (p - share))
        hessian = (design * (weights * p * (1 - p))[:, None]).T @ design
        step = np.linalg.solve(hessian + 1e-9 * weights.sum() * np.eye(2), gradient)
        size = 1.0
        while loss(parameters - size * step) > best and size > 1e-6:
            size /= 2
        parameters = parameters - size * step
        gain, best = best - loss(parameters), loss(parameters)
        if gain <= 1e-12 * abs(best):
            break
    slope = float(np.clip(parameters[0], _LOWEST_SLOPE, _HIGHEST_SLOPE))
    if slope == parameters[0]:
        return slope, float(parameters[1])
    return slope, _offset(slope * x, share, weights)


def _offset(
    scaled: NDArray[np.float64],
    share: NDArray[np.float64],
    weights: NDArray[np.float64],
) -> float:
    """Return the offset at which the mean probability is the share of building."""
    low, high = -50.0, 50.0
    for _ in range(_MOST_STEPS):
        middle = (low + high) / 2
        p = 1 / (1 + np.exp(-(scaled + middle)))
        low, high = (low, middle) if weights @ (p - share) > 0 else (middle, high)
    return (low + high) / 2
