"""Geometries made of what can be read of them, and the polygons in them."""

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import shapely
from shapely.geometry import shape

if TYPE_CHECKING:
    import fiona

Array = np.ndarray[Any, Any]

#: What shapely raises for coordinates that are none.
_UNREADABLE = (
    *(ValueError, TypeError, LookupError, AttributeError, OverflowError),
    shapely.errors.ShapelyError,
)
#: Features in a row that cannot be decoded, after which a file is given up.
_GIVEN_UP = 100
#: Points of a closed ring, at least.
_RING = 4


def each_feature(source: "fiona.Collection") -> "Iterator[fiona.Feature | Exception]":
    """Yield the features of a file, and for each that cannot be decoded the reason.

    Raises:
        OSError: If hundred in a row cannot be decoded.
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
    """Make a geometry of what can be read of a GeoJSON-like one.

    Rings of too few points are left out: a hole that has no area is none, and of
    several polygons the others stay.

    Args:
        item: Of any kind; its coordinates may be anything.

    Returns:
        The geometry, None if nothing can be read; and what is wrong with it, or "".
    """
    try:
        with np.errstate(invalid="ignore"):  # NaN is for the caller to find
            return shape(item), ""
    except _UNREADABLE as error:
        reason = " ".join(str(error).split()) or type(error).__name__
    try:
        with np.errstate(invalid="ignore"):
            polygons, wrong = _polygons(item)
    except _UNREADABLE:
        return None, f"its coordinates are none ({reason})"
    return (shapely.MultiPolygon(polygons) if polygons else None), wrong


def _polygons(item: Mapping[str, Any]) -> tuple[list[shapely.Polygon], str]:
    """Return the polygons of a geometry that can be read, and what is wrong with others."""
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
    """Take x and y of positions, which may differ in what follows."""
    return [(float(position[0]), float(position[1])) for position in ring]


def _closed(ring: Sequence[tuple[float, float]]) -> int:
    """Count the points of a ring once it is closed."""
    return len(ring) + (bool(ring) and ring[0] != ring[-1])


def polygon_parts(geometry: shapely.Geometry) -> list[shapely.Polygon]:
    """The polygons in a geometry; points and lines are dropped."""
    if geometry.geom_type == "Polygon":
        return [] if geometry.is_empty else [geometry]
    return [
        part
        for child in getattr(geometry, "geoms", ())
        for part in polygon_parts(child)
    ]


def valid_polygons(geometries: Array) -> Array:
    """Mend geometries ``(n,)`` that cross themselves; spikes and other lines go.

    Returns:
        ``(n,)`` valid polygons or multipolygons; empty ones where nothing has an area.
    """
    mended = np.array(geometries, dtype=object)
    broken = ~shapely.is_valid(mended)
    mended[broken] = shapely.make_valid(mended[broken])
    mixed = ~np.isin(shapely.get_type_id(mended), (3, 6)) | (shapely.area(mended) == 0)
    for number in np.flatnonzero(mixed):
        parts = [part for part in polygon_parts(mended[number]) if part.area > 0]
        mended[number] = parts[0] if len(parts) == 1 else shapely.MultiPolygon(parts)
    return mended
