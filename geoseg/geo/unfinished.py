"""Maps whose run was stopped: what lies beside the output until the map is complete."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

#: Says what decides the result, in the folder of the map's parts.
MANIFEST = "manifest.json"


class Manifest(NamedTuple):
    """What was written down when a map was begun.

    Attributes:
        identity: all that decides the result.
        outputs: files of the map that were not there: its own, as soon as they are.
    """

    identity: Mapping[str, Any]
    outputs: list[Path]


def parts_folder(output: Path) -> Path:
    """Name the folder that keeps what is done of an unfinished map."""
    return output.with_name(f".{output.name}.parts")


def is_unfinished(output: Path) -> bool:
    """Tell whether a run that was to write an output has been stopped."""
    return read_manifest(output) is not None


def own_outputs(output: Path) -> set[Path]:
    """Return the files that a stopped run may have finished, to be written again."""
    manifest = read_manifest(output)
    return set() if manifest is None else set(manifest.outputs)


def read_manifest(output: Path) -> Manifest | None:
    """Return what a stopped run wrote down; None if there is none to go on from."""
    try:
        values = json.loads((parts_folder(output) / MANIFEST).read_bytes())
        return Manifest(
            dict(values["identity"]), [Path(it) for it in values["outputs"]]
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None
