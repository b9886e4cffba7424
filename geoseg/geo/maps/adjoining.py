"""Several images of one map: what keeps them, or their footprints, from being joined."""

import logging
from collections.abc import Sequence

import numpy as np
import shapely

from geoseg.core.errors import RasterError
from geoseg.geo.coordinates.crs import crs_name, same_crs
from geoseg.geo.coordinates.georeference import locate
from geoseg.geo.maps.mosaic import misfit
from geoseg.geo.rasters.description import RasterDescription

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
    if not found:
        return
    fit = all(misfit(found[0], grid) is None for grid in found[1:])
    log.warning(
        "%d of %d images adjoin or overlap others: a building across their borders "
        "becomes several footprints; for whole ones %s",
        *(len(found), len(grids)),
        (
            "map them as one, with --mosaic"
            if fit
            else "bring them to one grid (gdalwarp -tap) and give --mosaic"
        ),
    )


def require_one_crs(grids: Sequence[RasterDescription]) -> None:
    """Refuse images whose footprints have no CRS in common.

    Raises:
        RasterError: If two CRSs differ.
    """
    for grid in grids[1:]:
        if not same_crs(grid.crs, grids[0].crs):
            raise RasterError(
                f"{grid.path} is in {crs_name(grid.crs)}, {grids[0].path} in "
                f"{crs_name(grids[0].crs)}: "
                "predict images of different CRSs into different outputs"
            )


def _outline(grid: RasterDescription) -> shapely.Polygon:
    corners = ((0, 0), (grid.width, 0), (grid.width, grid.height), (0, grid.height))
    return shapely.Polygon([locate(grid.transform, *corner) for corner in corners])
