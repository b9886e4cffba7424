"""One bad member among good labels: it is left out and named, and the others count."""

import json
import sqlite3
import struct
from contextlib import closing
from pathlib import Path

import fiona
import numpy as np
import pytest
from rasterio.crs import CRS
from rasterio.warp import transform_geom
from shapely.geometry import shape

from geoseg.core.classes import LabelClasses
from geoseg.core.errors import LabelError
from geoseg.geo.labels.inspection import inspect_labels
from geoseg.geo.labels.labels import check_footprints, check_labels, read_labels
from geoseg.geo.labels.vector_inspection import inspect_vector
from geoseg.geo.rasters.raster import describe
from geoseg.geo.sources.geojson_files import read_document
from geoseg.geo.tiles.tiles import Tile

UTM = "EPSG:32611"
NAN, INF = float("nan"), float("inf")


@pytest.fixture
def image(write_tiff):
    return write_tiff("image.tif", np.ones((3, 12, 16), np.uint8))


@pytest.fixture
def house(rectangle):
    return rectangle(2, 3, 4, 5)


HOUSE = np.zeros((12, 16), np.uint8)
HOUSE[2:6, 3:8] = 1


def labels_of(image, path, classes=None):
    tile = Tile("a", image, str(path), None, classes or LabelClasses())
    return read_labels(tile, describe(image))


def at(*points):
    """A ring through points (column, row) of the image."""
    return [[664000 + 0.5 * col, 4000000 - 0.5 * row] for col, row in points]


def polygon(*rings):
    return {"type": "Polygon", "coordinates": [list(ring) for ring in rings]}


CORNER = at((9, 8), (9, 10), (11, 10), (11, 8), (9, 8))
BAD = {
    "nan": (polygon([*CORNER[:2], [NAN, 3999990], CORNER[0]]), "not finite"),
    "nan first": (polygon([[NAN, NAN], *CORNER[:3], [NAN, NAN]]), "not finite"),
    "infinite": (polygon([*CORNER[:2], [INF, 3999990], CORNER[0]]), "not finite"),
    "short": (polygon(CORNER[:2]), "a ring has 2 points, expected 4 or more"),
    "point": ({"type": "Point", "coordinates": CORNER[0]}, "a Point has no area"),
    "line": (
        {"type": "LineString", "coordinates": CORNER[:3]},
        "a LineString has no area",
    ),
    "flat": (polygon(at((9, 8), (14, 11), (9, 8), (9, 8))), "has no area"),
    "one point": (polygon([CORNER[0]] * 4), "has no area"),
    "words": (polygon([["a", "b"]] * 4), "its coordinates are malformed"),
    "nothing": ({"type": "Polygon"}, "its coordinates are malformed"),
    "no kind": ({"coordinates": [CORNER]}, "coordinates are not those of a"),
}


@pytest.mark.parametrize(("bad", "why"), BAD.values(), ids=BAD)
def test_one_bad_geometry_is_left_out_and_named(
    image, write_geojson, house, bad, why, caplog
):
    path = write_geojson("l.geojson", [house, bad], crs=UTM)
    np.testing.assert_array_equal(labels_of(image, path), HOUSE)
    tile = Tile("a", image, path)
    check_labels([tile, tile])
    (line,) = caplog.messages
    assert "1 feature left out, whole or in part, in 1 of 1 file" in line
    assert f"the first is feature 2 of {path}" in line and why in line
    ((wrong, count),) = inspect_labels([tile]).left_out.items()
    assert why in wrong and count == 1
    caplog.clear()
    check_footprints(Path(path), [tile])
    assert why in caplog.text
    (layer,) = inspect_vector(Path(path))
    assert layer.features == 2 and np.isfinite(layer.bounds).all()


def test_bad_geometries_in_another_crs_spoil_no_good_ones(image, write_geojson, house):
    moved = transform_geom(UTM, "EPSG:4326", house)
    far = polygon([[103.8, 1.35], [103.9, 1.35], [103.9, 1.4], [103.8, 1.35]])
    beyond = polygon([[-115, 95], [-115, 96], [-114, 95], [-115, 95]])
    bad = polygon([[-115, 36], [NAN, 36], [-114, 36], [-115, 36]])
    path = write_geojson("l.geojson", [far, beyond, bad, json.loads(json.dumps(moved))])
    np.testing.assert_array_equal(labels_of(image, path), HOUSE)
    facts = inspect_labels([Tile("a", image, path)])
    assert (facts.polygons, facts.inside) == (2, 1)
    assert facts.left_out == {
        "a latitude is beyond 90": 1,
        "coordinates are not finite": 1,
    }


def test_of_several_polygons_the_good_ones_count(image, write_geojson, house):
    several = {
        "type": "MultiPolygon",
        "coordinates": [
            [CORNER[:2]],
            house["coordinates"],
            [[*CORNER[:2], [NAN, 0], CORNER[0]]],
        ],
    }
    holed = polygon(house["coordinates"][0], CORNER[:2])
    heights = [[*point, 0.0, 7.0] for point in house["coordinates"][0]]
    mixed = [
        point if number % 2 else [*point, 5.0]
        for number, point in enumerate(house["coordinates"][0])
    ]
    nested = {
        "type": "GeometryCollection",
        "geometries": [
            {"type": "Point", "coordinates": CORNER[0]},
            {"type": "GeometryCollection", "geometries": [house]},
        ],
    }
    for geometry in (several, holed, polygon(heights), polygon(mixed), nested):
        path = write_geojson("l.geojson", [geometry], crs=UTM)
        np.testing.assert_array_equal(labels_of(image, path), HOUSE)


def test_spikes_leave_no_line(image, write_geojson):
    spike = polygon(at((3, 2), (3, 6), (8, 6), (8, 4), (15, 4), (8, 4), (8, 2), (3, 2)))
    path = write_geojson("l.geojson", [spike], crs=UTM)
    np.testing.assert_array_equal(labels_of(image, path), HOUSE)


@pytest.mark.parametrize(
    "values",
    [
        (2, "2;3"),
        (True, "yes"),
        ([1], "none"),
        ({"a": 1}, ""),
        (1.5, "a"),
        (10**30, 1),
        ("2020-01-01", "2020-02-30"),
        ("12:00:00", "99:99:99"),
        (None, "\u0000"),
    ],
)
def test_attributes_that_nobody_asked_for_may_hold_anything(
    image, tmp_path, house, values
):
    features = [
        {"type": "Feature", "properties": {"odd": value, "kind": "h"}, "geometry": item}
        for value, item in zip(values, (house, None), strict=True)
    ]
    features.append({"type": "Feature", "properties": None, "geometry": None})
    crs = {"type": "name", "properties": {"name": "urn:ogc:def:crs:EPSG::32611"}}
    text = {"type": "FeatureCollection", "crs": crs, "features": features}
    path = tmp_path / "l.geojson"
    path.write_text(json.dumps(text))
    np.testing.assert_array_equal(labels_of(image, path), HOUSE)
    by_kind = LabelClasses.parse("background=*,house=h")
    by_kind = LabelClasses(by_kind.names, by_kind.values, by_kind.rest, field="kind")
    np.testing.assert_array_equal(labels_of(image, path, by_kind), HOUSE)
    (layer,) = inspect_vector(path)
    assert layer.features == 3 and layer.values["kind"] == {"h": 2, "null": 1}


def test_a_mixed_attribute_may_be_the_class(image, tmp_path, rectangle):
    rows = ((2, 0), ("2;3", 4), ("Two", 8))
    features = [
        {"type": "Feature", "properties": {"n": n}, "geometry": rectangle(r, 0, 2, 4)}
        for n, r in rows
    ]
    text = {"type": "FeatureCollection", "features": features}
    text["crs"] = {"type": "name", "properties": {"name": UTM}}
    path = tmp_path / "l.geojson"
    path.write_text(json.dumps(text))
    classes = LabelClasses.parse("background=*,a=2,b=2;3,b=two")
    classes = LabelClasses(classes.names, classes.values, classes.rest, field="n")
    assert labels_of(image, path, classes)[::4, 0].tolist() == [1, 2, 2]


def test_of_a_geopackage_the_class_alone_is_decoded(image, tmp_path, house, rectangle):
    path = tmp_path / "l.gpkg"
    schema = {"geometry": "Polygon", "properties": {"kind": "str", "seen": "date"}}
    options = {"driver": "GPKG", "crs": UTM, "schema": schema, "SPATIAL_INDEX": "NO"}
    with fiona.open(path, "w", **options) as sink:
        for item in (house, rectangle(8, 8, 2, 2), rectangle(8, 12, 2, 2)):
            properties = {"kind": "h", "seen": "2020-01-01"}
            sink.write({"geometry": item, "properties": properties})
    short = struct.pack("<BIIIdddd", 1, 3, 1, 2, 0, 0, 1, 1)
    with closing(sqlite3.connect(path)) as database:
        database.execute("update l set seen = '2020-02-30' where fid = 1")
        blob = b"GP\x00\x01" + struct.pack("<i", 32611) + short
        database.execute("update l set geom = ? where fid = 2", (blob,))
        database.execute("update l set geom = x'00' where fid = 3")
        database.commit()
    np.testing.assert_array_equal(labels_of(image, path), HOUSE)
    facts = inspect_labels([Tile("a", image, str(path))])
    assert list(facts.left_out.values()) == [1]
    (layer,) = inspect_vector(path)
    assert layer.attributes == {"kind": "str", "seen": "unreadable"}
    assert layer.geometries["Polygon"] == 1 and layer.features == 3


def test_rows_of_bad_wkt_are_left_out(image, tmp_path, house, caplog):
    moved = shape(transform_geom(UTM, "EPSG:4326", house)).wkt
    open_ring = moved.replace(", " + moved.split("((")[1].split(",")[0] + "))", "))")
    assert open_ring != moved
    path = tmp_path / "l.csv"
    path.write_text(f'WKT,n\n"{open_ring}",1\n"POLYGON ((0 0,1",2\nnonsense,3\n,4\n')
    np.testing.assert_array_equal(labels_of(image, path), HOUSE)
    check_labels([Tile("a", image, str(path))])
    assert "2 features left out" in caplog.text and "feature 2 of" in caplog.text


def test_a_file_of_which_nothing_is_readable_is_refused(image, write_geojson):
    path = write_geojson("l.geojson", [polygon(CORNER[:2])] * 2, crs=UTM)
    with pytest.raises(LabelError, match=r"none of 2 features.*feature 1 \(a ring"):
        labels_of(image, path)


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("urn:ogc:def:crs:EPSG::32633", 32633),
        ("urn:ogc:def:crs:EPSG:6.9:32633", 32633),
        ("EPSG:32633", 32633),
        ("http://www.opengis.net/def/crs/EPSG/0/32633", 32633),
        ("urn:ogc:def:crs:OGC:1.3:CRS84", 4326),
        ("urn:ogc:def:crs:OGC::CRS84", 4326),
        ("urn:ogc:def:crs:EPSG::4326", 4326),
        ("EPSG:4326", 4326),
        (None, 4326),
        (CRS.from_epsg(32633).to_wkt(), 32633),
    ],
)
def test_a_geojson_may_name_its_crs_in_many_ways(write_geojson, house, name, code):
    document = read_document(write_geojson("l.geojson", [house], crs=name))
    assert document is not None and document.crs == CRS.from_epsg(code)


@pytest.mark.parametrize(
    "name", ["nonsense", "http://127.0.0.1:1/crs", "/etc/passwd", "EPSG:99999999"]
)
def test_a_crs_that_is_not_known_is_refused(image, write_geojson, house, name):
    path = write_geojson("l.geojson", [house], crs=name)
    with pytest.raises(LabelError, match="names no known CRS, expected a name"):
        labels_of(image, path)


def test_topojson_is_left_to_gdal(image, tmp_path):
    (tmp_path / "l.json").write_text('{"type": "Nonsense"}')
    assert read_document(tmp_path / "l.json") is None
    with pytest.raises(LabelError, match="cannot be read"):
        labels_of(image, tmp_path / "l.json")


def test_a_polygon_alone_or_a_feature_is_a_file(image, tmp_path, house):
    moved = json.loads(json.dumps(transform_geom(UTM, "EPSG:4326", house)))
    feature = {"type": "Feature", "properties": {}, "geometry": moved}
    for text in (moved, feature):
        path = tmp_path / "l.geojson"
        path.write_text(json.dumps(text))
        np.testing.assert_array_equal(labels_of(image, path), HOUSE)
