"""What an image looks like, measured on few of its pixels."""

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

#: Images without overviews are thinned out whole up to so many pixels; of larger ones,
#: that would decode all of the file, some windows are read.
WHOLE_PIXELS = 2**24
#: Windows a side, and pixels a side of a window.
_WINDOWS, _WINDOW = 8, 64
#: Share of the values beyond a stretch from which images are thought to be of another
#: kind than the training's, of which 2 % lie there.
BEYOND = 0.3
#: Share of a stretch that an image has to fill at least, likewise.
FILLED = 0.1


@dataclass(frozen=True)
class BandFacts:
    """A band, with percentiles of its valid values; None where there are none."""

    number: int
    name: str
    dtype: str
    low: float | None
    median: float | None
    high: float | None


@dataclass(frozen=True)
class ImageFacts:
    """What a file says about itself, and what its pixels say.

    Attributes:
        grid: What the file says.
        bands: Its image bands; ``low`` and ``high`` are the percentiles 1 and 99.
        valid_share: Of the sampled pixels, in [0, 1].
        gap: A value that many of them have in all bands and that may be no data; None
            if few have, or the rule is chosen.
        nodata: In words, what counts as no data.
        layout: In words, how the pixels lie in the file.
        overviews: Factors of the overviews.
        cog: Whether the file says that it is a cloud-optimised GeoTIFF.
        orientation: In words.
        tags: What geoseg wrote into the file about its making.
        kind: Whether it is an image at all.
        values: Value, as ``--classes`` has it, → share of the sampled pixels, where
            there are few.
        names: Value → name, of geoseg's own rasters.
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
    """Look at an image.

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
    """Read some of an image's pixels, evenly spread.

    Takes overviews where there are some; without them, the image thinned out or, if it
    is large, some windows of it. So this is quick, also over a network.

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
            for window in spread(grid.window)
        ]
    pixels = np.concatenate([part.reshape(grid.count, 1, -1) for part, _ in parts], 2)
    return pixels, np.concatenate([part.reshape(1, -1) for _, part in parts], 1)


def spread(area: PixelWindow) -> Iterator[PixelWindow]:
    """Yield some small windows of a large one, evenly spread."""
    height, width = min(_WINDOW, area.height), min(_WINDOW, area.width)
    for row in np.linspace(0, area.height - height, _WINDOWS, dtype=int):
        for col in np.linspace(0, area.width - width, _WINDOWS, dtype=int):
            yield PixelWindow(area.row + int(row), area.col + int(col), height, width)


def percentiles(
    values: np.ndarray[Any, Any],
) -> tuple[float | None, float | None, float | None]:
    """Percentiles 1, 50 and 99 of some values; None where there are none."""
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
    """Say in words how rows and columns lie on the map.

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
    """Say which bands of a model are taken by their place: of a file that names none.

    Args:
        grid: Of an image that has as many bands.
        bands: Of the model.

    Returns:
        One sentence, or None where the file names its bands.
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
    """Say why an image's values are not like those that a stretch was measured on.

    Args:
        pixels: ``(B, h, w)``.
        valid: ``(h, w)`` bool.
        names: Of the bands; all bands of the stretch are among them.
        stretch: Of a model.

    Returns:
        One sentence about the worst band, or None where all is well.
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
    """Warn in one line of images whose values are unlike those of a training.

    In another one of images with gaps that their files, perhaps, fail to name.

    Args:
        grids: Of images that have all bands of the stretch.
        stretch: Of a model.
        nodata: The nodata rule of the model.

    Raises:
        RasterError: If an image cannot be read.
    """
    found, gaps = [], []
    for grid in grids:
        pixels, valid = sample(grid, nodata=nodata)
        if gap := suspected_gap(count_sentinels(pixels, valid), valid.size, nodata):
            gaps.append(
                f"{grid.path}: {gap} and are mapped as data: {gap.advice}, or train with "
                f"{gap.option}"
            )
        mismatch = stretch_mismatch(pixels, valid, grid.band_names, stretch)
        if mismatch:
            found.append(f"{grid.path}: {mismatch}")
    for messages, advice in (
        (found, "; expect a poor map, or train on such images"),
        (gaps, ""),
    ):
        if messages:
            several = f"{len(messages)} of {len(grids)} images, " * (len(grids) > 1)
            log.warning("%s%s%s", several, messages[0], advice)


def pages_in_words(grid: RasterDescription) -> str | None:
    """Say that a file has several pages; None if it has one."""
    if grid.pages == 1:
        return None
    return (
        f"the file has {grid.pages} pages (subdatasets), of which the first is read: to "
        "take them as bands, make one file of them with gdalbuildvrt -separate and "
        "GTIFF_DIR:1:FILE, GTIFF_DIR:2:FILE, … (then gdal_translate)"
    )


def warn_of_pages(grid: RasterDescription) -> None:
    """Warn of a file whose further pages are not read."""
    if words := pages_in_words(grid):
        log.warning("%s: %s", grid.path, words)


#: Values of an alpha band that are neither 0 nor its largest, as share of the pixels, and
#: different values, from which it is thought to be a measurement.
_ALPHA_BETWEEN, _ALPHA_VALUES = 0.05, 16


def doubtful_alpha(grid: RasterDescription, side: int = 256) -> str | None:
    """Say that a band declared alpha holds many values, as a measurement would.

    GDAL's programs declare the fourth of four 8-bit bands alpha unless told otherwise.

    Raises:
        RasterError: If the file cannot be read.
    """
    if grid.alpha is None:
        return None
    shape = (min(side, grid.height), min(side, grid.width))
    with open_raster(grid.path) as dataset:
        small = grid.height * grid.width <= WHOLE_PIXELS or dataset.overviews(1)
        windows = [grid.window] if small else list(spread(grid.window))
        bands = [
            read_window(
                *(dataset, [grid.alpha], window),
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
        f"it is a measurement, say so in the file (gdal_edit.py -colorinterp_{grid.alpha} "
        f"undefined), or describe it as nir"
    )


def warn_of_alpha(grids: Sequence[RasterDescription]) -> None:
    """Warn in one line of images whose alpha band looks like a measurement.

    Raises:
        RasterError: If an image cannot be read.
    """
    doubts = [(grid, text) for grid in grids if (text := doubtful_alpha(grid))]
    if doubts:
        grid, text = doubts[0]
        several = f"{len(doubts)} of {len(grids)} images, " * (len(grids) > 1)
        log.warning("%s%s: %s", several, grid.path, text)


def warn_of_gsd(grid: RasterDescription, trained_m: float | None) -> None:
    """Warn of an image much finer or coarser than those of a training.

    Args:
        grid: Of the image.
        trained_m: Ground sampling distance of the training in metres, if it is known.
    """
    if trained_m and grid.gsd_m and not 2 / 3 < grid.gsd_m / trained_m < 3 / 2:
        log.warning(
            "%s has pixels of %.2f m, the model was trained at %.2f m: expect a poor map",
            *(grid.path, grid.gsd_m, trained_m),
        )
