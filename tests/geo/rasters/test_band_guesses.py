"""Bands that a file does not name are guessed, and a map of guesses says so."""

import numpy as np
import pytest
import rasterio
from affine import Affine

from geoseg.geo.maps.mapping import map_buildings
from geoseg.geo.rasters.inspection import assumed_bands
from geoseg.geo.rasters.raster import describe


@pytest.fixture
def image(tmp_path):
    """Return ``write(count)``, a bright and a dark half of unnamed bands."""

    def write(count):
        pixels = np.full((count, 32, 32), 100, np.uint16)
        pixels[:, :, 16:] = 900
        path = tmp_path / f"{count}.tif"
        with rasterio.open(
            path,
            "w",
            driver="GTiff",
            dtype="uint16",
            count=count,
            height=32,
            width=32,
            crs="EPSG:32611",
            transform=Affine(0.5, 0, 664000, 0, -0.5, 4000000),
            photometric="MINISBLACK",
        ) as dataset:
            dataset.write(pixels)
        return path

    return write


@pytest.mark.parametrize(
    ("trained", "warned"), [({"image_bands": 3}, True), ({"image_bands": 8}, False)]
)
def test_a_map_of_other_images_than_the_trainings_warns(
    image, bright_model, tmp_path, caplog, trained, warned
):
    model = bright_model(provenance=trained)
    map_buildings(model, [str(image(8))], tmp_path / "b.gpkg")
    said = "unlike the training's: band 5 is red, 3 is green, 2 is blue" in caplog.text
    assert said is warned


def test_names_in_the_file_are_no_guess(image):
    path = image(3)
    bands = ("red", "green", "blue")
    assert "as in the usual order of 3 bands" in str(
        assumed_bands(describe(path), bands)
    )
    with rasterio.open(path, "r+") as dataset:
        dataset.descriptions = bands
    assert assumed_bands(describe(path), bands) is None
