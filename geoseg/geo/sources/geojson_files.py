"""Reading of GeoJSON files: features, CRS and name.

GDAL is not used, because it converts all values of an attribute to one type, and reads
a truncated file as a short one.
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
    "Point",
    "LineString",
    "Polygon",
    "MultiPoint",
    "MultiLineString",
    "MultiPolygon",
    "GeometryCollection",
}
#: Names of CRSs: urn:ogc:def:crs:EPSG::32633, EPSG:32633 and their address at OGC. No
#: address is fetched and no file is read.
_CRS_URN = re.compile(r"urn:(?:x-)?ogc:def:crs[:,].+", re.IGNORECASE)
_CRS_CODE = re.compile(
    r"(?:https?://(?:www\.)?opengis\.net/def/crs/)?([a-z]+)(?:/[^/:]*/|:+)(\w+)",
    re.IGNORECASE,
)
#: Names of the CRS of GeoJSON without a ``crs`` member (RFC 7946).
_LON_LAT = re.compile(r"(?:.*\W)?(?:CRS84|EPSG:(?:[\d.]*:)?4326)", re.IGNORECASE)


class Document(NamedTuple):
    """The content of a GeoJSON file.

    Attributes:
        features: The features as in the file, unchecked.
        crs: CRS of the coordinates.
        name: Name of the collection, or None.
    """

    features: list[Any]
    crs: CRS
    name: str | None


def read_document(path: str | Path) -> Document | None:
    """Read a GeoJSON file; return None for other JSON (TopoJSON, Esri's).

    Raises:
        OSError: If the file cannot be read.
        ValueError: If it is not JSON, is truncated, or its CRS is unknown.
    """
    content = json.loads(read_text(path), strict=False)
    features = _features(content)
    if features is None:
        return None
    return Document(features, _crs(content.get("crs")), _name(content))


def read_sequence(path: str | Path) -> Document:
    """Read a file with one GeoJSON object per line, or per record separator.

    Raises:
        OSError: If the file cannot be read.
        ValueError: If an object is not GeoJSON.
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
    """Return the features of a GeoJSON object; None if it is not GeoJSON."""
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
        ValueError: If the CRS is unknown.
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
        f"its crs member is {json.dumps(member)[:120]}, which names no known CRS, "
        'expected a name such as {"type": "name", "properties": {"name": '
        '"urn:ogc:def:crs:EPSG::32633"}}, or none for longitude and latitude'
    )


def attribute_types(properties: Iterable[Any]) -> dict[str, str]:
    """Return the type of each attribute's values, or ``mixed``."""
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
