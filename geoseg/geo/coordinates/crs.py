"""Coordinate reference systems: equality, units and transformation of points.

rasterio, fiona and pyproj each bring a PROJ and a database, which differ in the names
of datums and in the transformations that they choose. This module uses only pyproj's,
with CRSs as its database defines them, so that reading and writing agree.
"""

import math
import warnings
from functools import lru_cache

import numpy as np
import numpy.typing as npt
import pyproj
from pyproj.exceptions import ProjError
from rasterio.crs import CRS

from geoseg.core.errors import RasterError

#: ``(n, 2)`` x and y, or longitude and latitude.
Points = npt.NDArray[np.float64]

#: CRS of all longitudes and latitudes, also for formats that name OGC:CRS84, for which
#: PROJ chooses other transformations (they differ by up to 300 m).
WGS84 = CRS.from_epsg(4326)
#: Projections whose x is a multiple of the longitude.
_CYLINDRICAL = {
    "Popular Visualisation Pseudo Mercator",
    "Mercator (variant A)",
    "Mercator (variant B)",
    "Mercator (1SP)",
    "Mercator (2SP)",
    "Mercator (Spherical)",
    "Equidistant Cylindrical",
    "Equidistant Cylindrical (Spherical)",
    "Lambert Cylindrical Equal Area",
    "Lambert Cylindrical Equal Area (Spherical)",
    "Plate Carree",
    "Equal Area Cylindrical",
}
#: Largest longitude in degrees; those of images may go beyond 180° and 360°.
_MOST_LONGITUDE = 540.0


def same_crs(first: CRS | None, second: CRS | None) -> bool:
    """Tell whether two CRSs are the same in the plane.

    Heights, the order of axes and other programs' names of datums and projections are
    ignored.

    Example:
        >>> same_crs(CRS.from_epsg(4326), CRS.from_user_input("OGC:CRS84"))
        True
        >>> same_crs(CRS.from_epsg(25832), CRS.from_epsg(32632))
        False
    """
    if first is None or second is None:
        return first is second
    return first is second or _same(first.to_wkt(), second.to_wkt())


def transform_points(points: Points, source: CRS | None, target: CRS | None) -> Points:
    """Transform points; those without a position in the target become infinite.

    Args:
        points: ``(n, 2)`` in the source's units, x (east) first.
        source: CRS of the points.
        target: CRS to transform them to.

    Raises:
        RasterError: If no transformation leads from the one to the other.
    """
    if same_crs(source, target):
        return points
    if source is None or target is None:
        raise RasterError(
            f"no transformation leads from {crs_name(source)} to {crs_name(target)}, "
            "expected both with a CRS or neither"
        )
    transformer = _transformer(source.to_wkt(), target.to_wkt())
    return np.stack(transformer.transform(points[:, 0], points[:, 1]), axis=1)


def to_wgs84(points: Points, crs: CRS) -> Points:
    """Return longitudes and latitudes in degrees; not finite for points without.

    Raises:
        RasterError: If there is no transformation.
    """
    placed = transform_points(points, crs, WGS84)
    return np.where(on_earth(placed)[:, None], placed, np.nan)


def lon_lat(crs: CRS, point: tuple[float, float]) -> tuple[float, float]:
    """Return the longitude and latitude (WGS 84) of a point.

    Raises:
        RasterError: If the point is outside the CRS's area, or that area is unknown.
    """
    (placed,) = transform_points(np.array([point], dtype=np.float64), crs, WGS84)
    if not on_earth(placed[None]).all():
        raise RasterError(
            f"point {point} has no longitude and latitude in {crs_name(crs)}, "
            "expected coordinates inside the CRS's area; check the georeferencing (are "
            "metres taken for degrees, or x for y?)"
        )
    return float(placed[0]), float(placed[1])


def on_earth(places: Points) -> npt.NDArray[np.bool_]:
    """Tell which longitudes and latitudes are in their ranges, ``(n,)`` bool."""
    longitude, latitude = np.abs(places).T
    return np.asarray((longitude <= _MOST_LONGITUDE) & (latitude <= 90))


def has_longitude_latitude(crs: CRS) -> bool:
    """Tell whether points of a CRS have longitudes and latitudes.

    Points of a local grid, or of a projection that PROJ does not know, have none.
    """
    horizontal = _horizontal(crs.to_wkt())
    if not (horizontal.is_geographic or horizontal.is_projected):
        return False
    try:
        _transformer(crs.to_wkt(), WGS84.to_wkt())
    except RasterError:
        return False
    return True


def metres_per_unit(crs: CRS) -> float | None:
    """Return the unit of a projected or local CRS in metres; None for other CRSs."""
    horizontal = _horizontal(crs.to_wkt())
    if not (horizontal.is_projected or horizontal.is_engineering):
        return None
    first = horizontal.axis_info[0]
    angles = ("degree", "radian", "grad")
    return None if first.unit_name in angles else float(first.unit_conversion_factor)


@lru_cache(maxsize=256)
def full_turn(crs: CRS | None) -> float | None:
    """Return the length of 360° of longitude in a CRS's units: 360 in degrees.

    In a projection whose x is a multiple of the longitude (Mercator) this is the length
    of its equator. In other projections it is None.
    """
    horizontal = None if crs is None else _horizontal(crs.to_wkt())
    if crs is None or horizontal is None:
        return None
    if horizontal.is_geographic:
        return round(2 * math.pi / horizontal.axis_info[0].unit_conversion_factor, 9)
    operation = horizontal.coordinate_operation
    if operation is None or operation.method_name not in _CYLINDRICAL:
        return None
    if not has_longitude_latitude(crs):
        return None
    # measure at the meridian of x = 0, because the turn ends on the opposite meridian
    origin = transform_points(np.zeros((1, 2)), crs, WGS84)[0, 0]
    degrees = np.array([(origin - 1, 0.0), (origin + 1, 0.0)])
    west, east = transform_points(degrees, WGS84, crs)[:, 0]
    return float(180 * (east - west))


def crs_name(crs: CRS | None) -> str:
    """Return the name of a CRS for messages: its code, else its own name.

    Example:
        >>> crs_name(CRS.from_epsg(32611)), crs_name(CRS.from_wkt('LOCAL_CS["site"]'))
        ('EPSG:32611', 'site')
    """
    if crs is None:
        return "no CRS"
    code = crs.to_string()
    return code if len(code) <= 20 else _horizontal(crs.to_wkt()).name


@lru_cache(maxsize=1024)
def _same(first: str, second: str) -> bool:
    if first == second:
        return True
    one, other = _horizontal(first), _horizontal(second)
    if one.is_engineering and one.name != other.name:
        return False  # local grids all look alike: metres from some corner
    # compare the WKT as written too: our database may lack another's names of datums
    return _alike(one, other) or _alike(_written(first), _written(second))


def _alike(one: pyproj.CRS, other: pyproj.CRS) -> bool:
    if one.equals(other, ignore_axis_order=True):
        return True
    if one.is_bound or other.is_bound or not (one.is_projected and other.is_projected):
        return False
    # pyproj compares the order of projected axes, which GIS files ignore
    axes = [
        sorted((axis.direction, axis.unit_conversion_factor) for axis in crs.axis_info)
        for crs in (one, other)
    ]
    return (
        axes[0] == axes[1]
        and one.coordinate_operation == other.coordinate_operation
        and _geodetic(one).equals(_geodetic(other), ignore_axis_order=True)
    )


def _geodetic(crs: pyproj.CRS) -> pyproj.CRS:
    assert crs.geodetic_crs is not None  # a projection has one
    return crs.geodetic_crs


@lru_cache(maxsize=256)
def _horizontal(wkt: str) -> pyproj.CRS:
    """Return a CRS without heights, as pyproj's database defines it."""
    crs = _without_heights(_by_code(_parsed(wkt)))
    # PROJ would choose other transformations for OGC:CRS84, or for WGS 84 without a
    # code
    known = pyproj.CRS.from_epsg(4326)
    return known if crs.equals(known, ignore_axis_order=True) else crs


@lru_cache(maxsize=256)
def _written(wkt: str) -> pyproj.CRS:
    """Return a CRS without heights, as its WKT defines it."""
    return _without_heights(_parsed(wkt))


def _parsed(wkt: str) -> pyproj.CRS:
    try:
        return pyproj.CRS.from_wkt(wkt)
    except ProjError as error:
        raise RasterError(
            f"a CRS cannot be parsed ({_reason(error)}), expected one that PROJ knows: "
            "set another with gdal_edit.py -a_srs"
        ) from error


def _without_heights(crs: pyproj.CRS) -> pyproj.CRS:
    return (crs.sub_crs_list[0] if crs.is_compound else crs).to_2d()


def _by_code(crs: pyproj.CRS) -> pyproj.CRS:
    """Return the database's CRS of the same code, unless its parameters differ."""
    code = crs.to_json_dict().get("id")
    if code is None:
        return crs
    try:
        known = pyproj.CRS.from_authority(code["authority"], code["code"])
    except ProjError:  # a code of another database, or an invented one
        return crs
    return known if _numbers(known) == _numbers(crs) else crs


def _numbers(crs: pyproj.CRS) -> str:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # PROJ strings lose names
        try:
            return crs.to_proj4()
        except ProjError:  # its method has no name in PROJ
            return ""


@lru_cache(maxsize=256)
def _transformer(source: str, target: str) -> pyproj.Transformer:
    try:
        return pyproj.Transformer.from_crs(
            _horizontal(source), _horizontal(target), always_xy=True
        )
    except ProjError as error:
        names = [crs_name(CRS.from_wkt(wkt)) for wkt in (source, target)]
        raise RasterError(
            f"no transformation leads from {names[0]} to {names[1]} "
            f"({_reason(error)}), expected CRSs of one Earth that PROJ knows"
        ) from error


def _reason(error: ProjError) -> str:
    return " ".join(str(error).split()).split(": (Internal")[0][:120]
