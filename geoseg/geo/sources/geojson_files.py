"""GeoJSON files as people have them: features and CRS, whatever else they hold.

Read here and not by GDAL, which makes one type of all values of an attribute, whether
it is wanted or not, and takes a file whose end is missing for a short one.
"""

import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from rasterio.crs import CRS
from rasterio.errors import CRSError

from geoseg.geo.sources.text_files import read_text

_GEOMETRIES = {
    *("Point", "LineString", "Polygon", "GeometryCollection"),
    *("MultiPoint", "MultiLineString", "MultiPolygon"),
}
#: Names of CRSs: urn:ogc:def:crs:EPSG::32633, EPSG:32633 and their address at OGC. No
#: other address is asked, and no file read.
_CRS_URN = re.compile(r"urn:(?:x-)?ogc:def:crs[:,].+", re.IGNORECASE)
_CRS_CODE = re.compile(
    r"(?:https?://(?:www\.)?opengis\.net/def/crs/)?([a-z]+)(?:/[^/:]*/|:+)(\w+)",
    re.IGNORECASE,
)
#: What GeoJSON without a ``crs`` member is in (RFC 7946), and names for the same.
_LON_LAT = re.compile(r"(?:.*\W)?(?:CRS84|EPSG:(?:[\d.]*:)?4326)", re.IGNORECASE)


class Document(NamedTuple):
    """A GeoJSON file.

    Attributes:
        features: As they stand in the file; nothing of them is checked.
        crs: Of their coordinates.
        name: Of the collection, or None.
    """

    features: list[Any]
    crs: CRS
    name: str | None


def read_document(path: str | Path) -> Document | None:
    """Read a GeoJSON file; None if it is JSON of another kind (TopoJSON, Esri's).

    Raises:
        OSError: If the file cannot be read.
        ValueError: If it is no JSON, or cut off, or its CRS is not known.
    """
    content = json.loads(read_text(path), strict=False)
    features = _features(content)
    if features is None:
        return None
    return Document(features, _crs(content.get("crs")), _name(content))


def read_sequence(path: str | Path) -> Document:
    """Read a file with a GeoJSON object a line, or after each record separator.

    Raises:
        OSError: If the file cannot be read.
        ValueError: If one is no JSON, or no GeoJSON.
    """
    text = read_text(path)
    pieces = text.split("\x1e" if "\x1e" in text else "\n")
    contents = [json.loads(piece, strict=False) for piece in pieces if piece.strip()]
    features: list[Any] = []
    for content in contents:
        own = _features(content)
        if own is None:
            raise ValueError(f"{str(content)[:40]} is no GeoJSON")
        features += own
    crs = contents[0].get("crs") if contents else None
    return Document(features, _crs(crs), None)


def _features(content: Any) -> list[Any] | None:
    """Return the features of a GeoJSON object; None if it is none."""
    kind = content.get("type") if isinstance(content, dict) else None
    if kind == "FeatureCollection" and isinstance(content.get("features"), list):
        return list(content["features"])
    if kind == "Feature":
        return [content]
    if kind in _GEOMETRIES:
        return [{"type": "Feature", "properties": {}, "geometry": content}]
    return None


def _name(content: dict[str, Any]) -> str | None:
    name = content.get("name")
    return name if isinstance(name, str) else None


def _crs(member: Any) -> CRS:
    """Return the CRS that a ``crs`` member names.

    Raises:
        ValueError: If it names none that is known.
    """
    if member is None:
        return CRS.from_epsg(4326)
    properties = member.get("properties") if isinstance(member, dict) else None
    properties = properties if isinstance(properties, dict) else {}
    name = str(properties.get("name") or f"EPSG:{properties.get('code')}").strip()
    code = _CRS_CODE.fullmatch(name)
    try:
        if _LON_LAT.fullmatch(name):
            return CRS.from_epsg(4326)
        if code is not None:
            return CRS.from_user_input(f"{code[1].upper()}:{code[2]}")
        if _CRS_URN.fullmatch(name):
            return CRS.from_user_input(name)
        if "[" in name:
            return CRS.from_wkt(name)
    except CRSError:
        pass
    raise ValueError(
        f"its crs member is {json.dumps(member)[:120]}, which names no CRS that is known, "
        'expected a name such as {"type": "name", "properties": {"name": '
        '"urn:ogc:def:crs:EPSG::32633"}}, or none for longitude and latitude'
    )


def attribute_types(properties: Iterable[Any]) -> dict[str, str]:
    """Name the type of each attribute of features, ``mixed`` where values differ."""
    types: dict[str, set[str]] = {}
    for item in properties:
        for name, value in item.items():
            own = types.setdefault(name, set())
            if value is not None:
                own.add(type(value).__name__)
    return {
        name: own.pop() if len(own) == 1 else "mixed" if own else "null"
        for name, own in types.items()
    }
