"""The split of runs that were begun before geoseg stored roles.

Such runs continue with their first roles: at most half of the labelled tiles for
matching and selection, all others for testing.
"""

import random
from collections.abc import Sequence

from geoseg.geo.tiles.groups import (
    Block,
    count_tiles,
    cut_into_blocks,
    overlapping_groups,
    place_tiles,
)
from geoseg.geo.tiles.roles import Split, warn_of_no_test
from geoseg.geo.tiles.tiles import Tile


def former_split(tiles: Sequence[Tile], *, match: int, select: int, seed: int) -> Split:
    """Split labelled tiles as geoseg did before it stored roles.

    Args:
        tiles: Labelled and unlabelled tiles.
        match: Most tiles for matching.
        select: Most tiles for selecting models.
        seed: Seed of the split.
    """
    labelled = [tile for tile in tiles if tile.labels is not None]
    unlabelled = tuple(tile for tile in tiles if tile.labels is None)
    if not labelled:
        return Split(unlabelled=unlabelled)
    match, select = _affordable(len(labelled), match, select)
    groups = overlapping_groups(place_tiles(labelled))
    if len(groups) == 1:
        warn_of_no_test(len(labelled))
        return Split(match=tuple(labelled), unlabelled=unlabelled)
    blocks = cut_into_blocks(groups, leaf=min(max(match // 8, 1), 16))
    random.Random(seed).shuffle(blocks)
    roles = _deal(blocks, match, select)
    match_tiles, select_tiles, test_tiles = (
        tuple(tile for tile in labelled if roles[tile.id] == role)
        for role in ("match", "select", "test")
    )
    return Split(match_tiles, select_tiles, test_tiles, unlabelled=unlabelled)


def _affordable(labelled: int, match: int, select: int) -> tuple[int, int]:
    """Reduce the numbers so that half of the labelled tiles are left for testing."""
    budget = max(1, labelled // 2)
    if match + select <= budget:
        return match, select
    fewer = select * budget // (match + select)
    return max(1, budget - fewer), fewer


def _deal(blocks: Sequence[Block], match: int, select: int) -> dict[str, str]:
    """Return the role of each tile id; match and test get at least one block each."""
    room = {"match": match, "select": select}
    dealt = []
    for block in blocks:
        size = count_tiles(block)
        role = next((role for role, left in room.items() if size <= left), "test")
        if role != "test":
            room[role] -= size
        dealt.append(role)
    if "match" not in dealt:
        sizes = [count_tiles(block) for block in blocks]
        dealt[sizes.index(min(sizes))] = "match"
    matching = [number for number, role in enumerate(dealt) if role == "match"]
    if "test" not in dealt and len(matching) > 1:
        dealt[matching[-1]] = "test"
    return {
        tile.id: role
        for block, role in zip(blocks, dealt, strict=True)
        for group in block
        for tile in group.tiles
    }
