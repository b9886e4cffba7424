"""Opening, describing and windowed reading of images.

Every read is an integer window of the file's own grid. Nothing is resampled, so rotated
and sheared images are read like any other.
"""

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from rasterio._err import CPLE_BaseError
from rasterio.crs import CRS
from rasterio.errors import NotGeoreferencedWarning, RasterioError
from rasterio.windows import Window

from geoseg.core.addresses import file_name, is_remote, need_image, user_name
from geoseg.core.errors import RasterError
from geoseg.geo.coordinates.crs import same_crs
from geoseg.geo.coordinates.georeference import (
    grids_agree,
    ground_size_m,
)
from geoseg.geo.rasters.bands import alpha_band, name_bands
from geoseg.geo.rasters.description import PixelWindow, RasterDescription
from geoseg.geo.rasters.nodata import (
    NodataRule,
    check_nodata,
    declared_valid,
    has_dataset_mask,
    is_nodata,
)
from geoseg.geo.rasters.open_images import Loan, borrow, known
from geoseg.geo.sources.gdal_limits import limit_rasters
from geoseg.geo.sources.remote import explain, on_network, remote_access
from geoseg.geo.sources.sidecars import check_overviews, check_sidecars
from geoseg.geo.sources.vrt import open_vrt


def open_raster(path: str | Path) -> Loan:
    """Open a GeoTIFF (COG) or VRT for reading, or reuse it if it is open already.

    Other drivers are off: a file's content must not choose which of GDAL's hundred
    parsers runs (``gdal_limits.py``). VRTs that are more than mosaics are refused
    (``vrt.py``), and so are masks and overviews beside an image that are not GeoTIFFs
    (``sidecars.py``).

    Raises:
        RasterError: If the file is absent, unreadable, of another format or refused.
    """
    return borrow(str(path), _open)


def _open(name: str) -> rasterio.DatasetReader:
    limit_rasters()
    if not is_remote(name):
        need_image(name)
        if Path(name).is_dir():
            raise RasterError(f"{name} is a folder, expected a GeoTIFF or VRT file")
    try:
        with warnings.catch_warnings(), remote_access(name) as gdal_name:
            warnings.simplefilter("ignore", NotGeoreferencedWarning)
            is_vrt = file_name(name).suffix.lower() == ".vrt"
            dataset = open_vrt(gdal_name) if is_vrt else _open_tiff(gdal_name)
            # the first call after opening raises errors in the metadata
            _ = dataset.colorinterp
            return dataset
    except UnicodeEncodeError as error:
        raise RasterError(
            f"{ascii(name)} is not UTF-8, expected a name that is: rename the file"
        ) from error
    except (RasterioError, CPLE_BaseError) as error:
        reason = " ".join(str(error).split())
        raise RasterError(
            explain(name, reason)
            or f"{name} cannot be opened as GeoTIFF or VRT ({reason}); check the file "
            "with gdalinfo or convert it with gdal_translate"
        ) from error


def _open_tiff(name: str) -> rasterio.DatasetReader:
    """Open a GeoTIFF after checking the mask and overviews beside it."""
    if not on_network(name):
        check_sidecars(name)
    dataset = rasterio.open(name, driver="GTiff")
    try:
        check_overviews(dataset)
    except RasterError:
        dataset.close()
        raise
    return dataset


def describe(path: str | Path) -> RasterDescription:
    """Describe an image.

    Raises:
        RasterError: As :func:`open_raster`; or if the image has only an alpha band, or
            complex numbers.
    """
    return known(str(path), _describe)


def _describe(name: str) -> RasterDescription:
    with open_raster(name) as dataset:
        return describe_open(dataset)


def describe_open(dataset: rasterio.DatasetReader) -> RasterDescription:
    """Describe an image that is open already."""
    alpha = alpha_band(dataset)
    indexes = tuple(number for number in dataset.indexes if number != alpha)
    if not indexes:
        raise RasterError(f"{dataset.name} has no band beside alpha, expected an image")
    if any(dataset.dtypes[number - 1].startswith("complex") for number in indexes):
        raise RasterError(
            f"{dataset.name} holds complex numbers, expected an image of real ones: "
            "convert it, for instance to amplitudes"
        )
    if dataset.transform.is_degenerate or not np.isfinite(dataset.transform).all():
        raise RasterError(
            f"{dataset.name} has pixels of no area ({tuple(dataset.transform)[:6]}), "
            "expected a georeferencing with an inverse: set it with gdal_edit.py -a_ullr"
        )
    names, named_by = name_bands(dataset, indexes)
    located_by = _located_by(dataset)
    crs = dataset.crs if located_by == "grid" else None
    return RasterDescription(
        path=user_name(dataset.name),
        width=dataset.width,
        height=dataset.height,
        count=len(indexes),
        dtypes=tuple(dataset.dtypes[number - 1] for number in indexes),
        crs=crs,
        transform=dataset.transform,
        band_names=names,
        band_indexes=indexes,
        nodata=dataset.nodata,
        alpha=alpha,
        gsd_m=ground_size_m(crs, dataset.transform, dataset.width, dataset.height),
        named_by=named_by,
        colours=tuple(dataset.colorinterp[number - 1].name for number in indexes),
        scaling=tuple(
            (dataset.scales[number - 1], dataset.offsets[number - 1])
            for number in indexes
        ),
        nodata_values=tuple(dataset.nodatavals[number - 1] for number in indexes),
        masked=has_dataset_mask(dataset, indexes[0]),
        block=dataset.block_shapes[indexes[0] - 1],
        located_by=located_by,
        pages=max(1, len(dataset.subdatasets)),
    )


def _located_by(dataset: rasterio.DatasetReader) -> str:
    if not dataset.transform.is_identity:  # GDAL's for no geotransform at all
        return "grid"
    if dataset.gcps[0]:
        return "gcps"
    if dataset.rpcs is not None:
        return "rpcs"
    return "nothing" if dataset.crs is None else "crs"


def block_cache(mib: int) -> rasterio.Env:
    """Return an environment that limits GDAL's cache of decoded blocks to ``mib`` MiB.

    GDAL's default is 5 % of the machine's memory.
    """
    # rasterio takes bytes, unlike GDAL's own option
    return rasterio.Env(GDAL_CACHEMAX=mib * 2**20)


def read_window(
    dataset: rasterio.DatasetReader,
    numbers: Sequence[int],
    window: PixelWindow,
    *,
    nodata: NodataRule = "auto",
    shape: tuple[int, int] | None = None,
) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Read the pixels and the valid mask of a window.

    A pixel is invalid if one of its bands is not finite, and by the rule:

    * ``auto``: alpha 0, the file's mask or its nodata value. In a file of more than 8
      bit that declares none of them: 0 in all bands; in floats also the type's limits.
    * ``none``: no further pixel.
    * a number: as if the file declared only that nodata value.

    A nodata value that could be a measurement (0, or 255 in bytes) must be in all the
    bands read, as in GDAL's dataset mask; one that could not (negative, or a float
    other than 0) in any of them.

    Args:
        dataset: An open image.
        numbers: 1-based band numbers.
        window: Window inside the image.
        nodata: The nodata rule.
        shape: Height and width to decimate the window to, from overviews if there are
            any; None: every pixel.

    Returns:
        Pixels ``(B, height, width)`` in the file's type, valid ``(height, width)``
        bool.

    Raises:
        RasterError: If the window exceeds the image or the file is damaged there.
        ParameterError: If the rule is unknown.
    """
    rule = check_nodata(nodata)
    _check_inside(dataset, window)
    area = Window(window.col, window.row, window.width, window.height)
    try:
        pixels = _read(dataset, numbers, area, shape or (window.height, window.width))
        valid = (
            np.isfinite(pixels).all(axis=0)
            if pixels.dtype.kind == "f"
            else np.ones(pixels.shape[1:], bool)
        )
        if rule == "auto":
            valid &= declared_valid(dataset, numbers, area, pixels)
        elif rule != "none":
            valid &= ~is_nodata(pixels, [float(rule)] * len(numbers))
    except RasterioError as error:
        reason = " ".join(str(error.__cause__ or error).split())
        raise RasterError(
            f"{user_name(dataset.name)} cannot be read at window {tuple(window)} "
            f"({reason}); the file may be truncated or the connection cut: copy or "
            "download it again"
        ) from error
    return pixels, valid


def _read(
    dataset: rasterio.DatasetReader,
    numbers: Sequence[int],
    area: Window,
    shape: tuple[int, int],
) -> np.ndarray[Any, Any]:
    """Read bands; if a VRT's bands differ in type, return a type that holds all."""
    if len({dataset.dtypes[number - 1] for number in numbers}) == 1:
        everything = (len(numbers), *shape)
        return np.asarray(
            dataset.read(list(numbers), window=area, out_shape=everything)
        )
    bands = [dataset.read(n, window=area, out_shape=shape) for n in numbers]
    return np.stack(bands).astype(np.result_type(*bands))


def _check_inside(dataset: rasterio.DatasetReader, window: PixelWindow) -> None:
    row, col, height, width = window
    if (
        min(row, col) < 0
        or min(height, width) < 1
        or row + height > dataset.height
        or col + width > dataset.width
    ):
        raise RasterError(
            f"window {tuple(window)} (row, col, height, width) exceeds {dataset.name}, "
            f"expected it inside {dataset.height} x {dataset.width}"
        )


def same_grid(first: RasterDescription, second: RasterDescription) -> bool:
    """Tell whether two images share size, CRS and pixel grid.

    The corners may differ by :data:`GRID_TOLERANCE` pixels, because tiles cut by other
    software differ in the last digits.
    """
    if (first.width, first.height) != (second.width, second.height):
        return False
    return same_crs(first.crs, second.crs) and grids_agree(
        first.transform, second.transform, first.width, first.height
    )


#: Georeferencing without a geotransform → its name, and the command that adds one.
_WARPS = {
    "gcps": (
        "ground control points",
        "gdalwarp -tps -t_srs EPSG:… FILE OUTPUT, or rio warp FILE OUTPUT --dst-crs "
        "EPSG:…",
    ),
    "rpcs": (
        "rational polynomials (RPC)",
        "gdalwarp -rpc -t_srs EPSG:… FILE OUTPUT",
    ),
}


def warp_advice(description: RasterDescription) -> str | None:
    """Return how to complete half a georeferencing; None if it is whole or absent."""
    if description.located_by == "crs":
        return (
            f"{description.path} has a CRS and no geotransform, expected both: the "
            "position of its pixels is unknown; set it with gdal_edit.py -a_ullr LEFT TOP "
            "RIGHT BOTTOM FILE"
        )
    if description.located_by not in _WARPS:
        return None
    what, how = _WARPS[description.located_by]
    return (
        f"{description.path} is located by {what} alone, expected a grid in a CRS; warp "
        f"it first: {how}"
    )


def require_crs(description: RasterDescription) -> CRS:
    """Return the image's CRS.

    Raises:
        RasterError: If it has none.
    """
    advice = warp_advice(description)
    if advice is not None:
        raise RasterError(advice)
    if description.crs is None:
        raise RasterError(
            f"{description.path} has no CRS, expected a georeferenced image; if you "
            "know the CRS, set it: gdal_edit.py -a_srs EPSG:… FILE"
        )
    return description.crs
