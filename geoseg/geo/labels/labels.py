"""Reading and checking of reference labels on a tile's own grid."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import shapely
from affine import Affine
from rasterio import features
from rasterio.crs import CRS
from shapely import affinity
from shapely.geometry import shape

from geoseg.core.addresses import file_name
from geoseg.core.classes import BUILDING, TWO_CLASSES
from geoseg.core.errors import DatasetError, LabelError, RasterError
from geoseg.core.patches import IGNORE
from geoseg.core.words import counted
from geoseg.geo.coordinates.crs import full_turn
from geoseg.geo.coordinates.georeference import shift, warp
from geoseg.geo.labels.areas import inside_area
from geoseg.geo.labels.layers import read_file
from geoseg.geo.labels.loose_geometries import polygon_parts
from geoseg.geo.labels.masks import (
    check_mask,
    covers,
    fits_grid,
    read_mask,
    unknown_values,
)
from geoseg.geo.labels.vectors import (
    burn,
    burn_sparse,
    outline_of,
    polygons_of,
    read_layer,
    rectangle,
    shapely_affine,
)
from geoseg.geo.labels.warnings import (
    hidden_ground,
    warn_of_left_out,
    warn_of_merged,
    warn_of_nodata,
    warn_of_unknown,
)
from geoseg.geo.rasters.description import RasterDescription
from geoseg.geo.rasters.ground import Ground
from geoseg.geo.rasters.longitudes import Longitudes
from geoseg.geo.rasters.raster import describe
from geoseg.geo.tiles.layouts import IMAGE_SUFFIXES
from geoseg.geo.tiles.tiles import Tile

log = logging.getLogger(__name__)


def read_labels(
    tile: Tile, grid: RasterDescription
) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Read a tile's labels on its own grid.

    Vectors are reprojected to the image's CRS and burnt by the pixel-centre rule: a
    pixel is building if its centre lies in a polygon. Of overlapping polygons the
    smallest gives the class; of sparse labels the latest in the file. A GeoJSON without
    a ``crs`` member is in longitude and latitude (RFC 7946). A mask on another grid or
    in another CRS is resampled to the nearest pixel.

    Args:
        tile: A labelled tile; its ``classes`` give the meaning of values.
        grid: Metadata of the tile's image.

    Returns:
        ``(height, width)`` class ids of the tile's window: 0 background; 255 (IGNORE)
        where the mask is nodata, a value belongs to no class, outside the labelled area
        and beside sparse labels. Nodata of the *image* is not considered.

    Raises:
        LabelError: If the labels are absent, unreadable or do not fit the image.
    """
    window = tile.extent(grid)
    if not is_vector(tile):
        classes = read_mask(tile, grid, window)
    elif tile.classes.sparse:
        classes = burn_sparse(tile, grid, window)
    else:
        classes = burn(*polygons_of(tile, grid), grid.transform, window)
    inside = inside_area(tile, grid, window)
    if inside is not None:
        classes[~inside] = IGNORE
    return classes


def read_footprints(
    tile: Tile,
    grid: RasterDescription | None = None,
    *,
    pixels: bool = False,
    class_id: int = BUILDING,
) -> list[shapely.Polygon]:
    """Read a tile's reference polygons of one class, clipped to the tile.

    A building cut into several pieces by the tile's edge gives one polygon per piece.
    Masks are polygonised with 4-connectivity.

    Args:
        tile: A labelled tile.
        grid: Metadata of the tile's image; None: read them.
        pixels: Return pixel coordinates of the image (x = column, y = row) instead of
            its CRS's.
        class_id: Class of the polygons to return.

    Raises:
        LabelError: As :func:`read_labels`.
    """
    grid = grid or describe(tile.image)
    window = tile.extent(grid)
    if is_vector(tile):
        back = shapely_affine(~grid.transform)
        frame = rectangle(window)
        clipped = [
            affinity.affine_transform(polygon, back).intersection(frame)
            for polygon, own, _ in zip(*polygons_of(tile, grid), strict=True)
            if own == class_id
        ]
    else:
        mask = read_mask(tile, grid, window)
        moved = shift(Affine.identity(), window.col, window.row)
        clipped = [
            shape(geometry)
            for geometry, value in features.shapes(
                mask, connectivity=4, transform=moved
            )
            if value == class_id
        ]
    polygons = [
        part for piece in clipped for part in polygon_parts(piece) if part.area > 0
    ]
    if pixels:
        return polygons
    forth = shapely_affine(grid.transform)
    return [affinity.affine_transform(part, forth) for part in polygons]


def check_labels(tiles: Sequence[Tile]) -> None:
    """Check before a long run that labels meet their tiles and can be scored.

    Log in one line each how many masks are resampled to their images' grids, which
    values belong to no named class, and which count as building because no class is
    named.

    Raises:
        LabelError: If a mask does not fit its image, or no label meets any tile.
        RasterError: If a labelled image's CRS has no lengths, which scores need.
    """
    inside, elsewhere = 0, ""
    resampled: list[str] = []
    unknown: dict[str, Mapping[str, int]] = {}
    for tile in tiles:
        if tile.labels is None:
            continue
        grid = describe(tile.image)
        if grid.crs is not None:
            Ground(grid)  # raises if scores could not measure lengths
        meets, where = _meet(tile, grid, resampled)
        inside += meets
        elsewhere = elsewhere or where
        if not tile.classes.any_building and tile.labels not in unknown:
            unknown[tile.labels] = _unknown(tile, grid)
    if elsewhere and not inside:
        others = f", and none of the {len(tiles)} tiles meets its labels"
        raise LabelError(
            f"labels elsewhere: {elsewhere}{others if len(tiles) > 1 else ''}; check the "
            "labels' CRS"
        )
    if resampled:
        log.info(
            "masks of %s (%s first) lie on another grid than their images: resampled "
            "to the nearest pixel",
            counted(len(resampled), "tile"),
            resampled[0],
        )
    vectors = {tile.labels: tile for tile in tiles if tile.labels and is_vector(tile)}
    warn_of_left_out(vectors.values())
    warn_of_unknown(unknown)
    masks = [tile for tile in tiles if tile.labels and not is_vector(tile)]
    warn_of_nodata(masks)
    warn_of_merged(masks)


def check_footprints(path: Path, tiles: Sequence[Tile]) -> None:
    """Raise if a map's footprints are elsewhere than the tiles.

    A map without footprints passes.

    Args:
        path: A vector file of footprints.
        tiles: Tiles that the map should cover.

    Raises:
        DatasetError: If the bounds of its footprints meet no tile.
        LabelError: If the file cannot be read.
    """
    if not tiles or not path.stat().st_size:
        return
    grids = [describe(image) for image in dict.fromkeys(tile.image for tile in tiles)]
    as_labels = replace(tiles[0], labels=str(path), classes=TWO_CLASSES)
    read_layer(as_labels, grids[0])  # raises if file and image do not fit
    warn_of_left_out([as_labels])
    layer = read_file(as_labels)
    if not len(layer.polygons):
        return
    bounds = shapely.total_bounds(layer.polygons)
    corners: list[tuple[float, float]] = []
    for grid in grids:
        outline = list(outline_of(grid).exterior.coords)
        try:
            corners = warp(outline, grid.crs, layer.crs)
        except RasterError:  # no transformation to the map's CRS, so it is elsewhere
            continue
        corners = _near(corners, layer.crs, bounds)
        if shapely.MultiPoint(corners).envelope.intersects(shapely.box(*bounds)):
            return
    tiles_cover = (
        f"cover {_corners(shapely.MultiPoint(corners).bounds)}"
        if np.isfinite(corners).any()
        else "have no place"
    )
    crs = layer.crs.to_string() if layer.crs else "without a CRS"
    raise DatasetError(
        f"map elsewhere: {path} covers {_corners(bounds)} in {crs}, where the tiles "
        f"{tiles_cover} ({grids[-1].path} for one), and none of {counted(len(grids), 'image')} "
        "meets it: name the images that were mapped, or check the map's CRS"
    )


def _near(
    corners: Sequence[tuple[float, float]], crs: CRS | None, bounds: Sequence[float]
) -> list[tuple[float, float]]:
    """Shift corners by full turns of longitude to near some bounds."""
    turn = full_turn(crs)
    if turn is None:
        return list(corners)
    x, y = np.array(corners).T
    x = Longitudes((bounds[0] + bounds[2]) / 2, turn).near(x)
    return list(zip(x.tolist(), y.tolist(), strict=True))


def check_two_classes(tiles: Sequence[Tile]) -> None:
    """Raise if the labels of the matching tiles have fewer than two classes.

    Labels are read only until two classes have occurred.

    Args:
        tiles: Labelled tiles for matching the clusters; may be empty.

    Raises:
        LabelError: If they have one class or none.
    """
    seen: set[int] = set()
    for tile in tiles:
        seen |= set(np.unique(read_labels(tile, describe(tile.image)))) - {IGNORE}
        if len(seen) > 1:
            return
    if tiles:
        names = tiles[0].classes.names
        content = f"nothing but {names[seen.pop()]}" if seen else "no labelled pixel"
        advice = "" if is_vector(tiles[0]) else hidden_ground(tiles[0])
        raise LabelError(
            f"the labels of the {counted(len(tiles), 'matching tile')} hold {content}, "
            "so clusters cannot be told apart: "
            + (
                advice
                or "give --match-tiles more of them or another --seed, or train without "
                "labels and match later"
            )
        )


def _meet(
    tile: Tile, grid: RasterDescription, resampled: list[str]
) -> tuple[bool, str]:
    """Tell whether labels meet their tile; if not, return the extents of both in words.

    The text is empty if the file has no labels.
    """
    if not is_vector(tile):
        mask = check_mask(tile, grid)
        if not fits_grid(mask, grid):
            resampled.append(str(tile.labels))
        if covers(mask, grid, tile):
            return True, ""
        return False, _apart(tile, outline_of(mask), mask.crs, grid)
    if polygons_of(tile, grid)[0]:
        return True, ""
    layer = read_file(tile)
    if not len(layer.polygons):
        return False, ""
    covered = shapely.box(*shapely.total_bounds(layer.polygons))
    return False, _apart(tile, covered, layer.crs, grid)


def _apart(
    tile: Tile, covered: shapely.Polygon, crs: CRS | None, grid: RasterDescription
) -> str:
    """Describe the extents of labels and their tile, in the CRS of the labels."""
    try:
        corners = warp(list(outline_of(grid).exterior.coords), grid.crs, crs)
        own = f"covers {_corners(shapely.MultiPoint(corners).bounds)}"
    except RasterError:
        own = "has no place in it"
    name = crs.to_string() if crs else "no CRS"
    return (
        f"{tile.labels} covers {_corners(covered.bounds)} in {name}, where "
        f"{tile.image} {own}"
    )


def _unknown(tile: Tile, grid: RasterDescription) -> Mapping[str, int]:
    if is_vector(tile):
        return read_file(tile).unknown
    return unknown_values(tile)


def _corners(bounds: Sequence[float]) -> str:
    return "({:.7g} {:.7g} {:.7g} {:.7g})".format(*bounds)


def is_vector(tile: Tile) -> bool:
    """Tell whether a tile's labels are vectors, not a mask.

    Raises:
        LabelError: If it has no labels.
    """
    if tile.labels is None:
        raise LabelError(
            f"tile {tile.id} ({tile.image}) has no labels, expected a vector or mask "
            "file: choose labelled tiles"
        )
    return file_name(tile.labels).suffix.lower() not in IMAGE_SUFFIXES
