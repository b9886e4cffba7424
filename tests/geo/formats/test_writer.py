"""Footprints in files: standards, georeferencing, and no half-written output."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import fiona
import numpy as np
import pytest
import shapely
from affine import Affine
from pyproj import Transformer
from rasterio.crs import CRS
from shapely import Polygon, box
from shapely.geometry import shape

from geoseg.core.errors import OutputError, OutputExistsError, RasterError
from geoseg.geo.footprints.vectorize import Footprint
from geoseg.geo.formats.formats import FORMATS
from geoseg.geo.formats.provenance import read_provenance
from geoseg.geo.formats.writer import write_footprints

UTM = CRS.from_epsg(32611)
WGS84 = CRS.from_epsg(4326)
ALL = [f"b{suffix}" for it in FORMATS for suffix in it.suffixes[:1]]


def footprint(geometry: Polygon, score: float = 0.87654) -> Footprint:
    return Footprint(geometry, 1, "building", score, 1234.567, 88.888, 179.96)


def read(path: Path) -> dict:
    return json.loads(path.read_text())


def test_geojson_places_a_utm_rectangle_to_a_hundredth_of_a_second(
    tmp_path: Path,
) -> None:
    corners = np.array([(6e5, 4e6), (600050, 4e6), (600050, 4000030), (6e5, 4000030)])
    path = tmp_path / "buildings.geojson"
    assert write_footprints(path, [footprint(Polygon(corners))], crs=UTM) == 1
    lon, lat = Transformer.from_crs(
        "EPSG:32611", "EPSG:4326", always_xy=True
    ).transform(*corners.T)
    found = shape(read(path)["features"][0]["geometry"])
    expected = Polygon(np.stack((lon, lat), axis=1))
    assert found.normalize().equals_exact(expected.normalize(), 1e-7)


def test_geojson_follows_rfc_7946(tmp_path: Path) -> None:
    clockwise = Polygon(
        [(0, 0), (0, 10), (10, 10), (10, 0)], [[(2, 2), (4, 2), (4, 4), (2, 4)]]
    )
    path = tmp_path / "buildings.geojson"
    write_footprints(path, [footprint(clockwise)], crs=WGS84)
    collection = read(path)
    assert collection["type"] == "FeatureCollection"
    assert "crs" not in collection
    (feature,) = collection["features"]
    exterior, hole = feature["geometry"]["coordinates"]
    assert shapely.is_ccw(shapely.linearrings(exterior))
    assert not shapely.is_ccw(shapely.linearrings(hole))
    assert feature["properties"] == {
        "id": 1,
        "class": "building",
        "score": 0.8765,
        "area_m2": 1234.57,
        "perimeter_m": 88.89,
        "orientation": 0.0,  # 180 degrees, rounded, are none
    }


def test_geopackage_keeps_the_crs_and_names_the_layer(tmp_path: Path) -> None:
    path = tmp_path / "town.gpkg"
    squares = [
        footprint(box(6e5 + 20 * i, 4e6, 600010 + 20 * i, 4000010)) for i in range(3)
    ]
    assert write_footprints(path, squares, crs=UTM) == 3
    assert fiona.listlayers(path) == ["town"]
    with fiona.open(path) as layer:
        assert CRS.from_wkt(layer.crs_wkt) == UTM
        assert [f["properties"]["id"] for f in layer] == [1, 2, 3]
        assert [f["geometry"]["type"] for f in layer] == ["Polygon"] * 3
        assert layer.bounds == (6e5, 4e6, 600050, 4000010)


def test_an_empty_geojson_is_a_collection_of_nothing(tmp_path: Path) -> None:
    path = tmp_path / "empty.geojson"
    assert write_footprints(path, [], crs=UTM) == 0
    assert read(path)["features"] == []


def test_without_a_crs_nothing_is_written(tmp_path: Path) -> None:
    with pytest.raises(RasterError, match="no CRS"):
        write_footprints(tmp_path / "buildings.geojson", [], crs=None)
    assert list(tmp_path.iterdir()) == []


def test_an_existing_output_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "buildings.geojson"
    path.write_text("mine")
    with pytest.raises(OutputExistsError, match="--overwrite"):
        write_footprints(path, [], crs=UTM)
    assert path.read_text() == "mine"


def test_overwrite_replaces_a_geopackage_with_all_its_layers(tmp_path: Path) -> None:
    path = tmp_path / "town.gpkg"
    write_footprints(path, [footprint(box(6e5, 4e6, 600010, 4000010))] * 3, crs=UTM)
    write_footprints(path, [], crs=UTM, overwrite=True)
    with fiona.open(path) as layer:
        assert len(layer) == 0
    assert [p.name for p in tmp_path.iterdir()] == ["town.gpkg"]


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="absent does not exist"):
        write_footprints(tmp_path / "absent" / "b.geojson", [], crs=UTM)


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("error", [KeyboardInterrupt, RasterError])
def test_an_interrupted_run_leaves_the_old_output_and_nothing_else(
    tmp_path: Path, name: str, error: type[BaseException]
) -> None:
    path = tmp_path / name
    path.write_text("old")

    def broken() -> Iterator[Footprint]:
        for i in range(1500):
            yield footprint(box(6e5 + i, 4e6, 600001 + i, 4000001))
        raise error("stop")

    with pytest.raises(error, match="stop"):
        write_footprints(path, broken(), crs=UTM, overwrite=True)
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == [name]


FULL_DISK = """
import resource, sys
from pathlib import Path
from rasterio.crs import CRS
from shapely import box
from geoseg.core.errors import OutputError
from geoseg.geo.formats.formats import FORMATS
from geoseg.geo.footprints.vectorize import Footprint
from geoseg.geo.formats.writer import write_footprints

squares = [
    Footprint(box(6e5 + i, 4e6, 600001 + i, 4000001), 1, "building", 0.5, 1.0, 4.0, 0.0)
    for i in range(1500)
]
utm = CRS.from_epsg(32611)
for name in sys.argv[1:]:
    whole = Path("whole" + name)
    write_footprints(whole, squares, crs=utm)
    size = whole.stat().st_size
    whole.unlink()
    for share in (0.3, 0.98):
        limits = int(share * size), resource.RLIM_INFINITY
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        try:
            write_footprints(Path(name), squares, crs=utm, overwrite=True)
        except OutputError as error:
            print(name, "refused", error)
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)
"""


@pytest.mark.slow
def test_a_full_disk_leaves_the_old_output_and_nothing_else(tmp_path: Path) -> None:
    for name in ALL:
        (tmp_path / name).write_text("old")
    done = subprocess.run(
        [sys.executable, "-c", FULL_DISK, *ALL],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    lines = done.stdout.splitlines()
    assert [line.split(" ")[:2] for line in lines] == [
        [name, "refused"] for name in ALL for _ in range(2)
    ]
    assert all("could not be written" in line for line in lines)
    # SQLite tells of a table that is not there before it tells of the disk
    named = [line for line in lines if "no such table" not in line]
    assert len(named) >= 9 and all("check the free space" in line for line in named)
    assert {it.name: it.read_text() for it in tmp_path.iterdir()} == dict.fromkeys(
        ALL, "old"
    )


def test_a_rotated_footprint_in_degrees_keeps_its_corners(tmp_path: Path) -> None:
    cosine, sine = 1e-5 * np.cos(0.5), 1e-5 * np.sin(0.5)
    transform = Affine(cosine, sine, -115.0, sine, -cosine, 36.0)
    corners = [transform @ point for point in ((5, 10), (25, 10), (25, 30), (5, 30))]
    path = tmp_path / "b.geojson"
    write_footprints(path, [footprint(Polygon(corners))], crs=WGS84)
    found = shape(read(path)["features"][0]["geometry"])
    assert found.normalize().equals_exact(Polygon(corners).normalize(), 1e-7)


@pytest.mark.parametrize("suffix", [".gpkg", ".fgb", ".parquet", ".geojson"])
def test_files_say_what_made_them_where_there_is_a_place(
    tmp_path: Path, suffix: str
) -> None:
    if suffix == ".parquet":
        pytest.importorskip("pyarrow")
    tags = {"GEOSEG_METHOD": "iic", "GEOSEG_MODEL_SHA256": "ab12"}
    square = footprint(box(6e5, 4e6, 600010, 4000010))
    paths = [tmp_path / folder / f"town{suffix}" for folder in "ab"]
    for path in paths:
        path.parent.mkdir()
        write_footprints(path, [square], crs=UTM, tags=tags)
        assert read_provenance(path) == ({} if suffix == ".geojson" else tags)
    assert paths[0].read_bytes() == paths[1].read_bytes()


def test_flatgeobuf_sorts_by_place_and_keeps_the_ids(tmp_path: Path) -> None:
    corners = [(x, y) for y in (0, 500, 40) for x in (900, 0, 300, 20)]
    squares = [
        footprint(box(6e5 + x, 4e6 + y, 600010 + x, 4000010 + y)) for x, y in corners
    ]
    found = {}
    for suffix in (".fgb", ".gpkg"):
        write_footprints(tmp_path / f"town{suffix}", squares, crs=UTM)
        with fiona.open(tmp_path / f"town{suffix}") as layer:
            found[suffix] = [
                (f["properties"]["id"], f["geometry"]["coordinates"][0]) for f in layer
            ]
    by_id = [{id: set(ring) for id, ring in rows} for rows in found.values()]
    assert by_id[0] == by_id[1]
    orders = [[id for id, _ in rows] for rows in found.values()]
    assert orders[1] == sorted(orders[1]) != orders[0]
