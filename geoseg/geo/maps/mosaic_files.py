"""The VRT of a mosaic, with the nodata handling of its images.

Valid pixels must be the same as if each image were read alone, so the file uses the images'
own convention: a nodata value; zeros, in files of more than 8 bit without one; or a mask for
all bands, if the images have masks or alpha bands, or are 8 bit without a nodata value.
"""

import math
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple
from xml.sax.saxutils import escape

import numpy as np

from geoseg.core.addresses import gdal_name, is_remote, redact
from geoseg.core.errors import OutputError, RasterError
from geoseg.geo.rasters.description import RasterDescription
from geoseg.geo.rasters.nodata import NodataRule, check_nodata, holds

#: numpy's names of pixel types → GDAL's; the others differ only in capitals.
_TYPES = {"uint8": "Byte", "uint16": "UInt16", "uint32": "UInt32", "uint64": "UInt64"}


class Part(NamedTuple):
    """An image in a mosaic.

    Attributes:
        image: The image.
        col: First column in the mosaic.
        row: First row in the mosaic.
    """

    image: RasterDescription
    col: int
    row: int


class Validity(NamedTuple):
    """How a mosaic marks pixels without data.

    Attributes:
        fill: Value of each band where there is no data; None: 0.
        clear: Value of each band of an image that is transparent; None: no value is.
        mask: Whether there is a mask for all bands.
    """

    fill: tuple[float | None, ...]
    clear: tuple[float | None, ...]
    mask: bool = False


def validity_of(
    images: Sequence[RasterDescription], rule: NodataRule, *, gaps: bool
) -> Validity:
    """Choose how a mosaic marks pixels without data.

    Args:
        images: Images that fit each other.
        rule: Nodata rule with which the mosaic will be read.
        gaps: Whether there are places without an image.

    Raises:
        RasterError: If gaps could not be distinguished from data, or some images have
            masks and others declare nothing.
    """
    first = images[0]
    dtype = np.dtype(first.dtypes[0])
    rule = check_nodata(rule)
    if rule != "auto":
        return _by_rule(first, rule, gaps=gaps)
    values = first.nodata_values
    silent = all(value is None for value in values)
    named = all(value is not None and holds(dtype, value) for value in values)
    masked = [image for image in images if has_mask_or_alpha(image)]
    if silent and dtype.itemsize > 1:
        if masked and len(masked) < len(images):
            other = next(image for image in images if not has_mask_or_alpha(image))
            raise RasterError(
                f"{masked[0].path} has a mask, {other.path} declares no nodata, expected "
                "the same in all images of a mosaic: give all one nodata value "
                "(gdal_edit.py -a_nodata, gdalwarp -dstnodata)"
            )
        zeros = (None if masked else 0.0,) * len(values)
        return Validity(values, zeros, mask=bool(masked))
    return Validity(values, values, mask=bool(masked) or not named)


def _by_rule(first: RasterDescription, rule: str, *, gaps: bool) -> Validity:
    """Choose for a model whose rule is a nodata value, or none."""
    dtype = np.dtype(first.dtypes[0])
    value = math.nan if rule == "none" else float(rule)
    if holds(dtype, value):
        return Validity((value,) * first.count, (value,) * first.count)
    if gaps:
        raise RasterError(
            f"the mosaic has gaps, which {dtype} cannot represent for a model with nodata "
            f"{rule}: map the images one by one, or train with --nodata auto"
        )
    return Validity((None,) * first.count, (None,) * first.count)


def has_mask_or_alpha(image: RasterDescription) -> bool:
    """Tell whether an image has a mask or an alpha band."""
    return image.masked or image.alpha is not None


def hides_alpha(image: RasterDescription) -> bool:
    """Tell whether an image has an alpha band that GDAL does not use as a mask.

    GDAL does for two or four bands without a nodata value, if alpha is the last.
    """
    if image.alpha is None:
        return False
    usual = image.count in (1, 3) and image.alpha == image.count + 1
    return not usual or any(value is not None for value in image.nodata_values)


def write_mosaic(
    path: Path, grid: RasterDescription, parts: Sequence[Part], validity: Validity
) -> None:
    """Write the VRT, readable only by its owner if it contains signed addresses.

    Raises:
        OutputError: If it cannot be written.
    """
    secret = any(redact(part.image.path) != part.image.path for part in parts)
    aside = path.with_name(f"{path.name}.aside")
    try:
        aside.unlink(missing_ok=True)
        descriptor = os.open(
            aside, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600 if secret else 0o666
        )
        with open(descriptor, "w", encoding="utf-8") as file:
            file.writelines(_lines(grid, parts, validity))
        os.replace(aside, path)
    except OSError as error:
        raise OutputError.unwritable(path, error) from error


def _lines(
    grid: RasterDescription, parts: Sequence[Part], validity: Validity
) -> Iterator[str]:
    """Yield the XML of GDAL's VRT format."""
    crs = "" if grid.crs is None else escape(grid.crs.to_wkt())
    place = ", ".join(map(repr, grid.transform.to_gdal()))
    yield f'<VRTDataset rasterXSize="{grid.width}" rasterYSize="{grid.height}">\n'
    yield f"<SRS>{crs}</SRS>\n<GeoTransform>{place}</GeoTransform>\n"
    names = [escape(_source_name(part.image.path)) for part in parts]
    for band in range(grid.count):
        yield from _band(grid, parts, validity, band, names)
    if validity.mask:
        yield '<MaskBand>\n<VRTRasterBand dataType="Byte">\n'
        for part, name in zip(parts, names, strict=True):
            yield _mask_source(part, name)
        yield "</VRTRasterBand>\n</MaskBand>\n"
    yield "</VRTDataset>\n"


def _band(
    grid: RasterDescription,
    parts: Sequence[Part],
    validity: Validity,
    band: int,
    names: Sequence[str],
) -> Iterator[str]:
    kind = _gdal_type(grid.dtypes[band])
    yield f'<VRTRasterBand dataType="{kind}" band="{band + 1}">\n'
    yield f"<Description>{escape(grid.band_names[band])}</Description>\n"
    # without it GDAL would treat a fourth band with another meaning as alpha
    if grid.colours[band] != "alpha":
        yield f"<ColorInterp>{escape(grid.colours[band])}</ColorInterp>\n"
    if (fill := validity.fill[band]) is not None:
        yield f"<NoDataValue>{fill!r}</NoDataValue>\n"
    clear = validity.clear[band]
    for part, name in zip(parts, names, strict=True):
        if validity.mask and has_mask_or_alpha(part.image):
            how = "<UseMaskBand>true</UseMaskBand>"
        else:
            how = "" if clear is None else f"<NODATA>{clear!r}</NODATA>"
        yield _source(part, name, str(part.image.band_indexes[band]), how)
    yield "</VRTRasterBand>\n"


def _mask_source(part: Part, name: str) -> str:
    if part.image.alpha is not None:
        return _source(part, name, str(part.image.alpha), "<NODATA>0</NODATA>")
    if part.image.masked:
        return _source(part, name, "mask,1", "<NODATA>0</NODATA>")
    always = "<ScaleOffset>255</ScaleOffset><ScaleRatio>0</ScaleRatio>"
    return _source(part, name, "1", always)


def _source(part: Part, name: str, band: str, how: str) -> str:
    image = part.image
    size = f'xSize="{image.width}" ySize="{image.height}"'
    kind = "ComplexSource" if how else "SimpleSource"
    # without SourceProperties GDAL opens every source at once, and keeps it open
    return (
        f'<{kind}><SourceFilename relativeToVRT="0">{name}</SourceFilename>'
        f"<SourceBand>{band}</SourceBand>"
        f'<SourceProperties RasterXSize="{image.width}" RasterYSize="{image.height}" '
        f'DataType="{_gdal_type(image.dtypes[0])}" BlockXSize="{image.block[1]}" '
        f'BlockYSize="{image.block[0]}"/>'
        f'<SrcRect xOff="0" yOff="0" {size}/>'
        f'<DstRect xOff="{part.col}" yOff="{part.row}" {size}/>{how}</{kind}>\n'
    )


def _source_name(path: str) -> str:
    return gdal_name(path) if is_remote(path) else os.path.abspath(path)


def _gdal_type(dtype: str) -> str:
    return _TYPES.get(dtype, dtype.capitalize())
