"""The images that a command has open: each is opened once, and described once.

Imports nothing heavy, so that the command line can begin with it.
"""

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    import rasterio

T = TypeVar("T")

#: Images that are kept open at a time; fewer where a process may have few files open.
MOST_OPEN = 1024
#: Memory for decoded blocks of the images that are open, in MiB, unless the environment
#: says otherwise.
BLOCK_CACHE_MIB = "256"

#: Name → size and time of change of a file on this disk; None of a remote one.
_State = tuple[int, int] | None


class _Kept:
    """What is kept of images while a command runs; safe in threads.

    Attributes:
        waiting: Name → open image that nobody reads, and the file's state.
        facts: Name → what was found out about it, and the file's state.
        process: Whose images these are.
    """

    def __init__(self) -> None:
        self.waiting: dict[str, tuple[_State, rasterio.DatasetReader]] = {}
        self.facts: dict[str, tuple[_State, Any]] = {}
        self.lock = threading.Lock()
        self.process = os.getpid()
        self.room = _room()

    def take(self, name: str, state: _State) -> "rasterio.DatasetReader | None":
        """Return the open image, if nobody reads it and the file is as it was."""
        with self.lock:
            known, dataset = self.waiting.pop(name, (None, None))
        if dataset is not None and known != state:
            dataset.close()
            return None
        return dataset

    def give_back(
        self, name: str, state: _State, dataset: "rasterio.DatasetReader"
    ) -> None:
        """Keep an open image; the first ones stay, as passes over tiles come again."""
        with self.lock:
            if name not in self.waiting and len(self.waiting) < self.room:
                self.waiting[name] = (state, dataset)
                return
        dataset.close()

    def close(self) -> None:
        """Close all images; those of a process that this one was forked from stay."""
        if os.getpid() == self.process:
            for _, dataset in self.waiting.values():
                dataset.close()
            self.waiting.clear()


_kept: list[_Kept] = []


@contextmanager
def each_opened_once() -> Iterator[None]:
    """Keep images open, and what is known of them, while a command runs.

    A file that changes meanwhile is opened anew; of a VRT, its text counts. Commands
    within commands share what is kept.
    """
    if _kept:
        yield
        return
    # GDAL reads it once; by itself it takes 5 % of the memory for blocks of open images
    os.environ.setdefault("GDAL_CACHEMAX", BLOCK_CACHE_MIB)
    _kept.append(_Kept())
    try:
        yield
    finally:
        _kept.pop().close()


class Loan:
    """An open image, given back at the end of its ``with``: then it is closed or kept."""

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
        """Close it without a ``with``."""
        self.dataset.close()


def borrow(name: str, open_: "Callable[[str], rasterio.DatasetReader]") -> Loan:
    """Return an image: one that is kept open, or else one that is opened.

    Args:
        name: Path or address.
        open_: Opens it, and says what is wrong with it.
    """
    kept = _own()
    if kept is None:
        return Loan(name, None, open_(name))
    state = _state(name)
    dataset = kept.take(name, state)
    return Loan(name, state, open_(name) if dataset is None else dataset)


def known(name: str, look: Callable[[str], T]) -> T:
    """Return what is known of an image, or find it out.

    Args:
        name: Path or address.
        look: Finds it out; always the same of a name.
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
    """Return what this process keeps: a file open in two would have one position."""
    if _kept and _kept[0].process != os.getpid():
        inherited = _kept[0]
        _kept[0] = _Kept()
        _abandoned.append(inherited)
    return _kept[0] if _kept else None


#: Not closed: GDAL's locks may be held by threads that the fork has left behind.
_abandoned: list[_Kept] = []


def _state(name: str) -> _State:
    try:
        status = os.stat(name)
    except (OSError, ValueError):
        return None
    return status.st_size, status.st_mtime_ns


def _room() -> int:
    """Return how many images may be open: half of a process's files at most."""
    try:
        import resource
    except ImportError:  # Windows
        return MOST_OPEN // 4
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return MOST_OPEN if files < 0 else min(MOST_OPEN, files // 2)
