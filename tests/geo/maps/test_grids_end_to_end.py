"""Images on any grid: their map lies on them, says so at once where none can, and scores."""

import json
from pathlib import Path

import fiona
import numpy as np
import pytest
import rasterio
import shapely
from affine import Affine
from pyproj import Geod, Transformer
from rasterio.crs import CRS
from shapely.geometry import mapping, shape
from towns import dark_with

from geoseg.core.errors import OutputError, ParameterError, RasterError
from geoseg.geo.evaluation.evaluation import evaluate_output
from geoseg.geo.formats import writer
from geoseg.geo.formats.feature_chunks import Contents
from geoseg.geo.labels.labels import check_footprints, check_labels, read_labels
from geoseg.geo.maps import job
from geoseg.geo.maps.mapping import map_buildings
from geoseg.geo.maps.options import MapOptions
from geoseg.geo.rasters.raster import describe
from geoseg.geo.tiles.mixture import mixture
from geoseg.geo.tiles.tiles import Tile
from geoseg.runs.tiles.run_tiles import load_tiles
from geoseg.scores.metrics import PolygonCounts

GEOD = Geod(ellps="WGS84")
BRIGHT = (12, 20, 15, 24)
SCENE = dark_with(BRIGHT, height=64, width=64)
SITE = 'LOCAL_CS["site",UNIT["metre",1],AXIS["E",EAST],AXIS["N",NORTH]]'
PIXELS = shapely.box(20, 12, 44, 27)


def truth(shape_=(64, 64)):
    inside = np.zeros(shape_, np.uint8)
    inside[12:27, 20:44] = 1
    return inside


def at(crs, lon, lat, pixel=0.5):
    """The transform of an image whose upper left corner is near a place."""
    x, y = Transformer.from_crs(4326, crs, always_xy=True).transform(lon, lat)
    return Affine(pixel, 0, round(x, 6), 0, -pixel, round(y, 6))


@pytest.fixture
def town(write_tiff, bright_model, tmp_path):
    """Return ``make(crs, transform, suffix) -> image, map`` of one bright rectangle."""

    def make(crs, transform, suffix="gpkg", name="a.tif", **options):
        image = write_tiff(name, SCENE, crs=crs, transform=transform)
        output = tmp_path / f"{Path(name).stem}.{suffix}"
        options = {"tolerance_m": 0.0, "min_area_m2": 0.0, "style": False, **options}
        map_buildings(bright_model(), [image], output, options=MapOptions(**options))
        return image, output

    return make


#: Code, place and size of a pixel; Finland's and Norway's have other names in other
#: versions of PROJ, Canada's and Angola's other transformations.
PLACES = [
    *(("EPSG:3067", 25, 61, 0.5), ("EPSG:5972", 10.7, 59.9, 0.5)),
    *(("EPSG:22717", -79.4, 43.7, 0.5), ("EPSG:22032", 13.24, -8.84, 0.5)),
    *(("EPSG:2263", -74, 40.7, 1.5), ("EPSG:31467", 9, 48.5, 0.5)),
    *(("EPSG:4326", 179.99988, -17, 5e-6), ("EPSG:4326", 184.99, -17, 5e-6)),
    *(("EPSG:4326", -180.0001, 60, 5e-6), ("EPSG:32660", 179.9998, 10, 0.5)),
    *(("EPSG:3857", 179.9999, 10, 0.5), ("EPSG:4807", 2.3, 48.8, 5e-6)),
    ("EPSG:4979", 2.3, 48.8, 5e-6),
    ("+proj=utm +zone=33 +ellps=bessel +towgs84=598,74,418,0.2,0.05,-2.5,7", 15, 47, 1),
]


@pytest.mark.parametrize(
    ("crs", "lon", "lat", "pixel", "suffix"),
    [(*place, suffix) for place in PLACES for suffix in ("gpkg", "geojson")]
    + [(*place, suffix) for place in PLACES[:2] for suffix in ("fgb", "parquet")]
    + [(*PLACES[6], "geojsonl")],
)
def test_a_map_lies_on_its_image_in_every_format(town, crs, lon, lat, pixel, suffix):
    if lon > 180 or lon < -180:  # PROJ would bring it back
        transform = Affine(pixel, 0, lon, 0, -pixel, lat)
    else:
        transform = at(crs, lon, lat, pixel)
    image, output = town(crs, transform, suffix)
    with rasterio.open(image) as dataset:
        profile = dataset.profile | {"count": 1, "dtype": "uint8"}
    mask = Path(image).with_name("mask.tif")
    with rasterio.open(mask, "w", **profile) as dataset:
        dataset.write(truth()[None])
    tile = Tile("a", image, str(mask))
    scores = evaluate_output(output, [tile])
    assert scores.confusions[0].tolist() == [[64 * 64 - 360, 0], [0, 360]]
    assert scores.tiles[0].polygons == PolygonCounts(1, 0, 0)  # also where 180° cuts it
    # as labels, too: the same pixels
    labelled = Tile("a", image, str(output))
    np.testing.assert_array_equal(read_labels(labelled, describe(image)), truth())
    check_footprints(output, [tile])


@pytest.mark.parametrize(
    ("crs", "lon", "lat"), [("EPSG:22717", -79.4, 43.7), ("EPSG:22032", 13.24, -8.84)]
)
def test_geojson_lies_where_reprojecting_the_geopackage_puts_it(town, crs, lon, lat):
    _, exact = town(crs, at(crs, lon, lat), "gpkg")
    _, placed = town(crs, at(crs, lon, lat), "geojson", name="b.tif")
    with fiona.open(exact) as file:
        (outline,) = (shape(feature["geometry"]) for feature in file)
    (feature,) = json.loads(placed.read_text())["features"]
    move = Transformer.from_crs(crs, "EPSG:4326", always_xy=True).transform
    expected = shapely.transform(outline, move, interleaved=False)
    assert shapely.hausdorff_distance(expected, shape(feature["geometry"])) < 2e-7


def attributes(path):
    with fiona.open(path) as file:
        (feature,) = file
    return feature["properties"]


def test_a_local_crs_is_mapped_in_its_own_metres(town):
    _, output = town(SITE, Affine(0.5, 0, 1000, 0, -0.5, 2000))
    found = attributes(output)
    assert (found["area_m2"], found["perimeter_m"]) == (90, 39)
    assert found["orientation"] == 90


@pytest.mark.parametrize("suffix", ["fgb", "parquet"])
def test_a_local_crs_is_kept_by_the_formats_in_the_image_s_crs(town, suffix):
    image, output = town(SITE, Affine(0.5, 0, 1000, 0, -0.5, 2000), suffix)
    tile = Tile("a", image, str(output))
    np.testing.assert_array_equal(read_labels(tile, describe(image)), truth())


@pytest.fixture
def nothing_computed(monkeypatch):
    def fail(*args, **kwargs):
        raise AssertionError("something was computed")

    monkeypatch.setattr(job, "predict_rows", fail)


@pytest.mark.usefixtures("nothing_computed")
@pytest.mark.parametrize("suffix", ["geojson", "geojsonl"])
def test_longitudes_of_a_local_crs_are_refused_before_the_predicting(town, suffix):
    with pytest.raises(RasterError, match="site have no longitudes .* take .gpkg"):
        town(SITE, Affine(0.5, 0, 1000, 0, -0.5, 2000), suffix)


@pytest.mark.usefixtures("nothing_computed")
def test_a_catalogue_of_a_local_crs_is_refused_before_the_predicting(town):
    with pytest.raises(ParameterError, match="--stac needs longitudes"):
        town(SITE, Affine(0.5, 0, 1000, 0, -0.5, 2000), stac=True)


@pytest.mark.usefixtures("nothing_computed")
def test_a_format_that_loses_the_crs_is_found_out_before_the_predicting(
    town, tmp_path, monkeypatch
):
    elsewhere = Contents(1, CRS.from_epsg(32612), None, ())
    monkeypatch.setattr(writer, "read_features", lambda path: elsewhere)
    with pytest.raises(OutputError, match="GeoPackage does not hold CRS EPSG:32611"):
        town("EPSG:32611", Affine(0.5, 0, 664000, 0, -0.5, 4000000))
    assert [path.name for path in tmp_path.iterdir()] == ["a.tif"]


BAD = {
    "metres called degrees": ("EPSG:4326", Affine(0.5, 0, 664000, 0, -0.5, 4000000)),
    "degrees called metres": ("EPSG:32611", Affine(3e-6, 0, -115, 0, -3e-6, 36)),
    "x for y": ("EPSG:4326", Affine(5e-6, 0, 1.35, 0, -5e-6, 103.8)),
    "geocentric": ("EPSG:4978", Affine(0.5, 0, 0, 0, -0.5, 4000000)),
}


@pytest.mark.usefixtures("nothing_computed")
@pytest.mark.parametrize("kind", BAD)
def test_what_cannot_be_measured_is_said_before_mapping_and_scoring(
    town, write_tiff, kind
):
    crs, transform = BAD[kind]
    with pytest.raises(RasterError, match="a.tif"):
        town(crs, transform)
    image = write_tiff("tiles/t.tif", SCENE, crs=crs, transform=transform)
    labels = write_tiff("labels/t.tif", truth()[None], crs=crs, transform=transform)
    folders = str(Path(image).parent), str(Path(labels).parent)
    with pytest.raises(RasterError, match="t.tif"):
        load_tiles(images=folders[0], labels=folders[1], aoi=None, data=None)
    # training alone needs no ground
    (tile,) = load_tiles(images=folders[0], labels=None, aoi=None, data=None)
    assert tile.labels is None


@pytest.mark.usefixtures("nothing_computed")
@pytest.mark.parametrize("crs", ["EPSG:32611", "EPSG:4326"])
def test_a_crs_without_a_geotransform_is_no_place(tmp_path, bright_model, crs):
    image = tmp_path / "n.tif"
    profile = {"driver": "GTiff", "count": 3, "width": 64, "height": 64, "crs": crs}
    with pytest.warns(rasterio.errors.NotGeoreferencedWarning):
        with rasterio.open(image, "w", dtype="uint16", **profile) as dataset:
            dataset.write(SCENE)
    grid = describe(image)
    assert (grid.crs, grid.located_by, grid.gsd_m) == (None, "crs", None)
    with pytest.raises(RasterError, match="has a CRS and no geotransform"):
        map_buildings(bright_model(), [str(image)], tmp_path / "n.gpkg")


def test_masks_turn_around_the_earth_with_their_images(write_tiff):
    """An image from 0° to 360°, its mask from −180° to 180°, and the reverse."""
    east, west = Affine(5e-6, 0, 185, 0, -5e-6, -17), Affine(
        5e-6, 0, -175, 0, -5e-6, -17
    )
    for number, (own, other) in enumerate(((east, west), (west, east))):
        image = write_tiff(f"{number}.tif", SCENE, crs="EPSG:4326", transform=own)
        mask = write_tiff(
            f"m{number}.tif", truth()[None], crs="EPSG:4326", transform=other
        )
        tile = Tile("t", image, mask)
        check_labels([tile])
        np.testing.assert_array_equal(read_labels(tile, describe(image)), truth())


@pytest.mark.parametrize("labels_from", [-175.0, 185.0])
@pytest.mark.parametrize(
    ("crs", "x"),
    [
        ("EPSG:4326", 185.0),
        ("EPSG:4326", -175.0),
        ("EPSG:4807", None),
        ("EPSG:3857", None),
    ],
)
def test_outlines_turn_around_the_earth_with_their_images(
    write_tiff, write_geojson, crs, x, labels_from
):
    if crs == "EPSG:4326":
        own = Affine(5e-6, 0, x, 0, -5e-6, -17)
    elif crs == "EPSG:4807":  # grads east of Paris, beyond half a turn
        own = at(crs, -175, -17, 5e-6)
        own = Affine(own.a, 0, own.c + 400, 0, own.e, own.f)
    else:
        own = at(crs, -175, -17, 0.5)
        own = Affine(own.a, 0, own.c + 2 * np.pi * 6378137, 0, own.e, own.f)
    image = write_tiff("a.tif", SCENE, crs=crs, transform=own)
    back = Transformer.from_crs(crs, 4326, always_xy=True).transform

    def degrees(column, row):
        lon, lat = back(own.c + own.a * column, own.f + own.e * row)
        return labels_from + (lon - labels_from + 180) % 360 - 180, lat

    outline = shapely.transform(PIXELS, degrees, interleaved=False)
    tile = Tile("t", image, write_geojson("a.geojson", [mapping(outline)]))
    check_labels([tile])
    np.testing.assert_array_equal(read_labels(tile, describe(image)), truth())


def test_images_of_one_crs_in_two_spellings_do_not_differ(write_tiff):
    crs = CRS.from_epsg(32633)
    esri = CRS.from_wkt(crs.to_wkt(version="WKT1_ESRI"))
    grid = Affine(0.5, 0, 5e5, 0, -0.5, 5.2e6)
    images = [
        describe(write_tiff(f"{n}.tif", SCENE, crs=crs, transform=grid))
        for n, crs in enumerate((crs, esri))
    ]
    assert mixture(images) == []
