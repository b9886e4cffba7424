"""Affine transforms: positions of pixels, and their sizes on the ground."""

import math
from collections.abc import Callable, Sequence

import numpy as np
from affine import Affine
from rasterio.crs import CRS

from geoseg.geo.coordinates.crs import (
    Points,
    has_longitude_latitude,
    metres_per_unit,
    to_wgs84,
    transform_points,
)
from geoseg.geo.coordinates.ellipsoid import east_north

#: Largest relative error of lengths in a projection that is used for measuring.
LENGTHS = 0.002
#: (column, row) offsets of a pixel, its right neighbour and the one below.
STEPS = ((0, 0), (1, 0), (0, 1))
#: Largest difference, in pixels, between the corners of equal grids.
GRID_TOLERANCE = 1e-3


def locate(transform: Affine, col: float, row: float) -> tuple[float, float]:
    """Return the coordinates of a point of the pixel grid.

    The products are written out because affine 3 requires ``@`` and affine 2 ``*``.

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
    """Transform points to another CRS; those without a position become infinite.

    Raises:
        RasterError: If there is no transformation between the CRSs.
    """
    moved = transform_points(np.array(points, dtype=np.float64), source, target)
    return [(x, y) for x, y in moved.tolist()]


def shift(transform: Affine, col: int, row: int) -> Affine:
    """Return the transform of the grid whose origin is a given pixel."""
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
    """Return the geometric mean of the central pixel's sides in metres.

    In a projected CRS that keeps lengths to 0.2 % (UTM) the sides are measured in the
    CRS, in others (Web Mercator, degrees) on the ellipsoid.
    """
    if crs is None:
        return None
    centre = np.array([(width / 2, height / 2)])
    planar = metres_per_unit(crs)
    if planar is not None:
        planar *= float(_mean_sides(planar_sides(transform)))
    if not has_longitude_latitude(crs):
        return planar
    (true,) = _mean_sides(pixel_sides_m(crs, transform, centre)).tolist()
    if not math.isfinite(true) or true <= 0:
        return planar
    return planar if planar and abs(true / planar - 1) < LENGTHS else true


def pixel_sides_m(crs: CRS, transform: Affine, pixels: Points) -> Points:
    """Measure pixels on the ellipsoid.

    Args:
        crs: A CRS whose points have longitudes and latitudes.
        transform: Pixel to CRS coordinates.
        pixels: ``(n, 2)`` column and row of a corner of each.

    Returns:
        ``(n, 2, 2)``: metres east (first row) and north (second row) per column (first
        column) and per row; not finite for pixels without a position.
    """
    placed = to_wgs84(locate_all(transform, _with_next(pixels)), crs).reshape(-1, 3, 2)
    return _differences(east_north(placed, placed[:, 0]))


def sides_on(
    project: Callable[[Points], Points], transform: Affine, pixels: Points
) -> Points:
    """Measure pixels on a plane, as :func:`pixel_sides_m` does on the ellipsoid.

    Args:
        project: Maps ``(n, 2)`` coordinates of the CRS to metres on the plane.
        transform: Pixel to CRS coordinates.
        pixels: ``(n, 2)`` column and row of a corner of each.
    """
    moved = project(locate_all(transform, _with_next(pixels)))
    return _differences(moved.reshape(-1, 3, 2))


def planar_sides(transform: Affine) -> Points:
    """Return the sides of a pixel, ``(2, 2)`` in units of the CRS."""
    return np.array([(transform.a, transform.b), (transform.d, transform.e)])


def keeps_lengths(planar: Points, true: Points) -> bool:
    """Tell whether lengths on a plane equal those on the ground, in every direction.

    The mean of a pixel's sides is not enough: equal-area projections shrink one side as
    much as they stretch the other.

    Args:
        planar: ``(n, 2, 2)`` or ``(2, 2)`` sides of pixels on the plane.
        true: ``(n, 2, 2)`` sides on the ellipsoid.
    """
    if not (np.isfinite(planar).all() and np.isfinite(true).all()):
        return False
    if not np.linalg.det(true).all():  # at a pole a pixel may have no width
        return False
    scales = np.linalg.svd(planar @ np.linalg.inv(true), compute_uv=False)
    return bool((np.abs(scales - 1) < LENGTHS).all())


def _with_next(pixels: Points) -> Points:
    """Return every pixel, its right neighbour and the one below: ``(3 n, 2)``."""
    return (pixels[:, None] + np.array(STEPS, dtype=np.float64)).reshape(-1, 2)


def _differences(corners: Points) -> Points:
    """Return sides of pixels from ``(n, 3, 2)``: pixel, right neighbour, one below."""
    with np.errstate(invalid="ignore"):
        sides = corners[:, 1:] - corners[:, :1]
    return np.swapaxes(sides, 1, 2)


def locate_all(transform: Affine, pixels: Points) -> Points:
    """Return coordinates of points of the pixel grid, ``(n, 2)`` columns and rows."""
    a, b, c, d, e, f = transform[:6]
    column, row = pixels[:, 0], pixels[:, 1]
    return np.stack((a * column + b * row + c, d * column + e * row + f), axis=1)


def _mean_sides(sides: Points) -> Points:
    """Return geometric means of the two sides of pixels: ``(…, 2, 2)`` to ``(…)``."""
    return np.asarray(
        np.sqrt(np.prod(np.hypot(sides[..., 0, :], sides[..., 1, :]), -1))
    )
