"""What a stage cannot draw keeps the outline of the stage before."""

import numpy as np
import pytest
import shapely
from shapely import MultiPolygon, Polygon, box
from shapely.errors import GEOSException

from geoseg.geo.footprints.sound_outlines import all_or_before, each_or_before, sound

SQUARE = box(0, 0, 4, 4)
BAD = {
    "nothing": None,
    "empty": Polygon(),
    "flat": Polygon([(0, 0), (2, 0), (0, 0)]),
    "crossing itself": Polygon([(0, 0), (1, 1), (1, 0), (0, 1)]),
    "two polygons": MultiPolygon([box(0, 0, 1, 1), box(2, 2, 3, 3)]),
    "a line": shapely.LineString([(0, 0), (1, 1)]),
}


def array(*shapes: object) -> np.ndarray:
    return np.array([*shapes, None], dtype=object)[:-1]


@pytest.mark.parametrize("name", BAD)
def test_only_valid_polygons_with_an_area_are_sound(name: str) -> None:
    drawn, before = array(SQUARE, BAD[name]), array(box(0, 0, 5, 5), box(6, 6, 9, 9))
    assert sound(drawn).tolist() == [True, False]
    assert each_or_before(lambda it: drawn[it], before).tolist() == [SQUARE, before[1]]
    assert all_or_before(lambda: drawn, before) is before


def test_an_error_of_geos_costs_the_outline_that_makes_it() -> None:
    before = array(*(box(i, 0, i + 2, 2) for i in range(5)))

    def draw(places: slice) -> np.ndarray:
        if before[3] in before[places]:
            raise GEOSException("TopologyException")
        return shapely.buffer(before[places], 1)

    drawn = each_or_before(draw, before)
    assert (drawn == before).tolist() == [False, False, False, True, False]
    assert all_or_before(lambda: draw(slice(5)), before) is before
