"""Cached layers of label files: valid polygons with classes, in the file's CRS."""

import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import shapely
from rasterio.crs import CRS

from geoseg.core.addresses import is_remote
from geoseg.core.classes import BUILDING, LabelClasses
from geoseg.core.errors import LabelError
from geoseg.core.patches import IGNORE
from geoseg.geo.coordinates.crs import full_turn
from geoseg.geo.labels.files import Shapes, read_shapes
from geoseg.geo.labels.loose_geometries import polygon_parts, valid_polygons
from geoseg.geo.labels.polygon_warps import across_180, rejoined_at_180
from geoseg.geo.labels.sparse_shapes import simple_parts, widened
from geoseg.geo.tiles.tiles import Tile

Array = np.ndarray[Any, Any]


class Layer(NamedTuple):
    """Polygons of a vector file, in one CRS, with a spatial index.

    Attributes:
        polygons: ``(n,)`` valid polygons or multipolygons, in the file's order.
        class_ids: ``(n,)`` uint8, IGNORE where the value belongs to no class.
        features: ``(n,)`` number of the feature that each polygon is a part of.
        sizes: ``(n,)`` areas of the polygons; of a clipped one, the area of the whole.
        tree: Spatial index of the polygons.
        crs: CRS of the coordinates, or None.
        unknown: Value that belongs to no class → number of features.
        left_out: What is wrong → numbers of the features left out, whole or in part.
        cores: ``(n,)`` the unbuffered points, lines and polygons of sparse labels; None
            for other labels.
    """

    polygons: Array
    class_ids: Array
    features: Array
    sizes: Array
    tree: shapely.STRtree
    crs: CRS | None
    unknown: Mapping[str, int]
    left_out: Mapping[str, Sequence[int]]
    cores: Array | None = None


def version_of(tile: Tile) -> tuple[int, int]:
    """Return a label file's time of change and size.

    Raises:
        LabelError: If the file does not exist.
    """
    path = str(tile.labels)
    try:
        return file_version(path)
    except OSError:
        raise LabelError(
            f"labels {path} of tile {tile.id} do not exist, expected a vector file"
        ) from None


def file_version(path: str) -> tuple[int, int]:
    """Return a file's time of change and size; constant for a remote file.

    Raises:
        OSError: If it does not exist.
    """
    if is_remote(path):
        return 0, 1
    status = os.stat(path)
    return status.st_mtime_ns, status.st_size


def read_file(tile: Tile) -> Layer:
    """Read a tile's vector file in the file's CRS; all tiles share the result.

    Raises:
        LabelError: If the file is absent or unreadable, or lacks the layer or the class
            field.
    """
    return read_version(str(tile.labels), version_of(tile), tile.classes)


@lru_cache(maxsize=64)
def read_version(path: str, version: tuple[int, int], classes: LabelClasses) -> Layer:
    """Read a version of a vector file, as :func:`version_of` returns it, once."""
    _need_field(path, classes)
    empty = Shapes([], [], None, [], {})
    shapes = read_shapes(path, classes) if version[1] else empty
    ids, unknown = _class_ids(shapes.values, classes)
    left_out: dict[str, list[int]] = {}
    for number, wrong in shapes.unreadable.items():
        left_out.setdefault(wrong, []).append(number)
    pairs = []
    degrees = shapes.crs is not None and full_turn(shapes.crs) == 360
    for row, item in enumerate(shapes.geometries):
        item = rejoined_at_180(item) if degrees else item
        parts = list(simple_parts(item)) if classes.sparse else polygon_parts(item)
        pairs += [(part, row) for part in parts]
        if not parts and not item.is_empty:
            wrong = f"a {item.geom_type} has no area"
            left_out.setdefault(wrong, []).append(shapes.numbers[row])
    flat = shapely.force_2d(np.array([part for part, _ in pairs], object))
    rows = np.array([row for _, row in pairs], np.intp)
    polygons, kept = _usable(
        path, np.atleast_1d(flat), shapes.crs, np.array(shapes.numbers)[rows], left_out
    )
    cores = None
    if classes.radius_m is not None:
        cores, polygons = polygons, widened(
            path, polygons, shapes.crs, classes.radius_m
        )
    return Layer(
        polygons,
        np.array(ids, np.uint8)[rows[kept]],
        rows[kept],
        shapely.area(polygons),
        shapely.STRtree(polygons),
        shapes.crs,
        unknown,
        left_out,
        cores,
    )


def _usable(
    path: str,
    polygons: Array,
    crs: CRS | None,
    numbers: Array,
    left_out: dict[str, list[int]],
) -> tuple[Array, Array]:
    """Return the valid shapes of a file, and their positions among all shapes.

    Args:
        path: The file.
        polygons: ``(n,)`` shapes, possibly invalid.
        crs: CRS of the file.
        numbers: ``(n,)`` numbers of their features.
        left_out: Gets the numbers of the features left out.
    """
    points, owners = shapely.get_coordinates(polygons, return_index=True)
    finite = _all_of(np.isfinite(points).all(axis=1), owners, len(polygons))
    usable = finite
    _leave_out(left_out, "coordinates are not finite", numbers[~finite])
    if crs is not None and crs.is_geographic:
        pole = (full_turn(crs) or 360) / 4  # 100 in grads
        on_earth = _all_of(~(np.abs(points[:, 1]) > pole), owners, len(polygons))
        _check_degrees(path, polygons[finite & ~on_earth], int(finite.sum()))
        _leave_out(left_out, "a latitude is beyond 90", numbers[finite & ~on_earth])
        usable = finite & on_earth
    kept = np.flatnonzero(usable)
    chosen = polygons[kept]
    if crs is not None and crs.is_geographic:
        chosen = across_180(chosen)
    areal = shapely.get_dimensions(chosen) == 2
    chosen[areal] = valid_polygons(chosen[areal])
    empty = shapely.is_empty(chosen)
    _leave_out(left_out, "an outline has no area", numbers[kept[empty]])
    return chosen[~empty], kept[~empty]


def _all_of(right: Array, owners: Array, count: int) -> Array:
    """Tell for each owner of points whether all its points are right."""
    return np.asarray(np.bincount(owners[~right], minlength=count) == 0)


def _leave_out(left_out: dict[str, list[int]], wrong: str, numbers: Array) -> None:
    if len(numbers):
        left_out.setdefault(wrong, []).extend(sorted(set(numbers.tolist())))


def _need_field(path: str, classes: LabelClasses) -> None:
    if classes.field is None and len(classes.names) > 2:
        raise LabelError(
            f"labels {path} are polygons and there are {len(classes.names)} classes, "
            "expected an attribute with the class: name it with --class-field"
        )


def _class_ids(
    values: Iterable[Any], classes: LabelClasses
) -> tuple[list[int], dict[str, int]]:
    """Return the class id of every feature, and the count of each unknown value."""
    if classes.field is None:
        return [BUILDING for _ in values], {}
    ids, unknown = [], Counter[str]()
    for value in values:
        class_id = classes.id_of(value)
        if class_id is None:
            unknown[str(value)] += 1
        ids.append(IGNORE if class_id is None else class_id)
    return ids, dict(unknown)


def _check_degrees(path: str, beyond: Array, count: int) -> None:
    """Raise if coordinates in degrees are probably metres.

    This happens with GeoJSON without a ``crs`` member, which is in degrees by
    definition.
    """
    if len(beyond) and 2 * len(beyond) >= count:
        points = shapely.get_coordinates(beyond)
        x, y = points[np.abs(points[:, 1]) > 90][0]
        raise LabelError(
            f"labels {path} hold coordinates such as ({x:.7g} {y:.7g}), expected "
            "longitude and latitude as their CRS says: declare their true CRS with "
            "ogr2ogr -a_srs"
        )
