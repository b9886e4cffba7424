"""Exact geometry in sixteenths of a pixel."""

import numpy as np
import pytest
from rasterio.features import rasterize
from shapely import Polygon

from geoseg.geo.sample.geometry import Box, Frame, bounds, inside, is_ambiguous, untied


def test_a_rectangle_on_pixel_corners_fills_its_pixels():
    filled = inside((Frame(0, 0).rectangle(1, 2, 4, 5),), Box(0, 0, 6, 6))
    expected = np.zeros((6, 6), dtype=bool)
    expected[2:5, 1:4] = True
    assert np.array_equal(filled, expected)


def test_a_second_ring_cuts_a_hole():
    frame = Frame(0, 0)
    rings = (frame.rectangle(0, 0, 6, 6), frame.rectangle(2, 2, 4, 4))
    assert inside(rings, Box(0, 0, 6, 6)).sum() == 36 - 4


@pytest.mark.parametrize("turn", [(12, 5, 13), (24, -7, 25), (-3, 4, 5), (0, 1, 1)])
def test_turned_polygons_fill_the_pixels_that_gdal_fills(turn):
    frame = Frame(643, 485, *turn)
    corners = ((-20, -9), (3, -9), (3, -18), (21, -18), (21, 14), (-20, 14))
    (ring,) = untied((frame.ring(corners),))
    polygon = Polygon([(x / 16, y / 16) for x, y in ring])
    ours = inside((ring,), Box(0, 0, 80, 64))
    theirs = rasterize([(polygon, 1)], out_shape=(64, 80))
    assert np.array_equal(ours, theirs == 1)


def test_a_frame_turned_by_a_right_angle_maps_u_to_y():
    assert Frame(160, 320, 0, 1, 1).point(3, 0) == (160, 320 + 48)
    assert Frame(160, 320, 0, 1, 1).point(0, 3) == (160 - 48, 320)


def test_local_coordinates_invert_points():
    frame = Frame(3, 5, 12, 5, 13)
    x, y = frame.point(26, 13)
    col, row = x // 16, y // 16
    u, v = frame.local(Box(col, row, col + 1, row + 1))
    # the pixel's centre is within one pixel of the point
    assert abs(u[0, 0] - 16 * 26) <= 16 and abs(v[0, 0] - 16 * 13) <= 16


def test_bounds_hold_every_pixel_that_is_filled():
    ring = Frame(643, 485, 12, 5, 13).rectangle(-9, -7, 14, 11)
    inner, outer = bounds(ring), Box(0, 0, 80, 64)
    assert inside((ring,), inner).sum() == inside((ring,), outer).sum()


def test_an_edge_through_a_centre_is_ambiguous_until_moved():
    ring = ((8, 0), (40, 0), (40, 32), (8, 32))
    assert is_ambiguous((ring,))
    assert not is_ambiguous(untied((ring,)))


def test_a_slanted_edge_through_a_centre_is_ambiguous():
    assert is_ambiguous((((0, 0), (64, 64), (0, 64)),))
