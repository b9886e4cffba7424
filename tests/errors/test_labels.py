"""Labels that cannot be matched on, trained with or scored against."""

import shutil

import fiona
import numpy as np
import pytest
from affine import Affine

MATCH = "match m --images tiles --labels bad -o new"
FILE = "match m --images tiles --labels bad.geojson -o new"
MASK = "match m --images tile.tif --labels bad.tif -o new"
TRAIN = "train --images tiles --labels bad TINY"

SQUARE = [[664004, 3999990], [664010, 3999990], [664010, 3999980], [664004, 3999990]]
CRS = {"type": "name", "properties": {"name": "urn:ogc:def:crs:EPSG::32611"}}


def nothing(desk):
    pass


def content(text, name="bad.geojson"):
    return lambda desk: desk.write(name, text)


def geojson(*geometries, name="bad.geojson", **more):
    return lambda desk: desk.geojson(name, *geometries, **more)


def polygon(ring=SQUARE, dx=0.0):
    return {"type": "Polygon", "coordinates": [[[x + dx, y] for x, y in ring]]}


def mask(value=1, side=64, dtype="uint8", bands=1, **profile):
    """Make a mask of one value, but for a corner of background."""
    pixels = np.full((bands, side, side), value, dtype)
    pixels[:, :8, :8] = 0
    return lambda desk: desk.tiff("bad.tif", pixels, **profile)


def cut_mask(desk):
    mask()(desk)
    desk.cut("bad.tif", "bad.tif", 0.5)


def cut_geojson(desk):
    desk.cut("labels/tile0.geojson", "bad.geojson", 0.7)


def cut_geopackage(desk):
    schema = {"geometry": "Polygon", "properties": {}}
    with fiona.open(
        desk.path("whole.gpkg"), "w", "GPKG", schema, crs="EPSG:32611"
    ) as made:
        made.write({"geometry": polygon(), "properties": {}})
    desk.cut("whole.gpkg", "bad.gpkg", 0.2)


def shapefile_alone(desk):
    schema = {"geometry": "Polygon", "properties": {}}
    whole = desk.path("whole.shp")
    with fiona.open(whole, "w", "ESRI Shapefile", schema, crs="EPSG:32611") as made:
        made.write({"geometry": polygon(), "properties": {}})
    desk.path("bad.shp").write_bytes(whole.read_bytes())


def shapefile_without_crs(desk):
    shapefile_alone(desk)
    for suffix in (".shx", ".dbf"):
        desk.path(f"bad{suffix}").write_bytes(desk.path(f"whole{suffix}").read_bytes())


def everything_in(*geometries):
    """Give every tile the same labels."""

    def make(desk):
        for number in range(6):
            desk.geojson(f"bad/tile{number}.geojson", *geometries, crs=CRS)

    return make


def all_building(desk):
    everything_in(
        polygon(
            [
                [660000, 3990000],
                [670000, 3990000],
                [670000, 4010000],
                [660000, 4010000],
                [660000, 3990000],
            ]
        )
    )(desk)


def other_names(desk):
    desk.geojson("bad/nine.geojson", polygon(), crs=CRS)


def vector_and_mask(desk):
    shutil.copytree(desk.folder / "labels", desk.path("bad"))
    shutil.copy(desk.folder / "tile.tif", desk.path("bad/tile0.tif"))


CASES = {
    "absent": (
        nothing,
        MATCH,
        1,
        "labels bad do not exist, expected a folder or one file",
    ),
    "an empty folder": (
        lambda d: d.path("bad/x"),
        MATCH,
        1,
        "no label file in bad, expected .geojson",
    ),
    "a text": (
        content("x", "bad.txt"),
        "match m --images tiles --labels bad.txt -o new",
        1,
        r"labels bad.txt end in '.txt', expected one of .geojson",
    ),
    "none given": (
        nothing,
        "match m --images tiles -o new",
        1,
        "no tile of tiles has labels: name them with --labels",
    ),
    "other names": (
        other_names,
        MATCH,
        1,
        "no label file belongs to an image: .*tile0.tif, labels nine.geojson; expected equal names",
    ),
    "the images themselves": (
        nothing,
        "match m --images tiles --labels tiles -o new",
        1,
        "no label file in tiles",
    ),
    "two of one tile": (
        vector_and_mask,
        MATCH,
        1,
        "tile0.tif has 2 label files .*expected one",
    ),
    "cut GeoJSON": (
        cut_geojson,
        FILE,
        1,
        "labels bad.geojson cannot be read .*check it with ogrinfo",
    ),
    "no JSON": (content("<html></html>"), FILE, 1, "labels bad.geojson cannot be read"),
    "no GeoJSON": (content('{"a": 1}'), FILE, 1, "labels bad.geojson cannot be read"),
    "not UTF-8": (
        content(b"\xff\xfe\x00{"),
        FILE,
        1,
        "labels bad.geojson cannot be read",
    ),
    "deep JSON": (content("[" * 100000), FILE, 1, "labels bad.geojson cannot be read"),
    "cut GeoPackage": (
        cut_geopackage,
        "match m --images tiles --labels bad.gpkg -o new",
        1,
        "labels bad.gpkg cannot be read",
    ),
    "a shapefile alone": (
        shapefile_alone,
        "match m --images tiles --labels bad.shp -o new",
        1,
        "labels bad.shp cannot be read",
    ),
    "no CRS": (
        shapefile_without_crs,
        "match m --images tiles --labels bad.shp -o new",
        1,
        "labels of bad.shp have no CRS and the image do",
    ),
    "a folder of that name": (
        lambda d: d.path("bad.geojson/x/y"),
        FILE,
        1,
        "no label file in bad.geojson",
    ),
    "elsewhere": (
        geojson(polygon(dx=5000), crs=CRS),
        FILE,
        1,
        r"labels elsewhere: bad.geojson covers \(.*\) in EPSG:32611, where .* covers .*check the labels' CRS",
    ),
    "metres said to be degrees": (
        geojson(polygon()),
        FILE,
        1,
        r"labels bad.geojson hold coordinates such as \(664004 39999[89]0\), expected longitude and latitude.*ogr2ogr -a_srs",
    ),
    "points alone": (
        geojson({"type": "Point", "coordinates": SQUARE[0]}, crs=CRS),
        FILE,
        1,
        "bad.geojson hold Point and no polygon, expected the outlines of buildings",
    ),
    "lines alone": (
        geojson({"type": "LineString", "coordinates": SQUARE}, crs=CRS),
        FILE,
        1,
        "bad.geojson hold LineString and no polygon",
    ),
    "no geometry": (
        geojson(None, None, crs=CRS),
        FILE,
        1,
        "bad.geojson touch 0 of 6 tiles.*--labelled-area",
    ),
    "half a ring": (geojson(polygon(SQUARE[:2]), crs=CRS), FILE, 1, "bad.geojson"),
    "no coordinates": (
        geojson({"type": "Polygon", "coordinates": "here"}, crs=CRS),
        FILE,
        1,
        "bad.geojson cannot be read: none of 1 features is readable",
    ),
    "no building in any": (
        everything_in(),
        MATCH,
        1,
        "labels of the 6 matching tiles hold no building",
    ),
    "no building to train for": (
        everything_in(),
        f"-q {TRAIN}",
        1,
        "labels of the 3 matching tiles hold nothing but background.*--match-tiles",
    ),
    "nothing but buildings": (all_building, MATCH, 1, "building"),
    "mask of another size": (
        mask(side=32, crs=None, transform=None),
        MASK,
        1,
        "mask bad.tif is 32 x 32 .rows x columns., expected 64 x 64 as tile.tif",
    ),
    "mask elsewhere": (
        mask(transform=Affine(0.5, 0, 0, 0, -0.5, 0)),
        MASK,
        1,
        r"labels elsewhere: bad.tif covers \(0 -32 32 0\) .*check the labels' CRS",
    ),
    "mask in another CRS": (
        mask(crs="EPSG:32612"),
        MASK,
        1,
        r"labels elsewhere: bad.tif covers \(664000 .*in EPSG:32612, where .*check the labels' CRS",
    ),
    "mask of 255": (
        mask(255),
        MASK,
        1,
        "holds 255 and no other class, expected 1 for buildings",
    ),
    "cut mask": (cut_mask, MASK, 1, "bad.tif cannot be read .*may be truncated"),
    "mask of complex numbers": (mask(dtype="complex64"), MASK, 1, "complex numbers"),
    "mask that is a page": (
        content("<html>", "bad.tif"),
        MASK,
        1,
        "bad.tif cannot be opened",
    ),
    "labels beside an area": (
        nothing,
        "match m --aoi sample --labels labels -o new",
        2,
        "an AOI brings its own labels",
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_no_matching_with(refused, name):
    refused(*CASES[name])
