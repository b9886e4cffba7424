"""What a user of QGIS sees who opens the outputs and does nothing else."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import rasterio
from affine import Affine
from matplotlib.image import imread
from rasterio.crs import CRS
from shapely import box

from geoseg.core.palette import BUILDING, class_colours
from geoseg.geo.footprints.vectorize import Footprint
from geoseg.geo.formats.class_rasters import class_raster
from geoseg.geo.formats.writer import write_footprints
from geoseg.geo.maps.mapping import map_buildings
from geoseg.geo.maps.options import MapOptions
from geoseg.geo.rasters.legend import class_legend
from geoseg.geo.rasters.raster import describe
from geoseg.geo.rasters.strips import ClassStrip
from geoseg.geo.styles.styles import (
    layer_style,
    plan_styles,
    styled_outputs,
    write_style,
)

GRID = Affine(0.5, 0, 664000, 0, -0.5, 4000000)
ZOOM = 10
#: In pixels of the image: inside the building, outside it, without data.
INSIDE, OUTSIDE, EMPTY = (20, 20), (45, 45), (30, 66)
FILL, RASTER = 70 / 255, 190 / 255  # opacities that the styles ask for


class Seen(NamedTuple):
    """What QGIS says of the layers, and its pictures of them over the image."""

    layers: dict[str, dict]
    pictures: Path

    def pixel(self, name: str, place: tuple[float, float]) -> np.ndarray:
        row, col = (int(ZOOM * (part + 0.5)) for part in place)
        picture = imread(self.pictures / f"{name}.png")
        return (picture[row, col, :3] * 255).round().astype(int)


def write_image(path: Path, *, buildings: bool = True) -> str:
    """Grey ground, a bright building in rows and columns 10 to 30, an empty edge."""
    pixels = np.full((3, 60, 70), 100, dtype=np.uint16)
    if buildings:
        pixels[:, 10:30, 10:30] = 900
    pixels[:, :, 62:] = 0
    with rasterio.open(
        path,
        "w",
        driver="GTiff",
        count=3,
        height=60,
        width=70,
        dtype="uint16",
        crs="EPSG:32611",
        transform=GRID,
        nodata=0,
        photometric="rgb",
    ) as dataset:
        dataset.write(pixels)
    return str(path)


@pytest.fixture(scope="module")
def seen(probe, bright_model, tmp_path_factory) -> Seen:
    """Outputs of every kind, opened in one QGIS."""
    folder = tmp_path_factory.mktemp("qgis")
    image = write_image(folder / "image.tif")
    model = bright_model()
    rasters = {k: folder / f"{k}.tif" for k in ("classes", "probability", "clusters")}
    map_buildings(model, [image], folder / "plain.geojson", **rasters)
    map_buildings(model, [image], folder / "packed.gpkg")
    map_buildings(model, [image], folder / "flat.fgb")
    map_buildings(model, [image], folder / "lines.geojsonl")
    map_buildings(
        model, [image], folder / "shared.geojson", classes=folder / "shared.tif"
    )
    map_buildings(model, [image], folder / "both.gpkg", probability=folder / "both.tif")
    map_buildings(
        model, [image], folder / "bare.geojson", options=MapOptions(style=False)
    )
    nothing = write_image(folder / "nothing.tif", buildings=False)
    map_buildings(model, [nothing], folder / "empty.geojson")
    map_buildings(model, [nothing], folder / "empty.gpkg")
    map_buildings(model, [nothing], folder / "blank.fgb")
    names = [path.name for path in (folder / "plain.geojson", *rasters.values())]
    names += ["packed.gpkg", "shared.geojson", "shared.tif", "both.gpkg", "both.tif"]
    names += ["flat.fgb", "lines.geojsonl", "blank.fgb"]
    names += ["bare.geojson", "empty.geojson", "empty.gpkg", "image.tif"]
    paths = [folder / name for name in names]
    layers = probe("--each", folder, "--width", 70 * ZOOM, *paths)
    return Seen(layers, folder)


def mixed(base: np.ndarray, colour: tuple[int, ...], opacity: float) -> np.ndarray:
    return base * (1 - opacity) + np.array(colour) * opacity


VECTORS = (
    *("plain.geojson", "packed.gpkg", "shared.geojson", "both.gpkg"),
    *("flat.fgb", "lines.geojsonl"),
)


@pytest.mark.parametrize("name", VECTORS)
def test_footprints_open_with_a_thin_fill_and_a_cased_outline(seen, name):
    layer = seen.layers[name]
    assert layer["features"] == 1
    assert layer["renderer"] == "singleSymbol"
    casing, shape = layer["symbols"][""]
    assert not casing["filled"] and casing["edge"] == [255, 255, 255, 220]
    assert shape["filled"] and shape["fill"] == [*BUILDING, 70]
    assert shape["edge"] == [*BUILDING, 255]
    assert "area_m2" in layer["tip"] and "score" in layer["tip"]
    assert not layer["labels"]


@pytest.mark.parametrize("name", VECTORS)
def test_footprints_are_drawn_where_buildings_are_and_the_roof_shows(seen, name):
    inside = mixed(seen.pixel("image.tif", INSIDE), BUILDING, FILL)
    assert seen.pixel(name, INSIDE) == pytest.approx(inside, abs=4)
    outside = seen.pixel("image.tif", OUTSIDE)
    assert seen.pixel(name, OUTSIDE).tolist() == outside.tolist()
    # Half a pixel up and left of the footprint's corner lies its outline.
    edge = seen.pixel(name, (9.5, 20))
    assert edge == pytest.approx(np.array(BUILDING), abs=45)


def test_without_a_style_qgis_takes_one_of_its_own(seen):
    (symbol,) = seen.layers["bare.geojson"]["symbols"][""]
    assert symbol["fill"][3] == 255  # the image does not show


@pytest.mark.parametrize("name", ["classes.tif", "shared.tif"])
def test_a_class_raster_shows_its_classes_and_no_background(seen, name):
    assert seen.layers[name]["renderer"] == "paletted"
    assert seen.layers[name]["nodata"] == 255
    assert seen.layers[name]["entries"] == [
        [0, "background", [240, 240, 236, 0]],
        [1, "building", [*BUILDING, 190]],
    ]
    inside = mixed(seen.pixel("image.tif", INSIDE), BUILDING, RASTER)
    assert seen.pixel(name, INSIDE) == pytest.approx(inside, abs=4)
    for place in (OUTSIDE, EMPTY):
        below = seen.pixel("image.tif", place)
        assert seen.pixel(name, place).tolist() == below.tolist()


@pytest.mark.parametrize("name", ["probability.tif", "both.tif"])
def test_a_probability_raster_is_clear_where_nothing_is_likely(seen, name):
    layer = seen.layers[name]
    assert layer["renderer"] == "singlebandpseudocolor"
    assert layer["bands"] == ["Band 1: building probability"]
    assert [label for _, label, _ in layer["entries"]][-1] == "100 %"
    opacities = [colour[3] for _, _, colour in layer["entries"]]
    assert opacities[0] == 0 and opacities == sorted(opacities)
    red, green, blue = seen.pixel(name, INSIDE)
    assert red > green + 40 > blue + 60  # of the building's hue
    below = seen.pixel("image.tif", EMPTY)
    assert seen.pixel(name, EMPTY).tolist() == below.tolist()


def test_clusters_are_all_shown(seen):
    entries = seen.layers["clusters.tif"]["entries"]
    assert [(value, label) for value, label, _ in entries] == [
        (0, "cluster 0"),
        (1, "cluster 1"),
    ]
    for place, (_, _, colour) in zip((OUTSIDE, INSIDE), entries, strict=True):
        assert seen.pixel("clusters.tif", place).tolist() == colour[:3]


def test_an_empty_flatgeobuf_is_a_styled_layer(seen):
    layer = seen.layers["blank.fgb"]
    assert layer["valid"] and layer["spatial"] and not layer["features"] > 0
    assert layer["crs"] == "EPSG:32611"
    assert layer["renderer"] == "singleSymbol"
    assert layer["symbols"][""][1]["fill"] == [*BUILDING, 70]


def test_an_empty_geopackage_is_a_styled_layer_and_an_empty_geojson_a_table(seen):
    packed, plain = seen.layers["empty.gpkg"], seen.layers["empty.geojson"]
    assert packed["valid"] and packed["spatial"]
    assert packed["renderer"] == "singleSymbol" and len(packed["symbols"][""]) == 2
    assert plain["valid"] and plain["features"] == 0 and not plain["spatial"]


def test_several_classes_have_categories_of_their_own(probe, tmp_path):
    names = ("background", "building", 'shed & "barn" <old>', "tank")
    legend, crs = class_legend(names), CRS.from_epsg(32611)
    squares = [
        Footprint(
            box(664002 + 8 * i, 3999980, 664008 + 8 * i, 3999990),
            i,
            names[i],
            0.5,
            60.0,
            32.0,
            0.0,
        )
        for i in (1, 2, 3)
    ]
    outputs = [tmp_path / "many.geojson", tmp_path / "many.gpkg"]
    styled = styled_outputs(legend, classes=tmp_path / "classes.tif")
    for path in outputs:
        style = layer_style(path.stem, legend)
        write_footprints(path, squares, crs=crs, style=style)
        styled += styled_outputs(legend, footprints=path)
    image = write_image(tmp_path / "image.tif")
    classes = np.arange(60 * 70, dtype=np.uint32).reshape(60, 70) % 4
    with class_raster(tmp_path / "classes.tif", describe(image), legend=legend) as rows:
        rows(ClassStrip(0, classes.astype(np.uint8), np.ones((60, 70), np.float32)))
    for path, elements in plan_styles(styled).items():
        write_style(path, elements)
    layers = probe(*outputs, tmp_path / "classes.tif")
    colours = class_colours(4)
    for path in outputs:
        layer = layers[path.name]
        assert layer["renderer"] == "categorizedSymbol"
        assert list(layer["symbols"]) == list(names[1:])
        fills = [symbol[1]["fill"] for symbol in layer["symbols"].values()]
        assert fills == [[*colour, 70] for colour in colours[1:]]
    entries = layers["classes.tif"]["entries"]
    assert [label for _, label, _ in entries] == list(names)
    assert [rgba[:3] for _, _, rgba in entries] == [list(c) for c in colours]
