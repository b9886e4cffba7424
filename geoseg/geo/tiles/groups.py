"""Groups of overlapping tiles, and blocks of neighbouring groups."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import shapely
from rasterio.crs import CRS
from shapely import affinity

from geoseg.core.errors import RasterError
from geoseg.geo.coordinates.crs import WGS84, full_turn, same_crs
from geoseg.geo.coordinates.georeference import locate, warp
from geoseg.geo.rasters.description import RasterDescription
from geoseg.geo.rasters.raster import describe
from geoseg.geo.tiles.tiles import Tile

#: Tiles overlap if they share more than this many pixels in both directions; adjacent
#: tiles may share a rounding error.
OVERLAP_PIXELS = 2.0


class PlacedTile(NamedTuple):
    """A tile with its outline.

    Attributes:
        tile: The tile.
        outline: Outline in coordinates of its plane.
        plane: Name of the plane; tiles of different planes never overlap.
        pixel: Geometric mean of a pixel's sides in those coordinates.
    """

    tile: Tile
    outline: shapely.Polygon
    plane: str
    pixel: float


class Group(NamedTuple):
    """Tiles that get the same role.

    Attributes:
        tiles: The tiles in input order.
        centre: Centre of their bounds, x and y.
    """

    tiles: list[Tile]
    centre: tuple[float, float]


#: Neighbouring groups.
Block = list[Group]


def place_tiles(
    tiles: Sequence[Tile], inset: float = OVERLAP_PIXELS / 2
) -> list[PlacedTile]:
    """Return the outline of each tile, in a shared CRS if possible.

    A tile that cannot be transformed to the shared CRS (one in a local CRS) shares a
    plane with the tiles of its own CRS or, without a CRS, with the windows of its own
    image.

    Args:
        tiles: The tiles.
        inset: Pixels by which outlines are shrunk, so that adjacent tiles do not
            overlap.
    """
    grids = {image: describe(image) for image in dict.fromkeys(t.image for t in tiles)}
    systems = [grid.crs for grid in grids.values() if grid.crs]
    one = bool(systems) and all(same_crs(crs, systems[0]) for crs in systems)
    shared = systems[0] if one else WGS84
    placed = [_place(tile, grids[tile.image], shared, inset) for tile in tiles]
    return _in_one_turn(placed, shared)


def _place(
    tile: Tile, grid: RasterDescription, shared: CRS, inset: float
) -> PlacedTile:
    row, col, height, width = tile.extent(grid)
    inset = min(inset, height / 4, width / 4)
    rows, cols = height - 2 * inset, width - 2 * inset
    points = corners(grid, (row + inset, col + inset), rows, cols)
    plane, moved = _moved(points, tile, grid, shared)
    outline = shapely.Polygon(moved)
    return PlacedTile(tile, outline, plane, math.sqrt(outline.area / (rows * cols)))


def _moved(
    points: list[tuple[float, float]],
    tile: Tile,
    grid: RasterDescription,
    shared: CRS,
) -> tuple[str, Sequence[tuple[float, float]] | npt.NDArray[np.float64]]:
    """Return the plane of a tile, and its corners on the plane."""
    if grid.crs is None:
        # only windows of the same image share coordinates
        return tile.image, points
    try:
        moved = np.array(warp(points, grid.crs, shared))
    except RasterError:  # no transformation
        moved = np.full((1, 2), np.nan)
    if not np.isfinite(moved).all():
        return grid.crs.to_wkt(), points
    if turn := full_turn(shared):  # keep a tile across the antimeridian in one piece
        moved[:, 0] -= turn * np.round((moved[:, 0] - moved[0, 0]) / turn)
    return "", moved


def corners(
    grid: RasterDescription, first: tuple[float, float], height: float, width: float
) -> list[tuple[float, float]]:
    """Return the corners of a rectangle of the pixel grid in the CRS of its image.

    Args:
        grid: Metadata of the image.
        first: Row and column of its first corner.
        height: Height in pixels.
        width: Width in pixels.
    """
    (top, left), bottom, right = first, first[0] + height, first[1] + width
    places = ((left, top), (right, top), (right, bottom), (left, bottom))
    return [locate(grid.transform, *place) for place in places]


def _in_one_turn(placed: list[PlacedTile], shared: CRS) -> list[PlacedTile]:
    """Shift tiles by full turns of longitude, so that neighbours are side by side."""
    turn = full_turn(shared)
    outlines = np.array([item.outline for item in placed if not item.plane], object)
    if turn is None or not len(outlines):
        return placed
    west, _, east, _ = shapely.bounds(outlines).T
    middles = (west + east) / 2
    if np.ptp(middles) <= turn / 2:
        return placed
    # begin at the end of the widest gap between tiles
    around = np.sort(middles % turn)
    gaps = np.diff(around, append=around[0] + turn)
    begin = around[(int(gaps.argmax()) + 1) % len(around)]

    def moved(item: PlacedTile) -> PlacedTile:
        left, _, right, _ = item.outline.bounds
        middle = (left + right) / 2
        # do not shift a tile that is before the beginning by a rounding error
        off = begin + (middle - begin + 1e-9 * turn) % turn - 1e-9 * turn - middle
        return item._replace(outline=affinity.translate(item.outline, off))

    return [item if item.plane else moved(item) for item in placed]


def overlapping_groups(placed: Sequence[PlacedTile]) -> list[Group]:
    """Group tiles that overlap directly or through others; groups in input order."""
    from scipy.cluster.hierarchy import DisjointSet

    sets = DisjointSet(range(len(placed)))
    outlines = np.array([item.outline for item in placed], object)
    pairs = shapely.STRtree(outlines).query(outlines, predicate="intersects")
    for first, second in pairs.T.tolist():
        if placed[first].plane == placed[second].plane:
            sets.merge(first, second)
    members: dict[int, list[PlacedTile]] = {}
    for number, item in enumerate(placed):
        members.setdefault(sets[number], []).append(item)
    return [Group([i.tile for i in own], _centre(own)) for own in members.values()]


def _centre(placed: Sequence[PlacedTile]) -> tuple[float, float]:
    outlines = shapely.MultiPolygon([item.outline for item in placed])
    centre = outlines.envelope.centroid
    return centre.x, centre.y


def count_tiles(block: Block) -> int:
    """Return how many tiles a block has."""
    return sum(len(group.tiles) for group in block)


def cut_into_blocks(groups: Block, leaf: int) -> list[Block]:
    """Halve groups in space until blocks have one group or at most ``leaf`` tiles."""
    if len(groups) == 1 or count_tiles(groups) <= leaf:
        return [groups]
    return [block for half in halve(groups) for block in cut_into_blocks(half, leaf)]


def halve(groups: Block) -> tuple[Block, Block]:
    """Halve two or more groups across the longer side of their centres' bounds."""
    centres = np.array([group.centre for group in groups])
    axis = int(np.argmax(np.ptp(centres, axis=0)))
    # the other coordinate and the id make the order independent of the input's
    order = sorted(
        range(len(groups)),
        key=lambda n: (centres[n, axis], centres[n, 1 - axis], groups[n].tiles[0].id),
    )
    sizes = np.cumsum([len(groups[n].tiles) for n in order])
    cut = int(np.argmin(np.abs(sizes[:-1] - sizes[-1] / 2))) + 1
    return [groups[n] for n in order[:cut]], [groups[n] for n in order[cut:]]


def part_of(block: Block, room: int) -> tuple[Block, Block]:
    """Take a compact part of at most ``room`` tiles from a block.

    Returns:
        The part, which is empty if no group fits, and the rest.
    """
    if count_tiles(block) <= room:
        return block, []
    if room == 0 or len(block) == 1:
        return [], block
    first, second = halve(block)
    taken, left = part_of(first, room)
    more, others = part_of(second, room - count_tiles(taken))
    return taken + more, left + others
