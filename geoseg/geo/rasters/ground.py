"""Positions and lengths on the ground, in metres, of an image's pixels."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import shapely
from rasterio.crs import CRS

from geoseg.core.errors import RasterError
from geoseg.geo.coordinates.crs import (
    Points,
    crs_name,
    full_turn,
    has_longitude_latitude,
    lon_lat,
    metres_per_unit,
    to_wgs84,
    transform_points,
)
from geoseg.geo.coordinates.ellipsoid import east_north, middles
from geoseg.geo.coordinates.georeference import (
    keeps_lengths,
    locate,
    locate_all,
    pixel_sides_m,
    planar_sides,
    sides_on,
)
from geoseg.geo.rasters.description import RasterDescription
from geoseg.geo.rasters.raster import require_crs

Outlines = npt.NDArray[np.object_]

#: Number of positions along each side of an image where lengths are compared.
_PLACES = 5
#: Footprints wider than this many degrees get this many vertices a side before they are
#: measured on a plane of their own, because their edges are curved there.
_WIDE, _PIECES = 0.1, 64
#: Smallest side of a pixel in metres; smaller ones mean wrong georeferencing.
_LEAST_PIXEL_M = 1e-4


class Ground:
    """Positions and sizes of an image's pixels on the ground.

    Lengths are measured on a plane that keeps them to 0.2 % all over the image: its own
    CRS, else UTM. Images that are too wide for UTM, or near a pole, get a plane for
    each footprint. Lengths in a local CRS, or one that PROJ cannot place on Earth, are
    used as they are.

    Args:
        grid: The image.

    Attributes:
        metres: ``(2, 2)`` metres east and north per column and row, at the image's
            centre.
        pixel_area_m2: Area of the central pixel.
        largest_pixel_m2: Area of the image's largest pixel.

    Raises:
        RasterError: If the image has no CRS or no geotransform, its CRS has no lengths,
            or it lies outside its CRS's area.
    """

    def __init__(self, grid: RasterDescription) -> None:
        self._crs = require_crs(grid)
        self._transform = grid.transform
        self._plane = metric_crs(grid)
        own = self._plane is self._crs
        self._unit_m = (metres_per_unit(self._crs) or 1.0) if own else 1.0
        centre = np.array([(grid.width / 2, grid.height / 2)])
        self.metres = self._sides(centre)[0]
        self.pixel_area_m2 = float(abs(np.linalg.det(self.metres)))
        sides = self._sides(_places(grid))
        known = sides[np.isfinite(sides).all(axis=(1, 2))]
        largest = max(np.abs(np.linalg.det(known)).tolist(), default=0.0)
        varies = largest > 1.01 * self.pixel_area_m2
        self.largest_pixel_m2 = largest if varies else self.pixel_area_m2
        if not self.pixel_area_m2 > _LEAST_PIXEL_M**2:
            raise RasterError(
                f"{grid.path} has pixels of {self.pixel_area_m2**0.5:.2g} m a side in "
                f"{crs_name(grid.crs)}, expected {_LEAST_PIXEL_M:g} m at least; check the "
                "georeferencing (are degrees taken for metres?)"
            )

    def place(self, outlines: Outlines) -> tuple[Outlines, Outlines]:
        """Transform polygons from pixels to the image's CRS and to a plane in metres.

        Polygons without a position on Earth get coordinates that are not finite.
        """
        located = _move(outlines, self._locate)
        if self._plane is None:
            return located, self._on_planes_of_their_own(located)
        if self._plane is self._crs and self._unit_m == 1:
            return located, located
        return located, _move(located, self._flatten)

    def _locate(self, points: Points) -> Points:
        """Transform (column, row) to the image's CRS by the full affine transform."""
        return locate_all(self._transform, points)

    def _flatten(self, points: Points) -> Points:
        """Transform coordinates of the image's CRS to metres on the common plane."""
        if self._plane is None:
            raise TypeError("an image without a plane has one for each footprint")
        return transform_points(points, self._crs, self._plane) * self._unit_m

    def _sides(self, pixels: Points) -> Points:
        if self._plane is None:
            return pixel_sides_m(self._crs, self._transform, pixels)
        return sides_on(self._flatten, self._transform, pixels)

    def _on_planes_of_their_own(self, located: Outlines) -> Outlines:
        """Project each polygon onto the plane that is tangent at its centre."""
        flat = located.copy()
        points, owners = shapely.get_coordinates(flat, return_index=True)
        west, south, east, north = shapely.bounds(flat).T
        turn = full_turn(self._crs) or 0
        extent = np.maximum(east - west, north - south)
        wide = extent > _WIDE * (turn / 360 if turn else 111_000)
        for i in np.flatnonzero(wide):
            flat[i] = shapely.segmentize(flat[i], extent[i] / _PIECES)
        if wide.any():
            points, owners = shapely.get_coordinates(flat, return_index=True)
        placed = to_wgs84(points, self._crs)
        centres = middles(placed, owners, len(flat))[owners]
        moved = east_north(placed[:, None], centres)[:, 0]
        return np.asarray(shapely.set_coordinates(flat, moved), dtype=object)


def metric_crs(grid: RasterDescription) -> CRS | None:
    """Return the CRS for measuring lengths, areas and angles in an image.

    This is the image's own CRS if it keeps lengths to 0.2 % all over the image and in
    all directions, else the UTM zone (WGS 84) of the centre if that does, else None. It
    is also the image's own CRS if the position on Earth is unknown.

    Raises:
        RasterError: If the CRS has no lengths, as for :class:`Ground`.
    """
    crs = require_crs(grid)
    unit = metres_per_unit(crs)
    if not has_longitude_latitude(crs):
        if unit is None:
            raise RasterError(
                f"{grid.path} is in {crs_name(crs)}, which has no lengths on the ground, "
                "expected a projected or local CRS, or longitude and latitude: warp it "
                "with gdalwarp -t_srs EPSG:… FILE OUTPUT"
            )
        return crs
    centre = _centre(grid)
    places = _places(grid)
    true = pixel_sides_m(crs, grid.transform, places)
    if unit == 1.0 and keeps_lengths(planar_sides(grid.transform), true):
        return crs
    utm = _utm(*centre)
    planar = sides_on(
        lambda points: transform_points(points, crs, utm), grid.transform, places
    )
    return utm if keeps_lengths(planar, true) else None


def _utm(longitude: float, latitude: float) -> CRS:
    zone = int((longitude + 180) // 6) % 60 + 1
    return CRS.from_epsg((32600 if latitude >= 0 else 32700) + zone)


def _centre(grid: RasterDescription) -> tuple[float, float]:
    """Return the longitude and latitude of an image's centre.

    Raises:
        RasterError: If it has none, or if the image, in degrees, goes beyond a pole or
            more than once around the Earth.
    """
    crs = require_crs(grid)
    turn = full_turn(crs) if crs.is_geographic else None
    middle = locate(grid.transform, grid.width / 2, grid.height / 2)
    try:
        centre = lon_lat(crs, middle)
    except RasterError as error:
        raise RasterError(f"{grid.path}: {error}") from error
    if turn is not None:
        corners = np.array([(x, y) for x in (0, grid.width) for y in (0, grid.height)])
        x, y = 360 / turn * locate_all(grid.transform, corners.astype(np.float64)).T
        # global grids may put the centres of the outermost pixels at ±180° and ±90°
        pixel = 360 / turn * float(np.abs(planar_sides(grid.transform)).max())
        if np.abs(y).max() > 90 + pixel or np.ptp(x) > 360 + pixel:
            raise RasterError(
                f"{grid.path} covers ({x.min():.7g} {y.min():.7g} {x.max():.7g} "
                f"{y.max():.7g}) degrees, expected longitudes and latitudes on Earth; "
                "check the georeferencing (are metres taken for degrees?)"
            )
    return centre


def _places(grid: RasterDescription) -> Points:
    """Return columns and rows evenly spaced over an image, corners included."""
    columns = np.linspace(0, grid.width, _PLACES)
    rows = np.linspace(0, grid.height, _PLACES)
    return np.stack(np.meshgrid(columns, rows), axis=-1).reshape(-1, 2)


def _move(polygons: Outlines, to: Callable[[Points], Points]) -> Outlines:
    """Transform all vertices; several times as fast as ``shapely.transform``."""
    kind, points, rings = shapely.to_ragged_array(polygons)
    return np.asarray(shapely.from_ragged_array(kind, to(points), rings), dtype=object)
