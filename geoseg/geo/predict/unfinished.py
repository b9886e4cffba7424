"""Maps whose run was stopped: what lies beside the output until the map is complete."""

import hashlib
import json
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from geoseg.core.aside import open_in_place, replace_text
from geoseg.core.errors import OutputError
from geoseg.core.stored import StoredError, read_json, typed

#: Says what decides the result, in the folder of the map's parts.
MANIFEST = "manifest.json"
#: Hashes of the outputs that the run has finished, a line each.
MADE = "made.txt"


@dataclass(frozen=True)
class Manifest:
    """What was written down when a map was begun.

    Attributes:
        identity: all that decides the result.
        outputs: files of the map, for people: a run that goes on writes and removes
            those alone that its own command names.
        mark: eight hexadecimal digits in the names of what the run writes aside.
    """

    identity: Mapping[str, Any]
    outputs: tuple[str, ...] = ()
    mark: str = field(default_factory=lambda: secrets.token_hex(4))


@dataclass(frozen=True)
class MadeOutputs:
    """Files that a stopped run has finished and nobody has changed since.

    They are known by what is in them alone: a file that somebody else has put at the
    place of an output is none of them, nor is one that was edited.

    Attributes:
        digests: SHA-256 of each file that the run has finished.
    """

    digests: frozenset[str] = frozenset()

    def __contains__(self, path: object) -> bool:
        """Tell whether a file is one of them."""
        if not self.digests or not isinstance(path, Path):
            return False
        return path.is_file() and _digest(path) in self.digests


def parts_folder(output: Path) -> Path:
    """Name the folder that keeps what is done of an unfinished map."""
    return output.with_name(f".{output.name}.parts")


def is_unfinished(output: Path) -> bool:
    """Tell whether a run that was to write an output has been stopped."""
    return (parts_folder(output) / MANIFEST).exists()


def made_outputs(output: Path) -> MadeOutputs:
    """Return which files a stopped run has finished, to be written again."""
    try:
        text = (parts_folder(output) / MADE).read_text(encoding="ascii")
    except (OSError, ValueError):
        return MadeOutputs()
    return MadeOutputs(frozenset(text.split()))


def note_made(output: Path, file: Path) -> None:
    """Write down that a file is one of the run's, before it takes its place."""
    with open_in_place(parts_folder(output) / MADE, "a", encoding="ascii") as notes:
        notes.write(_digest(file) + "\n")


def read_manifest(output: Path) -> Manifest | None:
    """Return what a stopped run wrote down; None if there is none to go on from.

    Raises:
        OutputError: If it is damaged.
    """
    path = parts_folder(output) / MANIFEST
    if not path.exists():
        return None
    try:
        manifest = typed(read_json(path), Manifest)
        typed(manifest.identity.get("images", {}), dict[str, str], "identity.images")
        if not re.fullmatch("[0-9a-f]{8}", manifest.mark):
            raise StoredError("mark is not eight hexadecimal digits")
    except StoredError as error:
        raise OutputError(
            f"{path} is damaged ({error}): give --overwrite to start {output} anew"
        ) from error
    return manifest


def write_manifest(output: Path, manifest: Manifest) -> None:
    """Write down what decides a map."""
    text = json.dumps(vars(manifest), indent=1)
    replace_text(parts_folder(output) / MANIFEST, text)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
