"""Mosaic of images on one pixel grid, mapped as one raster.

Nothing is resampled: images occupy whole pixels of the mosaic, and later images cover
earlier ones where they have valid pixels. As in gdalbuildvrt, nodata applies band by band:
where a valid pixel has the nodata value in one band, that band shows the image below.
"""

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import shapely
from affine import Affine

from geoseg.core.errors import RasterError
from geoseg.core.words import counted
from geoseg.geo.coordinates.crs import crs_name, same_crs
from geoseg.geo.coordinates.georeference import ground_size_m, locate, shift
from geoseg.geo.maps.mosaic_files import (
    Part,
    Validity,
    hides_alpha,
    validity_of,
    write_mosaic,
)
from geoseg.geo.predict.identity import place_of
from geoseg.geo.rasters.description import RasterDescription
from geoseg.geo.rasters.nodata import NodataRule
from geoseg.geo.rasters.raster import describe
from geoseg.geo.sources.remote import on_network, vrt_name

#: Largest offset (pixels) of an image's corners from the first one's grid. Georeferencing
#: is rounded: SpaceNet's tiles, cut from one mosaic, are up to 0.0013 pixels off.
TOLERANCE = 0.05
#: Largest ratio of a mosaic's pixels to those of its images: skipping a hundred pixels
#: without data takes about as long as a small network takes for one.
SPARSEST = 100
#: Columns above which only a tenth of that ratio is allowed: each takes 10 KiB of memory.
WIDE = 400_000

Pixels = npt.NDArray[np.float64]


class _Box(NamedTuple):
    """Bounds in pixels of the first image's grid; ``right`` and ``bottom`` exclusive."""

    left: int
    top: int
    right: int
    bottom: int


@dataclass(frozen=True)
class Mosaic:
    """Several images as one raster.

    Attributes:
        file: Path of the VRT that :meth:`write` writes.
        parts: Images with their positions; later ones cover earlier ones.
        grid: Grid of the mosaic, read from the file.
        validity: How the file marks pixels without data.
    """

    file: Path
    parts: tuple[Part, ...]
    grid: RasterDescription
    validity: Validity

    @property
    def name(self) -> str:
        """Name in messages."""
        return f"the mosaic of {counted(len(self.parts), 'image')}"

    @property
    def order(self) -> str:
        """Hash of the order of the images."""
        places = [place_of(part.image.path) for part in self.parts]
        return hashlib.sha256("\n".join(places).encode()).hexdigest()

    def write(self) -> None:
        """Write the VRT of the mosaic, and check that GDAL reads it as expected.

        Raises:
            OutputError: If it cannot be written.
            RasterError: If GDAL reads another size, other bands or another CRS.
        """
        parts = [
            part._replace(image=self._with_mask(part.image, number))
            for number, part in enumerate(self.parts)
        ]
        write_mosaic(self.file, self.grid, parts, self.validity)
        written = describe(self.grid.path)
        if (written.width, written.height, written.band_names) != (
            self.grid.width,
            self.grid.height,
            self.grid.band_names,
        ) or not same_crs(written.crs, self.grid.crs):
            raise RasterError(
                f"{self.file} reads as {written.width} x {written.height} pixels of "
                f"{', '.join(written.band_names)} in {crs_name(written.crs)}, expected "
                f"{self.name}: map the images one by one, without --mosaic"
            )

    def _with_mask(self, image: RasterDescription, number: int) -> RasterDescription:
        """Wrap an image whose alpha band GDAL does not use as a mask by itself."""
        if not self.validity.mask or not hides_alpha(image):
            return image
        file = self.file.with_name(f"{self.file.stem}-{number}.vrt")
        indexes = tuple(range(1, image.count + 1))
        validity = Validity(image.nodata_values, (None,) * image.count, mask=True)
        grid = replace(image, band_indexes=indexes, alpha=None)
        write_mosaic(file, grid, [Part(image, 0, 0)], validity)
        return describe(vrt_name(file, [image.path]))


def lay_out(
    images: Sequence[RasterDescription], folder: Path, *, nodata: NodataRule
) -> Mosaic:
    """Return the mosaic of images that share a pixel grid.

    Args:
        images: One or more; later ones cover earlier ones.
        folder: Folder where the mosaic's file will be written.
        nodata: Nodata rule of the model.

    Raises:
        RasterError: If an image does not fit the first one, or if gaps fill nearly all of
            the mosaic or cannot be distinguished from data.
    """
    first = images[0]
    for image in images[1:]:
        if difference := misfit(first, image):
            raise RasterError(
                f"{image.path} does not fit {first.path} in one mosaic: {difference}"
            )
    boxes = [_box(first.transform, image) for image in images]
    left, top = min(box.left for box in boxes), min(box.top for box in boxes)
    right, bottom = max(box.right for box in boxes), max(box.bottom for box in boxes)
    file = folder.absolute() / _file_name(images)
    transform = shift(first.transform, left, top)
    size = right - left, bottom - top
    _check_density(boxes, *size)
    grid = replace(
        first,
        path=vrt_name(file, [image.path for image in images]),
        width=size[0],
        height=size[1],
        transform=transform,
        gsd_m=ground_size_m(first.crs, transform, *size),
        band_indexes=tuple(range(1, first.count + 1)),
        alpha=None,
    )
    validity = validity_of(images, nodata, gaps=_have_gaps(boxes, *size))
    parts = tuple(
        Part(image, box.left - left, box.top - top)
        for image, box in zip(images, boxes, strict=True)
    )
    return Mosaic(file, parts, grid, validity)


def _file_name(images: Sequence[RasterDescription]) -> str:
    """Return the file's name, which tells whether GDAL reads the sources by network."""
    far = {on_network(image.path): image.path for image in images}
    if len(far) == 2:
        raise RasterError(
            f"{far[True]} is on a network and {far[False]} on this disk, expected all "
            "images of a mosaic on one of the two: copy or download some"
        )
    return "network.vrt" if True in far else "mosaic.vrt"


def misfit(first: RasterDescription, other: RasterDescription) -> str | None:
    """Return why two images do not fit one mosaic and what to do; None if they fit."""
    if not same_crs(first.crs, other.crs):
        names = crs_name(other.crs), crs_name(first.crs)
        return f"CRS {names[0]}, expected {names[1]}; {_warp(first)}"
    if other.band_names != first.band_names:
        return (
            f"bands {', '.join(other.band_names)}, expected "
            f"{', '.join(first.band_names)}; choose bands with gdal_translate -b"
        )
    if set(other.dtypes) != set(first.dtypes) or len(set(first.dtypes)) > 1:
        return (
            f"pixels of type {', '.join(dict.fromkeys(other.dtypes))}, expected "
            f"{first.dtypes[0]} in all bands; convert it with gdal_translate -ot"
        )
    if other.scaling != first.scaling:
        return (
            f"scales and offsets {_spoken(other.scaling)}, expected "
            f"{_spoken(first.scaling)}; apply them with gdal_translate -unscale"
        )
    if repr(other.nodata_values) != repr(first.nodata_values):  # NaN is NaN
        return (
            f"nodata value {_spoken(other.nodata_values)}, expected "
            f"{_spoken(first.nodata_values)}; change it with gdalwarp -dstnodata"
        )
    return _grid_misfit(first, other)


def _grid_misfit(first: RasterDescription, other: RasterDescription) -> str | None:
    """Return how the pixel grids of two images differ; None if they agree."""
    moved = _moved(first.transform, other)
    if np.ptp(moved, axis=0).max() > TOLERANCE:
        sizes = [
            " x ".join(f"{side:.9g}" for side in _sides(image))
            for image in (other, first)
        ]
        turned = " (turned)" * (sizes[0] == sizes[1])
        return f"pixels of {sizes[0]}{turned}, expected {sizes[1]}; {_warp(first)}"
    off = np.abs(moved - np.round(moved[0])).max()
    if off > TOLERANCE:
        return f"its pixels lie {off:.2g} pixels off the grid; {_warp(first)}"
    return None


def _moved(transform: Affine, image: RasterDescription) -> Pixels:
    """Return the offset of an image's corners from a grid, columns and rows ``(4, 2)``.

    All four are equal if the pixels have the same size and direction.
    """
    height, width = image.height, image.width
    corners = ((0, 0), (width, 0), (0, height), (width, height))
    back = ~transform
    there = [locate(back, *locate(image.transform, *corner)) for corner in corners]
    return np.subtract(there, corners, dtype=float)


def _sides(image: RasterDescription) -> tuple[float, float]:
    """Return width and height of a pixel in units of the CRS."""
    affine = image.transform
    return math.hypot(affine.a, affine.d), math.hypot(affine.b, affine.e)


def _box(transform: Affine, image: RasterDescription) -> _Box:
    left, top = (round(value) for value in _moved(transform, image)[0])
    return _Box(left, top, left + image.width, top + image.height)


def _warp(first: RasterDescription) -> str:
    sides = " ".join(f"{side:.12g}" for side in _sides(first))
    return f"bring all to one grid: gdalwarp -tap -tr {sides} -t_srs … FILE OUTPUT"


def _check_density(boxes: Sequence[_Box], width: int, height: int) -> None:
    """Raise if gaps fill so much of the mosaic that it costs too much time and memory."""
    covered = sum((box.right - box.left) * (box.bottom - box.top) for box in boxes)
    share = covered / (width * height)
    least = (10 if width > WIDE else 1) / SPARSEST
    if share < least:
        raise RasterError(
            f"the images cover {100 * share:.1g} % of their mosaic of {width} x {height} "
            f"pixels, expected at least {100 * least:g} %: map distant places into "
            "separate outputs, or leave out --mosaic"
        )


def _have_gaps(boxes: Sequence[_Box], width: int, height: int) -> bool:
    covered = shapely.union_all(shapely.box(*np.array(boxes, dtype=float).T))
    return bool(covered.area < width * height)


def _spoken(values: Sequence[object]) -> str:
    """Return the distinct values as text."""
    different = dict.fromkeys(map(str, values))
    return ", ".join(different).replace("None", "none")
