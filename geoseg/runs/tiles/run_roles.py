"""The roles of a run's tiles, as stored in ``run.json``.

A resumed run uses the stored roles, even if the rule that assigned them, or the labels,
have changed since.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from geoseg.core.errors import TrainingError
from geoseg.geo.formats.role_outlines import adjoining_words
from geoseg.geo.tiles.former_roles import former_split
from geoseg.geo.tiles.keys import TileKey, image_address, tile_keys
from geoseg.geo.tiles.roles import (
    MATCH_TILES,
    ROLES,
    Split,
    tiles_by_role,
    without_labels,
)
from geoseg.geo.tiles.tiles import Tile
from geoseg.runs.settings import RunSettings, count_of
from geoseg.runs.tiles.run_tiles import label_order, say_split, split_seed

log = logging.getLogger(__name__)

#: Facts of roles on a model's card: keys of tiles, and how many adjoin test tiles.
ROLE_FACTS = ("tile_keys", "adjoining_test")
#: Roles whose labels a run reads.
LABELLED_ROLES = ("match", "select", "test")


class TileRole(NamedTuple):
    """The role of a tile in a run.

    Attributes:
        role: One of :data:`geoseg.geo.tiles.roles.ROLES`.
        source: Short name of where the tile comes from.
        image: Path of its image when the run began, without secrets.
        tile: Its id.
        key: Identifies it by its image and window.
    """

    role: str
    source: str
    image: str
    tile: str
    key: TileKey

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        place, content, window = self.key.to_json()
        values = self._asdict() | {"window": window, "place": place, "content": content}
        del values["key"]
        return values

    @classmethod
    def from_json(cls, values: Any) -> "TileRole":
        """Rebuild a role from the values of :meth:`to_json`.

        Raises:
            KeyError: If a value is missing.
            TypeError: If a value has another type.
            ValueError: If the role is unknown.
        """
        names = ("role", "source", "image", "tile")
        role, source, image, tile = texts = [values[name] for name in names]
        if not all(isinstance(text, str) for text in texts):
            raise TypeError(f"{texts!r} are not all text")
        if role not in ROLES:
            raise ValueError(f"role {role!r} is none of {', '.join(ROLES)}")
        key = TileKey.from_json([values[n] for n in ("place", "content", "window")])
        return cls(role, source, image, tile, key)


def roles_of(split: Split, source: str) -> list[TileRole]:
    """Return the role of each tile, ordered by role.

    Args:
        split: The roles.
        source: Short name of where the tiles come from.
    """
    tiles = [(role, tile) for role in ROLES for tile in getattr(split, role)]
    keys = tile_keys([tile for _, tile in tiles])
    return [
        TileRole(role, source, image_address(tile.image), tile.id, key)
        for (role, tile), key in zip(tiles, keys, strict=True)
    ]


def read_roles(values: Mapping[str, Any]) -> list[TileRole] | None:
    """Read the roles in ``run.json``; None if a former version began the run.

    Raises:
        TrainingError: If they are damaged.
    """
    if "roles" not in values:
        return None
    stored = values["roles"]
    try:
        if not isinstance(stored, list):
            raise TypeError(f"found {type(stored).__name__}")
        return [TileRole.from_json(entry) for entry in stored]
    except (TypeError, KeyError, ValueError) as error:
        raise TrainingError(
            f"the roles in run.json are damaged ({type(error).__name__}: {error}), "
            "expected a list of tiles with their roles: start a new run"
        ) from error


def read_adjoining(values: Mapping[str, Any]) -> dict[str, int]:
    """Read from ``run.json`` how many tiles of each role adjoin test tiles.

    Raises:
        TrainingError: If these values are damaged.
    """
    stored = values.get("adjoining_test", {})
    whole = isinstance(stored, dict) and all(type(n) is int for n in stored.values())
    if not whole:
        raise TrainingError(
            f"adjoining_test in run.json is {stored!r}, expected numbers by role: start "
            "a new run"
        )
    return dict(stored)


def role_facts(
    roles: Sequence[TileRole] | None, adjoining: Mapping[str, int]
) -> dict[str, Any]:
    """Return the facts of the roles of tiles for a model's card, beside their ids.

    Args:
        roles: Of the tiles; None if a former version began the run, whose card has no
            such facts.
        adjoining: Role → number of its tiles that adjoin test tiles.
    """
    if roles is None:
        return {}
    keys: dict[str, list[Any]] = {}
    for entry in roles:
        keys.setdefault(entry.role, []).append(entry.key.to_json())
    return dict(zip(ROLE_FACTS, (keys, dict(adjoining)), strict=True))


def warn_of_adjoining_test(adjoining: Mapping[str, int], split: Split) -> None:
    """Warn in one line if training tiles adjoin test tiles."""
    words = adjoining_words(adjoining, tiles_by_role(split))
    if words:
        log.warning("%s", words)


def split_of_run(
    roles: Sequence[TileRole] | None, settings: RunSettings, tiles: Sequence[Tile]
) -> Split:
    """Return the split with which a run was begun.

    Args:
        roles: Those in ``run.json``; None: assign them by the former version's rule.
        settings: Of the run, with the present paths of its tiles.
        tiles: All tiles of the run.

    Raises:
        TrainingError: If a tile has no stored role, or has lost its labels since.
    """
    if roles is None:
        return _former(settings, tiles)
    by_id = {tile.id: tile for tile in tiles}
    if by_id.keys() != {entry.tile for entry in roles} or len(roles) != len(tiles):
        raise TrainingError(
            f"run.json has the roles of {len(roles)} tiles, expected one for each of "
            f"the {len(tiles)} tiles of the run: start a new run"
        )
    dealt: dict[str, list[Tile]] = {role: [] for role in ROLES}
    for entry in roles:
        tile = by_id[entry.tile]
        if tile.labels is None and entry.role in LABELLED_ROLES:
            raise TrainingError(
                f"tile {tile.id} had labels when the run began and has none now: put "
                "them back, or start a new run"
            )
        dealt[entry.role].append(tile)
    split = Split(
        match=tuple(dealt["match"]),
        select=tuple(dealt["select"]),
        test=tuple(dealt["test"]),
        hidden=without_labels(dealt["hidden"]),
        unlabelled=without_labels(dealt["unlabelled"]),
        transductive=settings.transductive,
    )
    say_split(settings.method, split)
    return split


def _former(settings: RunSettings, tiles: Sequence[Tile]) -> Split:
    """Return the split of a run without stored roles, by the rule of its version.

    That rule counted tiles that lost their labels, and the test tiles of transductive
    runs, as unlabelled.
    """
    labelled = sum(tile.labels is not None for tile in tiles)
    split = former_split(
        tiles,
        match=count_of(settings.match_tiles or MATCH_TILES, labelled),
        select=settings.select_tiles,
        seed=split_seed(settings),
    )
    if settings.label_tiles is not None:
        order = label_order(split, settings.seed)
        kept = {tile.id for tile in order[: settings.label_tiles]}
        others = [tile for tile in split.match if tile.id not in kept]
        split = replace(
            split,
            match=tuple(tile for tile in split.match if tile.id in kept),
            unlabelled=split.unlabelled + without_labels(others),
        )
    if settings.transductive:
        seen = split.unlabelled + without_labels(split.test)
        split = replace(split, unlabelled=seen)
    say_split(settings.method, split)
    return split
