"""One writer at a time: a lock that the system gives back when its holder is killed."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from geoseg.core.aside import NO_LINK
from geoseg.core.errors import OutputError

if sys.platform == "win32":
    import msvcrt

    _HELD = PermissionError

    def _try_lock(descriptor: int, *, shared: bool = False) -> None:
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)

else:
    import fcntl

    _HELD = BlockingIOError

    def _try_lock(descriptor: int, *, shared: bool = False) -> None:
        kind = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Keep other processes from writing the same output, or into the same folder.

    A hidden file beside the output is locked, inside it where it is a folder. It is
    empty, goes away with the lock, and a killed process leaves it behind, unlocked.

    Raises:
        OutputError: If another process holds the lock, or the file cannot be made.
    """
    inside, lock = path.is_dir(), _lock_of(path)
    try:
        descriptor = _open_locked(lock)
    except _HELD:
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
        if sys.platform == "win32":
            os.close(descriptor)
            lock.unlink(missing_ok=True)
        else:
            if not os.fstat(descriptor).st_size:  # else it was there, and no lock
                lock.unlink(missing_ok=True)
            os.close(descriptor)


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
    try:
        descriptor = os.open(_lock_of(path), os.O_RDONLY)
    except OSError:
        return False
    try:
        _try_lock(descriptor, shared=True)
    except _HELD:
        return True
    finally:
        os.close(descriptor)
    return False


def _lock_of(path: Path) -> Path:
    return path / ".lock" if path.is_dir() else path.with_name(f".{path.name}.lock")


def _open_locked(lock: Path) -> int:
    """Return a locked file that still has its name: its last holder may remove it."""
    while True:
        descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | NO_LINK, 0o666)
        try:
            _try_lock(descriptor)
            if os.path.samestat(os.fstat(descriptor), os.stat(lock)):
                return descriptor
        except FileNotFoundError:
            pass
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)
