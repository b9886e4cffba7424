"""Outputs that exist, cannot be, or would fall on one another."""

import pytest

PREDICT = "predict tile.tif --model m -o "
MATCH = "match m --images tiles --labels labels -o "
EVALUATE = "evaluate map.gpkg --images tiles --labels labels -o "


def nothing(desk):
    pass


def file(name):
    return lambda desk: desk.write(name, "mine")


def scores(desk):
    desk.write("map.gpkg", "")
    desk.write("s/scores.json", "mine")


CASES = {
    "footprints exist": (
        file("b.gpkg"),
        PREDICT + "b.gpkg",
        2,
        "b.gpkg exists already.*--overwrite",
    ),
    "a raster exists": (
        file("c.tif"),
        PREDICT + "b.gpkg --raster c.tif",
        2,
        "c.tif exists already.*--overwrite",
    ),
    "a probability exists": (
        file("c.tif"),
        PREDICT + "b.gpkg --probability c.tif",
        2,
        "c.tif exists already.*--overwrite",
    ),
    "footprints are a folder": (
        lambda d: d.path("b.gpkg/x"),
        PREDICT + "b.gpkg",
        2,
        "b.gpkg",
    ),
    "footprints are a folder, to replace": (
        lambda d: d.path("b.gpkg/x"),
        PREDICT + "b.gpkg --overwrite",
        2,
        "b.gpkg",
    ),
    "a raster is a folder": (
        lambda d: d.path("c.tif/x"),
        PREDICT + "b.gpkg --raster c.tif --overwrite",
        1,
        "c.tif is a folder, expected a file name",
    ),
    "no extension": (
        nothing,
        PREDICT + "b",
        2,
        "b has no extension, expected one of .geojson, .gpkg",
    ),
    "a shapefile": (
        nothing,
        PREDICT + "b.shp",
        2,
        "b.shp ends in '.shp' .a Shapefile.*take .gpkg.* expected one of .geojson, .gpkg",
    ),
    "a KML": (
        nothing,
        PREDICT + "b.kml",
        2,
        "b.kml ends in '.kml' .KML.*take .geojson.* expected one of .geojson, .gpkg",
    ),
    "a GeoParquet exists": (
        file("b.parquet"),
        PREDICT + "b.parquet",
        2,
        "b.parquet exists already.*--overwrite",
    ),
    "a FlatGeobuf below a file": (nothing, PREDICT + "tile.tif/b.fgb", 1, "tile.tif"),
    "a text": (nothing, PREDICT + "b.txt", 2, "b.txt ends in '.txt', expected one of"),
    "a raster that is no GeoTIFF": (
        nothing,
        PREDICT + "b.gpkg --raster c.png",
        2,
        "c.png ends in '.png', expected one of .tif, .tiff",
    ),
    "/dev/full": (
        nothing,
        PREDICT + "/dev/full --overwrite",
        2,
        "full has no extension, expected one of",
    ),
    "below a file": (nothing, PREDICT + "tile.tif/b.gpkg", 1, "tile.tif"),
    "below a file, a raster": (
        nothing,
        PREDICT + "b.gpkg --raster tile.tif/c.tif",
        1,
        "tile.tif",
    ),
    "the image itself": (
        nothing,
        PREDICT + "b.gpkg --raster tile.tif --overwrite",
        2,
        "tile.tif is an image or another output too",
    ),
    "the image by another name": (
        nothing,
        PREDICT + "b.gpkg --raster tiles/../tile.tif --overwrite",
        2,
        "is an image or another output too",
    ),
    "two rasters in one": (
        nothing,
        PREDICT + "b.gpkg --raster c.tif --probability c.tif",
        2,
        "c.tif is an image or another output too",
    ),
    "one raster of two images": (
        nothing,
        PREDICT + "b.gpkg tiles/tile1.tif --raster c.tif",
        2,
        "c.tif is one file for 2 images: name a folder",
    ),
    "two of one name": (
        nothing,
        PREDICT
        + "b.gpkg tiles/tile0.tif tiles/../tiles/tile1.tif labels/tile0.tif --raster c",
        1,
        "labels/tile0.tif does not exist",
    ),
    "a name too long": (nothing, PREDICT + "b" * 300 + ".gpkg", 1, "name"),
    "a run that is not empty": (
        nothing,
        "train --images tiles -o labels TINY",
        2,
        "labels is not empty: give another folder, or go on with that run by --resume",
    ),
    "a run that is a file": (
        nothing,
        "train --images tiles -o tile.tif TINY",
        2,
        "tile.tif",
    ),
    "a run below a file": (
        nothing,
        "train --images tiles -o tile.tif/r TINY",
        1,
        "folder tile.tif/r cannot be created .*give another one with -o",
    ),
    "a model exists": (
        file("new"),
        MATCH + "new",
        2,
        "new exists already.*--overwrite",
    ),
    "a model in no folder": (nothing, MATCH + "no/new", 1, "no"),
    "a model is a folder": (nothing, MATCH + "tiles --overwrite", 2, "tiles"),
    "scores exist": (
        scores,
        EVALUATE + "s",
        2,
        "s/scores.json exists already.*--overwrite",
    ),
    "scores in a file": (file("map.gpkg"), EVALUATE + "tile.tif", 2, "tile.tif"),
    "a sample in a file": (nothing, "sample -o tile.tif", 2, "tile.tif"),
    "a sample below a file": (
        nothing,
        "sample -o tile.tif/s --tiles 1 --size 64",
        1,
        "tile.tif/s/.* cannot be written",
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_nothing_is_written_over(refused, name):
    refused(*CASES[name])
