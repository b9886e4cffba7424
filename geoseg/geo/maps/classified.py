"""Footprints of an existing class raster, whatever tool wrote it."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import rasterio

from geoseg.core.classes import footprint_ids
from geoseg.core.errors import RasterError
from geoseg.core.patches import IGNORE
from geoseg.geo.footprints.vectorize import Footprint, footprints
from geoseg.geo.formats.attributes import ATTRIBUTES, ID
from geoseg.geo.rasters.description import PixelWindow, RasterDescription
from geoseg.geo.rasters.raster import (
    describe,
    open_raster,
    read_window,
    require_crs,
    same_grid,
)
from geoseg.geo.rasters.strips import ClassStrip, keep_classes

#: Number of pixels read at a time.
_STRIP_PIXELS = 2**24


def footprint_frame(
    classes: str | Path,
    probability: str | Path | None = None,
    *,
    class_names: Sequence[str] = ("background", "building"),
    footprint_classes: Sequence[str] = (),
    **how: Any,
) -> geopandas.GeoDataFrame:
    """Read the footprints of a class raster into a table, in the raster's CRS.

    Args:
        classes: Raster of one band: class ids, 0 background, 255 no data.
        probability: Raster of the same grid, in percent, as ``geoseg predict
            --probability`` writes it; without one, footprints have no score.
        class_names: Names of the class ids, background first.
        footprint_classes: Names of the classes that become footprints; none:
            ``building`` if there is one, else all but the background.
        how: Further arguments of :func:`geoseg.geo.footprints.vectorize.footprints`.

    Returns:
        A row for each footprint, with the columns of ``geoseg predict``.

    Raises:
        RasterError: If a raster cannot be read or has no CRS, values are no class ids,
            or the grids differ.
        ParameterError: If no class has a name of ``footprint_classes``.
    """
    grid = describe(classes)
    names = tuple(class_names)
    kept = footprint_ids(names, footprint_classes)
    strips = _class_strips(grid, len(names), probability)
    made = footprints(keep_classes(strips, kept), grid, class_names=names, **how)
    rows = [_row(number, each, probability) for number, each in enumerate(made, 1)]
    columns = [ID, *(attribute.name for attribute in ATTRIBUTES), "geometry"]
    return geopandas.GeoDataFrame(rows, columns=columns, crs=require_crs(grid))


def _row(
    number: int, footprint: Footprint, probability: str | Path | None
) -> dict[str, Any]:
    """Return the attributes of a footprint, and its polygon."""
    if probability is None:
        footprint = replace(footprint, score=None)
    values = {attribute.name: attribute.value(footprint) for attribute in ATTRIBUTES}
    return {ID: number, **values, "geometry": footprint.geometry}


def _class_strips(
    grid: RasterDescription, class_count: int, probability: str | Path | None
) -> Iterator[ClassStrip]:
    """Yield the strips of a class raster, top to bottom."""
    if probability is not None and not same_grid(grid, describe(probability)):
        raise RasterError(
            f"{probability} is not on the grid of {grid.path}, expected the same CRS "
            "and pixels, as geoseg predict writes both"
        )
    rows = max(1, _STRIP_PIXELS // grid.width)
    with ExitStack() as opened:
        dataset = opened.enter_context(open_raster(grid.path))
        scores = None
        if probability is not None:
            scores = opened.enter_context(open_raster(probability))
        for row in range(0, grid.height, rows):
            window = PixelWindow(row, 0, min(rows, grid.height - row), grid.width)
            ids = _class_ids(dataset, grid.path, window, class_count)
            yield ClassStrip(row, ids, _scores(scores, window))


def _class_ids(
    dataset: rasterio.DatasetReader, path: str, window: PixelWindow, class_count: int
) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Return the class ids of a window, IGNORE where there is no data."""
    values, valid = read_window(dataset, (1,), window)
    ids = np.where(valid, values[0], IGNORE)
    known = np.isin(ids, [*range(class_count), IGNORE])
    if not known.all():
        raise RasterError(
            f"{path} holds {ids[~known][0]:g}, expected class ids from 0 to "
            f"{class_count - 1}, and {IGNORE} where there is no data: give class_names"
        )
    return np.asarray(ids, np.uint8)


def _scores(
    dataset: rasterio.DatasetReader | None, window: PixelWindow
) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Return the probabilities of a window, in [0, 1]; zeros without a raster."""
    if dataset is None:
        return np.zeros((window.height, window.width), np.float32)
    values, valid = read_window(dataset, (1,), window)
    return np.asarray(np.where(valid, values[0], 0) / 100, np.float32)
