"""Which tiles a model has seen, by its card: as images, or with their labels."""

import logging
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from geoseg.core.errors import ModelFileError
from geoseg.geo.tiles.keys import TileKey, tile_keys
from geoseg.geo.tiles.roles import ROLES
from geoseg.geo.tiles.tiles import Tile
from geoseg.model.card import ModelCard

log = logging.getLogger(__name__)

#: Roles whose images a training sees.
TRAINING_ROLES = ("match", "select", "hidden", "unlabelled")
#: Of the tiles that a model was matched on after its training.
MATCHED = "matched"


class SeenTiles(NamedTuple):
    """What a model has seen of some tiles, by their ids.

    Attributes:
        images: Those that it was trained or matched on.
        labels: Those whose labels named its clusters, chose its head, or taught it.
        matched: Those whose labels its classes follow from now.
        test: Those that its scores are from.
    """

    images: set[str]
    labels: set[str]
    matched: set[str]
    test: set[str]


def counts_on_card(card: ModelCard) -> dict[str, int]:
    """Return how many tiles of each role a model's card names, in the order of roles."""
    named = card.provenance.get("tiles", {})
    return {role: len(named[role]) for role in ROLES if role in named}


def seen_tiles(card: ModelCard, tiles: Sequence[Tile]) -> SeenTiles:
    """Find among tiles those that a model has seen.

    A tile is known by its image, wherever that lies now, and its window. Cards of former
    versions name ids alone, which other images may have too; that is said.

    Raises:
        ModelFileError: If the card is damaged.
    """
    roles = _roles_of(card, tiles)
    trained = {
        *TRAINING_ROLES,
        *(["test"] if card.provenance.get("transductive") else []),
    }

    def having(some: Iterable[str]) -> set[str]:
        wanted = set(some)
        return {tile_id for tile_id, own in roles.items() if own & wanted}

    now = MATCHED if "matched_on" in card.provenance else "match"
    return SeenTiles(
        images=having({*trained, MATCHED}),
        labels=having(("match", "select", MATCHED)),
        matched=having([now]),
        test=having(["test"]),
    )


def _roles_of(card: ModelCard, tiles: Sequence[Tile]) -> dict[str, set[str]]:
    """Return the roles that each tile id has had for a model."""
    named, keyed = _named_tiles(card), _keyed_tiles(card)
    roles: dict[str, set[str]] = {tile.id: set() for tile in tiles}
    by_id = {role: set(ids) for role, ids in named.items() if role not in keyed}
    known = [tile.id for tile in tiles if any(tile.id in ids for ids in by_id.values())]
    if known:
        log.warning(
            "the model's card is of a former version and names its tiles by id alone: "
            "%s and others of the same ids count as seen, also in other images",
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
    """Add the roles of the tiles whose images the card knows."""
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
    """Return role → ids, as cards of all versions have them."""
    named = dict(card.provenance.get("tiles", {}))
    matched = card.provenance.get("matched_on", ())
    return {**named, **({MATCHED: matched} if matched else {})}


def _keyed_tiles(card: ModelCard) -> dict[str, list[TileKey]]:
    """Return role → what its tiles are known by; nothing of a former version's card."""
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
