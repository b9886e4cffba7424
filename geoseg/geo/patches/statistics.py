"""Percentiles, medians and covariances of bands over all tiles, in streamed passes.

Integers of up to 16 bit are counted exactly. Other types are counted by the leading
bits of an order-preserving integer code of their float32 value. This needs no range in
advance, adds up over files, and gives percentiles within 0.2 % of their value.
"""

import logging
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from geoseg.core.errors import DatasetError, ParameterError
from geoseg.core.normalization import Normalization
from geoseg.core.whitening import Whitening, WhitenMode
from geoseg.geo.rasters.bands import band_numbers
from geoseg.geo.rasters.description import PixelWindow
from geoseg.geo.rasters.nodata import NodataRule, count_sentinels, suspected_gap
from geoseg.geo.rasters.raster import describe_open, open_raster, read_window
from geoseg.geo.tiles.tiles import Tile

log = logging.getLogger(__name__)

# Range of exact counters: from int16's least to uint16's greatest value.
_LEAST, _GREATEST = -(2**15), 2**16 - 1
# Sign, 8 bits of exponent, 9 of mantissa: the width of a bin is 1/512 of its value.
_CODE_BITS = 18
_STRIP_VALUES = 2**22


class BandStatistics(NamedTuple):
    """Statistics of each band over the tiles, in the file's units.

    Attributes:
        low: Lower percentile per band.
        high: Upper percentile per band; above ``low`` (by 1 for a constant band).
        median: Median per band.
        valid_pixels: Number of valid pixels.
        sentinels: Usual nodata value → number of valid pixels with it in all bands.
        pixels: Number of all pixels read.
    """

    low: tuple[float, ...]
    high: tuple[float, ...]
    median: tuple[float, ...]
    valid_pixels: int
    sentinels: Mapping[float, int]
    pixels: int


class _Histogram:
    """Counts of one band's values, exact or by float code."""

    def __init__(self, exact: bool) -> None:
        self.exact = exact
        bins = _GREATEST - _LEAST + 1 if exact else 2**_CODE_BITS
        self.counts = np.zeros(bins, np.int64)

    def add(self, values: np.ndarray[Any, Any]) -> None:
        if not self.exact:
            codes, first = _float_code(values) >> (32 - _CODE_BITS), 0
        elif values.dtype.kind == "u":  # bincount takes unsigned values without a copy
            codes, first = values, -_LEAST
        else:
            codes, first = values.astype(np.int64) - _LEAST, 0
        counts = np.bincount(codes)
        self.counts[first : first + len(counts)] += counts

    def merged(self, other: "_Histogram") -> "_Histogram":
        """Return the counts of both; exact if the other, by float code, is empty."""
        if not other.counts.any():
            return self
        values = np.arange(_LEAST, _GREATEST + 1)
        codes = _float_code(values) >> (32 - _CODE_BITS)
        np.add.at(other.counts, codes, self.counts)
        return other

    def quantile(self, share: float) -> float:
        """Return a quantile, interpolated linearly as by numpy's default."""
        position = share * (int(self.counts.sum()) - 1)
        below = int(np.floor(position))
        weight = position - below
        lower = self._order_statistic(below)
        upper = self._order_statistic(below + 1) if weight > 0 else lower
        return lower + weight * (upper - lower)

    def _order_statistic(self, rank: int) -> float:
        """Return the ``rank``-th smallest value, counted from 0.

        Values in a bin of the float code are assumed to be evenly spread over it.
        """
        cumulative = np.cumsum(self.counts)
        code = int(np.searchsorted(cumulative, rank, side="right"))
        if self.exact:
            return float(code + _LEAST)
        count = int(self.counts[code])
        place = rank - (int(cumulative[code]) - count)
        start, stop = _bin_edges(code)
        return start + (stop - start) * (place + 0.5) / count


def _float_code(values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Return unsigned 32-bit integers in the order of the values as float32."""
    limit = float(np.finfo(np.float32).max)
    rounded = np.clip(values, -limit, limit).astype(np.float32)
    bits = rounded.view(np.uint32).astype(np.int64)
    negative = bits >= 2**31
    return np.asarray(np.where(negative, 2**32 - 1 - bits, bits + 2**31))


def _bin_edges(code: int) -> tuple[float, float]:
    first = code << (32 - _CODE_BITS)
    last = first + (1 << (32 - _CODE_BITS)) - 1
    start, stop = _decode(first), _decode(last)
    return start, stop


def _decode(code: int) -> float:
    bits = code - 2**31 if code >= 2**31 else 2**32 - 1 - code
    value = float(np.array(bits, np.uint32).view(np.float32))
    # the bins at both ends also hold the codes of infinities
    limit = float(np.finfo(np.float32).max)
    return (
        min(max(value, -limit), limit)
        if value == value
        else np.copysign(limit, 1 if code >= 2**31 else -1)
    )


def strips(window: PixelWindow, bands: int) -> Iterator[PixelWindow]:
    """Cut a window into strips of whole rows of bounded size."""
    rows = max(1, _STRIP_VALUES // (window.width * bands))
    if rows > 256:
        rows -= rows % 256
    for start in range(0, window.height, rows):
        height = min(rows, window.height - start)
        yield PixelWindow(window.row + start, window.col, height, window.width)


def band_statistics(
    tiles: Sequence[Tile],
    bands: Sequence[str],
    *,
    nodata: NodataRule = "auto",
    low: float = 1.0,
    high: float = 99.0,
) -> BandStatistics:
    """Return percentiles and median of every band over the valid pixels of all tiles.

    This takes one pass over the files, in strips of at most 4 Mi values; memory does
    not grow with the data. Pixels in overlapping tiles count once per tile; tiles of
    several types count together.

    Args:
        tiles: The tiles.
        bands: Band names.
        nodata: The nodata rule.
        low, high: Lower and upper percentile, in percent.

    Raises:
        DatasetError: If there is no tile or no valid pixel.
        ParameterError: Unless 0 <= low < high <= 100.
        RasterError: If a file cannot be read or lacks a band.
    """
    if not 0 <= low < high <= 100:
        raise ParameterError(
            f"percentiles are {low} and {high}, expected 0 <= low < high <= 100"
        )
    if not tiles:
        raise DatasetError("no tile to take statistics of, expected at least one")
    area, sentinels = 0, Counter[float]()
    exact, coded = ([_Histogram(kind) for _ in bands] for kind in (True, False))
    for tile in tiles:
        for values, valid in _read_strips(tile, bands, nodata):
            area += valid.size
            sentinels.update(count_sentinels(values, valid))
            whole = valid.all()  # the usual case, which needs no selection
            small = values.dtype.kind in "iu" and values.dtype.itemsize <= 2
            for counts, band in zip(exact if small else coded, values, strict=True):
                counts.add(band.ravel() if whole else band[valid])
    histograms = [a.merged(b) for a, b in zip(exact, coded, strict=True)]
    pixels = int(histograms[0].counts.sum())
    if pixels == 0:
        raise DatasetError(
            f"no tile of {len(tiles)} has a valid pixel under nodata {nodata!r}, expected "
            "some; check --nodata and the files"
        )
    if all(np.count_nonzero(histogram.counts) == 1 for histogram in histograms):
        held = ", ".join(f"{histogram.quantile(0.5):.4g}" for histogram in histograms)
        raise DatasetError(
            f"every valid pixel ({pixels} in all) holds {held} ({', '.join(bands)}), expected "
            "an image that shows something; check the files and --bands"
        )
    lows, highs, medians = (
        tuple(histogram.quantile(share) for histogram in histograms)
        for share in (low / 100, high / 100, 0.5)
    )
    highs = tuple(b if b > a else a + 1.0 for a, b in zip(lows, highs, strict=True))
    return BandStatistics(lows, highs, medians, pixels, sentinels, area)


def _read_strips(
    tile: Tile, bands: Sequence[str], nodata: NodataRule
) -> Iterator[tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]]:
    """Yield pixels ``(B, h, W)`` and valid ``(h, W)`` of a tile, strip by strip."""
    with open_raster(tile.image) as dataset:
        description = describe_open(dataset)
        numbers = band_numbers(description, bands)
        for strip in strips(tile.extent(description), len(bands)):
            yield read_window(dataset, numbers, strip, nodata=nodata)


def fit_normalization(
    tiles: Sequence[Tile],
    bands: Sequence[str],
    *,
    nodata: NodataRule = "auto",
    whiten: WhitenMode = "none",
    low: float = 1.0,
    high: float = 99.0,
) -> Normalization:
    """Return the normalisation of tiles: percentiles to 0 and 1, median where invalid.

    A warning is logged if pixels may be undeclared nodata. Whitening takes a second
    pass over the files for the covariance of the stretched bands.

    Raises:
        DatasetError: As :func:`band_statistics`.
        ParameterError: As :func:`band_statistics`.
    """
    statistics = band_statistics(tiles, bands, nodata=nodata, low=low, high=high)
    if gap := suspected_gap(statistics.sentinels, statistics.pixels, nodata):
        log.warning("training tiles: %s: %s, or give %s", gap, gap.advice, gap.option)
    fill = tuple(
        min(max((median - a) / (b - a), 0.0), 1.0)
        for median, a, b in zip(
            statistics.median, statistics.low, statistics.high, strict=True
        )
    )
    stretch = Normalization(tuple(bands), statistics.low, statistics.high, fill)
    if whiten == "none":
        return stretch
    mean, covariance = band_covariance(tiles, stretch, nodata=nodata)
    return replace(stretch, whitening=Whitening.zca(mean, covariance))


def band_covariance(
    tiles: Sequence[Tile], stretch: Normalization, *, nodata: NodataRule = "auto"
) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Return mean ``(B,)`` and covariance ``(B, B)`` of the stretched bands, float64.

    This takes one pass over the valid pixels, in the strips of :func:`band_statistics`.
    Sums of products about each strip's own mean are merged, which loses no digits if
    the mean is large beside the deviations.

    References:
        Chan, Golub, LeVeque. Updating formulae and a pairwise algorithm for computing
        sample variances. Stanford, STAN-CS-79-773, 1979.

    Raises:
        DatasetError: If no pixel is valid.
        RasterError: If a file cannot be read or lacks a band.
    """
    count, mean = 0, np.zeros(stretch.channels)
    scatter = np.zeros((stretch.channels, stretch.channels))
    for tile in tiles:
        for pixels, valid in _read_strips(tile, stretch.bands, nodata):
            values = stretch(pixels, valid).numpy()[:, valid].astype(np.float64)
            added = values.shape[1]
            if not added:
                continue
            centre = values.mean(axis=1)
            values -= centre[:, None]
            shift, total = centre - mean, count + added
            scatter += values @ values.T
            scatter += np.outer(shift, shift) * (count * added / total)
            mean, count = mean + shift * (added / total), total
    if not count:
        raise DatasetError("no valid pixel to take a covariance of, expected some")
    return mean, scatter / count
