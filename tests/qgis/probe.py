"""Open files in QGIS as a user does; say how they are shown, and draw them.

Run by the Python that QGIS comes with, which has no geoseg:

    /usr/bin/python3 tests/qgis/probe.py --png map.png buildings.geojson image.tif
"""

import argparse
import json
import os
import sys

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")

from qgis.core import (  # noqa: E402
    Qgis,
    QgsApplication,
    QgsMapRendererParallelJob,
    QgsMapSettings,
    QgsProject,
    QgsRasterLayer,
    QgsRectangle,
    QgsVectorLayer,
)
from qgis.PyQt.QtCore import QSize  # noqa: E402
from qgis.PyQt.QtGui import QColor  # noqa: E402

RASTERS = (".tif", ".vrt")


def open_layer(path):
    """Open a file with the style that it brings along."""
    if path.lower().endswith(RASTERS):
        return QgsRasterLayer(path, os.path.basename(path))
    return QgsVectorLayer(path, os.path.basename(path), "ogr")


def rgba(colour):
    return [colour.red(), colour.green(), colour.blue(), colour.alpha()]


def symbol_of(symbol):
    """List the fill and the outline of every layer of a symbol."""
    return [
        {
            "fill": rgba(layer.fillColor()),
            "filled": layer.brushStyle() != 0,
            "edge": rgba(layer.strokeColor()),
        }
        for layer in symbol.symbolLayers()
    ]


def describe_vector(layer):
    renderer = layer.renderer()
    kind = renderer.type() if renderer else None
    symbols = {}
    if kind == "singleSymbol":
        symbols[""] = symbol_of(renderer.symbol())
    elif kind == "categorizedSymbol":
        symbols = {it.value(): symbol_of(it.symbol()) for it in renderer.categories()}
    return {
        "features": layer.featureCount(),
        "spatial": layer.isSpatial(),
        "renderer": kind,
        "symbols": symbols,
        "tip": layer.mapTipTemplate(),
        "labels": layer.labelsEnabled(),
    }


def describe_raster(layer):
    renderer = layer.renderer()
    kind = renderer.type() if renderer else None
    entries = []
    if kind == "paletted":
        entries = [[c.value, c.label, rgba(c.color)] for c in renderer.classes()]
    elif kind == "singlebandpseudocolor":
        items = renderer.shader().rasterShaderFunction().colorRampItemList()
        entries = [[it.value, it.label, rgba(it.color)] for it in items]
    provider = layer.dataProvider()
    return {
        "renderer": kind,
        "entries": entries,
        "nodata": provider.sourceNoDataValue(1),
        "bands": [layer.bandName(n + 1) for n in range(layer.bandCount())],
    }


def describe(layer):
    own = describe_raster if isinstance(layer, QgsRasterLayer) else describe_vector
    described = {"name": layer.name(), "valid": layer.isValid()}
    if layer.isValid():
        described.update(crs=layer.crs().authid(), **own(layer))
    return described


def draw(layers, path, width, around):
    """Draw layers, the first on top, on the grid of the last one.

    Args:
        layers: The last one is a raster and gives CRS and extent.
        path: PNG to write.
        width: In pixels.
        around: How far to zoom out; 1 fills the picture.
    """
    base = layers[-1]
    extent = QgsRectangle(base.extent())
    extent.scale(around)
    settings = QgsMapSettings()
    settings.setDestinationCrs(base.crs())
    settings.setTransformContext(QgsProject.instance().transformContext())
    settings.setLayers([layer for layer in layers if layer.isSpatial()])
    settings.setExtent(extent)
    height = round(width * extent.height() / extent.width())
    settings.setOutputSize(QSize(width, height))
    settings.setOutputDpi(96)
    settings.setBackgroundColor(QColor(255, 255, 255))
    settings.setFlag(Qgis.MapSettingsFlag.Antialiasing, True)
    job = QgsMapRendererParallelJob(settings)
    job.start()
    job.waitForFinished()
    if not job.renderedImage().save(path, "PNG"):
        sys.exit(f"{path} could not be written")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("files", nargs="+", help="the first is drawn on top")
    parser.add_argument("--png", help="draw them over the last one, a raster")
    parser.add_argument("--each", help="folder: draw each of them over the last one")
    parser.add_argument("--width", type=int, default=650)
    parser.add_argument("--around", type=float, default=1.0)
    arguments = parser.parse_args()
    application = QgsApplication([], False)
    application.initQgis()
    layers = [open_layer(path) for path in arguments.files]
    print(
        json.dumps({"qgis": Qgis.version(), "layers": [describe(it) for it in layers]})
    )
    sys.stdout.flush()
    if arguments.png:
        draw(layers, arguments.png, arguments.width, arguments.around)
    if arguments.each:
        for layer in layers:
            path = os.path.join(arguments.each, layer.name() + ".png")
            shown = list(dict.fromkeys((layer, layers[-1])))
            draw(shown, path, arguments.width, arguments.around)
    # Not exitQgis: tearing down layers that Python still holds crashes.
    os._exit(0)


if __name__ == "__main__":
    main()
