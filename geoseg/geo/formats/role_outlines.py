"""Outlines of the tiles by role, and training tiles that adjoin test tiles."""

import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import shapely
import shapely.errors
from rasterio.crs import CRS
from shapely.geometry import mapping

from geoseg.core.errors import RasterError
from geoseg.core.outputs import write_aside
from geoseg.geo.formats.feature_chunks import to_longitude_latitude
from geoseg.geo.rasters.description import RasterDescription
from geoseg.geo.rasters.raster import describe
from geoseg.geo.tiles.groups import PlacedTile, corners, place_tiles
from geoseg.geo.tiles.roles import ROLES, Split
from geoseg.geo.tiles.tiles import Tile

log = logging.getLogger(__name__)

#: Roles that train without labels, where a leak into the test is easily overlooked.
UNSEEN_LABELS = ("hidden", "unlabelled")
#: Tiles adjoin if their distance is less than this many pixels.
GAP_PIXELS = 0.5


def adjoining_test(split: Split) -> dict[str, int]:
    """Count the tiles that train without labels and touch or overlap a test tile.

    Returns:
        Role → number of tiles, if not zero.
    """
    if not split.test:
        return {}
    others = [tile for role in UNSEEN_LABELS for tile in getattr(split, role)]
    placed = place_tiles([*split.test, *others], inset=0)
    test, trained = placed[: len(split.test)], placed[len(split.test) :]
    near = _near(trained, test)
    roles = [role for role in UNSEEN_LABELS for _ in getattr(split, role)]
    return {
        role: count
        for role in UNSEEN_LABELS
        if (count := sum(n for own, n in zip(roles, near, strict=True) if own == role))
    }


def _near(tiles: Sequence[PlacedTile], test: Sequence[PlacedTile]) -> list[bool]:
    """Tell which tiles touch or overlap a test tile."""
    near = [False] * len(tiles)
    tree = shapely.STRtree([item.outline for item in test])
    gaps = [GAP_PIXELS * item.pixel for item in tiles]
    outlines = np.array([item.outline for item in tiles], dtype=object)
    pairs = tree.query(outlines, predicate="dwithin", distance=gaps)
    for own, other in pairs.T.tolist():
        near[own] |= tiles[own].plane == test[other].plane
    return near


def write_roles(path: Path, split: Split, source: str) -> bool:
    """Write the outlines of tiles with their roles as GeoJSON.

    Without a CRS that has a position on Earth no file is written, and this is logged.

    Args:
        path: The file, which is replaced.
        split: The roles.
        source: Short name of the tiles' origin.

    Returns:
        Whether the file was written.
    """
    rows = [(role, tile) for role in ROLES for tile in getattr(split, role)]
    outlines = _outlines([tile for _, tile in rows])
    if outlines is None:
        log.info(
            "%s is not written: the tiles have no CRS with longitude and latitude",
            path.name,
        )
        return False
    features = [
        {
            "type": "Feature",
            "properties": {"role": role, "id": tile.id, "source": source},
            "geometry": mapping(outline),
        }
        for (role, tile), outline in zip(rows, outlines, strict=True)
    ]
    collection = {"type": "FeatureCollection", "name": "roles", "features": features}
    with write_aside(path, verify=lambda _: None, overwrite=True) as temporary:
        text = json.dumps(collection, ensure_ascii=False)
        temporary.write_text(text + "\n", encoding="utf-8")
    return True


def adjoining_words(adjoining: Mapping[str, int], of: Mapping[str, int]) -> str:
    """Return a sentence about the tiles that adjoin test tiles; "" if there are none.

    Args:
        adjoining: Role → number of tiles, from :func:`adjoining_test`.
        of: Role → number of all its tiles.

    Example:
        >>> adjoining_words({"hidden": 3}, {"hidden": 9, "test": 4})[:53]
        '3 of 9 hidden tiles touch or overlap test tiles: neig'
    """
    if not adjoining:
        return ""
    counts = [f"{n} of {of.get(role, n)} {role}" for role, n in adjoining.items()]
    return (
        f"{' and '.join(counts)} tiles touch or overlap test tiles: neighbours share "
        "roofs, light and builders, so new places may score lower"
    )


def _outlines(tiles: Sequence[Tile]) -> list[shapely.Geometry] | None:
    """Return the outline of each tile in longitude and latitude; None without a CRS."""
    grids = {image: describe(image) for image in dict.fromkeys(t.image for t in tiles)}
    by_crs: dict[CRS, list[int]] = {}
    for number, tile in enumerate(tiles):
        by_crs.setdefault(grids[tile.image].crs, []).append(number)
    outlines: list[Any] = [None] * len(tiles)
    try:
        for crs, numbers in by_crs.items():
            if crs is None:
                return None
            own = [_outline(tiles[n], grids[tiles[n].image]) for n in numbers]
            placed = to_longitude_latitude(crs)(np.array(own, dtype=object))
            for number, outline in zip(numbers, placed, strict=True):
                outlines[number] = shapely.orient_polygons(outline)
    except (RasterError, shapely.errors.GEOSException):
        return None
    coordinates = shapely.get_coordinates(outlines)
    return outlines if np.isfinite(coordinates).all() else None


def _outline(tile: Tile, grid: RasterDescription) -> shapely.Polygon:
    row, col, height, width = tile.extent(grid)
    return shapely.Polygon(corners(grid, (row, col), height, width))
