"""Choice of the labelled tiles among tiles that share label files.

Buildings drawn in three tiles of many do not mean that the other tiles have none. A
label file covers all tiles only if it touches most of them, or if the user says so.
"""

import logging
import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import shapely
from shapely import affinity

from geoseg.core.classes import BACKGROUND
from geoseg.core.errors import LabelError
from geoseg.core.patches import IGNORE
from geoseg.core.words import counted
from geoseg.geo.labels.areas import TOUCHED, area_tile
from geoseg.geo.labels.labels import is_vector, read_labels
from geoseg.geo.labels.layers import read_file
from geoseg.geo.labels.masks import ROWS
from geoseg.geo.labels.vectors import outline_of, polygons_of, shapely_affine
from geoseg.geo.rasters.description import PixelWindow, RasterDescription
from geoseg.geo.rasters.raster import describe
from geoseg.geo.tiles.tiles import Tile

log = logging.getLogger(__name__)

#: Tiles named in one line of the log.
SHOWN = 10


def keep_labelled(tiles: Sequence[Tile], *, one_file: bool) -> list[Tile]:
    """Remove the labels of tiles that their label files do not cover.

    These are tiles whose mask has no labelled pixel, tiles outside the labelled area,
    tiles without a feature of sparse labels and, with ``--labelled-area touched``,
    tiles that no label touches.

    Args:
        tiles: Labelled and unlabelled tiles; blocks count as tiles.
        one_file: Whether all tiles share one label file.

    Returns:
        All tiles, in input order.

    Raises:
        LabelError: If one file touches less than half of the tiles and its labelled
            area is unknown, if no tile is labelled, or if sparse labels are masks or
            have no background.
    """
    labelled = [tile for tile in tiles if tile.labels is not None]
    if not labelled:
        _need_no_area(tiles)
        return list(tiles)
    classes = labelled[0].classes
    if classes.sparse:
        _need_background(labelled)
    labelled = _without_blank_masks(labelled)
    if classes.sparse or any(area_tile(tile) is not None for tile in labelled):
        kept = [tile for tile in labelled if _has_label(tile, describe(tile.image))]
        _need_labelled(labelled, kept)
    elif classes.area == TOUCHED or (classes.area is None and one_file):
        kept = _touched(labelled)
        if classes.area is None:
            _need_most_touched(labelled, len(kept))
            kept = labelled
        else:
            _need_labelled(labelled, kept)
            _say_touched(labelled, kept)
    else:
        kept = labelled
    names = {tile.id for tile in kept}
    return [t if t.id in names else replace(t, labels=None) for t in tiles]


def _without_blank_masks(tiles: list[Tile]) -> list[Tile]:
    """Return the tiles whose mask has a pixel of a class, and all tiles with vectors.

    Raises:
        LabelError: If there are none.
    """
    kept = [t for t in tiles if is_vector(t) or _has_label(t, describe(t.image))]
    names = {tile.id for tile in kept}
    blank = [tile.id for tile in tiles if tile.id not in names]
    _need_labelled(tiles, kept)
    if blank:
        more = len(blank) - SHOWN
        log.info(
            "%d of %s have a mask without a labelled pixel and count as unlabelled: %s%s",
            len(blank),
            counted(len(tiles), "tile"),
            ", ".join(blank[:SHOWN]),
            f" and {more} more" if more > 0 else "",
        )
    return kept


def _touched(tiles: Sequence[Tile]) -> list[Tile]:
    """Return the tiles that labels touch, and warn about those that they only graze."""
    touched_tiles, grazed = [], []
    for tile in tiles:
        grid = describe(tile.image)
        if not is_vector(tile):
            touched = mostly = _has_label(tile, grid, beside=(IGNORE, BACKGROUND))
        else:
            touched, mostly = _touches(tile, grid)
        if touched:
            touched_tiles.append(tile)
        if touched and not mostly:
            grazed.append(tile.id)
    if grazed and tiles[0].classes.area == TOUCHED:
        log.warning(
            "%s (%s first) %s touched only by polygons that lie mostly outside, and all "
            "of it counts as labelled: if it is not, name the labelled area by a file",
            counted(len(grazed), "tile"),
            grazed[0],
            "is" if len(grazed) == 1 else "are",
        )
    return touched_tiles


def _has_label(
    tile: Tile, grid: RasterDescription, beside: Sequence[int] = (IGNORE,)
) -> bool:
    """Tell whether a pixel of a tile has a class other than those of ``beside``."""
    row, col, height, width = tile.extent(grid)
    for top in range(0, height, ROWS):
        part = PixelWindow(row + top, col, min(ROWS, height - top), width)
        if not np.isin(read_labels(replace(tile, window=part), grid), beside).all():
            return True
    return False


def _touches(tile: Tile, grid: RasterDescription) -> tuple[bool, bool]:
    """Tell whether a label polygon lies in a tile, and whether one lies mostly in it.

    A polygon that ends at the tile's edge may overlap it by a rounding error, so a
    polygon that is mostly outside counts only if it contains a pixel's centre.
    """
    polygons, _, sizes = polygons_of(tile, grid)
    shared = shapely.intersection(
        np.array(polygons, object), outline_of(grid, tile.extent(grid))
    )
    areas = shapely.area(shared)
    if ((areas > 0) & (2 * areas >= np.array(sizes))).any():
        return True, True
    to_pixels = shapely_affine(~grid.transform)
    return (
        any(
            _holds_centre(affinity.affine_transform(part, to_pixels))
            for part in shared[areas > 0]
        ),
        False,
    )


def _holds_centre(polygon: shapely.Geometry) -> bool:
    """Tell whether a polygon in pixel coordinates contains the centre of a pixel."""
    left, top, right, bottom = polygon.bounds
    x, y = np.meshgrid(
        np.arange(math.floor(left), math.ceil(right)) + 0.5,
        np.arange(math.floor(top), math.ceil(bottom)) + 0.5,
    )
    return bool(shapely.contains_xy(polygon, x, y).any())


def _need_no_area(tiles: Sequence[Tile]) -> None:
    """Raise if a labelled area or sparse labels are requested without labels.

    Raises:
        LabelError: If they are.
    """
    for tile in tiles[:1]:
        if tile.classes.area is not None or tile.classes.sparse:
            option = "--sparse" if tile.classes.sparse else "--labelled-area"
            raise LabelError(
                f"{option} needs labels, and no tile has any: name them with --labels"
            )


def _need_background(tiles: Sequence[Tile]) -> None:
    """Raise if sparse labels are masks, or have no feature on the background.

    Raises:
        LabelError: If they are masks, or have none.
    """
    files = {str(tile.labels): tile for tile in tiles}
    seen: set[int] = set()
    for path, tile in files.items():
        if not is_vector(tile):
            raise LabelError(
                f"labels {path} are a mask, expected points, lines and polygons where "
                "--sparse is given: leave it out, a mask's nodata is unlabelled"
            )
        seen |= set(read_file(tile).class_ids.tolist())
    name = tiles[0].classes.names[BACKGROUND]
    if BACKGROUND not in seen:
        raise LabelError(
            f"no feature of {', '.join(files)} has class {name}, and what sparse labels do "
            f"not touch is unlabelled: draw some on the {name} too, or name its value with "
            "--classes"
        )


def _need_most_touched(tiles: Sequence[Tile], touched: int) -> None:
    """Raise if a shared label file touches less than half of the tiles.

    Args:
        tiles: Tiles with the same label file.
        touched: Number of these tiles that a label touches.

    Raises:
        LabelError: If they are fewer than half.
    """
    if len(tiles) > 1 and 2 * touched < len(tiles):
        raise LabelError(
            f"labels {tiles[0].labels} touch {touched} of {counted(len(tiles), 'tile')}, "
            "and all other ground would count as background: name the labelled area by "
            "--labelled-area touched (the tiles that they touch), all (all tiles) or "
            "PATH (polygons), or by polygons in a layer labelled of the same GeoPackage"
        )


def _need_labelled(tiles: Sequence[Tile], kept: Sequence[Tile]) -> None:
    """Raise if no tile is labelled.

    Raises:
        LabelError: If ``kept`` is empty.
    """
    if not kept:
        area = area_tile(tiles[0])
        where = "" if area is None else f" in the labelled area of {area.labels}"
        raise LabelError(
            f"labels {tiles[0].labels} cover none of "
            f"{counted(len(tiles), 'tile')}{where}: check their extent and their CRS"
        )


def _say_touched(tiles: Sequence[Tile], touched: Sequence[Tile]) -> None:
    """Log which tiles are labelled because labels touch them."""
    more = len(touched) - SHOWN
    log.info(
        "labels touch %d of %s, which are labelled: %s%s",
        len(touched),
        counted(len(tiles), "tile"),
        ", ".join(tile.id for tile in touched[:SHOWN]),
        f" and {more} more" if more > 0 else "",
    )
