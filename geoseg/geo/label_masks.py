"""Reference labels in mask files: values made classes on the grid of an image."""

from collections import Counter
from typing import Any

import numpy as np
from pyproj import Transformer

from geoseg.classes import LabelClasses
from geoseg.errors import LabelError, RasterError
from geoseg.geo.aoi import Tile
from geoseg.geo.georeference import grids_agree
from geoseg.geo.raster import (
    PixelWindow,
    RasterDescription,
    describe,
    describe_open,
    open_raster,
)
from geoseg.geo.raster_kinds import colour_numbers
from geoseg.patches import IGNORE

Array = np.ndarray[Any, Any]
#: Rows of a mask that are read, or found on another grid, at a time.
ROWS = 1024


def check_mask(tile: Tile, grid: RasterDescription) -> RasterDescription:
    """Describe a tile's mask, which has the image's grid or can be brought to it.

    Raises:
        LabelError: If it cannot be opened, has no georeferencing and another size, has
            other bands than its values need, or lies elsewhere.
    """
    try:
        mask = describe(str(tile.labels))
    except RasterError as error:
        raise LabelError(f"labels of tile {tile.id}: {error}") from error
    if tile.classes.colours and len(mask.band_indexes) < 3:
        raise LabelError(
            f"mask {tile.labels} has {len(mask.band_indexes)} bands and the classes are "
            "colours, expected red, green and blue: give numbers with --classes"
        )
    if same_grid(mask, grid):
        return mask
    if mask.crs is None or grid.crs is None:
        raise LabelError(
            f"mask {tile.labels} is {mask.height} x {mask.width} (rows x columns), "
            f"expected {grid.height} x {grid.width} as {grid.path}, or both with a CRS"
        )
    return mask


def same_grid(mask: RasterDescription, grid: RasterDescription) -> bool:
    """Tell whether a mask's pixels are the image's, by its size where it has no grid."""
    if (mask.width, mask.height) != (grid.width, grid.height):
        return False
    if mask.crs is None and mask.transform.is_identity:
        return True
    same_crs = mask.crs is None or grid.crs is None or mask.crs == grid.crs
    return same_crs and grids_agree(
        grid.transform, mask.transform, grid.width, grid.height
    )


def read_mask(
    tile: Tile, grid: RasterDescription, window: PixelWindow
) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Read the class ids of a window of a tile's image from the tile's mask.

    A mask on another grid is taken by its pixel nearest to each pixel's centre; beyond
    its edge nothing is labelled.

    Returns:
        ``(height, width)`` uint8, IGNORE where the mask has no data or no class.

    Raises:
        LabelError: As :func:`check_mask`, or if the mask cannot be read.
    """
    mask = check_mask(tile, grid)
    if same_grid(mask, grid):
        values, unknown = _read_values(tile, mask, window)
        return _to_classes(tile.classes, values, unknown)
    classes = np.full((window.height, window.width), IGNORE, np.uint8)
    for top in range(0, window.height, ROWS):
        rows = slice(top, min(top + ROWS, window.height))
        part = PixelWindow(
            window.row + top, window.col, rows.stop - rows.start, window.width
        )
        classes[rows] = _read_elsewhere(tile, mask, grid, part)
    return classes


def covers(mask: RasterDescription, grid: RasterDescription, tile: Tile) -> bool:
    """Tell whether a pixel of the tile, of every eighth at least, lies in the mask."""
    if same_grid(mask, grid):
        return True
    row, col, height, width = tile.extent(grid)
    rows = np.linspace(row + 0.5, row + height - 0.5, min(height, 9))
    cols = np.linspace(col + 0.5, col + width - 0.5, min(width, 9))
    _, _, inside = _places(mask, grid, rows, cols)
    return bool(inside.any())


def unknown_values(tile: Tile) -> Counter[str]:
    """Count the pixels of each value of a tile's mask that belongs to no class."""
    mask = describe(str(tile.labels))
    found = Counter[str]()
    for top in range(0, mask.height, ROWS):
        window = PixelWindow(top, 0, min(ROWS, mask.height - top), mask.width)
        values, unknown = _read_values(tile, mask, window)
        classes = _to_classes(tile.classes, values, unknown)
        strange, counts = np.unique(
            values[(classes == IGNORE) & ~unknown], return_counts=True
        )
        for value, count in zip(strange.tolist(), counts.tolist(), strict=True):
            name = f"#{value:06x}" if tile.classes.colours else f"{value:g}"
            found[name] += count
    return found


def _read_elsewhere(
    tile: Tile, mask: RasterDescription, grid: RasterDescription, part: PixelWindow
) -> Array:
    """Find the mask's pixels at the centres of those of some rows of the image."""
    rows, cols, inside = _places(
        mask,
        grid,
        np.arange(part.row, part.row + part.height) + 0.5,
        np.arange(part.col, part.col + part.width) + 0.5,
    )
    classes = np.full(inside.shape, IGNORE, np.uint8)
    if inside.any():
        top, left = int(rows[inside].min()), int(cols[inside].min())
        height = int(rows[inside].max()) - top + 1
        width = int(cols[inside].max()) - left + 1
        values, unknown = _read_values(
            tile, mask, PixelWindow(top, left, height, width)
        )
        found = _to_classes(tile.classes, values, unknown)
        classes[inside] = found[rows[inside] - top, cols[inside] - left]
    return classes


def _places(
    mask: RasterDescription, grid: RasterDescription, rows: Array, cols: Array
) -> tuple[Array, Array, Array]:
    """Return row and column in the mask of points of the image, and whether inside."""
    x, y = np.meshgrid(cols, rows)
    a, b, c, d, e, f = grid.transform[:6]
    x, y = a * x + b * y + c, d * x + e * y + f
    if mask.crs != grid.crs and mask.crs is not None and grid.crs is not None:
        source, target = grid.crs.to_wkt(), mask.crs.to_wkt()
        warp = Transformer.from_crs(source, target, always_xy=True)
        x, y = warp.transform(x, y)
    a, b, c, d, e, f = (~mask.transform)[:6]
    column, row = a * x + b * y + c, d * x + e * y + f
    inside = (column >= 0) & (row >= 0) & (column < mask.width) & (row < mask.height)
    return (
        np.where(inside, row, 0).astype(np.int64),
        np.where(inside, column, 0).astype(np.int64),
        inside,
    )


def _read_values(
    tile: Tile, mask: RasterDescription, window: PixelWindow
) -> tuple[Array, Array]:
    """Return a window's values, colours as numbers, and where nothing is known."""
    row, col, height, width = window
    slices = ((row, row + height), (col, col + width))
    classes = tile.classes
    with open_raster(str(tile.labels)) as dataset:
        bands = describe_open(dataset).band_indexes
        try:
            if classes.colours:
                values = colour_numbers(dataset.read(bands[:3], window=slices))
            else:
                values = dataset.read(bands[0], window=slices)
        except OSError as error:
            raise LabelError(
                f"mask {tile.labels} cannot be read ({error.__cause__ or error}); the "
                "file may be truncated"
            ) from error
        if classes.any_building and mask.nodata != IGNORE:
            _check_not_255(dataset, bands[0], values)
    unknown = ~np.isfinite(values)
    if not classes.colours:
        named = any(number == IGNORE for number, _ in classes.numbers)
        unknown |= (values == IGNORE) & (not named)
        if mask.nodata is not None:
            unknown |= values == mask.nodata
    return values, unknown


def _to_classes(
    classes: LabelClasses, values: Array, unknown: Array
) -> np.ndarray[Any, np.dtype[np.uint8]]:
    rest = IGNORE if classes.rest is None else classes.rest
    found = np.full(values.shape, rest, np.uint8)
    for number, class_id in classes.numbers:
        found[values == number] = class_id
    found[unknown] = IGNORE
    return found


def _check_not_255(dataset: Any, number: int, values: Array) -> None:
    """Refuse a mask of 0 and 255 that does not say what 255 means."""
    if not (values == IGNORE).any() or ((values > 0) & (values < IGNORE)).any():
        return
    everything = dataset.read(number)
    if not ((everything > 0) & (everything < IGNORE)).any():
        raise LabelError(
            f"mask {dataset.name} holds 255 and no other class, expected 1 for "
            "buildings: say what 255 is by --classes background=0,building=255, or "
            "declare it as nodata (gdal_edit.py -a_nodata 255)"
        )
