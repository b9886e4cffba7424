"""Tiles for matching, selection and test: disjoint, and blocked in space.

Neighbouring tiles share roofs, light and builders, so tiles are dealt out in compact
blocks, and tiles that overlap never part.
"""

import logging
import math
import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import shapely
from rasterio.crs import CRS

from geoseg.errors import DatasetError, ParameterError
from geoseg.geo.aoi import Tile
from geoseg.geo.disjoint_sets import DisjointSets
from geoseg.geo.georeference import locate, warp
from geoseg.geo.raster import PixelWindow, RasterDescription, describe
from geoseg.words import counted

log = logging.getLogger(__name__)

#: Tiles overlap when they share more than this many pixels in both directions; tiles
#: that abut may share a rounding error.
OVERLAP_PIXELS = 2.0


@dataclass(frozen=True)
class Split:
    """Disjoint roles of tiles.

    Attributes:
        match: Labelled; their labels name the clusters.
        select: Labelled; for choosing among models, never for scores.
        test: Labelled; for scores alone.
        unlabelled: Without labels; training material.
    """

    match: tuple[Tile, ...]
    select: tuple[Tile, ...]
    test: tuple[Tile, ...]
    unlabelled: tuple[Tile, ...]


class _Placed(NamedTuple):
    tile: Tile
    outline: shapely.Polygon
    plane: str


def split_blocks(tiles: Sequence[Tile], blocks: int, gap: int) -> list[Tile]:
    """Cut each tile into ``blocks`` x ``blocks`` windows with gaps between.

    Args:
        tiles: Whole tiles.
        blocks: Windows per side.
        gap: Pixels left out between neighbouring windows.

    Returns:
        Tiles ``"img1#r0c2"`` (row and column of the block), row by row; block sizes
        differ by one pixel at most.

    Raises:
        ParameterError: If ``blocks`` < 1 or ``gap`` < 0.
        DatasetError: If a tile is too small.
    """
    if blocks < 1 or gap < 0:
        raise ParameterError(
            f"blocks is {blocks} and gap {gap}, expected at least 1 and 0"
        )
    parts = []
    for tile in tiles:
        row, col, height, width = tile.extent(describe(tile.image))
        if min(height, width) < blocks + gap * (blocks - 1):
            raise DatasetError(
                f"tile {tile.id} is {height} x {width}, too small for {blocks} x "
                f"{blocks} blocks with gaps of {gap}: choose fewer blocks"
            )
        for r, (top, rows) in enumerate(_cuts(height, blocks, gap)):
            for c, (left, cols) in enumerate(_cuts(width, blocks, gap)):
                window = PixelWindow(row + top, col + left, rows, cols)
                name = f"{tile.id}#r{r}c{c}"
                parts.append(replace(tile, id=name, window=window))
    return parts


def _cuts(length: int, blocks: int, gap: int) -> list[tuple[int, int]]:
    """(start, size) of each block along one side."""
    usable = length - gap * (blocks - 1)
    edges = [usable * number // blocks for number in range(blocks + 1)]
    return [
        (edges[number] + gap * number, edges[number + 1] - edges[number])
        for number in range(blocks)
    ]


def split_tiles(
    tiles: Sequence[Tile],
    *,
    match: int = 50,
    select: int = 0,
    test_share: float | None = None,
    seed: int = 0,
    use: str = "name the clusters",
    rest: str = "kept for the test (--match-tiles)",
) -> Split:
    """Deal labelled tiles out to roles in blocks; unlabelled ones keep theirs.

    Tiles whose extents overlap form a group that never parts (windows of one image that
    do not overlap may part). Groups are halved in space, along the longer side of their
    centres, until blocks are small (an eighth of the tiles to match, at most 16 tiles);
    the seed shuffles the blocks; whole blocks go to ``match`` while they fit its count,
    then to ``select``, and **all other labelled tiles to** ``test``. Counts are upper
    bounds, as blocks are not cut.

    ``test`` gets at least ``test_share`` of the labelled tiles, by default one half:
    when fewer are labelled than that takes, ``match`` and ``select`` shrink in
    proportion (10 labelled tiles: 5 match, 5 test). A log message says how many got
    which role. A single group cannot be parted: all goes to ``match``, with a warning.

    Args:
        tiles: Labelled and unlabelled ones.
        match: Tiles to match on, at least 1.
        select: Tiles to select models on.
        test_share: Least share of the labelled tiles for test, in [0, 1).
        seed: Chooses among the splits; equal seeds give equal splits.
        use: Of the matching tiles, for the log message.
        rest: What becomes of the test tiles, for the log message.

    Raises:
        ParameterError: If a count or the share is out of range.
        DatasetError: If two tiles have the same id.
    """
    _check_request(tiles, match, select, test_share)
    labelled = [tile for tile in tiles if tile.labels is not None]
    unlabelled = tuple(tile for tile in tiles if tile.labels is None)
    if not labelled:
        return Split((), (), (), unlabelled)
    match, select = _affordable(len(labelled), match, select, test_share)
    groups = _overlapping(_place(labelled))
    if len(groups) == 1:
        _warn_of_no_test(len(labelled))
        return Split(tuple(labelled), (), (), unlabelled)
    blocks = _bisect(groups, leaf=min(max(match // 8, 1), 16))
    random.Random(seed).shuffle(blocks)
    roles = _deal(blocks, match, select)
    split = Split(
        match=tuple(tile for tile in labelled if roles[tile.id] == "match"),
        select=tuple(tile for tile in labelled if roles[tile.id] == "select"),
        test=tuple(tile for tile in labelled if roles[tile.id] == "test"),
        unlabelled=unlabelled,
    )
    _say(split, use, rest)
    return split


def _warn_of_no_test(labelled: int) -> None:
    """Warn that one tile, or tiles that all overlap, cannot be shared out."""
    log.warning(
        "%s: all is matched on and none is left for test; cut large images into blocks",
        (
            "one tile is labelled"
            if labelled == 1
            else f"all {labelled} labelled tiles overlap"
        ),
    )


def _say(split: Split, use: str, rest: str) -> None:
    """Say in one line how many tiles got which role."""
    labelled = (*split.match, *split.select, *split.test)
    cut = any(tile.window is not None for tile in labelled)
    selecting = f"{len(split.select)} to choose the head, " if split.select else ""
    log.info(
        "%s with labels: %d to %s, %s%d %s",
        counted(len(labelled), f"{'block' if cut else 'tile'}"),
        *(len(split.match), use, selecting, len(split.test), rest),
    )


def _check_request(
    tiles: Sequence[Tile], match: int, select: int, test_share: float | None
) -> None:
    if match < 1 or select < 0:
        raise ParameterError(
            f"match is {match} and select {select}, expected at least 1 and 0"
        )
    if test_share is not None and not 0 <= test_share < 1:
        raise ParameterError(f"test_share is {test_share}, expected it in [0, 1)")
    if len({tile.id for tile in tiles}) != len(tiles):
        raise DatasetError("two tiles have the same id, expected unique ids")


def _affordable(
    labelled: int, match: int, select: int, test_share: float | None
) -> tuple[int, int]:
    """Shrink the counts so that test keeps its share."""
    share = 0.5 if test_share is None else test_share
    budget = max(1, labelled - math.ceil(share * labelled))
    if match + select <= budget:
        return match, select
    fewer_select = select * budget // (match + select)
    fewer_match = max(1, budget - fewer_select)
    return fewer_match, fewer_select


def _place(tiles: Sequence[Tile]) -> list[_Placed]:
    """Outline of each tile in a CRS shared by all that have one."""
    descriptions = {tile.image: describe(tile.image) for tile in tiles}
    systems = [grid.crs for grid in descriptions.values() if grid.crs]
    same = all(crs == systems[0] for crs in systems)
    shared = None if not systems or same else CRS.from_epsg(4326)
    return [_place_one(tile, descriptions[tile.image], shared) for tile in tiles]


def _place_one(tile: Tile, grid: RasterDescription, shared: CRS | None) -> _Placed:
    row, col, height, width = tile.extent(grid)
    # drawn in by half the tolerance, so that only real overlaps remain
    inset = min(OVERLAP_PIXELS / 2, height / 4, width / 4)
    top, left = row + inset, col + inset
    bottom, right = row + height - inset, col + width - inset
    corners = ((left, top), (right, top), (right, bottom), (left, bottom))
    points = [locate(grid.transform, *corner) for corner in corners]
    if grid.crs is None:
        # no common coordinates but with other windows of the same image
        return _Placed(tile, shapely.Polygon(points), tile.image)
    if shared is not None:
        points = warp(points, grid.crs, shared)
    return _Placed(tile, shapely.Polygon(points), "")


def _overlapping(placed: Sequence[_Placed]) -> list[list[_Placed]]:
    """Groups connected by overlap, in the order of their first tiles."""
    sets = DisjointSets(len(placed))
    outlines = np.array([item.outline for item in placed], object)
    pairs = shapely.STRtree(outlines).query(outlines, predicate="intersects")
    for first, second in pairs.T.tolist():
        if placed[first].plane == placed[second].plane:
            low, high = sorted((sets.root(first), sets.root(second)))
            sets.join(low, high)
    groups: dict[int, list[_Placed]] = {}
    for number, item in enumerate(placed):
        groups.setdefault(sets.root(number), []).append(item)
    return list(groups.values())


def _bisect(groups: list[list[_Placed]], leaf: int) -> list[list[Tile]]:
    """Halve groups in space until no block of several has more than ``leaf`` tiles."""
    count = sum(len(group) for group in groups)
    if len(groups) == 1 or count <= leaf:
        return [[item.tile for group in groups for item in group]]
    centres = np.array([_centre(group) for group in groups])
    axis = int(np.argmax(np.ptp(centres, axis=0)))
    # the other coordinate and the id make the order the same whatever the input's
    order = sorted(
        range(len(groups)),
        key=lambda n: (centres[n, axis], centres[n, 1 - axis], groups[n][0].tile.id),
    )
    sizes = np.cumsum([len(groups[n]) for n in order])
    cut = int(np.argmin(np.abs(sizes[:-1] - count / 2))) + 1
    halves = (order[:cut], order[cut:])
    return [
        block for half in halves for block in _bisect([groups[n] for n in half], leaf)
    ]


def _centre(group: Sequence[_Placed]) -> tuple[float, float]:
    centre = shapely.MultiPolygon([item.outline for item in group]).envelope.centroid
    return centre.x, centre.y


def _deal(blocks: Sequence[Sequence[Tile]], match: int, select: int) -> dict[str, str]:
    """Role of each tile id; match and test get at least one block each."""
    roles: dict[str, str] = {}
    room = {"match": match, "select": select}
    smallest = min(range(len(blocks)), key=lambda number: len(blocks[number]))
    for number, block in enumerate(blocks):
        role = next((r for r, left in room.items() if len(block) <= left), "test")
        if role != "test":
            room[role] -= len(block)
        roles |= {tile.id: role for tile in block}
    if "match" not in roles.values():
        roles |= {tile.id: "match" for tile in blocks[smallest]}
    if "test" not in roles.values():
        last = [block for block in blocks if roles[block[0].id] == "match"]
        if len(last) > 1:
            roles |= {tile.id: "test" for tile in last[-1]}
    return roles
