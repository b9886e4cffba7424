"""Lengths and areas on the ground, in any CRS and anywhere on Earth."""

import numpy as np
import pytest
import shapely
from affine import Affine
from footprint_grids import grid
from pyproj import Geod, Transformer

from geoseg.core.errors import RasterError
from geoseg.geo.evaluation.tile_footprints import tile_footprints
from geoseg.geo.footprints.orientation import main_axes
from geoseg.geo.rasters.ground import Ground, metric_crs
from geoseg.geo.rasters.raster import describe

GEOD = Geod(ellps="WGS84")
SITE = 'LOCAL_CS["site",UNIT["%s",%r],AXIS["E",EAST],AXIS["N",NORTH]]'


def at(crs, lon, lat, pixel=0.5, size=(100, 100), turned=0.0, down=-1):
    """Describe an image whose centre is at a place."""
    x, y = Transformer.from_crs(4326, crs, always_xy=True).transform(lon, lat)
    rotation = Affine.rotation(turned)
    height, width = size
    a, b, _, d, e, _ = (rotation @ Affine.scale(pixel, down * pixel))[:6]
    c, f = x - a * width / 2 - b * height / 2, y - d * width / 2 - e * height / 2
    return grid(size, Affine(a, b, c, d, e, f), crs)


def assert_measures_are_geodesic(image, *boxes, tolerance=2e-3):
    """Compare polygons of pixels with what the ellipsoid says."""
    outlines = np.array([shapely.box(*it) for it in boxes], dtype=object)
    located, flat = Ground(image).place(outlines)
    back = Transformer.from_crs(image.crs.to_wkt(), 4326, always_xy=True)
    for polygon, plane in zip(located, flat, strict=True):
        fine = shapely.segmentize(polygon, np.ptp(polygon.exterior.xy[0]) / 50)
        true = shapely.transform(
            fine, lambda x, y: back.transform(x, y), interleaved=False
        )
        area, perimeter = GEOD.geometry_area_perimeter(true)
        assert plane.area == pytest.approx(abs(area), rel=2 * tolerance)
        assert plane.length == pytest.approx(perimeter, rel=tolerance)


@pytest.mark.parametrize("turned", [0, 33])
@pytest.mark.parametrize(
    ("crs", "lon", "lat", "pixel"),
    [
        ("EPSG:32633", 15, 47, 0.5),
        *(("EPSG:6933", 10, lat, 1.0) for lat in (40, 55, 65)),  # equal-area
        ("EPSG:3035", 35, 65, 0.5),
        ("EPSG:3857", 15, 70, 1.0),
        ("EPSG:3413", 0, 62, 1.0),
        ("EPSG:2263", -74, 40.7, 2.0),  # US survey feet
        ("EPSG:5972", 10, 60, 0.5),  # with a height
        ("EPSG:4807", 2, 48.8, 5e-6),  # in grads
        ("EPSG:4326", -115.2, 36.2, 2.7e-6),
        ("EPSG:4326", 180, -17, 5e-6),
        ("EPSG:32660", 180.5, 60, 0.5),
        ("EPSG:4326", 20, 89.99, 5e-6),  # beside the pole
        ("EPSG:32661", 20, 89.99, 1.0),
        ("EPSG:3995", 0, 90, 1.0),  # the pole in its middle
        ("EPSG:3031", 0, -90, 1.0),
        ("+proj=sinu +lon_0=0 +R=6371007.181", 60, 60, 10.0),  # MODIS
        ("EPSG:3832", 180, -17, 0.5),
    ],
)
def test_areas_and_lengths_are_those_of_the_ellipsoid(crs, lon, lat, pixel, turned):
    image = at(crs, lon, lat, pixel, turned=turned)
    sphere = 4e-3 if "+R" in crs else 2e-3
    assert_measures_are_geodesic(
        image, (5, 10, 80, 20), (40, 30, 55, 95), tolerance=sphere
    )


@pytest.mark.parametrize("width", [100, 2000, 4000, 18000])
def test_wide_images_are_measured_footprint_by_footprint(width):
    image = at("EPSG:4326", 0, 40, 0.02, size=(64, width))
    assert_measures_are_geodesic(
        image, (10, 10, 30, 30), (width - 30, 5, width - 9, 30)
    )


def test_tall_images_are_measured_footprint_by_footprint():
    image = at("EPSG:4326", 12, 30, 0.02, size=(4000, 64))
    assert_measures_are_geodesic(image, (10, 10, 30, 30), (10, 3970, 30, 3990))
    assert Ground(image).largest_pixel_m2 > 1.1 * Ground(image).pixel_area_m2


def test_small_footprints_of_a_tall_image_are_kept_by_their_own_area():
    """At 80° N a pixel is a sixth as large as at the equator."""
    classes = np.zeros((900, 8), np.uint8)
    classes[10:14, 2:6] = classes[890:894, 2:6] = 1
    image = grid(classes.shape, Affine(0.1, 0, 0, 0, -0.1, 85), "EPSG:4326")
    pixel = 111_195.0**2 / 100
    found = tile_footprints(classes, image, image.window, [1])[1]
    assert [round(it.area) for it in found] == [16, 16]
    _, flat = Ground(image).place(np.array(found, dtype=object))
    north, south = shapely.area(flat)
    assert south == pytest.approx(16 * pixel, rel=0.02)
    assert north == pytest.approx(16 * pixel * np.cos(np.radians(83.8)), rel=0.02)


@pytest.mark.parametrize(("down", "turned"), [(-1, 0), (1, 0), (-1, 40)])
def test_directions_are_clockwise_from_north_however_the_image_lies(down, turned):
    for crs, lon, lat, pixel in (
        ("EPSG:4326", 179.99, 50, 5e-6),
        ("EPSG:6933", 100, 50, 1.0),
        ("EPSG:32661", 90, 88, 1.0),
    ):
        image = at(crs, lon, lat, pixel, turned=turned, down=down)
        _, flat = Ground(image).place(np.array([shapely.box(10, 10, 90, 12)], object))
        # a pixel in a row goes where the image's rows go, on the ground
        start, stop = (
            Transformer.from_crs(crs, 4326, always_xy=True).transform(
                image.transform.a * x + image.transform.b * 11 + image.transform.c,
                image.transform.d * x + image.transform.e * 11 + image.transform.f,
            )
            for x in (10, 90)
        )
        azimuth = GEOD.inv(*start, *stop)[0] % 180
        off = abs(main_axes(flat)[0] - azimuth)
        assert min(off, 180 - off) < 3.1  # grid north is not true north


@pytest.mark.parametrize(
    ("lon", "lat", "epsg"),
    [
        (-115.2, 36.2, 32611),
        (121.4, 31.2, 32651),
        (-43.2, -22.9, 32723),
        (179.99, 10.0, 32660),
        (180.01, 10.0, 32601),
        (-180.01, 10.0, 32660),
        (365.0, 10.0, 32631),
        (25.0, 86.0, 32635),
        (25.0, -85.0, 32735),
    ],
)
def test_degrees_are_measured_in_utm(write_tiff, lon, lat, epsg):
    path = write_tiff(
        "a.tif",
        np.ones((1, 4, 4), np.uint8),
        crs="EPSG:4326",
        transform=Affine(1e-6, 0, lon, 0, -1e-6, lat),
    )
    plane = metric_crs(describe(path))
    assert plane is not None and plane.to_epsg() == epsg


def test_a_true_projection_is_kept_and_mercator_left(write_tiff):
    pixels = np.ones((1, 4, 4), np.uint8)
    own = metric_crs(describe(write_tiff("a.tif", pixels)))
    assert own is not None and own.to_epsg() == 32611
    affine = Affine(0.3, 0, 4368223, 0, -0.3, -673868)
    mercator = write_tiff("b.tif", pixels, crs="EPSG:3857", transform=affine)
    plane = metric_crs(describe(mercator))
    assert plane is not None and plane.to_epsg() == 32737


def test_what_is_wide_has_no_plane():
    assert metric_crs(at("EPSG:4326", 0, 40, 0.01, size=(64, 2000))) is None
    assert metric_crs(at("EPSG:32661", 0, 90, 1000.0, size=(900, 900))) is None


@pytest.mark.parametrize(
    ("unit", "metres"), [("metre", 1.0), ("US survey foot", 0.3048006096012192)]
)
def test_a_local_crs_is_measured_in_its_own_units(unit, metres):
    crs = SITE % (unit, metres)
    image = grid((64, 64), Affine(2, 0, 1000, 0, -2, 2000), crs)
    _, flat = Ground(image).place(np.array([shapely.box(4, 4, 14, 9)], object))
    assert shapely.area(flat)[0] == pytest.approx(20 * 10 * metres**2)
    assert shapely.length(flat)[0] == pytest.approx(60 * metres)
    assert Ground(image).pixel_area_m2 == pytest.approx(4 * metres**2)


def test_a_projection_that_proj_lacks_is_taken_at_its_word():
    image = grid((64, 64), Affine(0.5, 0, 5e5, 0, -0.5, 5e5), "EPSG:3052")
    _, flat = Ground(image).place(np.array([shapely.box(4, 4, 14, 9)], object))
    assert shapely.area(flat)[0] == pytest.approx(12.5)


@pytest.mark.parametrize(
    ("crs", "affine", "message"),
    [
        # metres that are called degrees
        (
            "EPSG:4326",
            Affine(0.5, 0, 664000, 0, -0.5, 4e6),
            "no longitude and latitude",
        ),
        ("EPSG:4326", Affine(0.5, 0, 0, 0, -0.5, 0), "are metres taken for degrees"),
        ("EPSG:4326", Affine(5e-6, 0, 1.3, 0, -5e-6, 103.8), "x for y"),  # swapped
        ("EPSG:4326", Affine(5, 0, 0, 0, -0.5, 10), "are metres taken for degrees"),
        # degrees that are called metres
        (
            "EPSG:32611",
            Affine(3e-6, 0, -115, 0, -3e-6, 36),
            "are degrees taken for met",
        ),
        ("EPSG:32611", Affine(0.5, 0, 5e9, 0, -0.5, 4e6), "inside the CRS's area"),
        ("EPSG:4978", Affine(0.5, 0, 0, 0, -0.5, 4e6), "has no lengths on the ground"),
        ("EPSG:5773", Affine(0.5, 0, 0, 0, -0.5, 4e6), "has no lengths on the ground"),
        (SITE % ("degree", 0.01745), Affine(0.5, 0, 0, 0, -0.5, 4), "has no lengths"),
    ],
)
def test_what_cannot_be_measured_is_refused_in_one_line(crs, affine, message):
    with pytest.raises(RasterError, match=message) as error:
        Ground(grid((200, 200), affine, crs))
    assert "memory" in str(error.value) and len(str(error.value).splitlines()) == 1


def test_a_global_grid_whose_outer_pixels_have_centres_at_the_poles_passes():
    Ground(grid((181, 360), Affine(1, 0, -0.5, 0, -1, 90.5), "EPSG:4326"))
