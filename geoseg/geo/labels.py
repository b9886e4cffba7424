"""Reference labels on a tile's own grid, from vector files and mask files."""

import json
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import shapely
from affine import Affine
from rasterio import features
from rasterio.crs import CRS
from rasterio.warp import transform as warp_points
from shapely import affinity
from shapely.geometry import shape

from geoseg.errors import LabelError, RasterError
from geoseg.geo.aoi import Tile
from geoseg.geo.georeference import grids_agree, shift
from geoseg.geo.layouts import VECTOR_SUFFIXES
from geoseg.geo.raster import (
    PixelWindow,
    RasterDescription,
    describe,
    describe_open,
    open_raster,
)
from geoseg.patches import IGNORE


class _Layer(NamedTuple):
    """Polygons of a vector file, in one CRS, with a spatial index."""

    polygons: np.ndarray[Any, Any]
    tree: shapely.STRtree


def read_labels(
    tile: Tile, grid: RasterDescription, *, multiclass: bool = False
) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Read a tile's labels on its own grid.

    Vectors are reprojected to the image's CRS and burnt by the pixel-centre rule: a
    pixel is building if its centre lies in a polygon. A GeoJSON without a ``crs``
    member is in longitude and latitude (RFC 7946). Masks must share the image's grid.

    Args:
        tile: A labelled tile.
        grid: Describes the tile's image.
        multiclass: Keep a mask's values; else every value but 0 is building.

    Returns:
        ``(height, width)`` of the tile's window: 0 background, 1 building (or the
        mask's class ids), 255 (IGNORE) where the mask has no data. Where the *image*
        has none is for the caller to know.

    Raises:
        LabelError: If the labels are absent, unreadable or do not fit the image.
    """
    window = tile.extent(grid)
    if _is_vector(tile):
        polygons = _polygons(tile, grid)
        return _burn(polygons, grid.transform, window)
    return _read_mask(tile, grid, window, multiclass)


def read_footprints(
    tile: Tile, grid: RasterDescription | None = None, *, pixels: bool = False
) -> list[shapely.Polygon]:
    """Read a tile's reference buildings as polygons, clipped to the tile.

    A building cut into several pieces by the tile's edge gives one polygon per piece.
    Masks are polygonised with 4-connectivity.

    Args:
        tile: A labelled tile.
        grid: Describes the tile's image; None: it is read.
        pixels: In pixel coordinates of the image (x = column, y = row) instead of its
            CRS.

    Raises:
        LabelError: As :func:`read_labels`.
    """
    grid = grid or describe(tile.image)
    window = tile.extent(grid)
    rectangle = _rectangle(window)
    back = _shapely_affine(~grid.transform)
    if _is_vector(tile):
        pieces = [
            affinity.affine_transform(polygon, back)
            for polygon in _polygons(tile, grid)
        ]
        clipped = [piece.intersection(rectangle) for piece in pieces]
    else:
        mask = _read_mask(tile, grid, window, multiclass=False)
        moved = shift(Affine.identity(), window.col, window.row)
        clipped = [
            shape(geometry)
            for geometry, value in features.shapes(
                mask, connectivity=4, transform=moved
            )
            if value == 1
        ]
    polygons = [
        part for piece in clipped for part in _polygon_parts(piece) if part.area > 0
    ]
    if pixels:
        return polygons
    forth = _shapely_affine(grid.transform)
    return [affinity.affine_transform(part, forth) for part in polygons]


def check_labels(tiles: Sequence[Tile]) -> None:
    """Check before a long run that the labels lie where the images lie.

    Raises:
        LabelError: If a mask does not share its image's grid; or if the vector files
            hold polygons, but none meets any tile.
    """
    inside, elsewhere = 0, []
    for tile in tiles:
        if tile.labels is None:
            continue
        grid = describe(tile.image)
        if not _is_vector(tile):
            _check_mask(tile, grid)
            inside += 1
        elif _polygons(tile, grid):
            inside += 1
        elif len(_layer(tile, grid).polygons):
            elsewhere.append((tile, grid))
    if elsewhere and not inside:
        tile, grid = elsewhere[0]
        bounds = shapely.total_bounds(_layer(tile, grid).polygons)
        raise LabelError(
            f"labels elsewhere: {tile.labels} covers {_corners(bounds)} in the CRS of "
            f"{tile.image}, which covers {_corners(_footprint(grid).bounds)}, and no "
            f"other of {len(tiles)} tiles meets its labels; check the labels' CRS"
        )


def _corners(bounds: Sequence[float]) -> str:
    return "({:.7g} {:.7g} {:.7g} {:.7g})".format(*bounds)


def _is_vector(tile: Tile) -> bool:
    if tile.labels is None:
        raise LabelError(
            f"tile {tile.id} ({tile.image}) has no labels, expected a vector or mask "
            "file: choose labelled tiles"
        )
    return Path(tile.labels).suffix.lower() in VECTOR_SUFFIXES


def _rectangle(window: PixelWindow) -> shapely.Polygon:
    row, col, height, width = window
    return shapely.box(col, row, col + width, row + height)


def _shapely_affine(transform: Affine) -> tuple[float, ...]:
    return (
        *(transform.a, transform.b, transform.d, transform.e),
        *(transform.c, transform.f),
    )


def _footprint(
    grid: RasterDescription, window: PixelWindow | None = None
) -> shapely.Polygon:
    """The window's outline in the image's CRS; a rotated image's is not a box."""
    outline = _rectangle(window or grid.window)
    return affinity.affine_transform(outline, _shapely_affine(grid.transform))


def _polygons(tile: Tile, grid: RasterDescription) -> list[shapely.Geometry]:
    """Polygons that meet the tile, in the image's CRS and in the file's order."""
    layer = _layer(tile, grid)
    outline = _footprint(grid, tile.extent(grid))
    hits = np.sort(layer.tree.query(outline, predicate="intersects"))
    return list(layer.polygons[hits])


def _burn(
    polygons: Sequence[shapely.Geometry], transform: Affine, window: PixelWindow
) -> np.ndarray[Any, np.dtype[np.uint8]]:
    shape_ = (window.height, window.width)
    if not polygons:
        return np.zeros(shape_, np.uint8)
    burnt = features.rasterize(
        ((polygon, 1) for polygon in polygons),
        out_shape=shape_,
        transform=shift(transform, window.col, window.row),
        fill=0,
        all_touched=False,
        dtype="uint8",
    )
    return np.asarray(burnt, np.uint8)


def _layer(tile: Tile, grid: RasterDescription) -> _Layer:
    path = Path(str(tile.labels))
    try:
        status = path.stat()
    except OSError:
        raise LabelError(
            f"labels {path} of tile {tile.id} do not exist, expected a vector file"
        ) from None
    crs = grid.crs.to_wkt() if grid.crs else ""
    return _cached_layer(str(path), status.st_mtime_ns, status.st_size, crs)


@lru_cache(maxsize=64)
def _cached_layer(path: str, _mtime: int, size: int, wkt: str) -> _Layer:
    """Read a file once per CRS; time and size in the key notice when it changes."""
    polygons, crs = _read_vectors(path) if size else (np.empty(0, object), None)
    if len(polygons):
        polygons = _reproject(path, polygons, crs, CRS.from_wkt(wkt) if wkt else None)
        broken = ~shapely.is_valid(polygons)
        polygons[broken] = shapely.make_valid(polygons[broken])
    return _Layer(polygons, shapely.STRtree(polygons))


def _read_vectors(path: str) -> tuple[np.ndarray[Any, Any], CRS | None]:
    """Polygons of a vector file, without Z, and the file's CRS."""
    # fiona brings a GDAL of its own and takes a while to import
    import fiona

    try:
        if Path(path).suffix.lower() in (".geojson", ".json"):
            _check_json(path)
        with fiona.open(path) as source:
            wkt = source.crs_wkt
            shapes = [shape(item.geometry) for item in source if item.geometry]
    except (fiona.errors.FionaError, OSError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise LabelError(
            f"labels {path} cannot be read ({reason}), expected a vector file: check "
            "it with ogrinfo"
        ) from error
    parts = [part for item in shapes for part in _polygon_parts(item)]
    flat = shapely.force_2d(np.array(parts, object))
    return np.atleast_1d(flat), CRS.from_wkt(wkt) if wkt else None


def _check_json(path: str) -> None:
    # GDAL reads what it can of a truncated GeoJSON; half the labels would be missing
    with open(path, encoding="utf-8") as file:
        json.load(file)


def _polygon_parts(geometry: shapely.Geometry) -> list[shapely.Polygon]:
    """The polygons in a geometry; points and lines are dropped."""
    if geometry.geom_type == "Polygon":
        return [] if geometry.is_empty else [geometry]
    return [
        part
        for child in getattr(geometry, "geoms", ())
        for part in _polygon_parts(child)
    ]


def _reproject(
    path: str, polygons: np.ndarray[Any, Any], source: CRS | None, target: CRS | None
) -> np.ndarray[Any, Any]:
    if source == target:
        return polygons
    if source is None or target is None:
        without, has = ("labels", "image") if source is None else ("image", "labels")
        raise LabelError(
            f"the {without} of {path} have no CRS and the {has} do, expected both or "
            "neither: set the CRS with ogr2ogr -a_srs or gdal_edit.py -a_srs"
        )

    def warp(points: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        xs, ys = warp_points(source, target, points[:, 0], points[:, 1])
        return np.column_stack([xs, ys])

    moved = np.asarray(shapely.transform(polygons, warp))
    finite = np.isfinite(shapely.bounds(moved)).all(axis=1)
    return np.asarray(moved[finite])


def _check_mask(tile: Tile, grid: RasterDescription) -> RasterDescription:
    try:
        mask = describe(str(tile.labels))
    except RasterError as error:
        raise LabelError(f"labels of tile {tile.id}: {error}") from error
    if (mask.width, mask.height) != (grid.width, grid.height):
        raise LabelError(
            f"mask {tile.labels} is {mask.height} x {mask.width} (rows x columns), "
            f"expected {grid.height} x {grid.width} as {grid.path}"
        )
    georeferenced = mask.crs is not None or not mask.transform.is_identity
    agree = grids_agree(grid.transform, mask.transform, grid.width, grid.height)
    if georeferenced and not agree:
        raise LabelError(
            f"mask {tile.labels} begins at {tuple(mask.transform)[2:6:3]}, expected "
            f"{tuple(grid.transform)[2:6:3]} and the pixel size of {grid.path}: warp "
            "it to the image's grid with gdalwarp -r near"
        )
    if mask.crs is not None and grid.crs is not None and mask.crs != grid.crs:
        raise LabelError(
            f"mask {tile.labels} is in {mask.crs.to_string()}, expected "
            f"{grid.crs.to_string()} as {grid.path}"
        )
    return mask


def _read_mask(
    tile: Tile, grid: RasterDescription, window: PixelWindow, multiclass: bool
) -> np.ndarray[Any, np.dtype[np.uint8]]:
    mask = _check_mask(tile, grid)
    row, col, height, width = window
    slices = ((row, row + height), (col, col + width))
    with open_raster(str(tile.labels)) as dataset:
        number = describe_open(dataset).band_indexes[0]
        try:
            values = dataset.read(number, window=slices)
        except OSError as error:
            raise LabelError(
                f"mask {tile.labels} cannot be read ({error.__cause__ or error}); the "
                "file may be truncated"
            ) from error
        if not multiclass and mask.nodata != IGNORE:
            _check_not_255(dataset, number, values)
    unknown = ~np.isfinite(values) | (values == IGNORE)
    if mask.nodata is not None:
        unknown |= values == mask.nodata
    return _classes(tile, values, unknown, multiclass)


def _check_not_255(dataset: Any, number: int, values: np.ndarray[Any, Any]) -> None:
    """Refuse a mask of 0 and 255 that does not say what 255 means."""
    if not (values == IGNORE).any() or ((values > 0) & (values < IGNORE)).any():
        return
    everything = dataset.read(number)
    if not ((everything > 0) & (everything < IGNORE)).any():
        raise LabelError(
            f"mask {dataset.name} holds 255 and no other class, expected 1 for "
            "buildings, or 255 declared as nodata (gdal_edit.py -a_nodata 255)"
        )


def _classes(
    tile: Tile,
    values: np.ndarray[Any, Any],
    unknown: np.ndarray[Any, Any],
    multiclass: bool,
) -> np.ndarray[Any, np.dtype[np.uint8]]:
    if not multiclass:
        classes = (np.where(unknown, 0, values) != 0).astype(np.uint8)
    else:
        known = np.where(unknown, 0, values)
        if known.min() < 0 or known.max() >= IGNORE or (known % 1).any():
            raise LabelError(
                f"mask {tile.labels} has values from {known.min()} to {known.max()}, "
                f"expected whole class ids from 0 to {IGNORE - 1}"
            )
        classes = known.astype(np.uint8)
    classes[unknown] = IGNORE
    return np.asarray(classes, np.uint8)
