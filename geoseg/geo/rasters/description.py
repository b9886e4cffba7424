"""Raster metadata and pixel windows."""

from dataclasses import dataclass
from typing import NamedTuple

from affine import Affine
from rasterio.crs import CRS


class PixelWindow(NamedTuple):
    """A rectangle of whole pixels: first row, first column, height and width."""

    row: int
    col: int
    height: int
    width: int


@dataclass(frozen=True)
class RasterDescription:
    """Metadata of a raster file.

    Attributes:
        path: As given: a local path, ``/vsi…``, ``s3://`` or ``https://``.
        width: Columns.
        height: Rows.
        count: Image bands; an alpha band is not one.
        dtypes: Type of each image band.
        crs: None if the file has no CRS or no geotransform; its pixels can still be
            read.
        transform: Pixel (column, row) to CRS coordinates; (0, 0) is a corner.
        band_names: One name per image band, lower-case, words joined by ``_``.
        band_indexes: 1-based number in the file of each image band.
        nodata: The nodata value that the file declares, if any.
        alpha: 1-based number of the alpha band, if there is one.
        gsd_m: Ground sampling distance: geometric mean of a pixel's sides in metres at
            the image's centre; None without a CRS.
        named_by: Origin of the band names: ``descriptions``, ``colours``, ``count`` or
            ``numbers``.
        colours: GDAL's colour interpretation of each image band.
        scaling: Scale and offset that each image band declares; reading does not apply
            them.
        nodata_values: The nodata value of each image band.
        masked: Whether the file has a mask for all bands; an alpha band is no mask.
        block: Height and width of the file's blocks.
        pages: Number of images in the file; the first is read.
        located_by: ``grid``; without a geotransform ``gcps``, ``rpcs``, ``crs`` (a CRS
            alone) or ``nothing``.
    """

    path: str
    width: int
    height: int
    count: int
    dtypes: tuple[str, ...]
    crs: CRS | None
    transform: Affine
    band_names: tuple[str, ...]
    band_indexes: tuple[int, ...]
    nodata: float | None
    alpha: int | None
    gsd_m: float | None
    named_by: str = "count"
    colours: tuple[str, ...] = ()
    scaling: tuple[tuple[float, float], ...] = ()
    nodata_values: tuple[float | None, ...] = ()
    masked: bool = False
    block: tuple[int, int] = (0, 0)
    located_by: str = "grid"
    pages: int = 1

    @property
    def window(self) -> PixelWindow:
        """Return the window of the whole image."""
        return PixelWindow(0, 0, self.height, self.width)
