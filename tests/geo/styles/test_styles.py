"""Styles of the outputs, checked without QGIS: tests/qgis does it with QGIS."""

import json
import os
import shutil
import sqlite3
import subprocess
import xml.etree.ElementTree as ET
from contextlib import closing

import fiona
import numpy as np
import pytest
import rasterio
from rasterio.crs import CRS
from shapely import box

from geoseg.core.errors import (
    OutputError,
    OutputExistsError,
    ParameterError,
    RasterError,
)
from geoseg.core.outputs import write_aside
from geoseg.geo.footprints.vectorize import Footprint
from geoseg.geo.formats.attribute_tables import auxiliary_xml
from geoseg.geo.formats.class_rasters import class_raster
from geoseg.geo.formats.writer import write_footprints
from geoseg.geo.maps import job
from geoseg.geo.maps.mapping import map_buildings
from geoseg.geo.maps.options import MapOptions
from geoseg.geo.rasters.legend import class_legend, cluster_legend
from geoseg.geo.rasters.raster import describe
from geoseg.geo.rasters.strips import ClassStrip
from geoseg.geo.styles.qml import footprint_elements, paletted_pipe, qml
from geoseg.geo.styles.sld import footprint_sld
from geoseg.geo.styles.styles import (
    layer_style,
    plan_styles,
    styled_outputs,
    write_style,
)

TWO = class_legend(("background", "building"))
MANY = class_legend(("background", "building", 'a < "b" & c', "tank"))
UTM = CRS.from_epsg(32611)
SQUARE = Footprint(box(6e5, 4e6, 600010, 4000010), 1, "building", 0.5, 100.0, 40.0, 0.0)


def footprint_style(legend):
    return ET.fromstring(qml(footprint_elements(legend)))


def test_every_category_has_a_symbol_of_two_layers():
    root = footprint_style(MANY)
    categories = root.findall("renderer-v2/categories/category")
    symbols = {it.get("name"): it for it in root.findall("renderer-v2/symbols/symbol")}
    assert root.find("renderer-v2").get("attr") == "class"
    assert [it.get("value") for it in categories] == [it.name for it in MANY[1:]]
    for category in categories:
        assert len(symbols.pop(category.get("symbol")).findall("layer")) == 2
    assert not symbols


def test_one_class_needs_no_categories():
    root = footprint_style(TWO)
    assert root.find("renderer-v2").get("type") == "singleSymbol"
    assert root.find("renderer-v2/categories") is None
    assert len(root.findall("renderer-v2/symbols/symbol")) == 1


def test_a_palette_names_every_value_and_hides_the_background():
    entries = ET.fromstring(qml([paletted_pipe(MANY)])).findall(".//paletteEntry")
    assert [entry.get("value") for entry in entries] == ["0", "1", "2", "3"]
    assert [entry.get("label") for entry in entries] == [it.name for it in MANY]
    assert [int(entry.get("alpha")) > 0 for entry in entries] == [False] + [True] * 3


def test_sld_has_a_rule_per_class_and_refers_to_the_attribute():
    root = ET.fromstring(footprint_sld("town", MANY))
    space = {"se": "http://www.opengis.net/se", "ogc": "http://www.opengis.net/ogc"}
    rules = root.findall(".//se:Rule", space)
    literals = [rule.find(".//ogc:Literal", space).text for rule in rules]
    assert literals == [it.name for it in MANY[1:]]
    names = {rule.find(".//ogc:PropertyName", space).text for rule in rules}
    assert names == {"class"}


def test_outputs_of_one_name_share_one_style(tmp_path):
    vector, raster = tmp_path / "a.geojson", tmp_path / "a.tif"
    outputs = styled_outputs(TWO, footprints=vector, classes=raster)
    ((path, elements),) = plan_styles(outputs).items()
    write_style(path, elements)
    root = ET.parse(tmp_path / "a.qml").getroot()
    assert root.find("renderer-v2") is not None
    assert len(root.findall("pipe/rasterrenderer")) == 1


def test_a_geopackage_has_its_style_inside(tmp_path):
    assert plan_styles(styled_outputs(TWO, footprints=tmp_path / "a.gpkg")) == {}
    both = styled_outputs(
        TWO, footprints=tmp_path / "a.gpkg", classes=tmp_path / "a.tif"
    )
    assert list(plan_styles(both)) == [tmp_path / "a.qml"]


def test_a_file_that_is_no_output_is_not_restyled(tmp_path, caplog):
    (tmp_path / "tile.tif").write_bytes(b"an image")
    outputs = styled_outputs(TWO, footprints=tmp_path / "tile.geojson")
    assert plan_styles(outputs) == {}
    assert "tile.qml would restyle tile.tif too" in caplog.text


def test_a_geopackage_beside_an_image_of_its_name_needs_no_other_name(tmp_path, caplog):
    (tmp_path / "tile.tif").write_bytes(b"an image")
    outputs = styled_outputs(TWO, footprints=tmp_path / "tile.gpkg")
    assert plan_styles(outputs) == {} and not caplog.text
    outputs += styled_outputs(TWO, footprints=tmp_path / "tile.geojson")
    assert plan_styles(outputs) == {}
    assert "no style for tile.geojson" in caplog.text


def test_two_rasters_of_one_name_are_refused(tmp_path):
    outputs = styled_outputs(
        TWO, classes=tmp_path / "a.tif", probability=tmp_path / "a.tiff"
    )
    with pytest.raises(ParameterError, match=r"a\.tif and a\.tiff .* a\.qml.*no-style"):
        plan_styles(outputs)


def test_a_style_that_exists_is_kept(tmp_path):
    path = tmp_path / "a.qml"
    path.write_text("mine")
    with pytest.raises(OutputExistsError, match="--overwrite"):
        write_style(path, footprint_elements(TWO))
    assert path.read_text() == "mine"
    write_style(path, footprint_elements(TWO), overwrite=True)
    assert ET.parse(path).getroot().tag == "qgis"


def test_a_geopackage_with_a_style_is_whole_and_readable(tmp_path):
    path = tmp_path / "town.gpkg"
    write_footprints(path, [SQUARE] * 3, crs=UTM, style=layer_style("town", TWO))
    with fiona.open(path) as layer:  # the first is the footprints'
        assert layer.name == "town" and len(layer) == 3
    with closing(sqlite3.connect(path)) as database:
        assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert database.execute("PRAGMA foreign_key_check").fetchall() == []
        ((catalog, schema, table, column, style, sld, default),) = database.execute(
            "SELECT f_table_catalog, f_table_schema, f_table_name, f_geometry_column, "
            "styleQML, styleSLD, useAsDefault FROM layer_styles"
        )
        kinds = dict(
            database.execute("SELECT table_name, data_type FROM gpkg_contents")
        )
    assert (catalog, schema, table, column, default) == ("", "", "town", "geom", 1)
    assert kinds == {"town": "features", "layer_styles": "attributes"}
    assert ET.fromstring(style).tag == "qgis"
    assert ET.fromstring(sld).tag.endswith("StyledLayerDescriptor")


def test_without_a_style_a_geopackage_has_one_layer(tmp_path):
    write_footprints(tmp_path / "town.gpkg", [SQUARE], crs=UTM)
    assert fiona.listlayers(tmp_path / "town.gpkg") == ["town"]


def test_a_geopackage_that_is_open_elsewhere_is_not_replaced(tmp_path):
    path = tmp_path / "town.gpkg"
    write_footprints(path, [SQUARE], crs=UTM)
    with closing(sqlite3.connect(path)) as database:
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("CREATE TABLE edit (id)")
        database.commit()
        with pytest.raises(OutputError, match=r"town\.gpkg-wal .* close it"):
            write_footprints(path, [], crs=UTM, overwrite=True)
        assert database.execute("SELECT count(*) FROM town").fetchone() == (1,)


@pytest.fixture
def classes(write_tiff, tmp_path):
    """A class raster of 2 by 4 pixels: 0, 1, 3 and nodata."""
    values = np.array([[0, 0, 1, 3], [0, 1, 255, 255]], dtype=np.uint8)
    grid = describe(write_tiff("grid.tif", values[np.newaxis]))
    path = tmp_path / "classes.tif"
    with class_raster(path, grid, legend=MANY) as rows:
        rows(ClassStrip(0, values, np.ones((2, 4), np.float32)))
    return path


def test_statistics_and_names_are_read_with_the_raster(classes):
    with rasterio.open(classes) as dataset:
        found = dataset.tags(1)
    known = np.array([0, 0, 1, 3, 0, 1])
    assert float(found["STATISTICS_MEAN"]) == pytest.approx(known.mean())
    assert float(found["STATISTICS_STDDEV"]) == pytest.approx(known.std())
    assert (found["STATISTICS_MINIMUM"], found["STATISTICS_MAXIMUM"]) == ("0", "3")
    assert float(found["STATISTICS_VALID_PERCENT"]) == 75


def test_gdal_reads_the_attribute_table(classes):
    if shutil.which("gdalinfo") is None:
        pytest.skip("gdalinfo is not installed: apt-get install gdal-bin")
    done = subprocess.run(
        ["gdalinfo", "-json", classes], capture_output=True, text=True, check=True
    )
    described = json.loads(done.stdout)
    assert described["bands"][0]["categories"] == [entry.name for entry in MANY]
    assert described["rat"]["tableType"] == "thematic"
    rows = [row["f"] for row in described["rat"]["row"]]
    assert [row[:3] for row in rows] == [
        [entry.value, entry.name, count]
        for entry, count in zip(MANY, (3, 2, 0, 1), strict=True)
    ]
    assert [tuple(row[3:6]) for row in rows] == [entry.colour for entry in MANY]


def test_a_raster_without_data_has_no_statistics():
    counts = np.zeros((1, 256), dtype=np.int64)
    counts[0, 255] = 9
    text = auxiliary_xml(counts, nodata=255, legend=cluster_legend(2))
    assert "STATISTICS" not in text and "cluster 1" in text


def test_what_described_the_old_file_goes_with_it(tmp_path):
    path = tmp_path / "a.tif"
    names = ("a.tif", "a.tif.aux.xml", "a.tif.ovr")
    for name in names:
        (tmp_path / name).write_text("old")
    with write_aside(path, verify=lambda _: None, overwrite=True) as temporary:
        temporary.write_text("new")
    assert [it.name for it in tmp_path.iterdir()] == ["a.tif"]


def test_a_sidecar_appears_with_its_file_or_not_at_all(tmp_path):
    path = tmp_path / "a.tif"

    def write(text, verify=lambda _: None):
        with write_aside(
            path, verify=verify, overwrite=True, sidecar=".aux.xml"
        ) as aside:
            aside.write_text(text)
            aside.with_name(aside.name + ".aux.xml").write_text(text)

    def refuse(_):
        raise OutputError("no")

    write("old")
    with pytest.raises(OutputError, match="no"):
        write("new", refuse)
    found = {it.name: it.read_text() for it in tmp_path.iterdir()}
    assert found == {"a.tif": "old", "a.tif.aux.xml": "old"}
    write("new")
    found = {it.name: it.read_text() for it in tmp_path.iterdir()}
    assert found == {"a.tif": "new", "a.tif.aux.xml": "new"}


def town():
    """Dark ground with a bright square of 12 pixels."""
    pixels = np.full((3, 60, 70), 100, dtype=np.uint16)
    pixels[:, 20:32, 20:32] = 900
    return pixels


def test_styles_lie_beside_the_outputs_unless_refused(
    write_tiff, bright_model, tmp_path
):
    image = write_tiff("image.tif", town())
    for style, expected in ((True, ["b.qml", "c.qml"]), (False, [])):
        folder = tmp_path / str(style)
        folder.mkdir()
        map_buildings(
            bright_model(),
            [image],
            folder / "b.geojson",
            classes=folder / "c.tif",
            options=MapOptions(style=style),
        )
        assert sorted(it.name for it in folder.glob("*.qml")) == expected
        assert (folder / "c.tif.aux.xml").exists()


@pytest.mark.parametrize("name", ["b.qml", "c.qml", "c.tif.aux.xml"])
def test_a_file_where_a_style_belongs_stops_before_anything_is_computed(
    write_tiff, bright_model, tmp_path, monkeypatch, name
):
    image = write_tiff("image.tif", town())
    (tmp_path / name).write_text("mine")
    monkeypatch.delattr(job, "predict_rows")
    with pytest.raises(OutputExistsError, match=name):
        map_buildings(
            bright_model(), [image], tmp_path / "b.geojson", classes=tmp_path / "c.tif"
        )
    assert (tmp_path / name).read_text() == "mine"


def test_an_output_that_fails_leaves_no_style(write_tiff, bright_model, tmp_path):
    good = write_tiff("good.tif", town())
    broken = write_tiff("broken.tif", town())
    with open(broken, "r+b") as file:
        file.truncate(os.path.getsize(broken) // 2)
    with pytest.raises(RasterError):
        map_buildings(bright_model(), [good, broken], tmp_path / "b.geojson")
    assert sorted(it.name for it in tmp_path.iterdir()) == ["broken.tif", "good.tif"]
