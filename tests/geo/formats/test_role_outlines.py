"""Outlines of tiles with their roles, and neighbours of the test."""

import json
import logging

import fiona
import numpy as np
import pytest
from affine import Affine
from rasterio.warp import transform
from shapely.geometry import shape

from geoseg.geo.formats.role_outlines import (
    adjoining_test,
    adjoining_words,
    write_roles,
)
from geoseg.geo.rasters.description import PixelWindow
from geoseg.geo.tiles.roles import Split
from geoseg.geo.tiles.tiles import Tile

PIXELS = np.ones((1, 10, 20), np.uint8)


@pytest.fixture
def tile_at(write_tiff):
    """Return ``tile(x, y) -> Tile`` of 20 x 10 pixels of half a metre."""

    def make(x, y, crs="EPSG:32611", size=0.5, **changes):
        grid = Affine(size, 0, x, 0, -size, y)
        name = f"{x}_{y}.tif"
        path = write_tiff(name, PIXELS, transform=grid, crs=crs)
        return Tile(name, path, **changes)

    return make


def test_the_file_says_where_the_tiles_of_each_role_lie(tile_at, tmp_path):
    x, y = 664000, 4000000
    image = tile_at(x, y).image
    split = Split(
        match=(tile_at(x + 100, y),),
        test=(Tile("ä#r0c1", image, "l", PixelWindow(2, 10, 5, 10)),),
        hidden=(Tile("ä#r0c0", image, None, PixelWindow(2, 0, 5, 10)),),
    )
    path = tmp_path / "roles.geojson"
    assert write_roles(path, split, "town")
    with fiona.open(path) as layer:
        assert layer.crs.to_epsg() == 4326
        rows = [(dict(f["properties"]), shape(f["geometry"])) for f in layer]
    assert [(row["role"], row["id"], row["source"]) for row, _ in rows] == [
        ("match", f"{x + 100}_{y}.tif", "town"),
        ("test", "ä#r0c1", "town"),
        ("hidden", "ä#r0c0", "town"),
    ]
    lon, lat = transform("EPSG:32611", "EPSG:4326", [x + 5, x + 10], [y - 3.5, y - 1])
    expected = [min(lon), min(lat), max(lon), max(lat)]
    np.testing.assert_allclose(rows[1][1].bounds, expected, atol=1e-6)
    assert all(geometry.exterior.is_ccw for _, geometry in rows)


def test_outlines_part_at_the_antimeridian(tile_at, tmp_path):
    split = Split(match=(tile_at(179.9995, -16.5, "EPSG:4326", 1e-4),))
    assert write_roles(tmp_path / "r.geojson", split, "fiji")
    (feature,) = json.loads((tmp_path / "r.geojson").read_text())["features"]
    outline = shape(feature["geometry"])
    assert outline.geom_type == "MultiPolygon"
    assert outline.bounds == (-180, -16.501, 180, -16.5)


@pytest.mark.parametrize(
    "crs", [None, 'LOCAL_CS["site",UNIT["metre",1],AXIS["x",EAST],AXIS["y",NORTH]]']
)
def test_without_a_place_on_the_earth_there_is_no_file(tile_at, tmp_path, crs, caplog):
    caplog.set_level(logging.INFO)
    split = Split(match=(tile_at(0, 0, crs),))
    assert not write_roles(tmp_path / "roles.geojson", split, "site")
    assert "roles.geojson is not written: the tiles have no CRS" in caplog.text
    assert not (tmp_path / "roles.geojson").exists()


def test_tiles_that_touch_or_overlap_test_tiles_are_counted(tile_at):
    x, y = 664000, 4000000
    split = Split(
        match=(tile_at(x + 10, y + 5),),
        test=(tile_at(x, y), tile_at(x + 500, y)),
        hidden=(
            tile_at(x + 10, y),  # beside
            tile_at(x - 10, y + 5),  # corner to corner
            tile_at(x + 10.2, y - 5),  # less than half a pixel away
            tile_at(x + 10.3, y + 10),  # more than that
            tile_at(x + 490, y - 5),
        ),
        unlabelled=(tile_at(x + 3, y + 3), tile_at(x + 300, y)),
    )
    assert adjoining_test(split) == {"hidden": 4, "unlabelled": 1}
    assert adjoining_test(Split(hidden=split.hidden)) == {}
    assert adjoining_test(Split(test=split.test)) == {}
    assert adjoining_test(Split(test=split.test[1:], unlabelled=split.hidden[:1])) == {}


def test_blocks_of_an_image_without_a_crs_adjoin_and_other_images_do_not(tile_at):
    one, two = tile_at(0, 0, None), tile_at(0, 1, None)
    left, right = PixelWindow(0, 0, 10, 10), PixelWindow(0, 10, 10, 10)
    test = (Tile("a", one.image, "l", left),)
    assert adjoining_test(Split(test=test, hidden=(two,))) == {}
    beside = Tile("b", one.image, None, right)
    assert adjoining_test(Split(test=test, hidden=(beside, two))) == {"hidden": 1}


def test_tiles_of_two_crss_adjoin(tile_at):
    (lon,), (lat,) = transform("EPSG:32611", "EPSG:4326", [664010], [4000000])
    beside = tile_at(lon, lat, "EPSG:4326", 5e-6)
    split = Split(test=(tile_at(664000, 4000000),), hidden=(beside,))
    assert adjoining_test(split) == {"hidden": 1}


def test_neighbours_are_told_in_one_sentence():
    words = adjoining_words({"hidden": 3, "unlabelled": 1}, {"hidden": 9})
    assert words.startswith(
        "3 of 9 hidden and 1 of 1 unlabelled tiles touch or overlap"
    )
    assert adjoining_words({}, {"hidden": 9}) == ""
