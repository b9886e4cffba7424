"""From stitched class scores to class probabilities: smoothing, then calibration."""

from collections.abc import Generator, Iterable, Iterator
from dataclasses import replace

from geoseg.geo.predict.smoothing import Smoother
from geoseg.geo.predict.window_batches import ClassModel
from geoseg.geo.rasters.description import RasterDescription
from geoseg.geo.rasters.strips import Strip
from geoseg.model.file import Model
from geoseg.model.matching import ClassRule

#: The rule of models without one: their scores are probabilities.
NO_RULE = ClassRule(None, ())


def rule_for(
    model: ClassModel,
    grid: RasterDescription,
    *,
    smooth: bool = True,
    threshold: float | None = None,
) -> ClassRule:
    """Return what prediction does with a model's class scores in an image.

    The radius of smoothing follows the image's ground sampling distance.

    Args:
        model: Any model.
        grid: Of the image.
        smooth: Smooth the scores, if the model was matched for that.
        threshold: Probability above which a pixel is building; None for the model's.
    """
    if not isinstance(model, Model):
        return NO_RULE
    rule = model.rule(smooth=smooth)
    if threshold is not None and rule.decision is not None:
        rule = rule._replace(decision=replace(rule.decision, threshold=threshold))
    if rule.smoothing is None or not model.card.gsd_m or not grid.gsd_m:
        return rule
    return rule._replace(
        smoothing=rule.smoothing.rescaled(model.card.gsd_m / grid.gsd_m)
    )


class Decider:
    """Smooths and calibrates the strips of an image.

    Args:
        rule: What to do.
    """

    def __init__(self, rule: ClassRule) -> None:
        self._rule = rule
        self._smoother = None if rule.smoothing is None else Smoother(rule.smoothing)

    def feed(self, strip: Strip) -> Iterator[Strip]:
        """Yield the rows that are known once a strip has come, with probabilities."""
        known = [strip] if self._smoother is None else self._smoother.feed(strip)
        yield from map(self._calibrated, known)

    def done(self) -> Iterator[Strip]:
        """Yield the rows that are left after the last strip."""
        if self._smoother is not None:
            yield from map(self._calibrated, self._smoother.done())

    def _calibrated(self, strip: Strip) -> Strip:
        decision, prior, _ = self._rule
        if decision is None:
            return strip
        probability = decision.probabilities(strip.probability, prior)
        return strip._replace(probability=probability, threshold=decision.threshold)


def decided(strips: Iterable[Strip], rule: ClassRule) -> Generator[Strip]:
    """Yield strips with class probabilities instead of scores.

    Args:
        strips: Consecutive strips of an image, from top to bottom.
        rule: As :func:`rule_for` returns it.
    """
    decider = Decider(rule)
    for strip in strips:
        yield from decider.feed(strip)
    yield from decider.done()
