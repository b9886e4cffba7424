"""Reading of mask labels as class ids on the grid of an image."""

from collections import Counter
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from rasterio.windows import Window

from geoseg.core.classes import LabelClasses
from geoseg.core.errors import LabelError, RasterError
from geoseg.core.patches import IGNORE
from geoseg.geo.coordinates.crs import same_crs, transform_points
from geoseg.geo.coordinates.georeference import grids_agree
from geoseg.geo.labels.layers import file_version
from geoseg.geo.rasters.description import PixelWindow, RasterDescription
from geoseg.geo.rasters.kinds import colour_numbers
from geoseg.geo.rasters.longitudes import places_near
from geoseg.geo.rasters.nodata import FLOAT_LIMIT, is_nodata
from geoseg.geo.rasters.raster import describe, describe_open, open_raster
from geoseg.geo.tiles.tiles import Tile

Array = np.ndarray[Any, Any]
#: Number of mask rows read or resampled at a time.
ROWS = 1024


def check_mask(tile: Tile, grid: RasterDescription) -> RasterDescription:
    """Return the metadata of a tile's mask; raise if it does not fit the image.

    Raises:
        LabelError: If it cannot be opened, has another size and no georeferencing, or
            has no colour bands although the classes are colours.
    """
    try:
        mask = describe(str(tile.labels))
    except RasterError as error:
        raise LabelError(f"labels of tile {tile.id}: {error}") from error
    if tile.classes.colours and mask.count < 3 and mask.colours != ("palette",):
        raise LabelError(
            f"mask {tile.labels} has {len(mask.band_indexes)} bands and the classes are "
            "colours, expected red, green and blue: give numbers with --classes"
        )
    if fits_grid(mask, grid):
        return mask
    if mask.crs is None or grid.crs is None:
        raise LabelError(
            f"mask {tile.labels} is {mask.height} x {mask.width} (rows x columns), "
            f"expected {grid.height} x {grid.width} as {grid.path}, or both with a CRS"
        )
    return mask


def fits_grid(mask: RasterDescription, grid: RasterDescription) -> bool:
    """Tell whether a mask has the image's grid, or its size and no georeferencing."""
    if (mask.width, mask.height) != (grid.width, grid.height):
        return False
    if mask.crs is None and mask.transform.is_identity:
        return True
    one_crs = mask.crs is None or grid.crs is None or same_crs(mask.crs, grid.crs)
    return one_crs and grids_agree(
        grid.transform, mask.transform, grid.width, grid.height
    )


def read_mask(
    tile: Tile, grid: RasterDescription, window: PixelWindow
) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Read the class ids of a window of a tile's image from the tile's mask.

    A mask on another grid is resampled to the nearest pixel; pixels outside of it are
    unlabelled.

    Returns:
        ``(height, width)`` uint8, IGNORE where the mask is nodata or has no class.

    Raises:
        LabelError: As :func:`check_mask`, or if the mask cannot be read.
    """
    mask = check_mask(tile, grid)
    if fits_grid(mask, grid):
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
    """Tell whether one of 9 x 9 evenly spaced pixels of the tile lies in the mask."""
    if fits_grid(mask, grid):
        return True
    row, col, height, width = tile.extent(grid)
    rows = np.linspace(row + 0.5, row + height - 0.5, min(height, 9))
    cols = np.linspace(col + 0.5, col + width - 0.5, min(width, 9))
    _, _, inside = _places(mask, grid, rows, cols)
    return bool(inside.any())


def unknown_values(tile: Tile) -> Counter[str]:
    """Count the pixels of each value of a tile's mask that belongs to no class."""
    mask = describe(str(tile.labels))
    counts = Counter[str]()
    for top in range(0, mask.height, ROWS):
        window = PixelWindow(top, 0, min(ROWS, mask.height - top), mask.width)
        values, unknown = _read_values(tile, mask, window)
        classes = _to_classes(tile.classes, values, unknown)
        strange, pixels = np.unique(
            values[(classes == IGNORE) & ~unknown], return_counts=True
        )
        for value, count in zip(strange.tolist(), pixels.tolist(), strict=True):
            name = f"#{value:06x}" if tile.classes.colours else f"{value:g}"
            counts[name] += count
    return counts


def _read_elsewhere(
    tile: Tile, mask: RasterDescription, grid: RasterDescription, part: PixelWindow
) -> Array:
    """Resample the mask's class ids to some rows of the image, by the nearest pixel."""
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
        mask_classes = _to_classes(tile.classes, values, unknown)
        classes[inside] = mask_classes[rows[inside] - top, cols[inside] - left]
    return classes


def _places(
    mask: RasterDescription, grid: RasterDescription, rows: Array, cols: Array
) -> tuple[Array, Array, Array]:
    """Return mask rows and columns of points of the image, and which are inside."""
    x, y = np.meshgrid(cols, rows)
    a, b, c, d, e, f = grid.transform[:6]
    points = np.stack((a * x + b * y + c, d * x + e * y + f), axis=-1).reshape(-1, 2)
    if mask.crs is not None and grid.crs is not None:
        points = places_near(transform_points(points, grid.crs, mask.crs), mask)
    a, b, c, d, e, f = (~mask.transform)[:6]
    x, y = points.T.reshape(2, *x.shape)
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
    """Return a window's values (colours as numbers), and where they are unlabelled."""
    classes = tile.classes
    area = Window(window.col, window.row, window.width, window.height)
    with open_raster(str(tile.labels)) as dataset:
        try:
            pixels = dataset.read(list(mask.band_indexes), window=area)
            unknown = _hidden(dataset, mask, area)
            palette = dataset.colormap(1) if classes.colours and mask.count == 1 else {}
        except OSError as error:
            raise LabelError(
                f"mask {tile.labels} cannot be read ({error.__cause__ or error}); the "
                "file may be truncated"
            ) from error
    values = _values(tile, pixels, palette)
    named = named_values(classes)
    measured = (np.abs(pixels) < FLOAT_LIMIT).all(axis=0)
    unknown |= ~np.isfinite(pixels).all(axis=0) | ~measured
    gaps = is_nodata(pixels, mask.nodata_values)
    if not classes.colours:
        gaps |= values == IGNORE
        if classes.any_building and mask.nodata != IGNORE:
            _check_not_255(tile, mask, values)
    return values, unknown | (gaps & ~np.isin(values, named))


def _values(tile: Tile, pixels: Array, palette: Mapping[int, Sequence[int]]) -> Array:
    """Return the class values: those of a band, or colours as numbers.

    Raises:
        LabelError: If the bands differ and the classes are not colours.
    """
    if palette:
        table = np.zeros((256, 3), np.uint8)
        table[list(palette)] = [colour[:3] for colour in palette.values()]
        return colour_numbers(np.moveaxis(table[pixels[0]], -1, 0))
    if tile.classes.colours:
        return colour_numbers(pixels[:3])
    if (pixels[1:] != pixels[0]).any():
        raise LabelError(
            f"mask {tile.labels} has {len(pixels)} bands that differ, expected one of "
            "class values: name its colours with --classes background=#rrggbb,"
            "building=#rrggbb, or choose a band with gdal_translate -b 1"
        )
    return np.asarray(pixels[0])


def _hidden(dataset: Any, mask: RasterDescription, area: Window) -> Array:
    """Return where the alpha band or the mask of a mask file is 0, ``(H, W)`` bool."""
    if mask.alpha is not None:
        return np.asarray(dataset.read(mask.alpha, window=area) == 0)
    if mask.masked:
        return np.asarray(dataset.read_masks(mask.band_indexes[0], window=area) == 0)
    return np.zeros((area.height, area.width), bool)


def named_values(classes: LabelClasses) -> list[float]:
    """Return the values in ``--classes``; these count even if declared as nodata."""
    return [] if classes.any_building else [number for number, _ in classes.numbers]


def _to_classes(
    classes: LabelClasses, values: Array, unknown: Array
) -> np.ndarray[Any, np.dtype[np.uint8]]:
    rest = IGNORE if classes.rest is None else classes.rest
    class_ids = np.full(values.shape, rest, np.uint8)
    for number, class_id in classes.numbers:
        class_ids[values == number] = class_id
    class_ids[unknown] = IGNORE
    return class_ids


def _check_not_255(tile: Tile, mask: RasterDescription, values: Array) -> None:
    """Raise if a mask holds only 0 and 255, and 255 is neither nodata nor a class."""
    if only_0_and_255(mask.path, values):
        raise LabelError(
            f"mask {tile.labels} holds 255 and no other class, expected 1 for "
            "buildings: name 255 by --classes background=0,building=255, or declare it "
            "as nodata (gdal_edit.py -a_nodata 255)"
        )


def only_0_and_255(path: str, values: Array) -> bool:
    """Tell whether a raster holds 255 and otherwise only 0.

    Args:
        path: Path of the raster.
        values: Values of a part of it; the file is read only if these leave it open.
    """
    if not (values == IGNORE).any() or _is_class(values).any():
        return False
    return not _holds_class(path, file_version(path))


def _is_class(values: Array) -> Array:
    return np.asarray((values > 0) & (values != IGNORE))


@lru_cache(maxsize=4096)
def _holds_class(path: str, _version: tuple[int, int]) -> bool:
    """Tell whether a raster holds a value other than 0 and 255."""
    with open_raster(path) as dataset:
        first = describe_open(dataset).band_indexes[0]
        for top in range(0, dataset.height, ROWS):
            rows = min(ROWS, dataset.height - top)
            part = dataset.read(first, window=Window(0, top, dataset.width, rows))
            if _is_class(part).any():
                return True
    return False
