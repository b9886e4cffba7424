"""Reference labels in vector files: polygons with their classes, burnt on a grid."""

import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import shapely
from affine import Affine
from rasterio import features
from rasterio.crs import CRS
from shapely import affinity

from geoseg.classes import LabelClasses
from geoseg.errors import LabelError, RasterError
from geoseg.geo.aoi import Tile
from geoseg.geo.georeference import shift, warp_all
from geoseg.geo.label_files import Shapes, read_shapes
from geoseg.geo.raster import PixelWindow, RasterDescription, warp_advice
from geoseg.geo.remote import is_remote
from geoseg.geo.sparse_shapes import simple_parts, widened
from geoseg.metrics import BUILDING
from geoseg.patches import IGNORE

Array = np.ndarray[Any, Any]


class Layer(NamedTuple):
    """Polygons of a vector file, in one CRS, with a spatial index.

    Attributes:
        polygons: ``(n,)`` valid polygons or multipolygons, in the file's order.
        class_ids: ``(n,)`` uint8, IGNORE where the value belongs to no class.
        features: ``(n,)`` number of the feature in the file that each is a part of.
        tree: Of the polygons.
        unknown: How many features have each value that belongs to no class.
        cores: ``(n,)`` the points and lines that sparse polygons were drawn around, and
            polygons that are their own; None where labels are not sparse.
    """

    polygons: Array
    class_ids: Array
    features: Array
    tree: shapely.STRtree
    unknown: Mapping[str, int]
    cores: Array | None = None


def read_layer(tile: Tile, grid: RasterDescription) -> Layer:
    """Read a tile's vector file, in the CRS of its image, once for all tiles.

    Raises:
        LabelError: If the file is absent or unreadable, lacks the layer or the class
            field, or only one of file and image has a CRS.
    """
    path = str(tile.labels)
    crs, advice = grid.crs.to_wkt() if grid.crs else "", warp_advice(grid)
    if is_remote(path):  # counts as unchanging
        return _cached_layer(path, 0, 1, crs, advice, tile.classes)
    try:
        status = os.stat(path)
    except OSError:
        raise LabelError(
            f"labels {path} of tile {tile.id} do not exist, expected a vector file"
        ) from None
    modified, size = status.st_mtime_ns, status.st_size
    return _cached_layer(path, modified, size, crs, advice, tile.classes)


def polygons_of(
    tile: Tile, grid: RasterDescription
) -> tuple[list[shapely.Geometry], list[int]]:
    """Return the polygons that meet the tile and their class ids, in the file's order."""
    layer = read_layer(tile, grid)
    hits = meeting(tile, grid)
    return list(layer.polygons[hits]), layer.class_ids[hits].tolist()


def meeting(tile: Tile, grid: RasterDescription) -> Array:
    """Return the numbers in their layer of the polygons that meet the tile, sorted."""
    outline = outline_of(grid, tile.extent(grid))
    hits = read_layer(tile, grid).tree.query(outline, predicate="intersects")
    return np.asarray(np.sort(hits))


def burn(
    polygons: Sequence[shapely.Geometry],
    class_ids: Sequence[int],
    transform: Affine,
    window: PixelWindow,
) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Burn polygons by the pixel-centre rule, background elsewhere.

    Where polygons overlap the smaller one is on top, whatever its class: a car on a
    road, a house in a park. Of equal ones the later in the file is.
    """
    shape_ = (window.height, window.width)
    if not polygons:
        return np.zeros(shape_, np.uint8)
    order = np.argsort(-shapely.area(np.array(polygons, object)), kind="stable")
    burnt = features.rasterize(
        ((polygons[i], class_ids[i]) for i in order),
        out_shape=shape_,
        transform=shift(transform, window.col, window.row),
        fill=0,
        all_touched=False,
        dtype="uint8",
    )
    return np.asarray(burnt, np.uint8)


def burn_sparse(
    tile: Tile, grid: RasterDescription, window: PixelWindow
) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Burn sparse labels, IGNORE elsewhere; later features lie over earlier ones.

    A pixel is labelled if its centre is inside, or if a point or a line lies in it.
    """
    layer = read_layer(tile, grid)
    drawn = []
    for number in meeting(tile, grid).tolist():
        drawn.append((layer.polygons[number], layer.class_ids[number]))
        if layer.cores is not None and layer.cores[number].area == 0:
            drawn.append((layer.cores[number], layer.class_ids[number]))
    burnt = np.full((window.height, window.width), IGNORE, np.uint8)
    if drawn:
        features.rasterize(
            drawn, out=burnt, transform=shift(grid.transform, window.col, window.row)
        )
    return burnt


def outline_of(
    grid: RasterDescription, window: PixelWindow | None = None
) -> shapely.Polygon:
    """The window's outline in the image's CRS; a rotated image's is not a box."""
    return affinity.affine_transform(
        rectangle(window or grid.window), shapely_affine(grid.transform)
    )


def rectangle(window: PixelWindow) -> shapely.Polygon:
    """The window in pixel coordinates."""
    row, col, height, width = window
    return shapely.box(col, row, col + width, row + height)


def shapely_affine(transform: Affine) -> tuple[float, ...]:
    """The transform in shapely's order."""
    return (
        *(transform.a, transform.b, transform.d, transform.e),
        *(transform.c, transform.f),
    )


def polygon_parts(geometry: shapely.Geometry) -> list[shapely.Polygon]:
    """The polygons in a geometry; points and lines are dropped."""
    if geometry.geom_type == "Polygon":
        return [] if geometry.is_empty else [geometry]
    return [
        part
        for child in getattr(geometry, "geoms", ())
        for part in polygon_parts(child)
    ]


@lru_cache(maxsize=64)
def _cached_layer(
    path: str,
    _mtime: int,
    size: int,
    wkt: str,
    advice: str | None,
    classes: LabelClasses,
) -> Layer:
    """Read a file once per CRS; time and size in the key notice when it changes."""
    _need_field(path, classes)
    found = read_shapes(path, classes) if size else Shapes([], [], None)
    ids, unknown = _class_ids(found.values, classes)
    pairs = [
        (part, number)
        for number, item in enumerate(found.geometries)
        for part in (simple_parts(item) if classes.sparse else polygon_parts(item))
    ]
    flat = shapely.force_2d(np.array([part for part, _ in pairs], object))
    polygons = np.atleast_1d(flat)
    numbers = np.array([number for _, number in pairs], np.intp)
    class_ids = np.array(ids, np.uint8)[numbers]
    cores = None
    if len(polygons):
        target = CRS.from_wkt(wkt) if wkt else None
        if advice is not None and found.crs is not None:
            raise LabelError(f"labels {path} have a CRS, but {advice}")
        polygons, finite = _reproject(path, polygons, found.crs, target)
        class_ids, numbers = class_ids[finite], numbers[finite]
        broken = ~shapely.is_valid(polygons)
        polygons[broken] = shapely.make_valid(polygons[broken])
        if classes.radius_m is not None:
            cores, radius = polygons, classes.radius_m
            polygons = widened(path, cores, target, radius)
    tree = shapely.STRtree(polygons)
    return Layer(polygons, class_ids, numbers, tree, unknown, cores)


def _need_field(path: str, classes: LabelClasses) -> None:
    if classes.field is None and len(classes.names) > 2:
        raise LabelError(
            f"labels {path} are polygons and there are {len(classes.names)} classes, "
            "expected the attribute that tells them apart: name it with --class-field"
        )


def _class_ids(
    values: Iterable[Any], classes: LabelClasses
) -> tuple[list[int], dict[str, int]]:
    """Return the class id of every feature, and how often each unknown value occurs."""
    if classes.field is None:
        return [BUILDING for _ in values], {}
    ids, unknown = [], Counter[str]()
    for value in values:
        class_id = classes.id_of(value)
        if class_id is None:
            unknown[str(value)] += 1
        ids.append(IGNORE if class_id is None else class_id)
    return ids, dict(unknown)


def _check_degrees(path: str, polygons: Array, crs: CRS) -> None:
    """Refuse metres that pass for degrees: GeoJSON without a ``crs`` member is lon/lat."""
    x, y = shapely.bounds(polygons)[0, :2]
    if crs.is_geographic and np.abs(shapely.total_bounds(polygons)[[1, 3]]).max() > 90:
        raise LabelError(
            f"labels {path} hold coordinates such as ({x:.7g} {y:.7g}), expected "
            "longitude and latitude as their CRS says: declare the CRS that they are in "
            "with ogr2ogr -a_srs"
        )


def _reproject(
    path: str, polygons: Array, source: CRS | None, target: CRS | None
) -> tuple[Array, Array]:
    """Return the polygons that have a place in the target CRS, and which those are."""
    if source == target:
        return polygons, np.ones(len(polygons), bool)
    if source is None or target is None:
        without, has = ("labels", "image") if source is None else ("image", "labels")
        raise LabelError(
            f"the {without} of {path} have no CRS and the {has} do, expected both or "
            "neither: set the CRS with ogr2ogr -a_srs or gdal_edit.py -a_srs"
        )

    _check_degrees(path, polygons, source)
    try:
        moved = np.asarray(
            shapely.transform(
                polygons,
                lambda points: np.column_stack(
                    warp_all(points[:, 0], points[:, 1], source, target)
                ),
            )
        )
    except RasterError as error:
        raise LabelError(f"labels {path}: {error}") from error
    finite = np.isfinite(shapely.bounds(moved)).all(axis=1)
    return np.asarray(moved[finite]), finite
