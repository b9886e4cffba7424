"""Corners of simplified outlines lie where their walls meet."""

import numpy as np
import pytest
import rasterio.features
import shapely
from shapely import Polygon, affinity, box

from geoseg.geo.footprints.corner_fit import fit_corners
from geoseg.geo.footprints.rings import Rings, build, split
from geoseg.geo.footprints.simplify import Extent, smooth_alone

SIDE = 90


def one_ring(*points: tuple[float, float]) -> Rings:
    return split(np.array([Polygon(points)], dtype=object))


def test_a_corner_that_noise_pulled_out_goes_back_to_where_the_walls_meet() -> None:
    # The corner at (10, 10) stands out by half a unit; the walls say nothing of it.
    bottom = [(float(x), 0.0) for x in range(10)]
    right = [(10.0, float(y)) for y in range(10)]
    top = [(10.5, 10.5), *((float(x), 10.0) for x in range(9, 0, -1))]
    left = [(0.0, float(y)) for y in range(10, 0, -1)]
    rings = one_ring(*bottom, *right, *top, *left)
    wanted = {(0.0, 0.0), (10.0, 0.0), (10.5, 10.5), (0.0, 10.0)}
    stays = np.array([tuple(point) in wanted for point in rings.points])
    found = fit_corners(rings, stays, 1.0)
    assert len(found.points) == 4
    truth = np.array([(0, 0), (10, 0), (10, 10), (0, 10)])
    off = np.hypot(*(found.points[:, None] - truth).T).min(axis=0)
    assert off.max() < 0.2


def test_walls_without_other_points_meet_where_they_did() -> None:
    rings = one_ring((0, 0), (9, 2), (7, 11), (-2, 8))
    found = fit_corners(rings, np.ones(4, dtype=bool), 1.0)
    assert found.points == pytest.approx(rings.points)


def test_a_corner_moves_no_farther_than_it_may() -> None:
    # Two walls that are parallel, and two that meet a thousand units away.
    rings = one_ring((0, 0), (5, 0), (10, 0), (15, 0.02), (15, 9), (0, 9))
    stays = np.array([True, True, True, True, True, True])
    found = fit_corners(rings, stays, 0.5)
    assert np.isfinite(found.points).all()
    assert (np.hypot(*(found.points - rings.points).T) <= 0.5).all()


@pytest.mark.parametrize("scale", [1.0, 1e6])
def test_where_the_outline_lies_does_not_matter(scale: float) -> None:
    rng = np.random.default_rng(0)
    points = shapely.get_coordinates(shapely.segmentize(box(0, 0, 20, 9), 1.0))[:-1]
    points += rng.normal(0, 0.2, points.shape)
    stays = np.zeros(len(points), dtype=bool)
    stays[[0, 9, 29, 38]] = True
    ends = np.array([0, len(points)]), np.array([0, 1])
    here = fit_corners(Rings(points, *ends), stays, 1.0)
    there = fit_corners(Rings(points + scale, *ends), stays, 1.0)
    assert there.points - scale == pytest.approx(here.points, abs=1e-7)


def test_turned_houses_are_drawn_closer_than_by_corners_of_pixels() -> None:
    lost, turns = [], range(5, 90, 10)
    for turn in turns:
        house = affinity.rotate(box(20.3, 28.6, 68.9, 60.2), turn)
        mask = rasterio.features.rasterize([house], (SIDE, SIDE), dtype="uint8")
        shapes = rasterio.features.shapes(mask, mask=mask > 0)
        pixels = np.array([shapely.geometry.shape(it) for it, _ in shapes])
        (found,) = smooth_alone(pixels, np.eye(2), 0.75, Extent(SIDE, SIDE))
        assert shapely.get_num_coordinates(found) <= 9
        shared = found.intersection(house).area
        lost.append(1 - shared / found.union(house).area)
    assert np.mean(lost) < 0.008


def test_rings_of_polygons_are_polygons_again() -> None:
    holed = box(0, 0, 9, 9).difference(box(3, 3, 5, 5))
    polygons = np.array([holed, box(20, 0, 25, 5)], dtype=object)
    rings = split(polygons)
    assert rings.polygon.tolist() == [0, 0, 1]
    assert (build(rings) == polygons).all()
