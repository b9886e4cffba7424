"""Files that appear whole or not at all, and are never written through a link.

A folder may come from somebody else, and a link in it may point anywhere. So what is
written aside has a random name that nobody has laid a link at, and what is written in
place is no link.
"""

import errno
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from geoseg.core.errors import OutputError

#: How the names of files end that are not whole yet.
ASIDE = ".aside"
#: POSIX refuses links where this is asked for; Windows has no such flag.
NO_LINK = getattr(os, "O_NOFOLLOW", 0)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a new file in the same folder, which takes the place of ``path`` at the end.

    Until then the old file stays as it is; it does so for good where the block fails.

    Yields:
        The path of the new file, which is there and empty.

    Raises:
        OutputError: If the system does not take it; names ``path``.
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
    """Write a text file aside, in UTF-8, and rename it."""
    with replacing(path) as aside:
        aside.write_text(text, encoding="utf-8")


def open_in_place(path: Path, mode: str, **options: Any) -> IO[Any]:
    """Open a file for writing where it is, as :func:`open` does.

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
    """Make a folder inside one of ours, and those above it, and return it.

    Raises:
        OutputError: If the folder is a link.
    """
    if folder.is_symlink():
        raise _linked(folder, "a folder")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def flush(path: Path) -> None:
    """Make a file survive a power cut before it takes the place of another."""
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def _opener(name: str, flags: int) -> int:
    return os.open(name, flags | NO_LINK, 0o666)


def _linked(path: Path, kind: str) -> OutputError:
    return OutputError(
        f"{path} is a link, expected {kind} of geoseg's own: what is written there would "
        "land elsewhere; remove the link"
    )
