"""Cache of the images that a command has open; each is opened and described once.

This imports nothing heavy, so that the command line can import it first.
"""

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    import rasterio

T = TypeVar("T")

#: Most images to keep open; fewer if the process may open few files.
MOST_OPEN = 1024
#: Memory for decoded blocks of open images in MiB; the environment may override it.
BLOCK_CACHE_MIB = "256"

#: Size and modification time of a local file; None of a remote one.
_State = tuple[int, int] | None


class _Kept:
    """Open images and their metadata while a command runs; safe in threads.

    Attributes:
        waiting: Name → the file's state and its open, idle image.
        facts: Name → the file's state and its metadata.
        process: Id of the process that opened the images.
    """

    def __init__(self) -> None:
        self.waiting: dict[str, tuple[_State, rasterio.DatasetReader]] = {}
        self.facts: dict[str, tuple[_State, Any]] = {}
        self.lock = threading.Lock()
        self.process = os.getpid()
        self.room = _room()

    def take(self, name: str, state: _State) -> "rasterio.DatasetReader | None":
        """Return the open image if it is idle and its file has not changed."""
        with self.lock:
            known, dataset = self.waiting.pop(name, (None, None))
        if dataset is not None and known != state:
            dataset.close()
            return None
        return dataset

    def give_back(
        self, name: str, state: _State, dataset: "rasterio.DatasetReader"
    ) -> None:
        """Keep an open image if there is room, else close it.

        The first images are kept, because passes over the tiles begin with them again.
        """
        with self.lock:
            if name not in self.waiting and len(self.waiting) < self.room:
                self.waiting[name] = (state, dataset)
                return
        dataset.close()

    def close(self) -> None:
        """Close all images, except those of a parent process before a fork."""
        if os.getpid() == self.process:
            for _, dataset in self.waiting.values():
                dataset.close()
            self.waiting.clear()


_kept: list[_Kept] = []


@contextmanager
def each_opened_once() -> Iterator[None]:
    """Keep images open and their metadata cached while a command runs.

    A file that changes meanwhile is opened again; for a VRT only its own text counts.
    Nested commands share one cache.
    """
    if _kept:
        yield
        return
    # GDAL reads this once; its default is 5 % of the memory
    os.environ.setdefault("GDAL_CACHEMAX", BLOCK_CACHE_MIB)
    _kept.append(_Kept())
    try:
        yield
    finally:
        _kept.pop().close()


class Loan:
    """An open image; the end of its ``with`` block closes or keeps it."""

    def __init__(
        self, name: str, state: _State, dataset: "rasterio.DatasetReader"
    ) -> None:
        self.name, self.state, self.dataset = name, state, dataset

    def __enter__(self) -> "rasterio.DatasetReader":
        from rasterio.env import env_ctx_if_needed

        self.env = env_ctx_if_needed()
        self.env.__enter__()
        return self.dataset

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        kept = _own()
        if kind is None and kept is not None:
            kept.give_back(self.name, self.state, self.dataset)
        else:
            self.dataset.close()
        self.env.__exit__(None, None, None)

    def close(self) -> None:
        """Close the image without a ``with`` block."""
        self.dataset.close()


def borrow(name: str, open_: "Callable[[str], rasterio.DatasetReader]") -> Loan:
    """Return an open image: a kept one, or a newly opened one.

    Args:
        name: Path or address.
        open_: Opens the image, or raises.
    """
    kept = _own()
    if kept is None:
        return Loan(name, None, open_(name))
    state = _state(name)
    dataset = kept.take(name, state)
    return Loan(name, state, open_(name) if dataset is None else dataset)


def known(name: str, look: Callable[[str], T]) -> T:
    """Return the cached metadata of an image, or read them.

    Args:
        name: Path or address.
        look: Reads the metadata; the same function for every call with a name.
    """
    kept = _own()
    if kept is None:
        return look(name)
    state = _state(name)
    before, fact = kept.facts.get(name, (None, None))
    if fact is not None and before == state:
        return fact  # type: ignore[no-any-return]
    fact = look(name)
    kept.facts[name] = (state, fact)
    return fact


def _own() -> _Kept | None:
    """Return the cache of this process.

    A forked process gets its own, because a shared open file has one shared position.
    """
    if _kept and _kept[0].process != os.getpid():
        inherited = _kept[0]
        _kept[0] = _Kept()
        _abandoned.append(inherited)
    return _kept[0] if _kept else None


#: These stay open, because threads lost in the fork may hold GDAL's locks.
_abandoned: list[_Kept] = []


def _state(name: str) -> _State:
    try:
        status = os.stat(name)
    except (OSError, ValueError):
        return None
    return status.st_size, status.st_mtime_ns


def _room() -> int:
    """Return the most images to keep open: at most half of the process's files."""
    try:
        import resource
    except ImportError:  # Windows
        return MOST_OPEN // 4
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return MOST_OPEN if files < 0 else min(MOST_OPEN, files // 2)
