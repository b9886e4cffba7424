"""How far a long piece of work is: bars on a terminal, lines in the log elsewhere.

All of geoseg's bars are made here. Progress is information: who does not listen to what
geoseg logs at the level INFO, as scripts that import it by default, sees no bar either.
"""

import logging
import sys
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol, TypeVar

from tqdm import tqdm

log = logging.getLogger(__name__)

T = TypeVar("T")


class Advance(Protocol):
    """Moves a bar on."""

    def __call__(self, count: int = 1, /) -> object:
        """Add so many units."""


def on_terminal() -> bool:
    """Return whether someone looks at a terminal and wants to know."""
    return sys.stderr.isatty() and log.isEnabledFor(logging.INFO)


def new_bar(name: str, total: int | None, *, unit: str, **options: Any) -> "tqdm[Any]":
    """Return a bar on standard error, disabled where no terminal is; to be closed."""
    # tqdm's own lock is for processes, and one that is killed would leave it behind
    tqdm.set_lock(threading.RLock())
    return tqdm(
        total=total,
        desc=name,
        unit=unit,
        file=sys.stderr,
        disable=not on_terminal(),
        **options,
    )


@contextmanager
def bar(name: str, total: int | None, *, unit: str = "tile") -> Iterator[Advance]:
    """Show a bar while the block runs; yield what moves it on.

    Args:
        name: What is being done.
        total: Units in all, or None if nobody knows.
        unit: One of them.
    """
    with new_bar(name, total, unit=unit) as shown:
        yield shown.update


def track(
    items: Iterable[T], name: str, total: int | None, *, unit: str = "tile"
) -> Iterator[T]:
    """Pass items on and show how many are done."""
    with bar(name, total, unit=unit) as advance:
        for item in items:
            yield item
            advance()


def say_stage(name: str) -> None:
    """Log that a stage begins where no bar shows it."""
    if not on_terminal():
        log.info("%s", name)
