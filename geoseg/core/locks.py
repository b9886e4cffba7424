"""One writer at a time: a lock that the system gives back when its holder is killed."""

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout, lock_descriptor

from geoseg.core.errors import OutputError

#: For so long (seconds) a lock may be held by one who only asks, or goes away.
_PATIENCE = 0.2


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Keep other processes from writing the same output, or into the same folder.

    A hidden file beside the output is locked, inside it where it is a folder. It is
    empty, goes away with the lock, and a killed process leaves it behind, unlocked.

    Raises:
        OutputError: If another process holds the lock, or the file cannot be made.
    """
    inside, lock = path.is_dir(), _lock_of(path)
    # no soft lock, which outlives a killed holder; the file may be somebody else's
    held = FileLock(lock, timeout=_PATIENCE, preserve_lock_file=True)
    try:
        held.acquire()
    except Timeout:
        raise OutputError(
            f"another geoseg is writing {'into ' if inside else ''}{path}: wait until it "
            "is done, or choose another output"
        ) from None
    except OSError as error:
        raise OutputError(
            f"{path} cannot be written ({error.strerror}): choose another output"
        ) from error
    try:
        yield
    finally:
        # Windows removes no file that is open, POSIX must do so under the lock.
        if sys.platform != "win32":
            _remove_empty(lock)
        held.release()
        if sys.platform == "win32":
            _remove_empty(lock)


def _remove_empty(lock: Path) -> None:
    """Remove a lock file; one with content was there, and is none."""
    with suppress(OSError):
        if not lock.stat().st_size:
            lock.unlink()


def refuse_busy(folder: Path) -> None:
    """Refuse the folder of a run that another process writes into, before any work.

    Raises:
        OutputError: If one does.
    """
    if is_locked(folder):
        raise OutputError(
            f"another geoseg is at work in {folder}: wait until it is done, geoseg info "
            f"{folder} says how far it is"
        )


def is_locked(path: Path) -> bool:
    """Tell whether a process writes an output, or into a folder, right now.

    A lock file that a killed process left behind does not count.
    """
    lock = _lock_of(path)
    # network folders lock what is open for writing alone
    access = os.O_RDWR if os.access(lock, os.W_OK) else os.O_RDONLY
    try:
        descriptor = os.open(lock, access)
    except OSError:
        return False
    try:
        # twice: somebody else may only ask, too
        return not any(
            _try_lock(descriptor, wait_s) for wait_s in (0.0, _PATIENCE / 10)
        )
    except OSError:
        return False  # what cannot be locked is locked by nobody
    finally:
        os.close(descriptor)


def _try_lock(descriptor: int, wait_s: float) -> bool:
    time.sleep(wait_s)
    return lock_descriptor(descriptor, blocking=False)


def _lock_of(path: Path) -> Path:
    return path / ".lock" if path.is_dir() else path.with_name(f".{path.name}.lock")
