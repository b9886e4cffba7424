"""Vector labels: reprojection to an image and rasterisation on its grid."""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import shapely
from affine import Affine
from rasterio import features
from shapely import affinity

from geoseg.core.classes import LabelClasses
from geoseg.core.errors import LabelError, RasterError
from geoseg.core.patches import IGNORE
from geoseg.geo.coordinates.crs import full_turn, same_crs
from geoseg.geo.coordinates.georeference import shift
from geoseg.geo.labels.layers import Layer, read_file, read_version, version_of
from geoseg.geo.labels.polygon_warps import ImageGrid, move_points, place
from geoseg.geo.rasters.description import PixelWindow, RasterDescription
from geoseg.geo.rasters.raster import warp_advice
from geoseg.geo.tiles.tiles import Tile

Array = np.ndarray[Any, Any]


def read_layer(tile: Tile, grid: RasterDescription) -> Layer:
    """Read a tile's vector file in the CRS of its image.

    Returns:
        The polygons that meet the image, or all polygons if file and image have the
        same projected CRS.

    Raises:
        LabelError: If the file is absent or unreadable, lacks the layer or the class
            field, or only one of file and image has a CRS.
    """
    layer = read_file(tile)
    if not len(layer.polygons):
        return layer
    advice = warp_advice(grid)
    if advice is not None and layer.crs is not None:
        raise LabelError(f"labels {tile.labels} have a CRS, but {advice}")
    if same_crs(layer.crs, grid.crs) and full_turn(grid.crs) is None:
        return layer
    if layer.crs is None or grid.crs is None:
        without, has = ("labels", "image") if layer.crs is None else ("image", "labels")
        raise LabelError(
            f"the {without} of {tile.labels} have no CRS and the {has} do, expected both "
            "or neither: set the CRS with ogr2ogr -a_srs or gdal_edit.py -a_srs"
        )
    image = ImageGrid(grid.crs, grid.transform, grid.width, grid.height)
    return _cached_layer(str(tile.labels), version_of(tile), tile.classes, image)


@lru_cache(maxsize=1024)
def _cached_layer(
    path: str, version: tuple[int, int], classes: LabelClasses, image: ImageGrid
) -> Layer:
    """Reproject the polygons of a file to an image, once for all its windows."""
    layer = read_version(path, version, classes)
    assert layer.crs is not None
    try:
        polygons, rows, sizes = place(layer.polygons, layer.tree, layer.crs, image)
        cores = None
        if layer.cores is not None:
            cores = move_points(layer.cores[rows], layer.crs, image)
    except RasterError as error:  # no transformation
        raise LabelError(f"labels {path}: {error}") from error
    return layer._replace(
        polygons=polygons,
        class_ids=layer.class_ids[rows],
        features=layer.features[rows],
        sizes=sizes,
        cores=cores,
        tree=shapely.STRtree(polygons),
        crs=image.crs,
    )


def polygons_of(
    tile: Tile, grid: RasterDescription
) -> tuple[list[shapely.Geometry], list[int], list[float]]:
    """Return the polygons that meet the tile, in the file's order.

    Returns:
        Polygons, class ids, and areas; of a polygon clipped far from the image, the
        area of the whole.
    """
    layer, hits = read_layer(tile, grid), meeting(tile, grid)
    return (
        list(layer.polygons[hits]),
        layer.class_ids[hits].tolist(),
        layer.sizes[hits].tolist(),
    )


def meeting(tile: Tile, grid: RasterDescription) -> Array:
    """Return the sorted positions in the layer of the polygons that meet the tile."""
    outline = outline_of(grid, tile.extent(grid))
    hits = read_layer(tile, grid).tree.query(outline, predicate="intersects")
    return np.asarray(np.sort(hits))


def burn(
    polygons: Sequence[shapely.Geometry],
    class_ids: Sequence[int],
    sizes: Sequence[float],
    transform: Affine,
    window: PixelWindow,
) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Rasterise polygons by the pixel-centre rule, with background elsewhere.

    Of overlapping polygons the smaller is on top, whatever its class (a car on a road,
    a house in a park). Of equal ones the later in the file is on top.

    Args:
        polygons: Polygons in the file's order.
        class_ids: Class id of each polygon.
        sizes: Area of each polygon.
        transform: Transform of the image.
        window: Window of the image.
    """
    shape_ = (window.height, window.width)
    if not polygons:
        return np.zeros(shape_, np.uint8)
    order = np.argsort(-np.asarray(sizes), kind="stable")
    burnt = features.rasterize(
        ((polygons[i], class_ids[i]) for i in order),
        out_shape=shape_,
        transform=shift(transform, window.col, window.row),
        fill=0,
        all_touched=False,
        dtype="uint8",
    )
    return np.asarray(burnt, np.uint8)


def burn_sparse(
    tile: Tile, grid: RasterDescription, window: PixelWindow
) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Rasterise sparse labels, with IGNORE elsewhere; later features are on top.

    A pixel is labelled if its centre is inside, or if a point or a line is in it.
    """
    layer = read_layer(tile, grid)
    drawn = []
    for number in meeting(tile, grid).tolist():
        drawn.append((layer.polygons[number], layer.class_ids[number]))
        if layer.cores is not None and layer.cores[number].area == 0:
            drawn.append((layer.cores[number], layer.class_ids[number]))
    burnt = np.full((window.height, window.width), IGNORE, np.uint8)
    if drawn:
        features.rasterize(
            drawn, out=burnt, transform=shift(grid.transform, window.col, window.row)
        )
    return burnt


def outline_of(
    grid: RasterDescription, window: PixelWindow | None = None
) -> shapely.Polygon:
    """Return the window's outline in the image's CRS (no box if rotated)."""
    return affinity.affine_transform(
        rectangle(window or grid.window), shapely_affine(grid.transform)
    )


def rectangle(window: PixelWindow) -> shapely.Polygon:
    """Return the window as a polygon in pixel coordinates."""
    row, col, height, width = window
    return shapely.box(col, row, col + width, row + height)


def shapely_affine(transform: Affine) -> tuple[float, ...]:
    """Return the coefficients of a transform in shapely's order."""
    t = transform
    return t.a, t.b, t.d, t.e, t.c, t.f
