"""Images that lie side by side: what their maps, made one by one, cannot join."""

import logging
from collections.abc import Sequence

import numpy as np
import shapely

from geoseg.geo.georeference import locate
from geoseg.geo.raster import RasterDescription

log = logging.getLogger(__name__)


def adjoining(grids: Sequence[RasterDescription]) -> list[RasterDescription]:
    """Return the images that touch or overlap another one.

    Args:
        grids: Of one CRS. Gaps of up to half a pixel are none.
    """
    if len(grids) < 2:
        return []
    outlines = np.array([_outline(grid) for grid in grids], dtype=object)
    pixels = [np.sqrt(abs(grid.transform.determinant)) for grid in grids]
    first, second = shapely.STRtree(outlines).query(
        outlines, predicate="dwithin", distance=0.5 * np.array(pixels)
    )
    return [grids[i] for i in np.unique(first[first != second])]


def warn_of_adjoining(grids: Sequence[RasterDescription]) -> None:
    """Warn of footprints that will end where one image does and go on in the next."""
    found = adjoining(grids)
    if found:
        log.warning(
            "%d of %d images adjoin or overlap others: a building across their borders "
            "becomes several footprints; for whole ones map a mosaic of them: "
            "gdalbuildvrt -addalpha mosaic.vrt *.tif",
            *(len(found), len(grids)),
        )


def _outline(grid: RasterDescription) -> shapely.Polygon:
    corners = ((0, 0), (grid.width, 0), (grid.width, grid.height), (0, grid.height))
    return shapely.Polygon([locate(grid.transform, *corner) for corner in corners])
