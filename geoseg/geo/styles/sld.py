"""Styles of footprints as OGC SLD 1.1, for servers and GIS that do not read QML."""

import xml.etree.ElementTree as ET

from geoseg.core.palette import hex_colour
from geoseg.geo.rasters.legend import Legend, LegendEntry

_SLD = "http://www.opengis.net/sld"
_SE = "http://www.opengis.net/se"
_OGC = "http://www.opengis.net/ogc"


def footprint_sld(layer: str, legend: Legend) -> str:
    """Return the style of a footprint layer, with one rule per class.

    Args:
        layer: Name of the layer.
        legend: Legend of the classes; a hidden class has no rule.

    References:
        OGC 05-078r4, Styled Layer Descriptor profile of the Web Map Service, 1.1.0;
        OGC 05-077r4, Symbology Encoding, 1.1.0.
    """
    root = ET.Element(
        "StyledLayerDescriptor",
        {"xmlns": _SLD, "xmlns:se": _SE, "xmlns:ogc": _OGC},
        version="1.1.0",
    )
    named = ET.SubElement(root, "NamedLayer")
    _add(named, "se:Name", layer)
    style = ET.SubElement(named, "UserStyle")
    _add(style, "se:Name", layer)
    rules = ET.SubElement(style, "se:FeatureTypeStyle")
    rules.extend(_rule(entry) for entry in legend if entry.shown)
    ET.indent(root, " ")
    text: str = ET.tostring(root, encoding="unicode")
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + text + "\n"


def _rule(entry: LegendEntry) -> ET.Element:
    rule = ET.Element("se:Rule")
    _add(rule, "se:Name", entry.name)
    equal = ET.SubElement(ET.SubElement(rule, "ogc:Filter"), "ogc:PropertyIsEqualTo")
    _add(equal, "ogc:PropertyName", "class")
    _add(equal, "ogc:Literal", entry.name)
    symbolizer = ET.SubElement(rule, "se:PolygonSymbolizer")
    fill = ET.SubElement(symbolizer, "se:Fill")
    _add(fill, "se:SvgParameter", hex_colour(entry.colour), name="fill")
    _add(fill, "se:SvgParameter", "0.27", name="fill-opacity")
    stroke = ET.SubElement(symbolizer, "se:Stroke")
    _add(stroke, "se:SvgParameter", hex_colour(entry.colour), name="stroke")
    _add(stroke, "se:SvgParameter", "1.5", name="stroke-width")
    return rule


def _add(parent: ET.Element, tag: str, text: str, **attributes: str) -> None:
    ET.SubElement(parent, tag, attributes).text = text
