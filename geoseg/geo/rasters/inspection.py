"""Inspection of an image from a sample of its pixels."""

import logging
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import rasterio
from affine import Affine

from geoseg.core.normalization import Normalization
from geoseg.core.patches import IGNORE
from geoseg.core.words import counted
from geoseg.geo.rasters.bands import band_numbers
from geoseg.geo.rasters.description import PixelWindow, RasterDescription
from geoseg.geo.rasters.kinds import (
    CLASS_BANDS,
    FEW,
    RasterKind,
    count_values,
    raster_kind,
    value_names,
)
from geoseg.geo.rasters.nodata import (
    Gap,
    NodataRule,
    count_sentinels,
    nodata_in_words,
    suspected_gap,
)
from geoseg.geo.rasters.raster import describe_open, open_raster, read_window

log = logging.getLogger(__name__)

#: Images without overviews are decimated as a whole up to this many pixels. Of larger
#: ones some windows are read, because decimation would decode the whole file.
WHOLE_PIXELS = 2**24
#: Number of sampled windows a side, and pixels a side of a window.
_WINDOWS, _WINDOW = 8, 64
#: Share of values outside the model's stretch that makes an image unlike the training
#: images, of which 2 % lie outside.
BEYOND = 0.3
#: Least share of the stretch that an image must fill to be like the training images.
FILLED = 0.1


@dataclass(frozen=True)
class BandFacts:
    """A band and percentiles of its valid values; None without valid values."""

    number: int
    name: str
    dtype: str
    low: float | None
    median: float | None
    high: float | None


@dataclass(frozen=True)
class ImageFacts:
    """Metadata of a raster file and statistics of its sampled pixels.

    Attributes:
        grid: Metadata of the file.
        bands: Its image bands; ``low`` and ``high`` are the percentiles 1 and 99.
        valid_share: Valid share of the sampled pixels, in [0, 1].
        gap: A value that many sampled pixels have in all bands and that may be nodata;
            None if few have one, or the user chose the nodata rule.
        nodata: What counts as nodata, in words.
        layout: Block layout and compression of the file, in words.
        overviews: Factors of the overviews.
        cog: Whether the file declares itself a cloud-optimised GeoTIFF.
        orientation: In words.
        tags: Provenance tags that geoseg wrote into the file.
        kind: Whether it is an image, a mask or a raster that geoseg wrote.
        values: Value, as ``--classes`` writes it, → share of the sampled pixels, if
            there are few values.
        names: Value → name, of rasters that geoseg wrote.
    """

    grid: RasterDescription
    bands: tuple[BandFacts, ...]
    valid_share: float
    gap: Gap | None
    nodata: str
    layout: str
    overviews: tuple[int, ...]
    cog: bool
    orientation: str
    tags: dict[str, str]
    kind: RasterKind
    values: dict[str, float]
    names: dict[str, str]


def inspect_image(path: str, *, nodata: NodataRule = "auto") -> ImageFacts:
    """Inspect an image.

    Raises:
        RasterError: If the file cannot be opened or read.
    """
    with open_raster(path) as dataset:
        grid = describe_open(dataset)
        structure = dataset.tags(ns="IMAGE_STRUCTURE")
        tags = dataset.tags()
        layout, words = _layout(dataset), nodata_in_words(dataset, nodata)
        overviews = tuple(dataset.overviews(1))
    pixels, valid = sample(grid, nodata=nodata)
    few = IGNORE + 1 if grid.band_names == CLASS_BANDS else FEW
    values = count_values(grid, pixels, few=few)
    return ImageFacts(
        grid=grid,
        bands=tuple(
            BandFacts(number, name, dtype, *percentiles(band[valid]))
            for number, name, dtype, band in zip(
                grid.band_indexes, grid.band_names, grid.dtypes, pixels, strict=True
            )
        ),
        valid_share=float(valid.mean()),
        gap=suspected_gap(count_sentinels(pixels, valid), valid.size, nodata),
        nodata=words,
        layout=layout,
        overviews=overviews,
        cog=structure.get("LAYOUT") == "COG",
        orientation=orientation(grid.transform),
        tags={k: v for k, v in tags.items() if k.startswith("GEOSEG_")},
        kind=raster_kind(grid, tags, values),
        values={k: count / values.total() for k, count in values.most_common()},
        names=value_names(tags) if "GEOSEG_VERSION" in tags else {},
    )


def sample(
    grid: RasterDescription, *, nodata: NodataRule = "auto", side: int = 512
) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Read a sample of an image's pixels, evenly spaced.

    This reads overviews if there are any, else the decimated image or, if that is
    large, some windows. So it is quick, also over a network.

    Returns:
        Pixels ``(B, h, w)`` of all image bands, in one type; valid ``(h, w)`` bool.

    Raises:
        RasterError: If the file cannot be read.
    """
    with open_raster(grid.path) as dataset:
        if dataset.overviews(1) or grid.height * grid.width <= WHOLE_PIXELS:
            shape = (min(side, grid.height), min(side, grid.width))
            return read_window(
                dataset, grid.band_indexes, grid.window, nodata=nodata, shape=shape
            )
        parts = [
            read_window(dataset, grid.band_indexes, window, nodata=nodata)
            for window in sample_windows(grid.window)
        ]
    pixels = np.concatenate([part.reshape(grid.count, 1, -1) for part, _ in parts], 2)
    return pixels, np.concatenate([part.reshape(1, -1) for _, part in parts], 1)


def sample_windows(area: PixelWindow) -> Iterator[PixelWindow]:
    """Yield small windows, evenly spaced over an area."""
    height, width = min(_WINDOW, area.height), min(_WINDOW, area.width)
    for row in np.linspace(0, area.height - height, _WINDOWS, dtype=int):
        for col in np.linspace(0, area.width - width, _WINDOWS, dtype=int):
            yield PixelWindow(area.row + int(row), area.col + int(col), height, width)


def percentiles(
    values: np.ndarray[Any, Any],
) -> tuple[float | None, float | None, float | None]:
    """Return percentiles 1, 50 and 99 of values; None without values."""
    if not len(values):
        return None, None, None
    low, median, high = np.percentile(values.astype(np.float64), [1, 50, 99])
    return float(low), float(median), float(high)


def _layout(dataset: rasterio.DatasetReader) -> str:
    height, width = dataset.block_shapes[0]
    if width == dataset.width:
        layout = f"strips of {counted(height, 'row')}"
    else:
        layout = f"blocks of {height} x {width}"
    packed = dataset.compression
    return f"{layout}, {packed.value.lower() if packed else 'not compressed'}"


def orientation(transform: Affine) -> str:
    """Describe the orientation of rows and columns on the map.

    Example:
        >>> orientation(Affine(0.5, 0, 0, 0, -0.5, 0))
        'north up'
        >>> orientation(Affine(0, 1, 0, 1, 0, 0))
        'rotated by 90.0°'
    """
    right = math.degrees(math.atan2(transform.d, transform.a))
    down = math.degrees(math.atan2(transform.e, transform.b))
    between = (right - down) % 360  # 90 where rows run to the right of columns
    words = []
    if abs(right) > 1e-6:
        words.append(f"rotated by {right:.1f}°")
    if between > 180:
        words.append("mirrored" if words else "south up")
        between = 360 - between
    if abs(between - 90) > 1e-6:
        words.append(f"sheared to {between:.1f}°")
    return ", ".join(words) or "north up"


def assumed_bands(grid: RasterDescription, bands: Sequence[str]) -> str | None:
    """Return a sentence about bands that are assumed because the file names none.

    Args:
        grid: An image with as many bands as the model.
        bands: Bands of the model.

    Returns:
        One sentence, or None if the file names its bands.
    """
    if grid.named_by not in ("count", "numbers"):
        return None
    numbers = band_numbers(grid, bands)
    pairs = ", ".join(f"{n} is {b}" for n, b in zip(numbers, bands, strict=True))
    count = counted(grid.count, "band")
    by_count = grid.named_by == "count"
    order = f"as in the usual order of {count}" if by_count else "by number alone"
    return (
        f"band {pairs}, {order}: the file names none, so an image of another sensor "
        "would be mistaken for one that fits"
    )


def stretch_mismatch(
    pixels: np.ndarray[Any, Any],
    valid: np.ndarray[Any, Any],
    names: tuple[str, ...],
    stretch: Normalization,
) -> str | None:
    """Return a sentence about an image whose values are unlike the training images'.

    Args:
        pixels: ``(B, h, w)``.
        valid: ``(h, w)`` bool.
        names: Band names; they include all bands of the stretch.
        stretch: Stretch of a model.

    Returns:
        One sentence about the worst band, or None if all bands fit.
    """
    if not valid.any():
        return None
    worst, message = BEYOND, None
    for band, low, high in zip(stretch.bands, stretch.low, stretch.high, strict=True):
        values = pixels[names.index(band)][valid].astype(np.float64)
        beyond = float(((values < low) | (values > high)).mean())
        least, most = np.percentile(values, [1, 99])
        trained = f"{low:.4g} to {high:.4g}, the training's range"
        if beyond > worst:
            worst = beyond
            share = f"{100 * beyond:.0f} % of the values of band {band}"
            message = f"{share} lie outside {trained}"
        elif message is None and 0 < most - least < FILLED * (high - low):
            message = (
                f"band {band} has {least:.4g} to {most:.4g} alone, little of {trained}"
            )
    return message


def warn_of_unlike(
    grids: Sequence[RasterDescription], stretch: Normalization, *, nodata: NodataRule
) -> None:
    """Warn about images whose values are unlike the training images'.

    A second line warns about images that may have undeclared nodata.

    Args:
        grids: Images that have all bands of the stretch.
        stretch: Stretch of a model.
        nodata: The nodata rule of the model.

    Raises:
        RasterError: If an image cannot be read.
    """
    mismatches, gaps = [], []
    for grid in grids:
        pixels, valid = sample(grid, nodata=nodata)
        if gap := suspected_gap(count_sentinels(pixels, valid), valid.size, nodata):
            gaps.append(
                f"{grid.path}: {gap} and are mapped as data: {gap.advice}, or train with "
                f"{gap.option}"
            )
        mismatch = stretch_mismatch(pixels, valid, grid.band_names, stretch)
        if mismatch:
            mismatches.append(f"{grid.path}: {mismatch}")
    for messages, advice in (
        (mismatches, "; expect a poor map, or train on such images"),
        (gaps, ""),
    ):
        if messages:
            several = f"{len(messages)} of {len(grids)} images, " * (len(grids) > 1)
            log.warning("%s%s%s", several, messages[0], advice)


def pages_in_words(grid: RasterDescription) -> str | None:
    """Return a sentence about a file with several pages; None for one page."""
    if grid.pages == 1:
        return None
    return (
        f"the file has {grid.pages} pages (subdatasets), of which the first is read: to "
        "take them as bands, make one file of them with gdalbuildvrt -separate and "
        "GTIFF_DIR:1:FILE, GTIFF_DIR:2:FILE, … (then gdal_translate)"
    )


def warn_of_pages(grid: RasterDescription) -> None:
    """Warn about a file whose further pages are not read."""
    if words := pages_in_words(grid):
        log.warning("%s: %s", grid.path, words)


#: An alpha band with at least this share of values between its limits, and at least
#: this many different values, is taken for a measurement.
_ALPHA_BETWEEN, _ALPHA_VALUES = 0.05, 16


def doubtful_alpha(grid: RasterDescription, side: int = 256) -> str | None:
    """Return a sentence about an alpha band that looks like a measurement, or None.

    GDAL's programs declare the fourth of four 8-bit bands alpha by default.

    Raises:
        RasterError: If the file cannot be read.
    """
    if grid.alpha is None:
        return None
    shape = (min(side, grid.height), min(side, grid.width))
    with open_raster(grid.path) as dataset:
        small = grid.height * grid.width <= WHOLE_PIXELS or dataset.overviews(1)
        windows = [grid.window] if small else list(sample_windows(grid.window))
        bands = [
            read_window(
                dataset,
                [grid.alpha],
                window,
                nodata="none",
                shape=shape if small else None,
            )[0]
            for window in windows
        ]
    values = np.concatenate([band.ravel() for band in bands])
    between = float(((values > values.min()) & (values < values.max())).mean())
    count = len(np.unique(values))
    if between < _ALPHA_BETWEEN or count < _ALPHA_VALUES:
        return None
    return (
        f"band {grid.alpha} is declared alpha and left out, but holds {count} values: if "
        "it is a measurement, declare it in the file (gdal_edit.py "
        f"-colorinterp_{grid.alpha} undefined), or describe it as nir"
    )


def warn_of_alpha(grids: Sequence[RasterDescription]) -> None:
    """Warn about images whose alpha band looks like a measurement.

    Raises:
        RasterError: If an image cannot be read.
    """
    doubts = [(grid, text) for grid in grids if (text := doubtful_alpha(grid))]
    if doubts:
        grid, text = doubts[0]
        several = f"{len(doubts)} of {len(grids)} images, " * (len(grids) > 1)
        log.warning("%s%s: %s", several, grid.path, text)


def warn_of_gsd(grid: RasterDescription, trained_m: float | None) -> None:
    """Warn about an image much finer or coarser than the training images.

    Args:
        grid: The image.
        trained_m: Ground sampling distance of the training images in metres, if known.
    """
    if trained_m and grid.gsd_m and not 2 / 3 < grid.gsd_m / trained_m < 3 / 2:
        log.warning(
            "%s has pixels of %.2f m, the model was trained at %.2f m: expect a poor map",
            grid.path,
            grid.gsd_m,
            trained_m,
        )
