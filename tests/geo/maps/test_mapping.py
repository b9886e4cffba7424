import json
import os

import numpy as np
import pytest
import rasterio
from affine import Affine
from fiona import open as open_layer
from pyproj import Transformer
from shapely.geometry import box, shape
from towns import dark_with

from geoseg.core.errors import (
    BandMismatchError,
    MatchingError,
    OutputExistsError,
    ParameterError,
    RasterError,
)
from geoseg.core.patches import IGNORE
from geoseg.geo.formats.class_rasters import RasterTags
from geoseg.geo.maps import job
from geoseg.geo.maps.mapping import map_buildings
from geoseg.geo.maps.options import MapOptions
from geoseg.model.matching import match_clusters

UTM = "EPSG:32611"
GRID = Affine(0.5, 0, 664000, 0, -0.5, 4000000)
EAST = Affine(0.5, 0, 664100, 0, -0.5, 4000000)
#: Half a metre at this latitude, but not the same in both directions.
DEGREES = Affine(6e-6, 0, -115.17, 0, -4.5e-6, 36.13)
EXACT = MapOptions(tolerance_m=0.0)


def features(path):
    return json.loads(path.read_text())["features"]


def read(path):
    with rasterio.open(path) as dataset:
        return dataset.read(1)


@pytest.mark.parametrize(
    ("crs", "transform"),
    [(UTM, GRID), ("EPSG:4326", DEGREES)],
    ids=["utm", "degrees"],
)
def test_a_bright_rectangle_becomes_its_pixels_outline(
    write_tiff, bright_model, tmp_path, crs, transform
):
    image = write_tiff(
        "a.tif", dark_with((20, 30, 15, 24)), crs=crs, transform=transform
    )
    output = tmp_path / "b.geojson"
    assert map_buildings(bright_model(), [image], output).footprints == 1
    (feature,) = features(output)
    corners = [(30, 20), (30, 35), (54, 35), (54, 20)]
    to_degrees = Transformer.from_crs(crs, "OGC:CRS84", always_xy=True)
    expected = {to_degrees.transform(*(transform * corner)) for corner in corners}
    (ring,) = feature["geometry"]["coordinates"]
    assert ring[0] == ring[-1]
    assert len(ring) == 5
    for x, y in expected:
        # 7 decimals are written: half a unit of the last one, and no more, is lost
        distances = [max(abs(x - u), abs(y - v)) for u, v in ring[:-1]]
        assert min(distances) <= 0.5e-7 + 1e-12
    values = feature["properties"]
    assert (values["id"], values["class"]) == (1, "building")
    assert values["score"] is None  # colour k-means has no probabilities
    if crs == UTM:  # metres; ground distances differ by the projection's scale
        assert values["area_m2"] == pytest.approx(15 * 24 / 4, rel=2e-3)
        assert values["perimeter_m"] == pytest.approx(15 + 24, rel=2e-3)


def test_a_geopackage_keeps_the_crs_and_the_corners(write_tiff, bright_model, tmp_path):
    image = write_tiff("a.tif", dark_with((20, 30, 15, 24)))
    map_buildings(bright_model(), [image], tmp_path / "b.gpkg")
    with open_layer(tmp_path / "b.gpkg") as layer:
        assert layer.crs.to_epsg() == 32611
        (record,) = layer
    left, top = GRID * (30, 20)
    right, bottom = GRID * (54, 35)
    assert shape(record.geometry).equals(box(left, bottom, right, top))


def test_images_share_one_layer_numbered_throughout(write_tiff, bright_model, tmp_path):
    images = [
        write_tiff("a.tif", dark_with((5, 5, 10, 10), (40, 40, 10, 10))),
        write_tiff("b.tif", dark_with((20, 20, 12, 12)), transform=EAST),
    ]
    output = tmp_path / "out" / "city.gpkg"
    assert map_buildings(bright_model(), images, output).footprints == 3
    with open_layer(output) as layer:
        records = list(layer)
    assert [record.properties["id"] for record in records] == [1, 2, 3]
    lefts = sorted(shape(record.geometry).bounds[0] for record in records)
    assert lefts == [664002.5, 664020.0, 664110.0]


def test_rasters_of_several_images_go_to_folders_by_name(
    write_tiff, bright_model, tmp_path
):
    images = [
        write_tiff("a.tif", dark_with((5, 5, 10, 10))),
        write_tiff("b.tif", dark_with((20, 20, 12, 12)), transform=EAST),
    ]
    outputs = {name: tmp_path / name for name in ("classes", "probability", "clusters")}
    map_buildings(bright_model(), images, tmp_path / "b.geojson", **outputs)
    for folder in outputs.values():
        assert sorted(os.listdir(folder)) == [
            *("a.qml", "a.tif", "a.tif.aux.xml"),
            *("b.qml", "b.tif", "b.tif.aux.xml"),
        ]
    expected = dark_with((20, 20, 12, 12))[0] == 850
    np.testing.assert_array_equal(read(tmp_path / "classes/b.tif"), expected)
    np.testing.assert_array_equal(read(tmp_path / "clusters/b.tif"), expected)
    np.testing.assert_array_equal(read(tmp_path / "probability/b.tif"), 100 * expected)


def test_rasters_of_one_image_are_files_on_its_grid(write_tiff, bright_model, tmp_path):
    pixels = dark_with((20, 30, 15, 24))
    pixels[:, :6] = 9999
    image = write_tiff("a.tif", pixels, nodata=9999)
    map_buildings(
        bright_model(),
        [image],
        tmp_path / "b.geojson",
        classes=tmp_path / "deep" / "c.tif",
        tags=RasterTags("color_kmeans", "abc"),
    )
    with rasterio.open(tmp_path / "deep" / "c.tif") as dataset:
        found = dataset.read(1)
        assert dataset.crs.to_epsg() == 32611
        assert dataset.transform == GRID
        assert (dataset.dtypes, dataset.nodata) == (("uint8",), 255)
        assert dataset.tags()["GEOSEG_METHOD"] == "color_kmeans"
        assert dataset.tags()["GEOSEG_MODEL_SHA256"] == "abc"
    expected = (pixels[0] == 850).astype(np.uint8)
    expected[:6] = IGNORE
    np.testing.assert_array_equal(found, expected)


def test_clusters_are_written_as_they_are_not_as_classes(
    write_tiff, bright_model, tmp_path
):
    dark_is_building = match_clusters(np.array([[[0, 9], [9, 0]]]), shrinkage=0)
    model = bright_model().with_card(matchings={"main": dark_is_building})
    pixels = dark_with((0, 0, 60, 35))
    pixels[:, :4] = 9999
    image = write_tiff("a.tif", pixels, nodata=9999)
    map_buildings(
        model,
        [image],
        tmp_path / "b.geojson",
        classes=tmp_path / "c.tif",
        clusters=tmp_path / "k.tif",
    )
    bright, empty = pixels[0] == 850, pixels[0] == 9999
    np.testing.assert_array_equal(
        read(tmp_path / "k.tif"), np.where(empty, IGNORE, bright)
    )
    np.testing.assert_array_equal(
        read(tmp_path / "c.tif"), np.where(empty, IGNORE, ~bright)
    )


def test_an_image_without_buildings_gives_an_empty_layer(
    write_tiff, bright_model, tmp_path
):
    image = write_tiff("a.tif", dark_with())
    assert (
        map_buildings(bright_model(), [image], tmp_path / "b.geojson").footprints == 0
    )
    assert features(tmp_path / "b.geojson") == []


def test_the_smallest_area_and_hole_are_the_options(write_tiff, bright_model, tmp_path):
    pixels = dark_with((5, 5, 4, 4), (20, 20, 30, 30))  # 4 m², 225 m²
    pixels[:, 30:34, 30:34] = 150  # a hole of 4 m²
    image = write_tiff("a.tif", pixels)

    def areas(**options):
        output = tmp_path / "b.geojson"
        options = MapOptions(tolerance_m=0.0, overwrite=True, **options)
        map_buildings(bright_model(), [image], output, options=options)
        rows = features(output)
        return sorted(round(row["properties"]["area_m2"]) for row in rows)

    assert areas() == [225]
    assert areas(min_area_m2=1.0) == [4, 221]
    assert areas(min_area_m2=1.0, min_hole_area_m2=0.5) == [4, 221]
    assert areas(min_hole_area_m2=1.0) == [221]


@pytest.fixture
def no_network(monkeypatch):
    """Fail where anything is computed."""

    def fail(*args, **kwargs):
        raise AssertionError("something was computed")

    monkeypatch.setattr(job, "predict_rows", fail)


@pytest.mark.parametrize("existing", ["b.geojson", "c.tif", "p.tif", "k.tif"])
def test_an_output_that_exists_stops_before_anything_is_computed(
    write_tiff, bright_model, tmp_path, no_network, existing
):
    image = write_tiff("a.tif", dark_with())
    (tmp_path / existing).write_text("mine")
    with pytest.raises(OutputExistsError, match=f"{existing} exists .*--overwrite"):
        map_buildings(
            bright_model(),
            [image],
            tmp_path / "b.geojson",
            classes=tmp_path / "c.tif",
            probability=tmp_path / "p.tif",
            clusters=tmp_path / "k.tif",
        )
    assert (tmp_path / existing).read_text() == "mine"
    assert sorted(os.listdir(tmp_path)) == sorted(["a.tif", existing])


def test_one_raster_of_many_that_exists_stops_before_anything_is_computed(
    write_tiff, bright_model, tmp_path, no_network
):
    images = [write_tiff(f"{n}.tif", dark_with()) for n in "ab"]
    (tmp_path / "classes").mkdir()
    (tmp_path / "classes" / "b.tif").write_text("mine")
    with pytest.raises(OutputExistsError, match="b.tif exists"):
        map_buildings(
            bright_model(),
            images,
            tmp_path / "b.geojson",
            classes=tmp_path / "classes",
        )


def test_outputs_are_replaced_when_told(write_tiff, bright_model, tmp_path):
    image = write_tiff("a.tif", dark_with((20, 30, 15, 24)))
    outputs = {"classes": tmp_path / "c.tif", "clusters": tmp_path / "k.tif"}
    for path in (tmp_path / "b.geojson", *outputs.values()):
        path.write_text("old")
    map_buildings(
        bright_model(),
        [image],
        tmp_path / "b.geojson",
        **outputs,
        options=MapOptions(overwrite=True),
    )
    assert len(features(tmp_path / "b.geojson")) == 1
    assert read(tmp_path / "c.tif").sum() == read(tmp_path / "k.tif").sum() == 15 * 24


@pytest.mark.parametrize(
    ("outputs", "name"),
    [
        ({"classes": "a.tif"}, "a.tif"),
        ({"classes": "c.tif", "probability": "c.tif"}, "c.tif"),
        ({"probability": "c.tif", "clusters": "x/../c.tif"}, "c.tif"),
    ],
    ids=["the image", "twice", "twice by another name"],
)
def test_no_output_takes_the_place_of_an_image_or_another_output(
    write_tiff, bright_model, tmp_path, no_network, outputs, name
):
    image = write_tiff("a.tif", dark_with())
    before = _bytes(image)
    with pytest.raises(ParameterError, match=f"{name} is an image or another output"):
        map_buildings(
            bright_model(),
            [image],
            tmp_path / "b.geojson",
            **{key: tmp_path / value for key, value in outputs.items()},
            options=MapOptions(overwrite=True),
        )
    assert _bytes(image) == before


def _bytes(path):
    with open(path, "rb") as file:
        return file.read()


def test_images_of_two_crss_are_refused(write_tiff, bright_model, tmp_path, no_network):
    images = [
        write_tiff("a.tif", dark_with()),
        write_tiff("b.tif", dark_with(), crs="EPSG:32612"),
    ]
    with pytest.raises(RasterError, match="b.tif is in EPSG:32612, .* in EPSG:32611"):
        map_buildings(bright_model(), images, tmp_path / "b.geojson")
    assert not (tmp_path / "b.geojson").exists()


def test_an_image_that_lacks_a_band_is_refused_first(
    write_tiff, bright_model, tmp_path, no_network
):
    images = [
        write_tiff("a.tif", dark_with(bands=4)),
        write_tiff("b.tif", dark_with(bands=3)),
    ]
    model = bright_model(("red", "nir"))
    with pytest.raises(BandMismatchError, match="nir"):
        map_buildings(model, images, tmp_path / "b.geojson")


def test_bands_are_taken_by_name_not_by_place(write_tiff, bright_model, tmp_path):
    pixels = np.full((4, 60, 70), 150, np.uint16)
    pixels[3, 20:35, 30:54] = 850  # near infrared alone
    image = write_tiff("a.tif", pixels)
    output = tmp_path / "b.geojson"
    assert map_buildings(bright_model(("nir",)), [image], output).footprints == 1
    overwrite = MapOptions(overwrite=True)
    model = bright_model(("red",))
    assert map_buildings(model, [image], output, options=overwrite).footprints == 0


def test_an_absent_image_is_refused(bright_model, tmp_path):
    with pytest.raises(RasterError, match="none.tif"):
        map_buildings(
            bright_model(), [str(tmp_path / "none.tif")], tmp_path / "b.geojson"
        )


def test_an_image_without_a_crs_is_refused_and_leaves_nothing(
    write_tiff, bright_model, tmp_path
):
    image = write_tiff("a.tif", dark_with(), crs=None)
    with pytest.raises(RasterError, match="CRS"):
        map_buildings(
            bright_model(), [image], tmp_path / "b.gpkg", classes=tmp_path / "c.tif"
        )
    assert os.listdir(tmp_path) == ["a.tif"]


def test_another_file_type_is_refused(write_tiff, bright_model, tmp_path):
    image = write_tiff("a.tif", dark_with())
    with pytest.raises(ParameterError, match="b.shp ends in '.shp' .*expected one of"):
        map_buildings(bright_model(), [image], tmp_path / "b.shp")


def test_one_raster_for_several_images_is_refused(write_tiff, bright_model, tmp_path):
    images = [write_tiff(f"{n}.tif", dark_with()) for n in "ab"]
    with pytest.raises(ParameterError, match="c.tif is one file for 2 images: name a"):
        map_buildings(
            bright_model(), images, tmp_path / "b.gpkg", classes=tmp_path / "c.tif"
        )


def test_images_of_one_name_are_refused_where_rasters_are_wanted(
    write_tiff, bright_model, tmp_path
):
    images = [
        write_tiff("x/a.tif", dark_with((5, 5, 10, 10))),
        write_tiff("y/a.tif", dark_with((5, 5, 10, 10)), transform=EAST),
    ]
    with pytest.raises(ParameterError, match="several images are called a.tif"):
        map_buildings(
            bright_model(), images, tmp_path / "b.gpkg", classes=tmp_path / "c"
        )
    assert map_buildings(bright_model(), images, tmp_path / "b.gpkg").footprints == 2


def test_a_model_without_a_matching_leaves_no_file(write_tiff, bright_model, tmp_path):
    image = write_tiff("a.tif", dark_with())
    with pytest.raises(MatchingError, match="run geoseg match"):
        map_buildings(
            bright_model(matched=False),
            [image],
            tmp_path / "b.geojson",
            classes=tmp_path / "c.tif",
        )
    assert os.listdir(tmp_path) == ["a.tif"]
