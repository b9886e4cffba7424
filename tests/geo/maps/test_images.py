"""Tests of geoseg.geo.maps.images."""

from dataclasses import replace

import numpy as np
import pytest
import rasterio
from affine import Affine

from geoseg.geo.maps.images import adjoining, warn_of_adjoining
from geoseg.geo.rasters.raster import describe

UNTURNED = Affine(0.5, 0, 600000, 0, -0.5, 4000000)


@pytest.fixture
def grid(tmp_path):
    path = tmp_path / "image.tif"
    profile = {"driver": "GTiff", "crs": "EPSG:32611", "transform": UNTURNED}
    size = {"width": 20, "height": 10, "count": 1, "dtype": "uint8"}
    with rasterio.open(path, "w", **profile, **size) as dataset:
        dataset.write(np.zeros((1, 10, 20), np.uint8))
    return describe(str(path))


def moved(grid, columns, rows):
    return replace(grid, transform=grid.transform * Affine.translation(columns, rows))


@pytest.mark.parametrize(
    "columns, rows, near",
    [
        (20, 0, True),
        (20.4, 0, True),  # georeferencing rounds
        (20, 10, True),
        (15, 5, True),
        (21, 0, False),
        (0, 11, False),
    ],
)
@pytest.mark.parametrize("degrees", [0, 30])
def test_images_side_by_side_adjoin(grid, columns, rows, near, degrees):
    turned = replace(grid, transform=UNTURNED * Affine.rotation(degrees))
    far = moved(turned, 500, 500)
    found = adjoining([turned, far, moved(turned, columns, rows)])
    assert len(found) == 2 * near
    assert far not in found


def test_one_image_adjoins_nothing(grid):
    assert adjoining([grid]) == []


def test_adjoining_images_are_warned_of(grid, caplog):
    warn_of_adjoining([grid, moved(grid, 100, 0)])
    assert not caplog.text
    warn_of_adjoining([grid, moved(grid, 20, 0), moved(grid, 100, 0)])
    assert "2 of 3 images adjoin or overlap others" in caplog.text
    assert "map them as one, with --mosaic" in caplog.text


def test_images_of_different_grids_are_to_be_brought_to_one(grid, caplog):
    warn_of_adjoining([grid, moved(grid, 20.4, 0)])
    assert "bring them to one grid (gdalwarp -tap)" in caplog.text
