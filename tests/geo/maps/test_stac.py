"""STAC items of maps, against what the specifications ask for."""

import hashlib
import json
import re
from datetime import datetime
from pathlib import Path

import fiona
import numpy as np
import pytest
import rasterio
from affine import Affine
from pyproj import CRS
from pystac.validation import validate_dict
from shapely.geometry import shape

from geoseg.core.errors import OutputExistsError, ParameterError
from geoseg.geo.formats.class_rasters import RasterTags
from geoseg.geo.maps.mapping import map_buildings
from geoseg.geo.maps.options import MapOptions

WITH = MapOptions(stac=True)


def check_item(item, folder: Path):
    """What every item must have (STAC 1.1, item specification), and its files."""
    assert item["type"] == "Feature" and item["stac_version"] == "1.1.0"
    assert item["id"] and isinstance(item["links"], list)
    url = r"https://stac-extensions\.github\.io/([a-z]+)/v\d+\.\d+\.\d+/schema\.json"
    extensions = {re.fullmatch(url, it)[1] for it in item["stac_extensions"]}
    assert len(extensions) == len(item["stac_extensions"])
    prefixes = {"proj": "projection", "file": "file", "table": "table"}
    prefixes |= {it: it for it in ("raster", "classification", "processing")}
    used = re.findall(r'"([a-z]+):\w+": ', json.dumps(item))
    assert {prefixes[it] for it in used if it != "geoseg"} <= extensions
    assert ("bbox" in item) == (item["geometry"] is not None)
    check_time(item["properties"])
    for asset in item["assets"].values():
        assert asset["roles"] and asset["type"] and asset["title"]
        assert asset["href"].startswith(("./", "../"))
        data = (folder / asset["href"]).read_bytes()
        assert asset["file:size"] == len(data)
        assert asset["file:checksum"] == "1220" + hashlib.sha256(data).hexdigest()
    for classes in find(item, "classification:classes"):
        assert [it["value"] for it in classes] == list(range(len(classes)))
        assert all(re.fullmatch("[0-9A-F]{6}", it["color_hint"]) for it in classes)
        assert all(it["name"] and it["description"] for it in classes)


def check_schema(item):
    """The core schema of STAC 1.1, in pystac's copy; those of extensions are remote."""
    assert validate_dict(item, extensions=[])


@pytest.mark.parametrize("west", [20.0, 179.9997], ids=["near", "antimeridian"])
def test_a_map_of_two_images_follows_the_schema(
    write_tiff, bright_model, tmp_path, west
):
    grid = Affine(1e-5, 0, west, 0, -1e-5, -17)
    below = grid * Affine.translation(0, 60)
    paths = [
        image(write_tiff, "0.tif", TAKEN, crs="EPSG:4326", transform=grid),
        image(write_tiff, "1.tif", None, crs="EPSG:4326", transform=below),
    ]
    rasters = {it: tmp_path / it for it in ("classes", "probability", "clusters")}
    output = tmp_path / "b.fgb"
    map_buildings(bright_model(), paths, output, **rasters, options=WITH)
    item = item_of(tmp_path / "b.stac.json")
    assert len(item["assets"]) == 7
    check_schema(item)


def check_time(properties):
    moments = [properties["datetime"]]
    if moments == [None]:
        moments = [properties["start_datetime"], properties["end_datetime"]]
    for moment in moments:
        assert datetime.strptime(moment, "%Y-%m-%dT%H:%M:%SZ")


def find(values, key):
    """All values of a key, however deep."""
    if isinstance(values, dict):
        for name, value in values.items():
            yield from [value] if name == key else find(value, key)
    elif isinstance(values, list):
        for value in values:
            yield from find(value, key)


def image(write_tiff, name="image.tif", taken=None, **georeference):
    pixels = np.full((3, 60, 70), 100, dtype=np.uint16)
    pixels[:, 20:32, 20:32] = 900
    path = write_tiff(name, pixels, **georeference)
    if taken is not None:
        with rasterio.open(path, "r+") as dataset:
            dataset.update_tags(TIFFTAG_DATETIME=taken)
    return path


def item_of(path):
    return json.loads(path.read_text())


def test_a_map_is_described_with_its_rasters(write_tiff, bright_model, tmp_path):
    path = image(write_tiff)
    folder = tmp_path / "out"
    rasters = {it: folder / f"{it}.tif" for it in ("classes", "probability")}
    map_buildings(
        bright_model(),
        [path],
        folder / "town.gpkg",
        **rasters,
        clusters=tmp_path / "clusters.tif",
        tags=RasterTags("color_kmeans", "ab" * 32),
        options=WITH,
    )
    item = item_of(folder / "town.stac.json")
    check_item(item, folder)
    assert item["id"] == "town"
    assert list(item["assets"]) == ["footprints", "classes", "probability", "clusters"]
    assert item["assets"]["clusters"]["href"] == "../clusters.tif"
    assert [it["href"] for it in item["links"]] == ["../image.tif"]
    found = item["properties"]
    assert found["proj:code"] == "EPSG:32611"
    assert found["geoseg:model_sha256"] == "ab" * 32
    assert "geoseg" in found["processing:software"]
    table = item["assets"]["footprints"]
    with fiona.open(folder / "town.gpkg", layer="town") as layer:
        assert table["table:row_count"] == len(layer)
        fields = list(layer.schema["properties"])
    assert [it["name"] for it in table["table:columns"]] == fields
    raster = item["assets"]["classes"]
    with rasterio.open(folder / "classes.tif") as dataset:
        assert raster["proj:shape"] == list(dataset.shape)
        assert raster["proj:transform"] == list(dataset.transform)[:6]
        (band,) = raster["bands"]
        assert (band["data_type"], band["nodata"]) == ("uint8", dataset.nodata)
    assert [it["name"] for it in band["classification:classes"]] == [
        "background",
        "building",
    ]


def test_a_map_lies_where_its_image_does(write_tiff, bright_model, tmp_path):
    path = image(write_tiff)
    map_buildings(bright_model(), [path], tmp_path / "b.geojson", options=WITH)
    item = item_of(tmp_path / "b.stac.json")
    place = shape(item["geometry"])
    (house,) = json.loads((tmp_path / "b.geojson").read_text())["features"]
    assert place.covers(shape(house["geometry"]))
    assert tuple(item["bbox"]) == place.bounds
    assert place.area < 30 * shape(house["geometry"]).area  # 4200 pixels around 144
    assert item["assets"]["footprints"]["proj:code"] == "EPSG:4326"


def test_across_the_antimeridian_west_is_above_east(write_tiff, bright_model, tmp_path):
    grid = Affine(1e-5, 0, 179.9997, 0, -1e-5, -17)
    path = image(write_tiff, crs="EPSG:4326", transform=grid)
    map_buildings(bright_model(), [path], tmp_path / "b.gpkg", options=WITH)
    item = item_of(tmp_path / "b.stac.json")
    assert item["geometry"]["type"] == "MultiPolygon"
    west, _, east, _ = item["bbox"]
    assert (west, east) == (179.9997, pytest.approx(-179.9996))


def test_a_crs_without_a_code_is_spelt_out(write_tiff, bright_model, tmp_path):
    own = "+proj=laea +lat_0=10 +lon_0=20 +ellps=GRS80 +units=m"
    path = image(write_tiff, crs=own, transform=Affine(0.5, 0, 0, 0, -0.5, 0))
    map_buildings(bright_model(), [path], tmp_path / "b.gpkg", options=WITH)
    found = item_of(tmp_path / "b.stac.json")["properties"]
    assert found["proj:code"] is None
    assert CRS.from_wkt(found["proj:wkt2"]) == CRS.from_proj4(own)


TAKEN = "2024:05:06 07:08:09"
MOMENTS = {
    "one": ([TAKEN], {"datetime": "2024-05-06T07:08:09Z"}),
    "two": (
        [TAKEN, "2023:01:02 03:04:05"],
        {
            "datetime": None,
            "start_datetime": "2023-01-02T03:04:05Z",
            "end_datetime": "2024-05-06T07:08:09Z",
        },
    ),
}


@pytest.mark.parametrize("name", MOMENTS)
def test_a_map_is_of_the_time_of_its_images(write_tiff, bright_model, tmp_path, name):
    tags, expected = MOMENTS[name]
    paths = [image(write_tiff, f"{i}.tif", taken) for i, taken in enumerate(tags)]
    map_buildings(bright_model(), paths, tmp_path / "b.gpkg", options=WITH)
    found = item_of(tmp_path / "b.stac.json")["properties"]
    assert {key: found[key] for key in found if "datetime" in key} == {
        **expected,
        "processing:datetime": found["created"],
    }


@pytest.mark.parametrize("taken", [None, "yesterday"])
def test_of_an_unknown_time_it_is_that_of_the_map(
    write_tiff, bright_model, tmp_path, taken
):
    paths = [image(write_tiff, "0.tif", TAKEN), image(write_tiff, "1.tif", taken)]
    rasters = {"classes": tmp_path / "classes"}
    options = {"options": WITH, **rasters}
    map_buildings(bright_model(), paths, tmp_path / "b.gpkg", **options)
    item = item_of(tmp_path / "b.stac.json")
    check_item(item, tmp_path)
    found = item["properties"]
    assert found["datetime"] == found["created"]
    assert list(item["assets"]) == ["footprints", "classes-0", "classes-1"]


def test_an_item_that_exists_stops_before_anything_is_computed(
    write_tiff, bright_model, tmp_path
):
    (tmp_path / "b.stac.json").write_text("mine")
    with pytest.raises(OutputExistsError, match="b.stac.json exists already"):
        map_buildings(
            bright_model(), [image(write_tiff)], tmp_path / "b.gpkg", options=WITH
        )
    assert (tmp_path / "b.stac.json").read_text() == "mine"
    assert not (tmp_path / "b.gpkg").exists()


def test_without_pystac_nothing_is_computed(
    write_tiff, bright_model, tmp_path, monkeypatch
):
    path = image(write_tiff)
    monkeypatch.setattr("geoseg.geo.maps.stac.find_spec", lambda _: None)
    with pytest.raises(ParameterError, match=r"pip install 'geoseg\[stac\]'"):
        map_buildings(bright_model(), [path], tmp_path / "b.gpkg", options=WITH)
    assert [str(it) for it in tmp_path.iterdir()] == [path]
