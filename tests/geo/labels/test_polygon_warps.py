"""Label polygons that reach far, lie over poles or across 180°, with edges as lines."""

import json
from pathlib import Path

import numpy as np
import pytest
import shapely
from affine import Affine
from pyproj import Transformer
from shapely.geometry import box, mapping

from geoseg.core.classes import LabelClasses
from geoseg.geo.labels.labels import check_labels, read_footprints, read_labels
from geoseg.geo.rasters.raster import describe
from geoseg.geo.tiles.tiles import Tile

SIDE = 64


def image_at(write_tiff, crs, x, y, pixel, side=SIDE, name="t.tif"):
    """An image whose centre lies at a point."""
    half = side / 2 * pixel
    transform = Affine(pixel, 0, x - half, 0, -pixel, y + half)
    return write_tiff(
        name, np.ones((1, side, side), np.uint8), crs=crs, transform=transform
    )


def burnt(image, path):
    return read_labels(Tile("t", image, str(path)), describe(image))


def centres(image, crs):
    """Coordinates of the pixel centres in another CRS, found one by one."""
    grid = describe(image)
    col, row = np.meshgrid(np.arange(grid.width) + 0.5, np.arange(grid.height) + 0.5)
    a, b, c, d, e, f = grid.transform[:6]
    warp = Transformer.from_crs(grid.crs.to_wkt(), crs, always_xy=True)
    return warp.transform(a * col + b * row + c, d * col + e * row + f)


@pytest.fixture
def utm_image(write_tiff):
    return image_at(write_tiff, "EPSG:32633", 500064, 5.4e6 - 64, 0.5)


@pytest.mark.parametrize(
    "outline",
    [
        box(-10, 0, 179, 77),
        box(-179.9, -60, 179.9, 80),
        box(-180, -90, 180, 90),
        box(0, -90, 360, 90),
        box(14, 40, 16, 60),
        shapely.Polygon([(-170, -80), (170, -80), (100, 80), (-100, 80)]),
    ],
)
def test_what_reaches_beyond_the_projection_covers_the_tile(
    utm_image, write_geojson, outline
):
    path = write_geojson("l.geojson", [mapping(outline)])
    assert burnt(utm_image, path).all()
    (footprint,) = read_footprints(Tile("t", utm_image, path), pixels=True)
    assert footprint.area == pytest.approx(SIDE * SIDE)


def test_small_polygons_lie_over_those_that_are_cut_off(utm_image, write_geojson):
    lon, lat = centres(utm_image, "EPSG:4326")
    house = box(lon[0, 20], lat[40, 0], lon[0, 40], lat[20, 0])
    world = box(-179, -80, 179, 80)
    path = write_geojson("l.geojson", [mapping(house), mapping(world)])
    text = json.loads(Path(path).read_text())
    for feature, kind in zip(text["features"], ("house", "land"), strict=True):
        feature["properties"]["k"] = kind
    Path(path).write_text(json.dumps(text))
    classes = LabelClasses.parse("background=land,house=house")
    classes = LabelClasses(classes.names, classes.values, classes.rest, field="k")
    found = read_labels(Tile("t", utm_image, path, None, classes), describe(utm_image))
    assert set(np.unique(found)) == {0, 1} and 300 < found.sum() < 500


@pytest.mark.parametrize("half", [0.001, 0.1, 0.5, 2, 20])
@pytest.mark.parametrize("pixel", [0.5, 30])
def test_edges_are_straight_in_the_crs_of_the_labels(
    write_tiff, write_geojson, half, pixel
):
    image = image_at(write_tiff, "EPSG:32633", 500000, 5.4e6, pixel)
    lon, lat = centres(image, "EPSG:4326")
    middle_lon, middle_lat = lon.mean(), lat[31:33].mean()
    path = write_geojson(
        "l.geojson",
        [
            mapping(
                box(middle_lon - half, middle_lat - 1, middle_lon + half, middle_lat)
            )
        ],
    )
    inside = (lat <= middle_lat) & (abs(lon - middle_lon) <= half)
    assert np.count_nonzero(burnt(image, path) != inside) <= 8


def test_labels_in_a_projection_reach_an_image_in_degrees(write_tiff, write_geojson):
    """Edges of a square over the pole, in a polar CRS, are curves in degrees."""
    image = image_at(write_tiff, "EPSG:4326", 10, 86, 0.1)
    square = shapely.affinity.rotate(box(-400e3, -400e3, 400e3, 400e3), 10)
    x, y = centres(image, "EPSG:3413")
    inside = shapely.contains_xy(square, x, y)
    path = write_geojson("l.geojson", [mapping(square)], crs="EPSG:3413")
    assert 0.1 < inside.mean() < 0.9
    assert np.count_nonzero(burnt(image, path) != inside) <= 8


@pytest.mark.parametrize("crs", ["EPSG:3413", "EPSG:3995", "EPSG:32661"])
@pytest.mark.parametrize("lons", [(-180, 180), (0, 360)])
def test_a_cap_over_the_pole_is_a_disc(write_tiff, write_geojson, crs, lons):
    x = 2e6 if crs == "EPSG:32661" else 0  # its false origin
    image = image_at(write_tiff, crs, x, x, 20_000)
    _, lat = centres(image, "EPSG:4326")
    path = write_geojson("l.geojson", [mapping(box(lons[0], 86, lons[1], 90))])
    assert np.count_nonzero(burnt(image, path) != (lat >= 86)) <= 8


# an island that 180° cuts, as people write it
ISLAND = {
    "cut": [box(179.999, -17, 180, -16.999), box(-180, -17, -179.999, -16.999)],
    "uncut": [
        shapely.Polygon(
            [(179.999, -17), (-179.999, -17), (-179.999, -16.999), (179.999, -16.999)]
        )
    ],
    "beyond 180": [box(179.999, -17, 180.001, -16.999)],
    "beyond -180": [box(-180.001, -17, -179.999, -16.999)],
}


@pytest.mark.parametrize("polygons", ISLAND.values(), ids=ISLAND)
@pytest.mark.parametrize(
    ("crs", "x", "y", "pixel"),
    [
        ("EPSG:32701", 180_600, 8_118_000, 5),
        ("EPSG:4326", 180, -16.9995, 5e-5),
        ("EPSG:4326", -180, -16.9995, 5e-5),
        ("EPSG:4269", 180, -16.9995, 5e-5),
        ("EPSG:3832", 3339584.7, -1917000, 5),
    ],
)
def test_what_crosses_180_degrees_is_whole(
    write_tiff, write_geojson, polygons, crs, x, y, pixel
):
    if crs == "EPSG:3832" or crs == "EPSG:32701":
        warp = Transformer.from_crs(4326, crs, always_xy=True)
        x, y = warp.transform(180, -16.9995)
    image = image_at(write_tiff, crs, x, y, pixel)
    lon, lat = centres(image, "EPSG:4326")
    inside = (abs(lon % 360 - 180) < 0.001) & (lat > -17) & (lat < -16.999)
    path = write_geojson("l.geojson", [mapping(item) for item in polygons])
    assert 500 < inside.sum() < SIDE * SIDE
    # a column or row of centres lies close to each edge
    wrong = np.count_nonzero(burnt(image, path) != inside)
    assert wrong <= 2 * SIDE if crs == "EPSG:4269" else wrong <= 8


@pytest.mark.parametrize("east", [190.0, -170.0])
@pytest.mark.parametrize("x", [190.0, -170.0])
def test_longitudes_may_run_to_360(write_tiff, write_geojson, x, east):
    image = image_at(write_tiff, "EPSG:4326", x, 10, 1e-4)
    house = box(east - 1e-3, 10 - 1e-3, east + 1e-3, 10 + 1e-3)
    path = write_geojson("l.geojson", [mapping(house)])
    assert burnt(image, path).sum() == 400
    check_labels([Tile("t", image, path)])
    (footprint,) = read_footprints(Tile("t", image, path))
    assert footprint.centroid.x == pytest.approx(x)


@pytest.mark.parametrize(
    ("crs", "square"),
    [
        ("EPSG:3857", box(-12e6, -9e6, 15e6, 11e6)),
        ("EPSG:32633", box(1e5, 0, 9e5, 9e6)),
    ],
)
def test_a_world_of_pixels_takes_labels_of_any_crs(
    write_tiff, write_geojson, crs, square
):
    image = image_at(write_tiff, "EPSG:4326", 0, 0, 5.625, side=64)
    x, y = centres(image, crs)
    path = write_geojson("l.geojson", [mapping(square)], crs=crs)
    inside = shapely.contains_xy(square, x, y)
    assert np.count_nonzero(burnt(image, path) != inside) <= 8


def test_many_houses_move_as_their_corners_do(utm_image, write_geojson):
    """Short edges get no points: polygons are those that a warp of corners gives."""
    lon, lat = centres(utm_image, "EPSG:4326")
    houses = [
        box(lon[r + 4, c], lat[r + 4, c], lon[r, c + 6], lat[r, c + 6])
        for r, c in ((3, 4), (20, 30), (50, 9))
    ]
    path = write_geojson("l.geojson", [mapping(house) for house in houses])
    found = read_footprints(Tile("t", utm_image, path))
    warp = Transformer.from_crs(4326, 32633, always_xy=True)
    for own, house in zip(found, houses, strict=True):
        expected = shapely.transform(house, warp.transform, interleaved=False)
        assert len(own.exterior.coords) == 5
        assert shapely.hausdorff_distance(own, expected) < 1e-6
