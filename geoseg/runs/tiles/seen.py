"""Find the tiles that a model has seen, as images or with labels, by its card."""

import logging
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from geoseg.core.errors import ModelFileError
from geoseg.geo.tiles.keys import TileKey, tile_keys
from geoseg.geo.tiles.roles import ROLES
from geoseg.geo.tiles.tiles import Tile
from geoseg.model.card import ModelCard

log = logging.getLogger(__name__)

#: Roles whose images training uses.
TRAINING_ROLES = ("match", "select", "hidden", "unlabelled")
#: Role of tiles that a model was matched on after its training.
MATCHED = "matched"


class SeenTiles(NamedTuple):
    """Ids of tiles that a model has seen.

    Attributes:
        images: Tiles that it was trained or matched on.
        labels: Tiles whose labels were used for training, matching or the head.
        matched: Tiles whose labels its present classes come from.
        test: Tiles that its scores come from.
    """

    images: set[str]
    labels: set[str]
    matched: set[str]
    test: set[str]


def counts_on_card(card: ModelCard) -> dict[str, int]:
    """Return the number of tiles of each role on a model's card, in fixed order."""
    named = card.provenance.get("tiles", {})
    return {role: len(named[role]) for role in ROLES if role in named}


def seen_tiles(card: ModelCard, tiles: Sequence[Tile]) -> SeenTiles:
    """Return the tiles that a model has seen.

    A tile is identified by its image, even if that was moved, and its window. Cards of
    former versions hold only ids, which other images may share: this logs a warning.

    Raises:
        ModelFileError: If the card is damaged.
    """
    roles = _roles_of(card, tiles)
    trained = {
        *TRAINING_ROLES,
        *(["test"] if card.provenance.get("transductive") else []),
    }

    def having(some: Iterable[str]) -> set[str]:
        chosen = set(some)
        return {tile_id for tile_id, own in roles.items() if own & chosen}

    now = MATCHED if "matched_on" in card.provenance else "match"
    return SeenTiles(
        images=having({*trained, MATCHED}),
        labels=having(("match", "select", MATCHED)),
        matched=having([now]),
        test=having(["test"]),
    )


def _roles_of(card: ModelCard, tiles: Sequence[Tile]) -> dict[str, set[str]]:
    """Return tile id → roles of the tile for a model."""
    named, keyed = _named_tiles(card), _keyed_tiles(card)
    roles: dict[str, set[str]] = {tile.id: set() for tile in tiles}
    by_id = {role: set(ids) for role, ids in named.items() if role not in keyed}
    known = [tile.id for tile in tiles if any(tile.id in ids for ids in by_id.values())]
    if known:
        log.warning(
            "the model's card is of a former version and names its tiles only by id: "
            "%s and others with the same ids count as seen, even in other images",
            known[0],
        )
    for role, ids in by_id.items():
        for tile_id in ids & roles.keys():
            roles[tile_id].add(role)
    if keyed:
        _add_keyed(roles, tiles, keyed)
    return roles


def _add_keyed(
    roles: dict[str, set[str]],
    tiles: Sequence[Tile],
    keyed: Mapping[str, Sequence[TileKey]],
) -> None:
    """Add the roles of the tiles whose images are on the card."""
    by_image: dict[str, list[tuple[str, TileKey]]] = {}
    for role, keys in keyed.items():
        for key in keys:
            for name in filter(None, (key.place, key.content)):
                by_image.setdefault(name, []).append((role, key))
    for tile, own in zip(tiles, tile_keys(tiles), strict=True):
        for name in filter(None, (own.place, own.content)):
            known = by_image.get(name, ())
            roles[tile.id] |= {role for role, key in known if own.meets(key)}


def _named_tiles(card: ModelCard) -> dict[str, Sequence[str]]:
    """Return role → ids, from a card of any version."""
    named = dict(card.provenance.get("tiles", {}))
    matched = card.provenance.get("matched_on", ())
    return {**named, **({MATCHED: matched} if matched else {})}


def _keyed_tiles(card: ModelCard) -> dict[str, list[TileKey]]:
    """Return role → keys of its tiles; empty for a former version's card."""
    stored: dict[str, Any] = dict(card.provenance.get("tile_keys", {}))
    try:
        return {
            role: [TileKey.from_json(values) for values in keys]
            for role, keys in stored.items()
            if role in (*ROLES, MATCHED)
        }
    except (TypeError, ValueError) as error:
        raise ModelFileError(
            f"the card's tile keys are damaged ({error}), expected those that geoseg "
            "train wrote: train the model again"
        ) from error
