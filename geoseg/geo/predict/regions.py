"""Classes of a part of an image, from the pixels that decide about it."""

from collections.abc import Iterable

import numpy as np

from geoseg.geo.predict.deciding import Decider, rule_for
from geoseg.geo.predict.predictor import predict_strips
from geoseg.geo.predict.window_batches import ClassModel
from geoseg.geo.rasters.description import PixelWindow, RasterDescription
from geoseg.geo.rasters.strips import ClassStrip, Strip, classify
from geoseg.model.decisions import Smoothing
from geoseg.model.matching import ClassRule


def class_strip(
    model: ClassModel, grid: RasterDescription, part: PixelWindow
) -> ClassStrip:
    """Return the classes of a part of an image.

    Args:
        model: The model.
        grid: Of the image.
        part: The part, in pixels of the image.
    """
    region, (classes,) = region_maps([model], grid, part)
    for strip in predict_strips(model, grid, region=region):
        classes.feed(strip)
    return classes.data


def region_maps(
    models: Iterable[ClassModel], grid: RasterDescription, part: PixelWindow
) -> tuple[PixelWindow, list["RegionClasses"]]:
    """Return what to predict for a part of an image, and a collector for each model.

    Args:
        models: Their rules decide.
        grid: Of the image.
        part: The part, in pixels of the image.
    """
    rules = [rule_for(model, grid) for model in models]
    region = grown(part, grid.window, [rule.smoothing for rule in rules])
    return region, [RegionClasses(rule, part, region) for rule in rules]


def grown(
    part: PixelWindow, whole: PixelWindow, smoothings: Iterable[Smoothing | None]
) -> PixelWindow:
    """Return the part of an image that decides about a part of it.

    Args:
        part: Of the image.
        whole: The image.
        smoothings: Their squares reach twice the largest radius beyond the part.
    """
    reach = max((2 * each.radius for each in smoothings if each), default=0)
    top, left = max(part.row - reach, whole.row), max(part.col - reach, whole.col)
    bottom = min(part.row + part.height + reach, whole.row + whole.height)
    right = min(part.col + part.width + reach, whole.col + whole.width)
    return PixelWindow(top, left, bottom - top, right - left)


def cropped(strip: Strip, part: PixelWindow, region: PixelWindow) -> Strip | None:
    """Return the pixels of a strip of a region that lie in a part of it, if any."""
    above = part.row - region.row - strip.row
    rows = slice(max(above, 0), max(above + part.height, 0))
    first = part.col - region.col
    inside = np.s_[..., rows, first : first + part.width]
    valid = strip.valid[inside]
    if not len(valid):
        return None
    return strip._replace(
        row=max(-above, 0),
        probability=strip.probability[inside],
        valid=valid,
        guide=strip.guide[inside],
    )


class RegionClasses:
    """Collects the classes of a part of an image from strips of class scores.

    Args:
        rule: As :func:`geoseg.geo.predict.deciding.rule_for` returns it.
        part: The part, in pixels of the image.
        region: What is predicted for it, as :func:`grown` returns it.
    """

    def __init__(self, rule: ClassRule, part: PixelWindow, region: PixelWindow) -> None:
        self._decider = Decider(rule)
        top, left = part.row - region.row, part.col - region.col
        self._inside = np.s_[top : top + part.height, left : left + part.width]
        self._strips: list[ClassStrip] = []

    def feed(self, strip: Strip) -> None:
        """Add the next strip of the region."""
        self._strips += map(classify, self._decider.feed(strip))

    @property
    def data(self) -> ClassStrip:
        """Classes of the part, after the last strip."""
        self._strips += map(classify, self._decider.done())
        classes = np.concatenate([strip.classes for strip in self._strips])
        score = np.concatenate([strip.score for strip in self._strips])
        return ClassStrip(0, classes[self._inside], score[self._inside])
