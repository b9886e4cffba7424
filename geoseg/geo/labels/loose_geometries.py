"""Tolerant reading of geometries, and repair of invalid polygons."""

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import shapely
from shapely.geometry import shape

if TYPE_CHECKING:
    import fiona

Array = np.ndarray[Any, Any]

#: Errors that shapely raises for malformed coordinates.
_UNREADABLE = (
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
    OverflowError,
    shapely.errors.ShapelyError,
)
#: Most undecodable features in a row before reading stops.
_GIVEN_UP = 100
#: Least number of points of a closed ring.
_RING = 4


def each_feature(source: "fiona.Collection") -> "Iterator[fiona.Feature | Exception]":
    """Yield the features of a file, or the error for each that cannot be decoded.

    Raises:
        OSError: If a hundred features in a row cannot be decoded.
    """
    features, failed = iter(source), 0
    while failed < _GIVEN_UP:
        try:
            feature = next(features)
        except StopIteration:
            return
        except (ValueError, TypeError) as error:
            failed += 1
            yield error
        else:
            failed = 0
            yield feature
    raise OSError(f"{failed} features in a row cannot be decoded")


def readable_geometry(item: Mapping[str, Any]) -> tuple[shapely.Geometry | None, str]:
    """Return a geometry of the readable parts of a GeoJSON-like geometry.

    Polygons and holes with too few points are left out.

    Args:
        item: A geometry of any kind with any coordinates.

    Returns:
        The geometry, or None if nothing can be read; and what is wrong with it, or "".
    """
    try:
        with np.errstate(invalid="ignore"):  # the caller tests for NaN
            return shape(item), ""
    except _UNREADABLE as error:
        reason = " ".join(str(error).split()) or type(error).__name__
    try:
        with np.errstate(invalid="ignore"):
            polygons, wrong = _polygons(item)
    except _UNREADABLE:
        return None, f"its coordinates are malformed ({reason})"
    return (shapely.MultiPolygon(polygons) if polygons else None), wrong


def _polygons(item: Mapping[str, Any]) -> tuple[list[shapely.Polygon], str]:
    """Return the readable polygons of a geometry, and what is wrong with others."""
    kind = str(item.get("type"))
    if kind == "GeometryCollection":
        pairs = [_polygons(child) for child in item["geometries"]]
        wrong = next((text for _, text in pairs if text), "")
        return [polygon for polygons, _ in pairs for polygon in polygons], wrong
    if kind not in ("Polygon", "MultiPolygon"):
        return [], f"its coordinates are not those of a {kind}"
    members = item["coordinates"] if kind == "MultiPolygon" else [item["coordinates"]]
    polygons, wrong = [], ""
    for rings in members:
        shell, *holes = [_flat(ring) for ring in rings] or [[]]
        if _closed(shell) < _RING:
            wrong = wrong or f"a ring has {len(shell)} points, expected 4 or more"
        elif not np.isfinite(shell).all():
            wrong = wrong or "coordinates are not finite"
        else:
            polygons.append(
                shapely.Polygon(shell, [h for h in holes if _closed(h) >= _RING])
            )
    return polygons, wrong


def _flat(ring: Sequence[Sequence[float]]) -> list[tuple[float, float]]:
    """Return x and y of positions, which may have different numbers of values."""
    return [(float(position[0]), float(position[1])) for position in ring]


def _closed(ring: Sequence[tuple[float, float]]) -> int:
    """Return the number of points of a ring after closing it."""
    return len(ring) + (bool(ring) and ring[0] != ring[-1])


def polygon_parts(geometry: shapely.Geometry) -> list[shapely.Polygon]:
    """Return the polygons in a geometry, without its points and lines."""
    if geometry.geom_type == "Polygon":
        return [] if geometry.is_empty else [geometry]
    return [
        part
        for child in getattr(geometry, "geoms", ())
        for part in polygon_parts(child)
    ]


def valid_polygons(geometries: Array) -> Array:
    """Repair geometries ``(n,)`` that cross themselves, and remove spikes and lines.

    Returns:
        ``(n,)`` valid polygons or multipolygons; empty ones if nothing has an area.
    """
    mended = np.array(geometries, dtype=object)
    broken = ~shapely.is_valid(mended)
    mended[broken] = shapely.make_valid(mended[broken])
    mixed = ~np.isin(shapely.get_type_id(mended), (3, 6)) | (shapely.area(mended) == 0)
    for number in np.flatnonzero(mixed):
        parts = [part for part in polygon_parts(mended[number]) if part.area > 0]
        mended[number] = parts[0] if len(parts) == 1 else shapely.MultiPolygon(parts)
    return mended
