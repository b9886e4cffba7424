"""Unfinished maps: the manifest and the finished outputs of a stopped run."""

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

#: Name of the manifest in the folder of the map's parts.
MANIFEST = "manifest.json"
#: Name of the file with the hashes of finished outputs, one per line.
MADE = "made.txt"


@dataclass(frozen=True)
class Manifest:
    """The manifest of a map, written when the map is begun.

    Attributes:
        identity: identity of the map.
        outputs: files of the map, for information only: a run that continues writes and
            removes only the files that its own command names.
        mark: eight hexadecimal digits in the names of the run's temporary files.
    """

    identity: Mapping[str, Any]
    outputs: tuple[str, ...] = ()
    mark: str = field(default_factory=lambda: secrets.token_hex(4))


@dataclass(frozen=True)
class MadeOutputs:
    """Unchanged outputs that a stopped run has finished.

    They are recognised by their content. A file that was edited or replaced since is
    not one of them.

    Attributes:
        digests: SHA-256 of each file that the run has finished.
    """

    digests: frozenset[str] = frozenset()

    def __contains__(self, path: object) -> bool:
        """Tell whether a file is one of these outputs."""
        if not self.digests or not isinstance(path, Path):
            return False
        return path.is_file() and _digest(path) in self.digests


def parts_folder(output: Path) -> Path:
    """Return the folder of the finished blocks of an unfinished map."""
    return output.with_name(f".{output.name}.parts")


def is_unfinished(output: Path) -> bool:
    """Tell whether an output has an unfinished map."""
    return (parts_folder(output) / MANIFEST).exists()


def made_outputs(output: Path) -> MadeOutputs:
    """Return the outputs that a stopped run has finished."""
    try:
        text = (parts_folder(output) / MADE).read_text(encoding="ascii")
    except (OSError, ValueError):
        return MadeOutputs()
    return MadeOutputs(frozenset(text.split()))


def note_made(output: Path, file: Path) -> None:
    """Record the hash of a finished output, before the file gets its name."""
    with open_in_place(parts_folder(output) / MADE, "a", encoding="ascii") as notes:
        notes.write(_digest(file) + "\n")


def read_manifest(output: Path) -> Manifest | None:
    """Return the manifest of a stopped run; None if there is no such run.

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
    """Write the manifest of a map."""
    text = json.dumps(vars(manifest), indent=1)
    replace_text(parts_folder(output) / MANIFEST, text)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
