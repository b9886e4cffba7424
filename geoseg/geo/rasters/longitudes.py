"""Longitudes that begin anew after a full turn: 185° and −175° are one place."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from geoseg.geo.coordinates.crs import Points, full_turn
from geoseg.geo.coordinates.georeference import locate
from geoseg.geo.rasters.description import RasterDescription


class Longitudes(NamedTuple):
    """Which turn around the Earth coordinates are counted on.

    Attributes:
        middle: In units of their CRS.
        turn: What a full turn is: 360 in degrees.
    """

    middle: float
    turn: float

    def near(self, x: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Move coordinates by whole turns, to half a turn about the middle at most."""
        return np.asarray(x - self.turn * np.round((x - self.middle) / self.turn))


def places_near(points: Points, grid: RasterDescription) -> Points:
    """Move points in an image's CRS by whole turns, to where the image is."""
    turn = full_turn(grid.crs)
    if turn is None:
        return points
    middle, _ = locate(grid.transform, grid.width / 2, grid.height / 2)
    return np.stack((Longitudes(middle, turn).near(points[:, 0]), points[:, 1]), axis=1)
