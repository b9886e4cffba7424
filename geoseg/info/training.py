"""Describe what a training would use of images."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from geoseg.core.errors import BandMismatchError
from geoseg.core.words import counted
from geoseg.geo.rasters.bands import band_numbers, choose_bands
from geoseg.geo.rasters.description import RasterDescription
from geoseg.geo.rasters.inspection import percentiles, sample
from geoseg.info.sheet import Sheet, columns, number
from geoseg.runs.settings import RunSettings

#: Most images of a folder whose pixels are read.
LOOKED_AT = 8


def say_training(
    sheet: Sheet,
    grids: Sequence[RasterDescription],
    area: int,
    *,
    bands: str | None,
    nodata: str,
) -> None:
    """Add what a training with default settings would use of images."""
    try:
        chosen = choose_bands(grids[0], bands)
        stretches = _stretches(grids, chosen, nodata)
    except BandMismatchError as error:
        sheet.facts["training"] = {"problem": str(error)}
        sheet.say("training", f"refused: {error}")
        return
    defaults = RunSettings()
    patches = math.ceil(area / defaults.patch_size**2)
    sheet.facts["training"] = {
        "stretch": stretches,
        "patch_size": defaults.patch_size,
        "patches_per_epoch": patches,
    }
    why = "as given" if bands else _why(grids[0], chosen)
    sheet.say("training", f"on {' '.join(chosen)}: {why}")
    rows = [(k, f"{number(a)} to {number(b)}") for k, (a, b) in stretches.items()]
    sheet.say("", *columns(rows))
    sheet.say("", "mapped to 0 to 1, about: percentiles 1 to 99 of all training tiles")
    many = counted(patches, "patch")
    sheet.say("", f"{many} of {defaults.patch_size} pixels a side an epoch")
    if min(min(grid.height, grid.width) for grid in grids) < defaults.patch_size:
        sheet.say("", "tiles smaller than a patch are padded with invalid pixels")


def _stretches(
    grids: Sequence[RasterDescription], bands: Sequence[str], nodata: str
) -> dict[str, tuple[float | None, float | None]]:
    """Return percentiles 1 and 99 of each band over a sample of some images.

    Raises:
        BandMismatchError: If any of the images lacks a band.
    """
    numbers = [band_numbers(grid, bands) for grid in grids]
    values: dict[str, list[np.ndarray[Any, Any]]] = {band: [] for band in bands}
    step = -(-len(grids) // LOOKED_AT)
    for grid, own in zip(grids[::step], numbers[::step], strict=True):
        pixels, valid = sample(grid, nodata=nodata)
        for band, index in zip(bands, own, strict=True):
            values[band].append(pixels[grid.band_indexes.index(index)][valid])
    limits = {
        band: percentiles(np.concatenate(parts)) for band, parts in values.items()
    }
    return {band: (low, high) for band, (low, _, high) in limits.items()}


def _why(grid: RasterDescription, chosen: tuple[str, ...]) -> str:
    if chosen == ("red", "green", "blue", "nir"):
        return "the usual bands"
    if chosen == ("red", "green", "blue"):
        return "the usual bands, where there is no near infrared"
    return "all, because red, green or blue is missing"
