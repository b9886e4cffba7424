"""Footprints in every format: what is written is there for other programs to read."""

import hashlib
import json
import sys
import time
from pathlib import Path

import fiona
import geopandas
import numpy as np
import pyarrow
import pyarrow.parquet
import pyogrio
import pyproj
import pytest
import rasterio
import shapely
from rasterio.crs import CRS
from shapely import box

from geoseg.core.classes import TWO_CLASSES
from geoseg.core.errors import LabelError, ParameterError
from geoseg.core.outputs import remove_stale
from geoseg.geo.evaluation.judged_maps import JudgedMap
from geoseg.geo.footprints.vectorize import Footprint
from geoseg.geo.formats import parquet_files
from geoseg.geo.formats.formats import FORMATS, SUFFIXES, check_format
from geoseg.geo.formats.writer import write_footprints
from geoseg.geo.labels.files import read_shapes
from geoseg.geo.labels.labels import read_footprints
from geoseg.geo.labels.vector_inspection import inspect_vector
from geoseg.geo.maps.mapping import map_buildings
from geoseg.geo.rasters.raster import describe
from geoseg.geo.tiles.tiles import Tile

UTM = CRS.from_epsg(32611)
WGS84 = CRS.from_epsg(4326)
FIELDS = ["id", "class", "score", "area_m2", "perimeter_m", "orientation"]
NATIVE = [it for f in FORMATS if not f.longitude_latitude for it in f.suffixes]
DEGREES = [it for f in FORMATS if f.longitude_latitude for it in f.suffixes]


def town(count: int = 5) -> list[Footprint]:
    return [
        Footprint(
            box(6e5 + 20 * i, 4e6, 600010 + 20 * i, 4000010),
            *(
                1 + i % 2,
                ("building", "tank")[i % 2],
                0.5 + i / 100,
                100.0,
                40.0,
                12.345,
            ),
        )
        for i in range(count)
    ]


def read(path: Path) -> geopandas.GeoDataFrame:
    """Read a file as its users do, sorted by id (FlatGeobuf is sorted by place)."""
    if "parquet" in path.suffix:
        table = geopandas.read_parquet(path)
    else:
        layers = {"layer": path.stem} if path.suffix == ".gpkg" else {}
        table = geopandas.read_file(path, **layers)
    return table.sort_values("id").reset_index(drop=True)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_geopandas_reads_back_what_was_written(tmp_path, suffix):
    path = tmp_path / f"town{suffix}"
    assert write_footprints(path, town(), crs=UTM) == 5
    found = read(path)
    assert [name for name in found if name not in ("geometry", "bbox")] == FIELDS
    assert found["id"].tolist() == [1, 2, 3, 4, 5]
    assert found["class"].tolist() == ["building", "tank"] * 2 + ["building"]
    assert found["score"].tolist() == [0.5, 0.51, 0.52, 0.53, 0.54]
    assert set(found["orientation"]) == {12.3}
    assert set(found.geom_type) == {"Polygon"}
    assert found.crs == ("EPSG:4326" if suffix in DEGREES else "EPSG:32611")
    expected = [it.geometry for it in town()]
    back = list(found.to_crs("EPSG:32611").geometry)
    assert (shapely.hausdorff_distance(back, expected) < 0.02).all()


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_more_than_a_chunk_is_written_in_order(tmp_path, suffix):
    path = tmp_path / f"many{suffix}"
    assert write_footprints(path, town(2345), crs=UTM) == 2345
    found = read(path)
    assert found["id"].tolist() == list(range(1, 2346))
    west = found.to_crs("EPSG:32611").bounds["minx"].to_numpy()
    np.testing.assert_allclose(west, 6e5 + 20 * np.arange(2345), atol=0.02)


@pytest.mark.parametrize("suffix", [".gpkg", ".fgb"])
def test_an_empty_file_has_fields_type_and_crs(tmp_path, suffix):
    path = tmp_path / f"empty{suffix}"
    assert write_footprints(path, [], crs=UTM) == 0
    with fiona.open(path) as layer:
        assert list(layer) == []
        assert list(layer.schema["properties"]) == FIELDS
        assert layer.schema["geometry"] == "Polygon"
        assert CRS.from_wkt(layer.crs_wkt) == UTM


def test_an_empty_geoparquet_has_fields_type_and_crs(tmp_path):
    path = tmp_path / "empty.parquet"
    assert write_footprints(path, [], crs=UTM) == 0
    found = read(path)
    assert len(found) == 0 and found.crs == "EPSG:32611"
    assert list(found) == [*FIELDS, "geometry"]
    assert found["area_m2"].dtype == np.float64
    assert geo_of(path)["columns"]["geometry"]["geometry_types"] == ["Polygon"]


@pytest.mark.parametrize("suffix", [".geojsonl", ".ndjson"])
def test_no_footprint_is_no_line(tmp_path, suffix):
    path = tmp_path / f"empty{suffix}"
    assert write_footprints(path, [], crs=UTM) == 0
    assert path.read_bytes() == b""


def test_every_line_is_a_feature_of_its_own(tmp_path):
    path = tmp_path / "town.geojsonl"
    write_footprints(path, town(), crs=UTM)
    lines = path.read_text().splitlines()
    features = [json.loads(line) for line in lines]
    assert [it["properties"]["id"] for it in features] == [1, 2, 3, 4, 5]
    assert {it["type"] for it in features} == {"Feature"}
    assert list(features[0]["properties"]) == FIELDS
    ring = features[0]["geometry"]["coordinates"][0]
    assert shapely.is_ccw(shapely.linearrings(ring))
    west, south = np.min(ring, axis=0)
    assert (west, south) == (round(west, 7), round(south, 7))
    assert -117 < west < -115 and 36 < south < 37
    assert "\x1e" not in lines[0]  # RFC 8142's separator


ODD = {
    "a national grid": CRS.from_epsg(2154),
    "degrees": WGS84,
    "no authority": CRS.from_proj4(
        "+proj=laea +lat_0=10 +lon_0=20 +x_0=5 +ellps=GRS80 +units=m"
    ),
    "feet": CRS.from_epsg(2263),
}


@pytest.mark.parametrize("suffix", NATIVE)
@pytest.mark.parametrize("name", ODD)
def test_any_crs_is_kept(tmp_path, suffix, name):
    path = tmp_path / f"town{suffix}"
    write_footprints(
        path, [Footprint(box(1, 2, 3, 4), 1, "a", 1, 4, 8, 0)], crs=ODD[name]
    )
    found = read(path)
    assert CRS.from_wkt(found.crs.to_wkt()) == ODD[name]
    assert found.total_bounds.tolist() == [1, 2, 3, 4]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_equal_footprints_make_equal_files(tmp_path, suffix):
    digests = set()
    for folder in (tmp_path / "1", tmp_path / "2"):
        folder.mkdir()
        path = folder / f"town{suffix}"
        write_footprints(path, town(), crs=UTM)
        digests.add(hashlib.sha256(path.read_bytes()).hexdigest())
        time.sleep(1.1 if suffix == ".gpkg" else 0)  # its dates have milliseconds
    assert len(digests) == 1


def geo_of(path):
    return json.loads(pyarrow.parquet.read_metadata(path).metadata[b"geo"])


def test_geoparquet_describes_itself_as_version_1_1_has_it(tmp_path):
    path = tmp_path / "town.parquet"
    write_footprints(path, town(), crs=UTM)
    geo = geo_of(path)
    column = geo["columns"]["geometry"]
    assert (geo["version"], geo["primary_column"]) == ("1.1.0", "geometry")
    assert column["encoding"] == "WKB"
    assert column["orientation"] == "counterclockwise"
    assert column["bbox"] == [600000, 4000000, 600090, 4000010]
    assert pyproj.CRS.from_json_dict(column["crs"]).to_epsg() == 32611
    corners = ("xmin", "ymin", "xmax", "ymax")
    assert column["covering"] == {"bbox": {it: ["bbox", it] for it in corners}}
    table = pyarrow.parquet.read_table(path)
    assert table["geometry"].type == pyarrow.binary()
    boxes = [list(it.values()) for it in table["bbox"].to_pylist()]
    polygons = shapely.from_wkb(table["geometry"].to_pylist())
    assert boxes == shapely.bounds(polygons).tolist()
    assert shapely.is_ccw(shapely.get_exterior_ring(polygons)).all()


def test_geoparquet_is_written_in_groups_that_a_reader_of_a_place_skips(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(parquet_files, "GROUP", 2000)
    path = tmp_path / "town.parquet"
    write_footprints(path, town(4500), crs=UTM)
    metadata = pyarrow.parquet.read_metadata(path)
    groups = [metadata.row_group(i).num_rows for i in range(metadata.num_row_groups)]
    assert groups == [2000, 2000, 500]
    some = geopandas.read_parquet(path, bbox=(6e5, 4e6, 600025, 4000005))
    assert some["id"].tolist() == [1, 2]


def test_flatgeobuf_has_a_spatial_index(tmp_path):
    path = tmp_path / "town.fgb"
    write_footprints(path, town(500), crs=UTM)
    assert pyogrio.read_info(path)["capabilities"]["fast_spatial_filter"]
    some = geopandas.read_file(path, bbox=(6e5, 4e6, 600025, 4000005))
    assert sorted(some["id"]) == [1, 2]


@pytest.mark.parametrize(
    ("name", "expected"),
    {
        "b.shp": r"Shapefile, which cuts names .* take \.gpkg.* expected one of \.geojson",
        "b.KML": r"'\.KML' \(KML, .* take \.geojson",
        "b.json": r"call it \.geojson",
        "b.geojsons": r"RFC 8142.* take \.geojsonl",
        "b.csv": r"without CRS",
        "b.xyz": r"b\.xyz ends in '\.xyz', expected one of \.geojson, \.gpkg, \.fgb",
        "b": r"b has no extension, expected one of",
    }.items(),
)
def test_other_formats_are_refused_with_advice(tmp_path, name, expected):
    with pytest.raises(ParameterError, match=expected) as caught:
        write_footprints(tmp_path / name, [], crs=UTM)
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_without_pyarrow_geoparquet_names_the_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ParameterError, match=r'pip install "geoseg\[parquet\]"'):
        check_format(tmp_path / "b.parquet")
    assert check_format(tmp_path / "b.fgb").name == "FlatGeobuf"


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_footprints_are_read_as_labels_by_evaluate_and_by_info(
    tmp_path, write_tiff, suffix
):
    image = write_tiff("image.tif", np.ones((1, 20, 20), np.uint8))
    grid = describe(image)
    west, _, _, north = rasterio.transform.array_bounds(20, 20, grid.transform)
    house = box(west + 2, north - 6, west + 5, north - 2)
    path = tmp_path / f"town{suffix}"
    write_footprints(
        path, [Footprint(house, 1, "building", 1, 12, 14, 0)], crs=grid.crs
    )
    tile = Tile("a", image, str(path), None, TWO_CLASSES)
    (found,) = read_footprints(tile, pixels=True)
    assert shapely.hausdorff_distance(found, box(4, 4, 10, 12)) < 0.05
    assert JudgedMap(path).footprints(tile, grid) == [found]
    assert JudgedMap(path).classes(tile, grid).sum() == 6 * 8
    (layer,) = inspect_vector(path)
    assert (layer.features, layer.geometries) == (1, {"Polygon": 1})
    assert [name for name in layer.attributes if name != "bbox"] == FIELDS


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_an_empty_file_is_read_as_labels(tmp_path, write_tiff, suffix):
    image = write_tiff("image.tif", np.ones((1, 20, 20), np.uint8))
    path = tmp_path / f"town{suffix}"
    write_footprints(path, [], crs=UTM)
    tile = Tile("a", image, str(path), None, TWO_CLASSES)
    assert read_footprints(tile, pixels=True) == []


@pytest.mark.parametrize("suffix", [it for it in SUFFIXES if it != ".gpkg"])
def test_labels_that_are_cut_off_are_refused(tmp_path, suffix):
    path = tmp_path / f"town{suffix}"
    write_footprints(path, town(300), crs=UTM)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(0.9 * len(whole))])
    with pytest.raises(LabelError, match="cannot be read"):
        read_shapes(str(path), TWO_CLASSES)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_map_can_be_in_any_format(tmp_path, write_tiff, bright_model, suffix):
    pixels = np.full((3, 60, 70), 100, dtype=np.uint16)
    pixels[:, 20:32, 20:32] = 900
    path = tmp_path / f"b{suffix}"
    map_buildings(bright_model(), [write_tiff("image.tif", pixels)], path)
    (score,) = read(path)["score"]
    assert score is None or np.isnan(score)  # colour k-means has no probabilities
    styled = [it.name for it in tmp_path.glob("*.qml")]
    assert styled == ([] if suffix == ".gpkg" else ["b.qml"])


def test_what_a_killed_run_left_aside_goes_away(tmp_path):
    names = (".b.0123abcd89abcdef.fgb", ".b.0123abcd89abcdef_temp.fgb")
    left = [tmp_path / name for name in names]
    foreign = (".c.0123abcd89abcdef_temp.fgb", ".b.deadbeef89abcdef.fgb", "b_temp.fgb")
    others = [tmp_path / name for name in foreign]
    for it in (*left, *others):
        it.write_text("")
    remove_stale([tmp_path / "b.fgb"], "0123abcd")
    assert not any(it.exists() for it in left)
    assert all(it.exists() for it in others)
