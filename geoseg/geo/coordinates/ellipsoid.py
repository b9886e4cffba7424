"""Tangent planes of the WGS 84 ellipsoid, for lengths and areas anywhere on Earth."""

import numpy as np
import numpy.typing as npt
import pyproj

from geoseg.geo.coordinates.crs import Points

_GEOCENTRIC = pyproj.Transformer.from_crs("EPSG:4979", "EPSG:4978", always_xy=True)


def east_north(places: Points, centres: Points) -> Points:
    """Project points onto planes tangent to the ellipsoid, one plane per centre.

    This is Lambert's azimuthal equal-area projection: areas are right, and lengths to
    0.1 % up to 500 km from the centre.

    Args:
        places: ``(n, m, 2)`` longitudes and latitudes in degrees, m on each of n planes.
        centres: ``(n, 2)`` likewise.

    Returns:
        ``(n, m, 2)`` metres to the east and to the north of the centre.
    """
    points, origins = _in_space(places), _in_space(centres)[:, None]
    longitude, latitude = np.radians(centres.T)[..., None]
    x, y, z = np.moveaxis(points - origins, -1, 0)
    outward = np.cos(longitude) * x + np.sin(longitude) * y
    east = np.cos(longitude) * y - np.sin(longitude) * x
    north = np.cos(latitude) * z - np.sin(latitude) * outward
    up = np.sin(latitude) * z + np.cos(latitude) * outward
    # stretch to the length of the chord, which gives equal areas
    flat = np.hypot(east, north)
    stretch = np.divide(
        np.hypot(flat, up), flat, out=np.ones_like(flat), where=flat > 0
    )
    return np.stack((east * stretch, north * stretch), axis=-1)


def middles(places: Points, owners: npt.NDArray[np.intp], count: int) -> Points:
    """Return the centre of each group of points, also across the antimeridian.

    Args:
        places: ``(n, 2)`` longitudes and latitudes in degrees.
        owners: ``(n,)`` group number of each point.
        count: Number of groups.

    Returns:
        ``(count, 2)`` longitudes and latitudes; not finite for empty groups.
    """
    points = _in_space(places)
    with np.errstate(invalid="ignore", divide="ignore"):
        x, y, z = (
            np.bincount(owners, axis, count) / np.bincount(owners, minlength=count)
            for axis in points.T
        )
    longitude, latitude, _ = _GEOCENTRIC.transform(x, y, z, direction="INVERSE")
    return np.stack((longitude, latitude), axis=1)


def _in_space(places: Points) -> Points:
    """Return geocentric x, y and z in metres of longitudes and latitudes ``(…, 2)``."""
    longitude, latitude = places[..., 0], places[..., 1]
    heights = np.zeros_like(longitude)
    return np.stack(_GEOCENTRIC.transform(longitude, latitude, heights), axis=-1)
