"""QGIS styles as QML.

For QGIS 3.22 and later. One ``.qml`` may style a vector layer and a raster of the same name:
each reads its own element and skips the other's.
"""

import xml.etree.ElementTree as ET
from collections.abc import Iterable, Mapping, Sequence

from geoseg.core.palette import Rgb, hex_colour
from geoseg.geo.rasters.legend import Legend, LegendEntry

#: QGIS version of the elements; newer versions upgrade them on reading.
VERSION = "3.22.0-geoseg"

#: Opacity of classes over imagery, 0 to 255.
CLASS_ALPHA = 190

_DOCTYPE = "<!DOCTYPE qgis PUBLIC 'http://mrcc.com/qgis.dtd' 'SYSTEM'>\n"
_POLYGONS = "2"
_FILL_ALPHA = 70
_CASING = "255,255,255,220"

_MAP_TIP = (
    '<b>[% "class" %]</b><br>[% format_number("area_m2", 0) %] m²<br>'
    "[% coalesce('score ' || format_number(\"score\", 2), '') %]"
)

# Probability, shade of the class colour (towards black, or below 0 towards white), and
# opacity; improbable pixels are transparent.
_RAMP = (
    (0.0, -0.8, 0),
    (0.1, -0.8, 0),
    (0.3, -0.7, 110),
    (0.5, -0.45, 160),
    (0.75, -0.1, 200),
    (1.0, 0.2, 225),
)


def qml(elements: Iterable[ET.Element]) -> str:
    """Return a QML document.

    Args:
        elements: From :func:`footprint_elements`, and at most one pipe.
    """
    root = ET.Element(
        "qgis",
        version=VERSION,
        styleCategories="Symbology|Labeling|MapTips|Rendering",
        hasScaleBasedVisibilityFlag="0",
        labelsEnabled="0",
    )
    root.extend(elements)
    ET.indent(root, " ")
    return _DOCTYPE + ET.tostring(root, encoding="unicode") + "\n"


def footprint_elements(legend: Legend) -> list[ET.Element]:
    """Return the style of footprints: light fill and cased outline in the class colour.

    Outlines have a fixed width on the ground, within limits on the screen.

    Args:
        legend: Legend of the classes; a hidden class has no footprints.
    """
    shown = [entry for entry in legend if entry.shown]
    renderer = ET.Element(
        "renderer-v2",
        type="singleSymbol" if len(shown) == 1 else "categorizedSymbol",
        enableorderby="0",
        forceraster="0",
        symbollevels="0",
        referencescale="-1",
    )
    if len(shown) != 1:
        renderer.set("attr", "class")
        categories = ET.SubElement(renderer, "categories")
        for number, entry in enumerate(shown):
            ET.SubElement(
                categories,
                "category",
                value=entry.name,
                label=entry.name,
                symbol=str(number),
                render="true",
                type="string",
            )
    symbols = ET.SubElement(renderer, "symbols")
    symbols.extend(_symbol(str(n), entry.colour) for n, entry in enumerate(shown))
    return [
        renderer,
        *(_text(name, "0") for name in ("blendMode", "featureBlendMode")),
        _text("layerOpacity", "1"),
        _text("previewExpression", '"class"'),
        _text("mapTip", _MAP_TIP, enabled="1"),
        _text("layerGeometryType", _POLYGONS),
    ]


def _symbol(name: str, colour: Rgb) -> ET.Element:
    symbol = ET.Element(
        "symbol", name=name, type="fill", alpha="1", clip_to_extent="1", force_rhr="0"
    )
    clear = "0,0,0,0"
    symbol.append(_fill(clear, "no", _CASING, width_m=1.4, most_mm=0.9, least_mm=0.1))
    inside, edge = _rgba(colour, _FILL_ALPHA), _rgba(colour, 255)
    symbol.append(_fill(inside, "solid", edge, width_m=0.7, most_mm=0.45, least_mm=0.1))
    return symbol


def _fill(
    inside: str,
    style: str,
    edge: str,
    *,
    width_m: float,
    most_mm: float,
    least_mm: float,
) -> ET.Element:
    layer = ET.Element("layer", {"class": "SimpleFill"}, enabled="1", locked="0")
    layer.set("pass", "0")
    limits = f"3x:0,0,1,{least_mm},1,{most_mm}"
    layer.append(
        _options(
            {
                "color": inside,
                "style": style,
                "joinstyle": "miter",
                "outline_color": edge,
                "outline_style": "solid",
                "outline_width": f"{width_m}",
                "outline_width_unit": "RenderMetersInMapUnits",
                "border_width_map_unit_scale": limits,
            }
        )
    )
    return layer


def paletted_pipe(legend: Legend) -> ET.Element:
    """Return the style of a raster of classes or clusters, one colour each, no nodata."""
    renderer = _renderer("paletted")
    palette = ET.SubElement(renderer, "colorPalette")
    opaque = all(entry.shown for entry in legend)
    for entry in legend:
        ET.SubElement(
            palette,
            "paletteEntry",
            value=str(entry.value),
            label=entry.name,
            color=hex_colour(entry.colour),
            alpha=str(_alpha(entry, opaque)),
        )
    return _pipe(renderer)


def _alpha(entry: LegendEntry, opaque: bool) -> int:
    if opaque:
        return 255
    return CLASS_ALPHA if entry.shown else 0


def probability_pipe(legend: Legend) -> ET.Element:
    """Return the style of a probability raster: the more probable, the more opaque.

    The colour is that of the first shown class. QGIS applies the scale of the file, so
    values run from 0 to 1.

    Args:
        legend: Legend of the classes, background first.
    """
    renderer = _renderer("singlebandpseudocolor")
    renderer.set("classificationMin", "0")
    renderer.set("classificationMax", "1")
    shader = ET.SubElement(ET.SubElement(renderer, "rastershader"), "colorrampshader")
    shader.attrib |= {
        "minimumValue": "0",
        "maximumValue": "1",
        "colorRampType": "INTERPOLATED",
        "classificationMode": "1",
        "clip": "0",
        "labelPrecision": "0",
    }
    shown = next(entry for entry in legend if entry.shown)
    stops = [(at, _shade(shown.colour, tone), alpha) for at, tone, alpha in _RAMP]
    shader.append(_gradient(stops))
    for at, colour, alpha in stops:
        ET.SubElement(
            shader,
            "item",
            value=f"{at}",
            label=f"{100 * at:.0f} %",
            color=hex_colour(colour),
            alpha=str(alpha),
        )
    return _pipe(renderer)


def _shade(colour: Rgb, tone: float) -> Rgb:
    """Return a colour moved towards black (``tone`` up to 1) or white (down to -1)."""
    end = 0 if tone > 0 else 255
    red, green, blue = (round(part + abs(tone) * (end - part)) for part in colour)
    return red, green, blue


def _gradient(stops: Sequence[tuple[float, Rgb, int]]) -> ET.Element:
    """Return the colour ramp of the items, which QGIS draws in legends."""
    colours = [_rgba(colour, alpha) for _, colour, alpha in stops]
    between = zip(stops[1:-1], colours[1:-1], strict=True)
    ramp = ET.Element("colorramp", name="[source]", type="gradient")
    ramp.append(
        _options(
            {
                "color1": colours[0],
                "color2": colours[-1],
                "discrete": "0",
                "rampType": "gradient",
                "stops": ":".join(f"{stop[0]};{colour}" for stop, colour in between),
            }
        )
    )
    return ramp


def _renderer(kind: str) -> ET.Element:
    renderer = ET.Element("rasterrenderer", type=kind, band="1", opacity="1")
    renderer.attrib |= {"alphaBand": "-1", "nodataColor": ""}
    ET.SubElement(renderer, "rasterTransparency")
    return renderer


def _pipe(renderer: ET.Element) -> ET.Element:
    pipe = ET.Element("pipe")
    provider = ET.SubElement(pipe, "provider")
    ET.SubElement(
        provider,
        "resampling",
        enabled="false",
        maxOversampling="2",
        zoomedInResamplingMethod="nearestNeighbour",
        zoomedOutResamplingMethod="nearestNeighbour",
    )
    pipe.append(renderer)
    ET.SubElement(pipe, "brightnesscontrast", brightness="0", contrast="0", gamma="1")
    ET.SubElement(pipe, "huesaturation", saturation="0", grayscaleMode="0")
    ET.SubElement(pipe, "rasterresampler", maxOversampling="2")
    return pipe


def _options(values: Mapping[str, str]) -> ET.Element:
    options = ET.Element("Option", type="Map")
    for name, value in values.items():
        ET.SubElement(options, "Option", type="QString", name=name, value=value)
    return options


def _text(tag: str, text: str, **attributes: str) -> ET.Element:
    element = ET.Element(tag, attributes)
    element.text = text
    return element


def _rgba(colour: Rgb, alpha: int) -> str:
    return ",".join(map(str, (*colour, alpha)))
