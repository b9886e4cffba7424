"""The images of a map: described, compared with the training's and with one another."""

import logging
from collections.abc import Sequence

import numpy as np
import shapely

from geoseg.core.errors import RasterError
from geoseg.geo.coordinates.crs import crs_name, same_crs
from geoseg.geo.coordinates.georeference import locate
from geoseg.geo.maps.mosaic import misfit
from geoseg.geo.rasters import raster
from geoseg.geo.rasters.bands import band_numbers, check_scaling
from geoseg.geo.rasters.description import RasterDescription
from geoseg.geo.rasters.ground import Ground
from geoseg.geo.rasters.inspection import assumed_bands, warn_of_gsd, warn_of_pages
from geoseg.model.file import Model

log = logging.getLogger(__name__)


def describe_images(model: Model, images: Sequence[str]) -> list[RasterDescription]:
    """Describe the images to map; warn where they differ from the training images.

    Raises:
        RasterError: If an image cannot be opened, or has no CRS.
        BandMismatchError: If one lacks a band, or declares another scale and offset.
    """
    grids = [raster.describe(image) for image in images]
    bands = model.card.normalization.bands
    for grid in grids:
        Ground(grid)  # raises if footprints could not be measured
        band_numbers(grid, bands)
        check_scaling(grid, bands, model.card.provenance.get("image_scaling"))
        warn_of_pages(grid)
        warn_of_gsd(grid, model.card.gsd_m)
    others = {grid.count: grid for grid in grids}
    others.pop(model.card.provenance.get("image_bands", grids[0].count), None)
    for grid in others.values():
        if guess := assumed_bands(grid, bands):
            log.warning("%s, unlike the training's: %s", grid.path, guess)
    return grids


def adjoining(grids: Sequence[RasterDescription]) -> list[RasterDescription]:
    """Return the images that touch or overlap another one.

    Args:
        grids: Grids in the same CRS. Gaps of up to half a pixel count as touching.
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
    """Warn if buildings across the borders of images will become several footprints."""
    together = adjoining(grids)
    if not together:
        return
    fit = all(misfit(together[0], grid) is None for grid in together[1:])
    log.warning(
        "%d of %d images adjoin or overlap others: a building across their borders "
        "becomes several footprints; for whole ones %s",
        len(together),
        len(grids),
        (
            "map them as one, with --mosaic"
            if fit
            else "bring them to one grid (gdalwarp -tap) and give --mosaic"
        ),
    )


def require_one_crs(grids: Sequence[RasterDescription]) -> None:
    """Raise if the images do not have the same CRS.

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
