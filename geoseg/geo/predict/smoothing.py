"""Smoothing of class scores along the edges of the image.

A guided filter fits the score in every square of ``2 radius + 1`` pixels as a
linear function of the image's brightness, and averages the fits that cover a pixel.
Noise disappears, and outlines follow the edges of the image.

All sums are of integers, so that strips, workers and turned rasters give the same bits.

References:
    K. He, J. Sun, X. Tang, Guided Image Filtering, TPAMI 2013,
    https://doi.org/10.1109/TPAMI.2012.213, equations 5, 6 and 8.
"""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from geoseg.geo.rasters.strips import Strip
from geoseg.model.decisions import STEPS, Smoothing

# Steps of the coefficients of the linear fits, per step of probability.
_FINE = 2**12
# Columns that are filtered together: their sums fit into the processor's cache.
_COLUMNS = 512

_Ints = npt.NDArray[np.int64]


class Smoother:
    """Smooths the scores of consecutive strips with :func:`guided_filter`.

    The result does not depend on where strips begin and end. At most four radii of rows
    are kept between strips.

    Args:
        smoothing: Radius and epsilon.
    """

    def __init__(self, smoothing: Smoothing) -> None:
        self._smoothing = smoothing
        self._halo = 2 * smoothing.radius
        self._held: Strip | None = None  # rows to come, and up to a halo of rows above
        self._done = 0  # rows smoothed

    def feed(self, strip: Strip) -> Iterator[Strip]:
        """Yield the rows that a strip completes, if any."""
        self._held = strip if self._held is None else _joined(self._held, strip)
        # the rows below decide about the last ones
        yield from self._smooth_to(strip.row + len(strip.valid) - self._halo)

    def done(self) -> Iterator[Strip]:
        """Yield the rows that are left after the last strip."""
        if self._held is not None:
            yield from self._smooth_to(self._held.row + len(self._held.valid))

    def _smooth_to(self, end: int) -> Iterator[Strip]:
        held = self._held
        if held is None or end <= self._done:
            return
        inside = slice(self._done - held.row, end - held.row)
        smooth = guided_filter(
            held.probability, held.guide, held.valid, self._smoothing
        )
        yield Strip(
            self._done, smooth[:, inside], held.valid[inside], held.guide[inside]
        )
        self._done = end
        self._held = _from_row(held, end - self._halo)


def _joined(above: Strip, below: Strip) -> Strip:
    return Strip(
        above.row,
        np.concatenate((above.probability, below.probability), axis=1),
        np.concatenate((above.valid, below.valid)),
        np.concatenate((above.guide, below.guide)),
    )


def _from_row(strip: Strip, row: int) -> Strip:
    """Return a copy of the rows of a strip from ``row`` on."""
    first = max(row - strip.row, 0)
    return Strip(
        strip.row + first,
        strip.probability[:, first:].copy(),
        strip.valid[first:].copy(),
        strip.guide[first:].copy(),
    )


def guided_filter(
    probability: npt.NDArray[np.float32],
    guide: npt.NDArray[np.uint8],
    valid: npt.NDArray[np.bool_],
    smoothing: Smoothing,
) -> npt.NDArray[np.float32]:
    """Smooth class scores along the edges of a guide.

    Pixels without data do not count. A value depends on the pixels within two radii of
    rows and columns.

    Args:
        probability: ``(C, H, W)`` in [0, 1], sums to one over C where valid.
        guide: ``(H, W)``, brightness.
        valid: ``(H, W)``, False where there is no data.
        smoothing: Radius of the squares, and epsilon.

    Returns:
        ``(C, H, W)``, sums to one over C where valid; 0 elsewhere.
    """
    result = np.zeros_like(probability)
    width, halo = valid.shape[1], 2 * smoothing.radius
    for start in range(0, width, _COLUMNS):
        left, end = max(start - halo, 0), min(start + _COLUMNS, width)
        part = np.s_[..., left : min(end + halo, width)]
        if valid[part].any():
            smooth = _filtered(probability[part], guide[part], valid[part], smoothing)
            result[..., start:end] = smooth[..., start - left : end - left]
    return result


def _filtered(
    probability: npt.NDArray[np.float32],
    guide: npt.NDArray[np.uint8],
    valid: npt.NDArray[np.bool_],
    smoothing: Smoothing,
) -> npt.NDArray[np.float32]:
    """Return the filtered planes of a part of the columns."""
    fits = _Fits(guide, valid, smoothing)
    if len(probability) == 2:  # either plane says all
        building = fits.smooth(probability[1])
        planes = np.stack((STEPS - building, building)) / STEPS
    else:
        planes = np.stack([fits.smooth(plane) for plane in probability])
        planes = planes / np.maximum(planes.sum(axis=0), 1)
    smoothed: npt.NDArray[np.float32] = (planes * valid).astype(np.float32)
    return smoothed


class _Fits:
    """Linear fits of planes to a guide in all squares."""

    def __init__(
        self,
        guide: npt.NDArray[np.uint8],
        valid: npt.NDArray[np.bool_],
        smoothing: Smoothing,
    ) -> None:
        self._radius = radius = smoothing.radius
        self._valid = valid.astype(np.int64)
        self._guide = guide * self._valid
        self._count = np.maximum(_box_sums(self._valid, radius), 1)
        self._mean = _box_sums(self._guide, radius) / self._count
        variance = _box_sums(self._guide**2, radius) / self._count
        variance -= self._mean**2
        variance += smoothing.epsilon * 255**2
        self._variance = variance

    def smooth(self, plane: npt.NDArray[np.float32]) -> _Ints:
        """Return a plane's mean fit in each pixel, in steps."""
        steps = np.rint(plane * np.float32(STEPS)).astype(np.int64)
        steps *= self._valid
        mean = _box_sums(steps, self._radius) / self._count
        steps *= self._guide
        slope = _box_sums(steps, self._radius) / self._count
        slope -= self._mean * mean
        slope /= self._variance
        fit = self._total(slope)
        fit *= self._guide
        slope *= self._mean
        mean -= slope
        fit += self._total(mean)
        average = fit / self._count
        average /= _FINE
        return np.clip(np.rint(average), 0, STEPS).astype(np.int64)

    def _total(self, terms: npt.NDArray[np.float64]) -> _Ints:
        """Sum terms of the fits of all squares that cover a pixel."""
        return _box_sums(
            np.rint(terms * _FINE).astype(np.int64) * self._valid, self._radius
        )


def _box_sums(values: _Ints, radius: int) -> _Ints:
    """Sum ``(H, W)`` values over squares, cut at the border.

    Rows are summed on the way down, because a cumulative sum along columns takes eight
    times as long.
    """
    height, width = values.shape
    size = 2 * radius + 1
    sums = np.zeros((height, width + size), np.int64)
    column_sums = values[:radius].sum(axis=0)
    for row in range(height):
        if row + radius < height:
            column_sums += values[row + radius]
        if row > radius:
            column_sums -= values[row - radius - 1]
        np.cumsum(column_sums, out=sums[row, radius + 1 : width + radius + 1])
    sums[:, width + radius + 1 :] = sums[:, width + radius, None]
    return sums[:, size:] - sums[:, :width]
