"""Longitudes that differ by full turns: 185° and −175° are the same meridian."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from geoseg.geo.coordinates.crs import Points, full_turn
from geoseg.geo.coordinates.georeference import locate
from geoseg.geo.rasters.description import RasterDescription


class Longitudes(NamedTuple):
    """The range of longitudes, one full turn wide, around a middle.

    Attributes:
        middle: In units of the CRS.
        turn: Length of a full turn in these units: 360 in degrees.
    """

    middle: float
    turn: float

    def near(self, x: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Shift coordinates by whole turns to within half a turn of the middle."""
        return np.asarray(x - self.turn * np.round((x - self.middle) / self.turn))


def places_near(points: Points, grid: RasterDescription) -> Points:
    """Shift points in an image's CRS by whole turns to near the image."""
    turn = full_turn(grid.crs)
    if turn is None:
        return points
    middle, _ = locate(grid.transform, grid.width / 2, grid.height / 2)
    return np.stack((Longitudes(middle, turn).near(points[:, 0]), points[:, 1]), axis=1)
