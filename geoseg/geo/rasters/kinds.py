"""Kinds of rasters: images, masks and the rasters that geoseg writes."""

from collections import Counter
from collections.abc import Mapping
from typing import Any, Literal

import numpy as np

from geoseg.geo.rasters.description import RasterDescription

RasterKind = Literal[
    "image", "mask", "class raster", "cluster raster", "probability raster"
]

#: Most values of a mask; an image has more, even with little contrast.
FEW = 16
#: Band names of class and cluster rasters.
CLASS_BANDS = ("class",)
#: An 8-bit raster of a single value is a mask if the value is one of these.
_ALONE = {"0", "1", "255"}


def raster_kind(
    grid: RasterDescription, tags: Mapping[str, str], values: Mapping[str, int]
) -> RasterKind:
    """Return the kind of a raster.

    Args:
        grid: Metadata of the raster.
        tags: Tags of the file.
        values: Counts from :func:`count_values`.
    """
    if "GEOSEG_VERSION" in tags:
        if grid.band_names == CLASS_BANDS:
            names = value_names(tags).values()
            clusters = all(name.startswith("cluster ") for name in names)
            return "cluster raster" if names and clusters else "class raster"
        if all(name.endswith("probability") for name in grid.band_names):
            return "probability raster"
    if len(values) == 1:
        bytes_ = grid.dtypes == ("uint8",)
        return "mask" if bytes_ and set(values) <= _ALONE else "image"
    return "mask" if values else "image"


def value_names(tags: Mapping[str, str]) -> dict[str, str]:
    """Return the names of the values in geoseg's class and cluster rasters."""
    prefix = "CLASS_"
    return {
        key.removeprefix(prefix): name
        for key, name in tags.items()
        if key.startswith(prefix)
    }


def count_values(
    grid: RasterDescription, pixels: np.ndarray[Any, Any], *, few: int = FEW
) -> Counter[str]:
    """Count the values of a raster that has few: whole numbers or colours.

    Values are written as in ``--classes``.

    Args:
        grid: Metadata of the raster; its nodata value is counted as ``no data``.
        pixels: ``(B, h, w)``: one band of numbers, or three 8-bit bands of colours.
        few: Most values to count.

    Returns:
        Value → pixels; empty if there are more values, or fractions.
    """
    if grid.count == 3 and set(grid.dtypes) == {"uint8"}:
        numbers, counts = np.unique(colour_numbers(pixels), return_counts=True)
        names = [f"#{number:06x}" for number in numbers[: few + 1].tolist()]
    elif grid.count == 1:
        numbers, counts = np.unique(pixels[0], return_counts=True)
        numbers, counts = numbers[: few + 1], counts[: few + 1]
        if not (np.isfinite(numbers).all() and (numbers == np.floor(numbers)).all()):
            return Counter()
        names = ["no data" if n == grid.nodata else f"{n:g}" for n in numbers.tolist()]
    else:
        return Counter()
    if len(numbers) > few:
        return Counter()
    return Counter(dict(zip(names, counts.tolist(), strict=True)))


def colour_numbers(pixels: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Return the numbers ``0xrrggbb``, ``(H, W)``, of colours ``(3, H, W)``."""
    red, green, blue = pixels.astype(np.int64)
    return np.asarray(red << 16 | green << 8 | blue)
