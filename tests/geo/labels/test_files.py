"""Vector labels in the formats that people have, each a real file."""

import json
import sqlite3
import struct
from contextlib import closing
from pathlib import Path

import fiona
import geopandas
import numpy as np
import pytest
import shapely
from rasterio.warp import transform_geom
from shapely.geometry import shape

from geoseg.core.classes import LabelClasses
from geoseg.core.errors import LabelError
from geoseg.geo.labels.labels import check_labels, read_footprints, read_labels
from geoseg.geo.rasters.raster import describe
from geoseg.geo.tiles.tiles import Tile, find_tiles

UTM = "EPSG:32611"
THREE = LabelClasses.parse("background,building,road")
BY_KIND = LabelClasses(THREE.names, THREE.values, None, field="kind")


@pytest.fixture
def image(write_tiff):
    return write_tiff("image.tif", np.ones((3, 12, 16), np.uint8))


def burn(*rectangles):
    mask = np.zeros((12, 16), np.uint8)
    for class_id, row, col, height, width in rectangles:
        mask[row : row + height, col : col + width] = class_id
    return mask


def labels_of(image, path, classes=BY_KIND):
    return read_labels(Tile("a", image, str(path), None, classes), describe(image))


def write(path, features, driver, layer=None, geometry="Polygon", **options):
    schema = {"geometry": geometry, "properties": {"kind": "str", "code": "int"}}
    with fiona.open(
        path, "w", driver=driver, crs=UTM, schema=schema, layer=layer, **options
    ) as sink:
        for kind, code, polygon in features:
            properties = {"kind": kind, "code": code}
            sink.write({"geometry": polygon, "properties": properties})
    return path


@pytest.mark.parametrize(
    ("name", "driver"),
    [
        ("l.geojson", "GeoJSON"),
        ("l.gpkg", "GPKG"),
        ("l.shp", "ESRI Shapefile"),
        ("l.fgb", "FlatGeobuf"),
    ],
)
def test_the_class_is_read_from_an_attribute(image, tmp_path, rectangle, name, driver):
    features = [
        ("building", 4, rectangle(2, 3, 4, 5)),
        ("Road", 6, rectangle(8, 0, 2, 16)),
        (None, None, None),
    ]
    # FlatGeobuf with a spatial index takes no feature without a geometry
    options = {"SPATIAL_INDEX": "NO"} if driver == "FlatGeobuf" else {}
    path = write(tmp_path / name, features, driver, **options)
    expected = burn((1, 2, 3, 4, 5), (2, 8, 0, 2, 16))
    np.testing.assert_array_equal(labels_of(image, path), expected)
    by_code = LabelClasses.parse("background,building=4,road=6,road=7")
    by_code = LabelClasses(by_code.names, by_code.values, None, field="code")
    np.testing.assert_array_equal(labels_of(image, path, by_code), expected)
    tile = Tile("a", image, str(path), None, BY_KIND)
    (road,) = read_footprints(tile, pixels=True, class_id=2)
    assert road.equals(shapely.box(0, 8, 16, 10))
    check_labels([tile])


def test_the_smaller_polygon_is_on_top_whatever_the_order(image, tmp_path, rectangle):
    features = [
        ("building", 0, rectangle(4, 4, 2, 2)),
        ("road", 0, rectangle(2, 2, 8, 8)),
    ]
    expected = burn((2, 2, 2, 8, 8), (1, 4, 4, 2, 2))
    for number, order in enumerate((features, features[::-1])):
        path = write(tmp_path / f"{number}.gpkg", order, "GPKG")
        np.testing.assert_array_equal(labels_of(image, path), expected)


def test_values_of_no_class_are_unlabelled_and_named_once(
    image, tmp_path, rectangle, caplog
):
    features = [
        ("building", 0, rectangle(0, 0, 2, 2)),
        ("lake", 0, rectangle(4, 4, 2, 2)),
        ("lake", 0, rectangle(8, 4, 2, 2)),
        (None, 0, rectangle(8, 8, 2, 2)),
    ]
    path = write(tmp_path / "l.gpkg", features, "GPKG")
    expected = burn((1, 0, 0, 2, 2), *((255, r, c, 2, 2) for r, c in UNKNOWN))
    np.testing.assert_array_equal(labels_of(image, path), expected)
    tile = Tile("a", image, str(path), None, BY_KIND)
    check_labels([tile, tile])
    (line,) = caplog.messages
    assert "lake (2), None (1) in 1 of 1 file, " in line
    rest = LabelClasses.parse("background=*,building,road")
    rest = LabelClasses(rest.names, rest.values, rest.rest, field="kind")
    np.testing.assert_array_equal(labels_of(image, path, rest), burn((1, 0, 0, 2, 2)))


UNKNOWN = ((4, 4), (8, 4), (8, 8))


def test_polygons_of_several_classes_need_the_field_that_tells_them(
    image, tmp_path, rectangle
):
    path = write(tmp_path / "l.gpkg", [("a", 1, rectangle(0, 0, 2, 2))], "GPKG")
    with pytest.raises(LabelError, match="there are 3 classes.*--class-field"):
        labels_of(image, path, THREE)
    other = LabelClasses(THREE.names, THREE.values, None, field="type")
    with pytest.raises(LabelError, match="no attribute 'type'.*kind, code"):
        labels_of(image, path, other)


def test_a_layer_is_chosen_by_name_where_there_are_several(image, tmp_path, rectangle):
    path = tmp_path / "l.gpkg"
    for name, row in (("houses", 0), ("sheds", 6)):
        write(path, [("building", 1, rectangle(row, 2, 3, 4))], "GPKG", layer=name)
    with pytest.raises(LabelError, match=r"2 layers \(houses, sheds\).*--label-layer"):
        labels_of(image, path)
    for name, row in (("houses", 0), ("sheds", 6)):
        chosen = LabelClasses(layer=name)
        found = labels_of(image, path, chosen)
        np.testing.assert_array_equal(found, burn((1, row, 2, 3, 4)))
    with pytest.raises(LabelError, match="no layer 'barns', expected one of houses"):
        labels_of(image, path, LabelClasses(layer="barns"))


def test_a_layer_without_geometries_does_not_count(image, tmp_path, rectangle):
    path = write(tmp_path / "l.gpkg", [("building", 1, rectangle(0, 2, 3, 4))], "GPKG")
    schema = {"geometry": "None", "properties": {"qml": "str"}}
    with fiona.open(
        path, "w", driver="GPKG", layer="layer_styles", schema=schema
    ) as sink:
        sink.write({"geometry": None, "properties": {"qml": "<qgis/>"}})
    np.testing.assert_array_equal(labels_of(image, path), burn((1, 0, 2, 3, 4)))


def test_curves_are_read_as_fine_polygons(image, tmp_path, rectangle):
    path = write(
        tmp_path / "l.gpkg",
        [("road", 1, rectangle(0, 0, 1, 1))],
        "GPKG",
        geometry="Unknown",
        SPATIAL_INDEX="NO",
    )
    # a circle of 2 m around pixel (6, 8), as arcs: ISO WKB 10 (curve polygon) of 8
    x, y = 664004.0, 3999997.0
    arc = [(x - 2, y), (x, y + 2), (x + 2, y), (x, y - 2), (x - 2, y)]
    ring = struct.pack("<BII", 1, 8, 5) + b"".join(struct.pack("<dd", *p) for p in arc)
    blob = b"GP\x00\x01" + struct.pack("<i", 32611) + struct.pack("<BII", 1, 10, 1)
    with closing(sqlite3.connect(path)) as database:
        database.execute("update l set geom = ?", (blob + ring,))
        database.commit()
    tile = Tile("a", image, str(path), None, BY_KIND)
    (circle,) = read_footprints(tile, class_id=2)
    assert circle.area == pytest.approx(np.pi * 4, rel=1e-3)


def test_spacenets_table_of_wkt_is_read(image, tmp_path, rectangle):
    moved = shape(transform_geom(UTM, "EPSG:4326", rectangle(2.3, 3.3, 4.4, 5.4)))
    rows = [
        "ImageId,BuildingId,PolygonWKT_Pix,PolygonWKT_Geo",
        f'a,1,"POLYGON ((0 0,1 0,1 1,0 0))","{moved.wkt}"',
        'a,2,"POLYGON EMPTY","POLYGON EMPTY"',
    ]
    path = tmp_path / "summaryData.csv"
    path.write_text("\n".join(rows) + "\n")
    expected = burn((1, 2, 3, 5, 6))
    np.testing.assert_array_equal(labels_of(image, path, LabelClasses()), expected)
    (tile,) = find_tiles(image, path)
    assert tile.labels == str(path)
    path.write_text("ImageId,PolygonWKT_Pix\na,POLYGON EMPTY\n")
    with pytest.raises(LabelError, match="expected WKT in longitude and latitude"):
        labels_of(image, path, LabelClasses())
    path.write_text("WKT\nPOLYGON ((0 0,1\n")
    with pytest.raises(LabelError, match="cannot be read"):
        labels_of(image, path, LabelClasses())


def test_geoparquet_is_read_or_says_what_is_missing(image, tmp_path, rectangle):
    path = tmp_path / "l.parquet"
    geometries = [shape(rectangle(2, 3, 4, 5)), None, shape(rectangle(8, 0, 2, 16))]
    kinds = ["building", None, "road"]
    frame = geopandas.GeoDataFrame({"kind": kinds}, geometry=geometries, crs=UTM)
    try:
        frame.to_parquet(path)
    except ImportError:
        path.write_bytes(b"PAR1")
        with pytest.raises(LabelError, match="GeoParquet, which needs pyarrow: pip"):
            labels_of(image, path)
        return
    expected = burn((1, 2, 3, 4, 5), (2, 8, 0, 2, 16))
    np.testing.assert_array_equal(labels_of(image, path), expected)


@pytest.mark.parametrize("driver", ["GeoJSON", "GPKG", "ESRI Shapefile", "FlatGeobuf"])
def test_a_file_without_features_is_background(image, tmp_path, driver):
    suffix = {"GeoJSON": "geojson", "GPKG": "gpkg", "FlatGeobuf": "fgb"}
    path = write(tmp_path / f"l.{suffix.get(driver, 'shp')}", [], driver)
    assert not labels_of(image, path).any()
    check_labels([Tile("a", image, str(path), None, BY_KIND)])


def test_invalid_polygons_keep_their_class(image, write_geojson, rectangle):
    bow = rectangle(2, 2, 4, 4)
    ring = bow["coordinates"][0]
    ring[1], ring[2] = ring[2], ring[1]
    path = write_geojson("l.geojson", [bow, rectangle(8, 8, 2, 2, z=True)], crs=UTM)
    text = json.loads(Path(path).read_text())
    for feature, kind in zip(text["features"], ("road", "building"), strict=True):
        feature["properties"]["kind"] = kind
    Path(path).write_text(json.dumps(text))
    tile = Tile("a", image, path, None, BY_KIND)
    roads = read_footprints(tile, pixels=True, class_id=2)
    assert sum(part.area for part in roads) == pytest.approx(8)
    assert all(part.is_valid for part in roads)
    (house,) = read_footprints(tile, pixels=True, class_id=1)
    assert house.equals(shapely.box(8, 8, 10, 10)) and not house.has_z
