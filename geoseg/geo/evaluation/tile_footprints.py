"""Footprints of one tile, as prediction would write them, in pixel coordinates."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import rasterio.features
import shapely
from affine import Affine
from shapely import Polygon

from geoseg.core.classes import BACKGROUND
from geoseg.geo.coordinates.georeference import shift
from geoseg.geo.evaluation.footprint_counts import mask_polygons
from geoseg.geo.footprints.vectorize import footprints
from geoseg.geo.rasters.description import PixelWindow, RasterDescription
from geoseg.geo.rasters.strips import ClassStrip, keep_classes


def tile_footprints(
    classes: npt.NDArray[np.uint8],
    grid: RasterDescription,
    extent: PixelWindow,
    class_ids: Collection[int],
) -> Mapping[int, list[Polygon]]:
    """Return the footprints of a tile's classes with prediction's default options.

    Args:
        classes: ``(H, W)`` class ids, IGNORE where there is no data.
        grid: Grid of the tile's image. Without a CRS the size of a pixel is unknown and
            prediction writes no footprints; then the outlines along pixels are returned.
        extent: Extent of the tile in its image.
        class_ids: Classes that become footprints.

    Returns:
        Class id → footprints in pixels (column, row) of the whole image, ordered by row,
        then column.
    """
    if grid.crs is None:
        row, col, _, _ = extent
        return {
            k: mask_polygons(classes == k, row=row, col=col) for k in sorted(class_ids)
        }
    own = replace(
        grid,
        transform=shift(grid.transform, extent.col, extent.row),
        width=extent.width,
        height=extent.height,
    )
    strip = ClassStrip(0, classes, np.zeros(classes.shape, np.float32))
    names = tuple(str(k) for k in range(max(class_ids, default=0) + 1))
    by_class: dict[int, list[Polygon]] = {k: [] for k in sorted(class_ids)}
    kept = keep_classes([strip], sorted(class_ids))
    for footprint in footprints(kept, own, class_names=names):
        by_class[footprint.class_id].append(footprint.geometry)
    a, b, c, d, e, f = (~grid.transform)[:6]

    def to_pixels(points: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        x, y = points[:, 0], points[:, 1]
        return np.stack((a * x + b * y + c, d * x + e * y + f), axis=1)

    return {
        k: list(shapely.transform(np.array(group, dtype=object), to_pixels))
        for k, group in by_class.items()
    }


def draw_classes(
    mapped: Mapping[int, Sequence[Polygon]], extent: PixelWindow
) -> npt.NDArray[np.uint8]:
    """Rasterise footprints as ``(H, W)`` class ids, background elsewhere.

    Args:
        mapped: Class id → footprints, as :func:`tile_footprints` returns them. A pixel
            is inside if its centre is.
        extent: Extent of the tile in its image.
    """
    shapes = [(polygon, k) for k, polygons in mapped.items() for polygon in polygons]
    classes = np.full((extent.height, extent.width), BACKGROUND, np.uint8)
    if shapes:
        rasterio.features.rasterize(
            shapes, out=classes, transform=Affine.translation(extent.col, extent.row)
        )
    return classes
