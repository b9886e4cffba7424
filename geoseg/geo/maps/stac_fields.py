"""STAC items: what models and maps have in common.

The specification: https://github.com/radiantearth/stac-spec/blob/v1.1.0/item-spec/item-spec.md
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import shapely
from shapely.geometry import mapping

from geoseg.geo.rasters.legend import Legend
from geoseg.model.file import file_sha256

VERSION = "1.1.0"
_EXTENSIONS = {
    "classification": "v2.0.0",
    "file": "v2.1.0",
    "processing": "v1.2.0",
    "projection": "v2.0.0",
    "raster": "v2.0.0",
    "table": "v1.2.0",
}


def item(
    name: str,
    properties: Mapping[str, Any],
    assets: Mapping[str, Any],
    *,
    extensions: Iterable[str],
    geometry: shapely.Geometry | None = None,
    links: Sequence[Mapping[str, Any]] = (),
) -> dict[str, Any]:
    """Put an item together.

    Args:
        name: Its id.
        properties: With ``datetime``.
        assets: Key → asset.
        extensions: Names of those in use.
        geometry: In longitude and latitude; None if it is of no place.
        links: Without one to the item itself, so that it can be moved.
    """
    place: dict[str, Any] = {"geometry": None}
    if geometry is not None:
        place = {"bbox": bbox(geometry), "geometry": mapping(geometry)}
    return {
        "type": "Feature",
        "stac_version": VERSION,
        "stac_extensions": [_schema(it) for it in sorted(extensions)],
        "id": name,
        **place,
        "properties": dict(properties),
        "links": list(links),
        "assets": dict(assets),
    }


def _schema(extension: str) -> str:
    version = _EXTENSIONS[extension]
    return f"https://stac-extensions.github.io/{extension}/{version}/schema.json"


def bbox(geometry: shapely.Geometry) -> list[float]:
    """Return west, south, east, north; west is above east across the antimeridian.

    Example:
        >>> bbox(shapely.union(shapely.box(179, 0, 180, 1), shapely.box(-180, 0, -178, 1)))
        [179.0, 0.0, -178.0, 1.0]
    """
    west, south, east, north = shapely.bounds(geometry).tolist()
    boxes = shapely.bounds(shapely.get_parts(geometry))
    eastern, western = boxes[boxes[:, 0] >= 0], boxes[boxes[:, 2] <= 0]
    if (west, east) == (-180, 180) and len(eastern) + len(western) == len(boxes):
        west, east = float(eastern[:, 0].min()), float(western[:, 2].max())
    return [west, south, east, north]


def file_facts(path: Path) -> dict[str, Any]:
    """Return size and checksum of a file, as the extension ``file`` has them."""
    # a multihash: 0x12 is SHA-256, 0x20 its length
    return {
        "file:size": path.stat().st_size,
        "file:checksum": f"1220{file_sha256(path)}",
    }


def classes(legend: Legend) -> list[dict[str, Any]]:
    """Describe the values of a raster, as the extension ``classification`` has them."""
    return [
        {
            "value": entry.value,
            "name": entry.name,
            "description": entry.name,
            "color_hint": "%02X%02X%02X" % tuple(entry.colour[:3]),
        }
        for entry in legend
    ]


def utc(moment: datetime) -> str:
    """Write a moment as RFC 3339 has it.

    Example:
        >>> utc(datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC))
        '2026-01-02T03:04:05Z'
    """
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
