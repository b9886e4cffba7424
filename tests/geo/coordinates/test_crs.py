"""CRSs: which are one, whatever program wrote them, and where their points lie."""

import fiona
import numpy as np
import pyproj
import pytest
from pyproj import Geod
from rasterio.crs import CRS
from rasterio.warp import transform as rasterio_transform

from geoseg.core.errors import RasterError
from geoseg.geo.coordinates.crs import (
    WGS84,
    crs_name,
    full_turn,
    has_longitude_latitude,
    lon_lat,
    metres_per_unit,
    same_crs,
    transform_points,
)

GEOD = Geod(ellps="WGS84")
#: Codes whose datums two versions of PROJ's database call differently, or have heights,
#: feet, swapped axes, grads, or axes to the south and west.
CODES = [
    *(3067, 3879, 5110, 5972, 3184, 25832, 31467, 3035, 2193, 27700, 2263, 6933, 3857),
    *(3413, 32661, 2053, 5514, 2056, 4326, 4807, 4979, 7405),
]


def site(unit='metre",1', name="site"):
    text = f'LOCAL_CS["{name}",UNIT["{unit}],AXIS["E",EAST],AXIS["N",NORTH]]'
    return CRS.from_wkt(text)


@pytest.mark.parametrize("code", CODES)
def test_a_crs_is_itself_in_the_words_of_other_programs(code, tmp_path):
    crs, known = CRS.from_epsg(code), pyproj.CRS.from_epsg(code)
    texts = [known.to_wkt(), crs.to_wkt(version="WKT2_2019")]
    if not (known.is_compound or code == 4979):
        texts.append(known.to_wkt("WKT1_ESRI"))
    for driver, name in (("GPKG", "a.gpkg"), ("FlatGeobuf", "a.fgb")):
        how = {"driver": driver, "schema": {"geometry": "Polygon", "properties": {}}}
        with fiona.open(tmp_path / name, "w", crs_wkt=crs.to_wkt(), **how):
            pass
        with fiona.open(tmp_path / name) as written:
            texts.append(written.crs_wkt)
    for text in texts:
        assert same_crs(CRS.from_wkt(text), crs), text


@pytest.mark.parametrize(
    ("first", "second"),
    [
        *((25832, 32632), (25832, 25833), (4326, 4258), (2263, 32118)),
        *((3857, 3395), (26917, 22717), (27700, 29902)),
    ],
)
def test_crss_whose_coordinates_mean_other_places_differ(first, second):
    assert not same_crs(CRS.from_epsg(first), CRS.from_epsg(second))


def test_heights_and_the_order_of_axes_make_no_other_crs():
    assert same_crs(CRS.from_epsg(4326), CRS.from_user_input("OGC:CRS84"))
    assert same_crs(CRS.from_epsg(31467), CRS.from_epsg(5677))  # y first, x first
    assert same_crs(CRS.from_epsg(25832), CRS.from_epsg(5555))  # with a height
    assert same_crs(None, None) and not same_crs(None, WGS84)


def test_a_datum_shift_of_its_own_makes_another_crs():
    plain = "+proj=utm +zone=33 +ellps=bessel +units=m +no_defs"
    shifted = CRS.from_proj4(f"{plain} +towgs84=598.1,73.7,418.2,0.2,0.05,-2.5,6.7")
    assert same_crs(shifted, CRS.from_wkt(shifted.to_wkt(version="WKT2_2019")))
    assert not same_crs(shifted, CRS.from_proj4(plain))


def test_local_crss_are_told_apart_by_name_and_have_no_place():
    assert same_crs(site(), site()) and not same_crs(site(), site(name="mill"))
    assert not same_crs(site(), site('foot",0.3048'))
    assert not has_longitude_latitude(site())
    with pytest.raises(RasterError, match="no transformation leads from site to EPSG"):
        lon_lat(site(), (0, 0))


def test_units_are_metres_or_none():
    assert metres_per_unit(site('US survey foot",0.3048006096012192')) == pytest.approx(
        0.3048006
    )
    assert metres_per_unit(CRS.from_epsg(2263)) == pytest.approx(0.3048006)
    assert metres_per_unit(CRS.from_epsg(5972)) == 1
    for other in (CRS.from_epsg(4326), CRS.from_epsg(4978), site('degree",0.01745329')):
        assert metres_per_unit(other) is None


def test_a_turn_around_the_earth_in_several_units():
    turns = {4326: 360, 4807: 400, 3857: 2 * np.pi * 6378137, 32633: None, 3413: None}
    for code, turn in turns.items():
        assert full_turn(CRS.from_epsg(code)) == (turn and pytest.approx(turn, 1e-9))
    assert full_turn(site()) is None and full_turn(None) is None


@pytest.mark.parametrize(
    ("code", "lon", "lat"),
    [
        *((22717, -79.4, 43.7), (6622, -71.2, 46.8), (6631, -157.9, 21.3)),
        *((22032, 13.24, -8.84), (31467, 9.0, 48.5), (27700, -1.5, 52.0)),
        *((2263, -74.0, 40.7), (4807, 2.3, 48.8), (5514, 15.0, 49.8)),
    ],
)
def test_points_lie_where_gdal_and_geopandas_put_them(code, lon, lat):
    crs = CRS.from_epsg(code)
    place = np.array([(lon, lat)])
    points = transform_points(place, WGS84, crs)
    back = transform_points(points, crs, WGS84)
    np.testing.assert_allclose(back, place, atol=1e-7)
    (x,), (y,) = rasterio_transform(crs, WGS84, *points.T.tolist())
    assert GEOD.inv(*back[0], x, y)[2] < 1e-3
    # what to_crs of geopandas does
    theirs = pyproj.Transformer.from_crs(code, 4326, always_xy=True)
    assert GEOD.inv(*back[0], *theirs.transform(*points[0]))[2] < 1e-3


def test_longitudes_are_the_same_whatever_a_file_calls_their_crs():
    esri = pyproj.CRS.from_epsg(4326).to_wkt("WKT1_ESRI")
    luanda = np.array([(13.24, -8.84)])
    expected = transform_points(luanda, WGS84, CRS.from_epsg(22032))
    for other in (CRS.from_user_input("OGC:CRS84"), CRS.from_wkt(esri)):
        found = transform_points(luanda, other, CRS.from_epsg(22032))
        np.testing.assert_array_equal(found, expected)


def test_one_point_without_a_place_spoils_no_other():
    singapore, graz = (366497.0, 149249.0), (530000.0, 5213000.0)
    source, target = CRS.from_epsg(32648), CRS.from_epsg(32633)
    found = transform_points(np.array([singapore, graz]), source, target)
    assert not np.isfinite(found[0]).any() and np.isfinite(found[1]).all()


def test_a_projection_that_proj_lacks_has_metres_and_no_place():
    reykjavik = CRS.from_epsg(3052)  # Lambert's conic, west orientated
    assert metres_per_unit(reykjavik) == 1 and not has_longitude_latitude(reykjavik)
    with pytest.raises(RasterError, match="no transformation leads from EPSG:3052"):
        transform_points(np.zeros((1, 2)), reykjavik, WGS84)


def test_messages_name_a_crs_in_short():
    assert crs_name(CRS.from_epsg(32633)) == "EPSG:32633"
    assert crs_name(site(name="mill")) == "mill" and crs_name(None) == "no CRS"
