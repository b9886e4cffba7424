"""What is known of a raster before its pixels are read, and windows of them."""

from dataclasses import dataclass
from typing import NamedTuple

from affine import Affine
from rasterio.crs import CRS


class PixelWindow(NamedTuple):
    """A rectangle of whole pixels: first row and column, height and width."""

    row: int
    col: int
    height: int
    width: int


@dataclass(frozen=True)
class RasterDescription:
    """What a file says about itself, without its pixels.

    Attributes:
        path: As given: a local path, ``/vsi…``, ``s3://`` or ``https://``.
        width: Columns.
        height: Rows.
        count: Image bands; an alpha band is not one.
        dtypes: Type of each image band.
        crs: None if the file has none, or no geotransform beside it; reading pixels works
            all the same.
        transform: Pixel (column, row) to CRS coordinates; (0, 0) is a corner.
        band_names: One name per image band, lower-case, words joined by ``_``.
        band_indexes: 1-based number in the file of each image band.
        nodata: The file's own nodata value, if it declares one.
        alpha: 1-based number of the alpha band, if there is one.
        gsd_m: Ground sampling distance: geometric mean of a pixel's sides in metres at
            the image's centre; None without a CRS.
        named_by: What the band names come from: ``descriptions``, ``colours``,
            ``count`` or ``numbers``.
        colours: GDAL's colour interpretation of each image band.
        scaling: The scale and offset that each image band declares; pixels are read
            without them.
        nodata_values: The nodata value of each image band.
        masked: Whether a mask for all bands comes with the file; alpha is none.
        block: Height and width of the blocks that the file is stored in.
        pages: Images in the file; the first is read.
        located_by: ``grid``; or, where there is none, ``gcps``, ``rpcs``, ``crs`` (one
            without a geotransform) or ``nothing``.
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
        """The whole image as a window."""
        return PixelWindow(0, 0, self.height, self.width)
