"""Roles of tiles: matching, selection and test, disjoint and blocked in space.

Neighbouring tiles share roofs, light and builders, so compact blocks of tiles get a
role, and overlapping tiles get the same one.
"""

import logging
import math
import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from geoseg.core.errors import DatasetError, ParameterError
from geoseg.core.words import counted
from geoseg.geo.rasters.description import PixelWindow
from geoseg.geo.rasters.raster import describe
from geoseg.geo.tiles.groups import (
    Block,
    count_tiles,
    cut_into_blocks,
    overlapping_groups,
    part_of,
    place_tiles,
)
from geoseg.geo.tiles.tiles import Tile

log = logging.getLogger(__name__)

#: Most labelled tiles for matching and for testing: the published protocol's numbers.
MATCH_TILES, TEST_TILES = 50, 700
#: If fewer than twice as many tiles are labelled, half of them are for testing.
SURE_TEST_TILES = 50


@dataclass(frozen=True)
class Split:
    """Disjoint roles of tiles.

    Attributes:
        match: Labelled tiles for naming the clusters, or for learning from labels.
        select: Labelled tiles for choosing among models, never for scores.
        test: Labelled tiles for scores only.
        hidden: Tiles for training; their labels on disk are not used.
        unlabelled: Tiles without labels, for training.
        transductive: Whether training uses the images of the test tiles too.
    """

    match: tuple[Tile, ...] = ()
    select: tuple[Tile, ...] = ()
    test: tuple[Tile, ...] = ()
    hidden: tuple[Tile, ...] = ()
    unlabelled: tuple[Tile, ...] = ()
    transductive: bool = False


#: Names of the roles, as fields of :class:`Split`, in order of display.
ROLES = ("match", "select", "test", "hidden", "unlabelled")


def tiles_by_role(split: Split) -> dict[str, int]:
    """Count the tiles of each role."""
    return {role: len(getattr(split, role)) for role in ROLES}


class RoleCounts(NamedTuple):
    """Most labelled tiles of each role; all others are hidden."""

    match: int
    select: int
    test: int


def role_counts(
    labelled: int, *, match: int | None = None, select: int = 0, test: int | None = None
) -> RoleCounts:
    """Return the number of labelled tiles of each role.

    A quarter is for the test, but at least 50, at most 700, and never more than half;
    then up to 50 are for matching.

    Args:
        labelled: Number of labelled tiles.
        match: Tiles for matching, if chosen.
        select: Tiles for choosing the head; taken before the others.
        test: Tiles for testing, if chosen.

    Raises:
        ParameterError: If the numbers exceed the labelled tiles, or one is too small.

    Example:
        >>> role_counts(10), role_counts(3850)
        (RoleCounts(match=5, select=0, test=5), RoleCounts(match=50, select=0, test=700))
    """
    if labelled == 1 and match in (None, 1) and test is None and not select:
        return RoleCounts(1, 0, 0)
    chosen = {"match": match, "select": select, "test": test}
    given = {role: number for role, number in chosen.items() if number is not None}
    if min(given.values()) < 0 or 0 in (match, test):
        raise ParameterError(f"the tiles of roles are {given}, expected 1 or more")
    free = labelled - select
    if test is None:
        quarter, half = math.ceil(labelled / 4), math.ceil(labelled / 2)
        usual = min(TEST_TILES, max(quarter, min(half, SURE_TEST_TILES)))
        test = min(usual, math.ceil(free / 2) if match is None else free - match)
    if match is None:
        match = min(MATCH_TILES, free - test)
    if match < 1 or test < 1 or match + test > free:
        options = [
            f"--{role}-tiles {number}" for role, number in given.items() if number
        ]
        raise ParameterError(
            f"{counted(labelled, 'tile')} with labels cannot be split by "
            f"{' and '.join(options)}: expected at least one to match on, one to test "
            f"on, and no more than {labelled} in all; give smaller numbers"
        )
    return RoleCounts(match, select, test)


def split_blocks(tiles: Sequence[Tile], blocks: int, gap: int) -> list[Tile]:
    """Cut each tile into ``blocks`` x ``blocks`` windows with gaps between them.

    Args:
        tiles: Whole tiles.
        blocks: Windows per side.
        gap: Pixels between neighbouring windows.

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
    """Return (start, size) of each block along one side."""
    usable = length - gap * (blocks - 1)
    edges = [usable * number // blocks for number in range(blocks + 1)]
    return [
        (edges[number] + gap * number, edges[number + 1] - edges[number])
        for number in range(blocks)
    ]


def split_tiles(
    tiles: Sequence[Tile],
    *,
    match: int | None = None,
    select: int = 0,
    test: int | None = None,
    seed: int = 0,
) -> Split:
    """Give labelled tiles roles, in blocks; unlabelled tiles stay unlabelled.

    Tiles whose extents overlap form a group and get the same role (windows of one image
    that do not overlap may get different ones). Groups are halved in space, along the
    longer side of their centres' bounds, until blocks are small (an eighth of the tiles
    of a role, at most 16 to match and 64 to test on); the seed shuffles the blocks.
    Whole blocks go to ``match`` while they fit its number, then to ``select`` and to
    ``test``; parts of blocks fill the remaining numbers. **All other labelled tiles
    are** ``hidden``. The numbers of :func:`role_counts` are upper bounds, as groups
    stay whole.

    If all tiles form a single group, all go to ``match``, with a warning.

    Args:
        tiles: Labelled and unlabelled tiles.
        match: Tiles for matching, if chosen.
        select: Tiles for selecting models.
        test: Tiles for testing, if chosen.
        seed: Seed of the split; equal seeds give equal splits.

    Raises:
        ParameterError: As :func:`role_counts`.
        DatasetError: If two tiles have the same id.
    """
    if len({tile.id for tile in tiles}) != len(tiles):
        raise DatasetError("two tiles have the same id, expected unique ids")
    labelled = [tile for tile in tiles if tile.labels is not None]
    unlabelled = tuple(tile for tile in tiles if tile.labels is None)
    if not labelled:
        return Split(unlabelled=unlabelled)
    counts = role_counts(len(labelled), match=match, select=select, test=test)
    groups = overlapping_groups(place_tiles(labelled))
    if len(groups) == 1:
        warn_of_no_test(len(labelled))
        return Split(match=tuple(labelled), unlabelled=unlabelled)
    roles = _deal(groups, counts, seed)
    match_tiles, select_tiles, test_tiles, hidden = (
        tuple(tile for tile in labelled if roles.get(tile.id, "hidden") == role)
        for role in ROLES[:4]
    )
    return Split(
        match_tiles, select_tiles, test_tiles, without_labels(hidden), unlabelled
    )


def without_labels(tiles: Sequence[Tile]) -> tuple[Tile, ...]:
    """Return the tiles without their labels."""
    return tuple(replace(tile, labels=None) for tile in tiles)


def warn_of_no_test(labelled: int) -> None:
    """Warn that a single tile, or tiles that all overlap, cannot be split."""
    log.warning(
        "%s: all is matched on and none is left for test; cut large images into blocks",
        (
            "one tile is labelled"
            if labelled == 1
            else f"all {labelled} labelled tiles overlap"
        ),
    )


def _deal(groups: Block, counts: RoleCounts, seed: int) -> dict[str, str]:
    """Return the role of each tile id, except hidden ones."""
    shuffle = random.Random(seed).shuffle
    blocks = cut_into_blocks(groups, leaf=min(max(counts.match // 8, 1), 16))
    shuffle(blocks)
    match, blocks = _draw(blocks, counts.match, at_least_one=True)
    select, blocks = _draw(blocks, counts.select)
    if not blocks:  # groups too large to leave tiles for the test
        select, blocks = [], [select]
    # larger blocks, so that fewer test tiles have neighbours in training
    others = [group for block in blocks for group in block]
    blocks = cut_into_blocks(others, leaf=min(max(counts.test // 8, 1), 64))
    shuffle(blocks)
    test, _ = _draw(blocks, counts.test, at_least_one=True)
    dealt = {"match": match, "select": select, "test": test}
    return {
        tile.id: role
        for role, taken in dealt.items()
        for group in taken
        for tile in group.tiles
    }


def _draw(
    blocks: Sequence[Block], room: int, *, at_least_one: bool = False
) -> tuple[Block, list[Block]]:
    """Take whole blocks while they fit, then parts of blocks.

    Args:
        blocks: Blocks to take from.
        room: Most tiles to take.
        at_least_one: Take the smallest group if no group fits.

    Returns:
        The groups taken, and the blocks left.
    """
    taken: Block = []
    uncut: list[Block] = []
    left: list[Block] = []
    for block in blocks:
        if count_tiles(block) <= room:
            taken += block
            room -= count_tiles(block)
        else:
            uncut.append(block)
    for block in uncut:
        part, rest = part_of(block, room)
        taken += part
        room -= count_tiles(part)
        left += [rest] if rest else []
    if at_least_one and not taken:
        taken = [min((g for block in left for g in block), key=lambda g: len(g.tiles))]
        left = [[g for g in block if g is not taken[0]] for block in left]
    return taken, [block for block in left if block]
