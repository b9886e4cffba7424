"""The roles of a run's tiles as ``run.json`` has them.

They decide what a run goes on with, whatever has become of the rule that dealt them out,
or of labels that came or went meanwhile.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from geoseg.errors import TrainingError
from geoseg.geo.aoi import Tile
from geoseg.geo.former_splits import former_split
from geoseg.geo.remote import is_remote, redact
from geoseg.geo.splits import ROLES, Split, without_labels
from geoseg.run_tiles import label_order, say_split, split_seed
from geoseg.settings import RunSettings, count_of

#: Roles whose labels a run reads.
LABELLED_ROLES = ("match", "select", "test")


def roles_to_json(split: Split, source: str) -> list[dict[str, Any]]:
    """Return the role of each tile as plain JSON values.

    Args:
        split: The roles.
        source: Short name of where the tiles come from.
    """
    return [
        {
            "role": role,
            "source": source,
            "image": image_address(tile.image),
            "tile": tile.id,
            "window": None if tile.window is None else list(tile.window),
        }
        for role in ROLES
        for tile in getattr(split, role)
    ]


def image_address(image: str) -> str:
    """Return where an image is, the same from any folder and without secrets."""
    return redact(image) if is_remote(image) else str(Path(image).resolve())


def split_of_run(
    values: Mapping[str, Any], settings: RunSettings, tiles: Sequence[Tile]
) -> Split:
    """Return the roles that a run was begun with.

    Args:
        values: What ``run.json`` says.
        settings: Of the run, with the places where its tiles are now.
        tiles: Those that its fingerprint is of.

    Raises:
        TrainingError: If a tile has no role there, or has lost its labels since.
    """
    if "roles" not in values:
        return _former(settings, tiles)
    roles = _role_of_each(values["roles"], tiles)
    for tile in tiles:
        if tile.labels is None and roles[tile.id] in LABELLED_ROLES:
            raise TrainingError(
                f"tile {tile.id} had labels when the run began and has none now: put "
                "them back, or start a new run"
            )
    order = {entry["tile"]: number for number, entry in enumerate(values["roles"])}
    by_role = {
        role: sorted(
            (tile for tile in tiles if roles[tile.id] == role),
            key=lambda tile: order[tile.id],
        )
        for role in ROLES
    }
    split = Split(
        match=tuple(by_role["match"]),
        select=tuple(by_role["select"]),
        test=tuple(by_role["test"]),
        hidden=without_labels(by_role["hidden"]),
        unlabelled=without_labels(by_role["unlabelled"]),
        transductive=settings.transductive,
    )
    say_split(settings, split)
    return split


def _role_of_each(stored: Any, tiles: Sequence[Tile]) -> dict[str, str]:
    """Read the role of each tile id.

    Raises:
        TrainingError: If what is stored is of another form, or of other tiles.
    """
    try:
        roles = {str(entry["tile"]): str(entry["role"]) for entry in stored}
    except (TypeError, KeyError) as error:
        raise TrainingError(
            f"the roles in run.json are damaged ({type(error).__name__}), expected a "
            "list of tiles with their roles: start a new run"
        ) from error
    for tile in tiles:
        if roles.get(tile.id) not in ROLES:
            raise TrainingError(
                f"run.json gives tile {tile.id} the role {roles.get(tile.id)!r}, "
                f"expected one of {', '.join(ROLES)}: start a new run"
            )
    return roles


def _former(settings: RunSettings, tiles: Sequence[Tile]) -> Split:
    """Return the roles of a run that did not write them down, by the rule of its time.

    Then what lost its labels, and test tiles of transductive runs, were among the
    unlabelled ones.
    """
    labelled = sum(tile.labels is not None for tile in tiles)
    split = former_split(
        tiles,
        match=count_of(settings.match_tiles or 50, labelled),
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
    say_split(settings, split)
    return split
