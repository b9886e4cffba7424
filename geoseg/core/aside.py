"""Write files completely or not at all, and never through a symbolic link.

A folder may come from somebody else, and a link in it may point anywhere. So temporary
files have random names at which nobody can have put a link, and a file that is written
in place must not be a link.
"""

import errno
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from geoseg.core.errors import OutputError

#: Ending of the names of temporary files that are not complete yet.
ASIDE = ".aside"
#: With this flag POSIX refuses to open a link; Windows has no such flag.
NO_LINK = getattr(os, "O_NOFOLLOW", 0)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a new file in the same folder that replaces ``path`` when the block ends.

    If the block fails, the old file stays as it was.

    Yields:
        The path of the new file, which exists and is empty.

    Raises:
        OutputError: If the file cannot be written; the message names ``path``.
    """
    aside = path.with_name(f".{path.name}.{secrets.token_hex(8)}{ASIDE}")
    try:
        os.close(os.open(aside, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
        yield aside
        flush(aside)
        os.replace(aside, path)
    except OSError as error:
        raise OutputError.unwritable(path, error) from error
    finally:
        aside.unlink(missing_ok=True)


def replace_text(path: Path, text: str) -> None:
    """Write a temporary text file in UTF-8 and rename it to ``path``."""
    with replacing(path) as aside:
        aside.write_text(text, encoding="utf-8")


def open_in_place(path: Path, mode: str, **options: Any) -> IO[Any]:
    """Open a file for writing without a temporary file, as :func:`open` does.

    Raises:
        OutputError: If the path is a link.
    """
    try:
        return open(path, mode, opener=_opener, **options)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise _linked(path, "a file") from error
        raise


def own_folder(folder: Path) -> Path:
    """Create a folder inside one of geoseg's, with its parents, and return it.

    Raises:
        OutputError: If the folder is a link.
    """
    if folder.is_symlink():
        raise _linked(folder, "a folder")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def flush(path: Path) -> None:
    """Force a file to disk, so that it survives a power cut."""
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def _opener(name: str, flags: int) -> int:
    return os.open(name, flags | NO_LINK, 0o666)


def _linked(path: Path, kind: str) -> OutputError:
    return OutputError(
        f"{path} is a link, expected {kind} of geoseg's own: what is written there would "
        "land elsewhere; remove the link"
    )
