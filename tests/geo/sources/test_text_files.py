"""Text of other systems: lists of images, GeoJSON and tables of WKT as labels."""

import json

import numpy as np
import pytest
from rasterio.warp import transform_geom
from shapely.geometry import shape

from geoseg.core.classes import LabelClasses
from geoseg.geo.labels.labels import read_labels
from geoseg.geo.labels.vector_inspection import inspect_vector
from geoseg.geo.rasters.raster import describe
from geoseg.geo.sources.text_files import decode_text
from geoseg.geo.tiles.tiles import Tile, find_tiles

UTM = "EPSG:32611"
ENCODINGS = [
    *("utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "cp1252"),
]


@pytest.fixture
def image(write_tiff):
    return write_tiff("image.tif", np.ones((3, 12, 16), np.uint8))


def burn(row, col, height, width):
    mask = np.zeros((12, 16), np.uint8)
    mask[row : row + height, col : col + width] = 1
    return mask


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_text_is_decoded_whatever_wrote_it(encoding):
    text = "Gebäude\r\nroof\r\n"
    assert decode_text(text.encode(encoding)) == text
    assert decode_text(b"") == ""


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_a_list_of_images_may_be_of_another_system(tmp_path, write_tiff, encoding):
    for name in ("tiles/a.tif", "tiles/Gebäude.tif"):
        write_tiff(name, np.ones((3, 8, 8), np.uint8))
    lines = ["# images", "tiles/a.tif", '"tiles\\Gebäude.tif"', ""]
    path = tmp_path / "list.txt"
    path.write_bytes("\r\n".join(lines).encode(encoding))
    assert [tile.id for tile in find_tiles(path)] == ["a", "Gebäude"]


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("name", ["l.geojson", "l.ndjson", "l.csv"])
def test_labels_may_be_text_of_another_system(
    tmp_path, image, rectangle, name, encoding
):
    moved = transform_geom(UTM, "EPSG:4326", rectangle(2.3, 3.3, 4.4, 5.4))
    properties = {"kind": "Gebäude"}
    feature = {"type": "Feature", "properties": properties, "geometry": moved}
    text = json.dumps(feature, ensure_ascii=False) + "\r\n"
    if name == "l.geojson":
        text = f'{{"type": "FeatureCollection",\r\n"features": [{text}]}}'
    if name == "l.csv":
        text = f'kind;WKT\r\nGebäude;"{shape(moved).wkt}"\r\n'
    path = tmp_path / name
    path.write_bytes(text.encode(encoding))
    classes = LabelClasses.parse("background=*,house=Gebäude")
    classes = LabelClasses(classes.names, classes.values, classes.rest, field="kind")
    tile = Tile("a", image, str(path), None, classes)
    np.testing.assert_array_equal(read_labels(tile, describe(image)), burn(2, 3, 5, 6))
    (layer,) = inspect_vector(path)
    assert layer.values["kind"] == {"Gebäude": 1}


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_a_table_may_hold_large_fields_between_any_separators(
    tmp_path, image, rectangle, separator
):
    house = transform_geom(UTM, "EPSG:4326", rectangle(2.3, 3.3, 4.4, 5.4))
    text = shape(house).wkt.replace("POLYGON ", "MULTIPOLYGON (") + ")"
    far = ", ((-117 36, -117.1 36, -117.1 36.1, -117 36))"
    text = text[:-1] + far * (140_000 // len(far)) + ")"
    path = tmp_path / "l.csv"
    path.write_text(f'id{separator}WKT\n1{separator}"{text}"\n')
    found = read_labels(Tile("a", image, str(path)), describe(image))
    np.testing.assert_array_equal(found, burn(2, 3, 5, 6))
