"""Checks of a map's images against the model's training images."""

import logging
from collections.abc import Sequence

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
