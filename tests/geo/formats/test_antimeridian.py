"""Polygons where longitude ends: RFC 7946, section 3.1.9, and the poles."""

import json

import numpy as np
import pytest
import shapely
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from pyproj import Geod, Transformer
from rasterio.crs import CRS
from shapely import Polygon, box
from shapely.geometry import shape

from geoseg.geo.footprints.vectorize import Footprint
from geoseg.geo.formats.antimeridian import to_globe
from geoseg.geo.formats.writer import write_footprints
from geoseg.geo.maps.mapping import map_buildings

WORLD = box(-180, -90, 180, 90)
GEOD = Geod(ellps="WGS84")
#: Where 180° runs through at 16° north and south, in each of the two zones there.
ZONES = {
    "zone 1 north": (32601, 1.8e6),
    "zone 60 north": (32660, 1.8e6),
    "zone 1 south": (32701, 8.2e6),
    "zone 60 south": (32760, 8.2e6),
}


def locator(crs):
    transformer = Transformer.from_crs(crs, "OGC:CRS84", always_xy=True)
    return lambda it: np.stack(transformer.transform(it[:, 0], it[:, 1]), axis=1)


def globe(polygon, crs):
    (found,) = to_globe(np.array([polygon], object), locator(crs))
    return found


def seam(zone, northing):
    """The easting of 180° in a zone."""
    back = Transformer.from_crs("OGC:CRS84", zone, always_xy=True)
    forth = Transformer.from_crs(zone, "OGC:CRS84", always_xy=True)
    easting = 5e5
    for _ in range(5):  # the latitude changes a little along a northing
        latitude = forth.transform(easting, northing)[1]
        easting = back.transform(180, latitude)[0]
    return easting


def area(geometry):
    return abs(GEOD.geometry_area_perimeter(shapely.orient_polygons(geometry))[0])


@pytest.mark.parametrize("name", ZONES)
def test_a_house_on_the_antimeridian_is_cut_in_two(tmp_path, name):
    epsg, northing = ZONES[name]
    east = seam(f"EPSG:{epsg}", northing)
    house = box(east - 30, northing, east + 50, northing + 40)
    path = tmp_path / "b.geojson"
    footprint = Footprint(house, 1, "building", 0.5, 3200, 240, 90)
    assert write_footprints(path, [footprint], crs=CRS.from_epsg(epsg)) == 1
    (feature,) = json.loads(path.read_text())["features"]
    assert feature["geometry"]["type"] == "MultiPolygon"
    west, eastern = sorted(
        (shape(feature["geometry"])).geoms, key=lambda it: -it.bounds[0]
    )
    assert west.bounds[2] == 180 and eastern.bounds[0] == -180
    assert west.bounds[0] > 179.99 and eastern.bounds[2] < -179.99
    for part in feature["geometry"]["coordinates"]:
        assert shapely.is_ccw(shapely.linearrings(part[0]))
    assert area(west) / area(eastern) == pytest.approx(
        3 / 5, rel=0.03
    )  # 180° is no easting


@pytest.mark.parametrize("suffix", [".gpkg", ".fgb", ".parquet", ".geojsonl"])
def test_one_house_is_one_feature_in_every_format(tmp_path, suffix):
    epsg, northing = ZONES["zone 1 north"]
    east = seam(f"EPSG:{epsg}", northing)
    house = box(east - 30, northing, east + 50, northing + 40)
    footprint = Footprint(house, 1, "building", 0.5, 3200, 240, 90)
    path = tmp_path / f"b{suffix}"
    assert write_footprints(path, [footprint] * 2, crs=CRS.from_epsg(epsg)) == 2


def test_a_courtyard_on_the_antimeridian_stays_open():
    epsg, northing = ZONES["zone 1 north"]
    east = seam(f"EPSG:{epsg}", northing)
    block = box(east - 40, northing, east + 40, northing + 80)
    yard = box(east - 10, northing + 20, east + 20, northing + 50)
    found = globe(shapely.difference(block, yard), f"EPSG:{epsg}")
    assert found.geom_type == "MultiPolygon" and found.is_valid
    assert area(found) == pytest.approx(80 * 80 - 30 * 30, rel=0.01)


def test_degrees_beyond_180_come_back():
    across = globe(box(179.999, 10, 180.001, 10.001), "EPSG:4326")
    assert sorted(part.bounds for part in across.geoms) == [
        pytest.approx((-180, 10, -179.999, 10.001)),
        pytest.approx((179.999, 10, 180, 10.001)),
    ]
    beyond = globe(box(180.001, 10, 180.002, 10.001), "EPSG:4326")
    assert beyond.bounds == pytest.approx((-179.999, 10, -179.998, 10.001))
    assert globe(box(-181, 0, -180.5, 1), "EPSG:4326").bounds == (179, 0, 179.5, 1)


def test_an_edge_on_the_antimeridian_needs_no_cut():
    for west in (179.5, -180):
        polygon = box(west, 0, west + 0.5, 1)
        assert globe(polygon, "EPSG:4326").equals(polygon)


@pytest.mark.parametrize(("epsg", "latitude"), [(3413, 90), (3031, -90)])
def test_a_station_at_a_pole_holds_the_pole(epsg, latitude):
    found = globe(box(-30, -20, 25, 40), f"EPSG:{epsg}")
    assert found.is_valid and WORLD.covers(found)
    assert found.bounds[0] == -180 and found.bounds[2] == 180
    assert latitude in (found.bounds[1], found.bounds[3])
    # true areas: these projections keep angles, and stretch by 3 % at the poles
    assert area(found) == pytest.approx(55 * 60, rel=0.07)


def test_a_ring_road_around_a_pole_leaves_it_out():
    ring = shapely.difference(box(-300, -300, 300, 300), box(-200, -200, 200, 200))
    found = globe(ring, "EPSG:3413")
    assert found.is_valid and found.bounds[3] < 90
    assert area(found) == pytest.approx(600**2 - 400**2, rel=0.07)


@settings(max_examples=200, deadline=None)
@given(
    x=st.floats(-500, 500),
    y=st.floats(-500, 500),
    angle=st.floats(0, 6.28),
    size=st.floats(5, 100),
    crs=st.sampled_from([3413, 3031, 32601, 32760]),
)
def test_a_cut_polygon_is_valid_on_the_globe_and_of_its_area(x, y, angle, size, crs):
    if crs > 32000:
        northing = 1.8e6 if crs == 32601 else 8.2e6
        x, y = x + seam(f"EPSG:{crs}", northing), y + northing
    corners = angle + np.pi / 2 * np.arange(4)
    square = np.stack((x + size * np.cos(corners), y + size * np.sin(corners)), axis=1)
    found = globe(Polygon(square), f"EPSG:{crs}")
    assert found.is_valid and not found.is_empty and WORLD.covers(found)
    assert area(found) == pytest.approx(2 * size**2, rel=0.07)
    for part in shapely.get_parts(found):
        assert part.geom_type == "Polygon"


def test_a_map_across_the_antimeridian(tmp_path, write_tiff, bright_model):
    epsg, northing = ZONES["zone 60 south"]
    east = seam(f"EPSG:{epsg}", northing)
    pixels = np.full((3, 60, 70), 100, dtype=np.uint16)
    pixels[:, 20:32, 20:40] = 900
    grid = Affine(0.5, 0, east - 15, 0, -0.5, northing)
    image = write_tiff("image.tif", pixels, crs=f"EPSG:{epsg}", transform=grid)
    map_buildings(bright_model(), [image], tmp_path / "b.geojson")
    (feature,) = json.loads((tmp_path / "b.geojson").read_text())["features"]
    house = shape(feature["geometry"])
    assert len(house.geoms) == 2 and WORLD.covers(house)
    assert area(house) == pytest.approx(feature["properties"]["area_m2"], rel=0.01)
