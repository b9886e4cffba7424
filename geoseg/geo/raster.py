"""Images on disk: open, describe, name the bands, read windows with their validity.

Every read is an integer window of the file's own grid: nothing is resampled, so rotated
and sheared images are read like any other.
"""

import math
import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import rasterio
from affine import Affine
from rasterio.crs import CRS
from rasterio.enums import ColorInterp, MaskFlags
from rasterio.errors import CRSError, NotGeoreferencedWarning, RasterioError
from rasterio.warp import transform as warp_points
from rasterio.windows import Window

from geoseg.errors import BandMismatchError, ParameterError, RasterError

#: How nodata is recognised: ``"auto"``, ``"none"`` or a number, as text (it is stored
#: in model files); see :func:`read_window`.
NodataRule = str

#: Band orders of files that do not name their bands, by band count. Eight bands are
#: WorldView-3's (and WorldView-2's).
BANDS_BY_COUNT: dict[int, tuple[str, ...]] = {
    1: ("pan",),
    3: ("red", "green", "blue"),
    4: ("red", "green", "blue", "nir"),
    8: (
        *("coastal", "blue", "green", "yellow"),
        *("red", "red_edge", "nir", "nir2"),
    ),
}

#: Band choices by name; ``all`` is every band of the file.
BAND_PRESETS: dict[str, tuple[str, ...]] = {
    "rgb": ("red", "green", "blue"),
    "rgbi": ("red", "green", "blue", "nir"),
    "irrg": ("nir", "red", "green"),
}

_SYNONYMS = {
    "r": "red",
    "g": "green",
    "b": "blue",
    "nir1": "nir",
    "nir_1": "nir",
    "nir_2": "nir2",
    "ir": "nir",
    "near_infrared": "nir",
    "nearinfrared": "nir",
    "rededge": "red_edge",
    "coastal_blue": "coastal",
    "coastal_aerosol": "coastal",
    "panchromatic": "pan",
}
_UNNAMED = re.compile(r"(b|band|layer|channel)?_?\d+|gr[ae]y(_?\d+)?|undefined")
#: Two grids are the same when their corners agree to this many pixels.
GRID_TOLERANCE = 1e-3


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
        crs: None if the file has none; reading pixels works all the same.
        transform: Pixel (column, row) to CRS coordinates; (0, 0) is a corner.
        band_names: One name per image band, lower-case, words joined by ``_``.
        band_indexes: 1-based number in the file of each image band.
        nodata: The file's own nodata value, if it declares one.
        alpha: 1-based number of the alpha band, if there is one.
        gsd_m: Ground sampling distance: geometric mean of a pixel's sides in metres at
            the image's centre; None without a CRS.
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

    @property
    def window(self) -> PixelWindow:
        """The whole image as a window."""
        return PixelWindow(0, 0, self.height, self.width)


def is_remote(path: str | Path) -> bool:
    """Tell whether a path is for GDAL alone: a URL or ``/vsi…``."""
    return "://" in str(path) or str(path).startswith("/vsi")


def open_raster(path: str | Path) -> rasterio.DatasetReader:
    """Open a GeoTIFF (COG) or VRT for reading.

    Other drivers are not tried: a file's content alone must not choose which of GDAL's
    hundred parsers runs.

    Raises:
        RasterError: If the file is absent, unreadable or of another format.
    """
    name = str(path)
    if not is_remote(name):
        if not Path(name).exists():
            raise RasterError(f"{name} does not exist, expected a GeoTIFF or VRT file")
        if Path(name).is_dir():
            raise RasterError(f"{name} is a folder, expected a GeoTIFF or VRT file")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", NotGeoreferencedWarning)
            driver = "VRT" if name.lower().endswith(".vrt") else "GTiff"
            return rasterio.open(name, driver=driver)
    except RasterioError as error:
        reason = " ".join(str(error).split())
        raise RasterError(
            f"{name} cannot be opened as GeoTIFF or VRT ({reason}); check the file "
            "with gdalinfo or convert it with gdal_translate"
        ) from error


def describe(path: str | Path) -> RasterDescription:
    """Describe an image.

    Raises:
        RasterError: As :func:`open_raster`; or if the image has an alpha band alone.
    """
    with open_raster(path) as dataset:
        return describe_open(dataset)


def describe_open(dataset: rasterio.DatasetReader) -> RasterDescription:
    """Describe an image that is open already."""
    alpha = _alpha_band(dataset)
    indexes = tuple(number for number in dataset.indexes if number != alpha)
    if not indexes:
        raise RasterError(f"{dataset.name} has no band beside alpha, expected an image")
    return RasterDescription(
        path=dataset.name,
        width=dataset.width,
        height=dataset.height,
        count=len(indexes),
        dtypes=tuple(dataset.dtypes[number - 1] for number in indexes),
        crs=dataset.crs,
        transform=dataset.transform,
        band_names=_band_names(dataset, indexes),
        band_indexes=indexes,
        nodata=dataset.nodata,
        alpha=alpha,
        gsd_m=_gsd_m(dataset.crs, dataset.transform, dataset.width, dataset.height),
    )


def _snake(text: str | None) -> str:
    words = re.sub(r"[^a-z0-9]+", "_", (text or "").lower()).strip("_")
    return _SYNONYMS.get(words, words)


def _is_name(name: str) -> bool:
    return bool(name) and not _UNNAMED.fullmatch(name)


def _alpha_band(dataset: rasterio.DatasetReader) -> int | None:
    """Number of the alpha band.

    GDAL marks the fourth of four 8-bit bands as alpha unless told otherwise; a band
    that is described as something else (``nir``) is believed instead.
    """
    for number, meaning in zip(dataset.indexes, dataset.colorinterp, strict=True):
        if meaning == ColorInterp.alpha:
            name = _snake(dataset.descriptions[number - 1])
            return number if name == "alpha" or not _is_name(name) else None
    return None


def _band_names(
    dataset: rasterio.DatasetReader, indexes: tuple[int, ...]
) -> tuple[str, ...]:
    """Descriptions if they name every band; else colours; else by band count.

    Descriptions come first: GDAL declares any three 8-bit bands red, green, blue.
    """
    described = tuple(_snake(dataset.descriptions[number - 1]) for number in indexes)
    if all(map(_is_name, described)) and len(set(described)) == len(described):
        return described
    usual = BANDS_BY_COUNT.get(len(indexes))
    colours = tuple(dataset.colorinterp[number - 1].name for number in indexes)
    if all(colours.count(name) == 1 for name in BAND_PRESETS["rgb"]):
        fourth = "nir" if len(indexes) == 4 else ""
        return tuple(
            colour if colour in BAND_PRESETS["rgb"] else fourth or f"b{position}"
            for position, colour in enumerate(colours, start=1)
        )
    return usual or tuple(f"b{position}" for position in range(1, len(indexes) + 1))


def choose_bands(
    description: RasterDescription, requested: str | Sequence[str] | None
) -> tuple[str, ...]:
    """Choose bands of an image.

    Args:
        description: The image.
        requested: None: red, green, blue, nir where present, else red, green, blue,
            else all; a preset (``rgb``, ``rgbi``, ``irrg``, ``all``); or names or
            1-based numbers, as a list or separated by commas: ``"5,3,2,7"``.

    Returns:
        Band names in the order asked for.

    Raises:
        BandMismatchError: If the image lacks one of them.
        ParameterError: If nothing or a band twice is asked for.
    """
    names = description.band_names
    if requested is None:
        for preset in ("rgbi", "rgb"):
            if set(BAND_PRESETS[preset]) <= set(names):
                return BAND_PRESETS[preset]
        return names
    if isinstance(requested, str):
        preset = requested.strip().lower()
        requested = (
            names if preset == "all" else BAND_PRESETS.get(preset, preset.split(","))
        )
    chosen = tuple(_resolve(description, str(item).strip()) for item in requested)
    if not chosen or len(set(chosen)) != len(chosen):
        raise ParameterError(
            f"bands {','.join(map(str, requested))!r} are asked for, expected at least "
            "one band and none twice"
        )
    return chosen


def _resolve(description: RasterDescription, item: str) -> str:
    names = description.band_names
    if item.isdigit():
        number = int(item)
        if number in description.band_indexes:
            return names[description.band_indexes.index(number)]
        if number == description.alpha:
            raise BandMismatchError(
                f"band {number} of {description.path} is declared alpha, expected an "
                "image band; if it is one, name it: gdal_edit.py -colorinterp_"
                f"{number} undefined"
            )
    elif _snake(item) in names:
        return _snake(item)
    elif item.lower() in names:
        return item.lower()
    raise BandMismatchError(
        f"{description.path} has bands {_numbered(description)}, expected {item!r}; "
        "choose with --bands"
    )


def _numbered(description: RasterDescription) -> str:
    pairs = zip(description.band_indexes, description.band_names, strict=True)
    return ", ".join(f"{number} {name}" for number, name in pairs)


def band_numbers(
    description: RasterDescription, bands: Sequence[str]
) -> tuple[int, ...]:
    """Find bands by name.

    Returns:
        1-based numbers in the file, in the order of ``bands``.

    Raises:
        BandMismatchError: If the image lacks one; says found and expected.
    """
    missing = [band for band in bands if band not in description.band_names]
    if missing:
        raise BandMismatchError(
            f"{description.path} has bands {_numbered(description)}, expected "
            f"{', '.join(bands)}; {', '.join(missing)} absent"
        )
    return tuple(
        description.band_indexes[description.band_names.index(band)] for band in bands
    )


def check_nodata(rule: NodataRule) -> NodataRule:
    """Return a nodata rule as it is stored.

    Raises:
        ParameterError: If it is neither ``auto`` nor ``none`` nor a number.
    """
    text = str(rule).strip().lower()
    if text not in ("auto", "none"):
        try:
            float(text)
        except ValueError:
            raise ParameterError(
                f"nodata is {rule!r}, expected auto, none or a number"
            ) from None
    return text


def read_window(
    dataset: rasterio.DatasetReader,
    numbers: Sequence[int],
    window: PixelWindow,
    *,
    nodata: NodataRule = "auto",
) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Read a window and where it has data.

    A pixel is invalid when one of its bands is not finite, and by the rule:

    * ``auto``: what the file says: alpha 0, its mask, its nodata value. A file of more
      than 8 bit that says nothing: all bands 0.
    * ``none``: nothing else.
    * a number: as if the file declared that nodata value, and nothing more.

    A nodata value that could be a measurement (0, or 255 in bytes) must be in all the
    bands read, as in GDAL's dataset mask; one that could not (negative, or a float
    other than 0) in any of them.

    Args:
        dataset: An open image.
        numbers: 1-based band numbers.
        window: Lies inside the image.
        nodata: The rule.

    Returns:
        Pixels ``(B, height, width)`` in the file's type, valid ``(height, width)``
        bool.

    Raises:
        RasterError: If the window sticks out or the file is damaged there.
        ParameterError: If the rule is unknown.
    """
    rule = check_nodata(nodata)
    row, col, height, width = window
    if (
        min(row, col) < 0
        or min(height, width) < 1
        or row + height > dataset.height
        or col + width > dataset.width
    ):
        raise RasterError(
            f"window {tuple(window)} (row, col, height, width) is asked of "
            f"{dataset.name}, expected it inside {dataset.height} x {dataset.width}"
        )
    area = Window(col, row, width, height)
    try:
        pixels = dataset.read(list(numbers), window=area)
        valid = np.isfinite(pixels).all(axis=0)
        if rule == "auto":
            valid &= _declared_valid(dataset, numbers, area, pixels)
        elif rule != "none":
            valid &= ~_is_nodata(pixels, [float(rule)] * len(numbers))
    except RasterioError as error:
        reason = " ".join(str(error.__cause__ or error).split())
        raise RasterError(
            f"{dataset.name} cannot be read at window {tuple(window)} ({reason}); the "
            "file may be truncated: copy or download it again"
        ) from error
    return pixels, valid


def _declared_valid(
    dataset: rasterio.DatasetReader,
    numbers: Sequence[int],
    area: Window,
    pixels: np.ndarray[Any, Any],
) -> np.ndarray[Any, Any]:
    valid = np.ones(pixels.shape[1:], bool)
    values = [dataset.nodatavals[number - 1] for number in numbers]
    alpha = _alpha_band(dataset)
    flags = dataset.mask_flag_enums[numbers[0] - 1]
    if alpha is not None:
        valid &= dataset.read(alpha, window=area) > 0
    elif MaskFlags.per_dataset in flags and MaskFlags.alpha not in flags:
        valid &= dataset.read_masks(numbers[0], window=area) > 0
    elif all(value is None for value in values):
        if pixels.dtype.itemsize > 1:
            valid &= pixels.any(axis=0)
        return valid
    return valid & ~_is_nodata(pixels, values)


def _is_nodata(
    pixels: np.ndarray[Any, Any], values: Sequence[float | None]
) -> np.ndarray[Any, Any]:
    """``(H, W)`` bool; NaN is left to the finite check."""
    equal = np.stack(
        [
            (
                np.zeros(band.shape, bool)
                if value is None
                else band == np.asarray(value).astype(band.dtype)
                if _fits(value, band.dtype)
                else np.zeros(band.shape, bool)
            )
            for band, value in zip(pixels, values, strict=True)
        ]
    )
    impossible = any(
        value is not None and (value < 0 or (pixels.dtype.kind == "f" and value != 0))
        for value in values
    )
    return np.asarray(equal.any(axis=0) if impossible else equal.all(axis=0))


def _fits(value: float, dtype: np.dtype[Any]) -> bool:
    """Whether a band of this type can hold the value (nodata 256 of a byte cannot)."""
    if dtype.kind not in "iu":
        return True
    limits = np.iinfo(dtype)
    return float(value).is_integer() and limits.min <= value <= limits.max


def same_grid(first: RasterDescription, second: RasterDescription) -> bool:
    """Tell whether two images share size, CRS and pixel grid.

    The corners may differ by :data:`GRID_TOLERANCE` pixels: tiles cut by other software
    differ in the last digits.
    """
    if (first.width, first.height) != (second.width, second.height):
        return False
    return first.crs == second.crs and grids_agree(
        first.transform, second.transform, first.width, first.height
    )


def grids_agree(first: Affine, second: Affine, width: int, height: int) -> bool:
    """Tell whether two transforms put an image's corners on the same pixels."""
    if first.is_degenerate:
        return first == second
    back = ~first * second
    return all(
        abs(moved - corner) <= GRID_TOLERANCE
        for point in ((0, 0), (width, 0), (0, height), (width, height))
        for moved, corner in zip(back * point, point, strict=True)
    )


def _gsd_m(
    crs: CRS | None, transform: Affine, width: int, height: int
) -> float | None:
    """Ground size of the central pixel.

    A projected CRS that keeps lengths to 0.2 % (UTM) is taken at its word; of others (Web
    Mercator, degrees) the sides are measured on the ellipsoid.
    """
    if crs is None:
        return None
    centre = (width / 2, height / 2)
    points = [transform * (centre[0] + dx, centre[1] + dy) for dx, dy in _STEPS]
    planar = None if crs.is_geographic else _metres_per_unit(crs)
    if planar is not None:
        planar *= _mean_side(points)
    try:
        lon, lat = _lon_lat(crs, points[0])
        local = CRS.from_proj4(f"+proj=aeqd +lat_0={lat} +lon_0={lon} +datum=WGS84")
        true = _mean_side(
            list(zip(*warp_points(crs, local, *zip(*points)), strict=True))
        )
    except (RasterioError, CRSError, RasterError):
        return planar
    if not math.isfinite(true) or true <= 0:
        return planar
    return planar if planar and abs(true / planar - 1) < 0.002 else true


_STEPS = ((0, 0), (1, 0), (0, 1))


def _mean_side(points: Sequence[tuple[float, float]]) -> float:
    origin, right, below = points
    return math.sqrt(math.dist(origin, right) * math.dist(origin, below))


def _metres_per_unit(crs: CRS) -> float | None:
    try:
        return float(crs.linear_units_factor[1])
    except CRSError:
        return None


def _lon_lat(crs: CRS, point: tuple[float, float]) -> tuple[float, float]:
    lon, lat = warp_points(crs, CRS.from_epsg(4326), [point[0]], [point[1]])
    if not (math.isfinite(lon[0]) and math.isfinite(lat[0]) and abs(lat[0]) <= 90):
        raise RasterError(
            f"point {point} has no longitude and latitude in {crs.to_string()}, "
            "expected coordinates inside the CRS's area; check the georeferencing"
        )
    return float(lon[0]), float(lat[0])


def require_crs(description: RasterDescription) -> CRS:
    """Return the image's CRS.

    Raises:
        RasterError: If it has none; says how to set one.
    """
    if description.crs is None:
        raise RasterError(
            f"{description.path} has no CRS, expected a georeferenced image; if you "
            "know the CRS, set it: gdal_edit.py -a_srs EPSG:… FILE"
        )
    return description.crs


def metric_crs(description: RasterDescription) -> CRS:
    """Choose a CRS for areas, lengths and angles near the image.

    The image's own where that is projected and keeps lengths to 0.2 %; else UTM (WGS 84)
    of the image's centre; near the poles (above 84° N, below 80° S) UPS.

    Raises:
        RasterError: If the image has no CRS, or lies outside its CRS's area.
    """
    crs = require_crs(description)
    unit = None if crs.is_geographic else _metres_per_unit(crs)
    planar_matches = (
        unit == 1.0
        and description.gsd_m is not None
        and math.isclose(
            description.gsd_m,
            _mean_side([description.transform * step for step in _STEPS]),
            rel_tol=1e-9,
        )
    )
    if planar_matches:
        return crs
    centre = description.transform * (description.width / 2, description.height / 2)
    lon, lat = _lon_lat(crs, centre)
    if lat > 84:
        return CRS.from_epsg(32661)
    if lat < -80:
        return CRS.from_epsg(32761)
    zone = int((lon + 180) // 6) % 60 + 1
    return CRS.from_epsg((32600 if lat >= 0 else 32700) + zone)
