"""Affine transforms and CRSs: where pixels lie, and how large they are on the ground."""

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from affine import Affine
from rasterio._err import CPLE_BaseError
from rasterio.crs import CRS
from rasterio.errors import CRSError, RasterioError
from rasterio.warp import transform as warp_points

from geoseg.errors import RasterError

Coordinates = npt.NDArray[np.float64]

#: A pixel's origin and the neighbours that span it, as (column, row).
STEPS = ((0, 0), (1, 0), (0, 1))
#: Two grids are the same when their corners agree to this many pixels.
GRID_TOLERANCE = 1e-3


def locate(transform: Affine, col: float, row: float) -> tuple[float, float]:
    """Coordinates of a point of the pixel grid.

    Written out because affine 3 wants ``@`` where affine 2 only knows ``*``.

    Example:
        >>> locate(Affine(0.5, 0, 100, 0, -0.5, 200), 2, 4)
        (101.0, 198.0)
    """
    return (
        float(transform.a * col + transform.b * row + transform.c),
        float(transform.d * col + transform.e * row + transform.f),
    )


def warp(
    points: Sequence[tuple[float, float]], source: CRS | None, target: CRS | None
) -> list[tuple[float, float]]:
    """Points from one CRS to another; unchanged where they are the same.

    Raises:
        RasterError: If PROJ refuses a point.
    """
    if source == target:
        return list(points)
    xs, ys = zip(*points, strict=True)
    return list(zip(*warp_all(xs, ys, source, target), strict=True))


def warp_all(
    xs: Sequence[float] | Coordinates,
    ys: Sequence[float] | Coordinates,
    source: CRS | None,
    target: CRS | None,
) -> tuple[list[float], list[float]]:
    """Many points from one CRS to another; infinite where they have no place there.

    Raises:
        RasterError: If PROJ refuses a point.
    """
    try:
        moved = warp_points(source, target, xs, ys)
    except CPLE_BaseError as error:  # rasterio lets some of PROJ's errors through
        raise RasterError(
            f"point ({xs[0]:.7g} {ys[0]:.7g}) has no place in {_short(target)} "
            f"({error}), expected coordinates inside the area of {_short(source)}; "
            "check the georeferencing"
        ) from error
    return moved[0], moved[1]


def _short(crs: CRS | None) -> str:
    return crs.to_string() if crs else "no CRS"


def shift(transform: Affine, col: int, row: int) -> Affine:
    """The transform of the grid that begins at a pixel."""
    x, y = locate(transform, col, row)
    return Affine(transform.a, transform.b, x, transform.d, transform.e, y)


def grids_agree(first: Affine, second: Affine, width: int, height: int) -> bool:
    """Tell whether two transforms put an image's corners on the same pixels."""
    if first.is_degenerate:
        return first == second
    back = ~first
    return all(
        abs(moved - corner) <= GRID_TOLERANCE
        for point in ((0, 0), (width, 0), (0, height), (width, height))
        for moved, corner in zip(
            locate(back, *locate(second, *point)), point, strict=True
        )
    )


def ground_size_m(
    crs: CRS | None, transform: Affine, width: int, height: int
) -> float | None:
    """Geometric mean of the central pixel's sides in metres.

    A projected CRS that keeps lengths to 0.2 % (UTM) is taken at its word; of others (Web
    Mercator, degrees) the sides are measured on the ellipsoid.
    """
    if crs is None:
        return None
    centre = (width / 2, height / 2)
    points = [locate(transform, centre[0] + dx, centre[1] + dy) for dx, dy in STEPS]
    planar = None if crs.is_geographic else metres_per_unit(crs)
    if planar is not None:
        planar *= mean_side(points)
    try:
        lon, lat = lon_lat(crs, points[0])
        local = CRS.from_proj4(f"+proj=aeqd +lat_0={lat} +lon_0={lon} +datum=WGS84")
        true = mean_side(warp(points, crs, local))
    except (RasterioError, CRSError, RasterError):
        return planar
    if not math.isfinite(true) or true <= 0:
        return planar
    return planar if planar and abs(true / planar - 1) < 0.002 else true


def mean_side(points: Sequence[tuple[float, float]]) -> float:
    """Geometric mean of a pixel's sides, given the three points of STEPS."""
    origin, right, below = points
    return math.sqrt(math.dist(origin, right) * math.dist(origin, below))


def metres_per_unit(crs: CRS) -> float | None:
    """Length of a projected CRS's unit; None if it has none."""
    try:
        return float(crs.linear_units_factor[1])
    except CRSError:
        return None


def lon_lat(crs: CRS, point: tuple[float, float]) -> tuple[float, float]:
    """Longitude and latitude (WGS 84) of a point.

    Raises:
        RasterError: If the point lies outside the CRS's area.
    """
    ((lon, lat),) = warp([point], crs, CRS.from_epsg(4326))
    if not (math.isfinite(lon) and math.isfinite(lat) and abs(lat) <= 90):
        raise RasterError(
            f"point {point} has no longitude and latitude in {crs.to_string()}, "
            "expected coordinates inside the CRS's area; check the georeferencing"
        )
    return float(lon), float(lat)
