"""How far a long piece of work is: bars on a terminal, lines in the log elsewhere.

All of geoseg's bars are made here. Progress is information: who does not listen to what
geoseg logs at the level INFO, as scripts that import it by default, sees no bar either.

A program that runs geoseg sets ``GEOSEG_PROGRESS=lines`` and reads from standard error,
in place of bars, lines of JSON among those of the log::

    {"progress": "mapping", "done": 512, "total": 4096, "unit": "row"}

``total`` is null where nobody knows it; ``note`` is there if the bar would say more.
"""

import json
import logging
import os
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, Protocol, TypeVar

from tqdm import tqdm

from geoseg.core.words import counted

log = logging.getLogger(__name__)

T = TypeVar("T")

#: Environment variable: ``lines`` for programs that read how far geoseg is.
VARIABLE = "GEOSEG_PROGRESS"
#: Seconds between two lines of one bar.
LINE_SECONDS = 0.25
#: Without a terminal a line is logged at each tenth, though not more often than this,
#: and at least once in so many seconds.
SAID_SECONDS = (10.0, 60.0)


class Advance(Protocol):
    """Moves a bar on."""

    def __call__(self, count: int = 1, /) -> object:
        """Add so many units."""


def on_terminal() -> bool:
    """Return whether someone looks at a terminal and wants to know."""
    return sys.stderr.isatty() and log.isEnabledFor(logging.INFO)


class _Lines(tqdm):  # type: ignore[misc]  # tqdm has no types
    """A bar that a program reads: a line of JSON whenever tqdm would draw."""

    disable: bool

    @staticmethod
    def status_printer(file: Any) -> Callable[[str], None]:
        return lambda _: None

    def display(self, msg: str | None = None, pos: int | None = None) -> bool:
        said = {"progress": self.desc, "done": self.n, "total": self.total}
        said["unit"] = self.unit
        if self.postfix:
            said["note"] = self.postfix
        self.fp.write(json.dumps(said) + "\n")
        self.fp.flush()
        return True

    def close(self) -> None:
        if not self.disable:
            if self.n != self.last_print_n:
                self.display()
            self.disable = True
            self._decr_instances(self)


def new_bar(name: str, total: int | None, *, unit: str, **options: Any) -> "tqdm[Any]":
    """Return a bar on standard error; to be closed.

    It is disabled where no terminal is and no program asked for lines.
    """
    # tqdm's own lock is for processes, and one that is killed would leave it behind
    tqdm.set_lock(threading.RLock())
    shared = {"total": total, "desc": name, "unit": unit, "file": sys.stderr}
    if os.environ.get(VARIABLE) == "lines":
        quiet = not log.isEnabledFor(logging.INFO)
        return _Lines(**shared, mininterval=LINE_SECONDS, disable=quiet, **options)
    return tqdm(**shared, disable=not on_terminal(), **options)


class Pace:
    """Tells how long the rest of some equal pieces of work takes.

    Example:
        >>> Pace(3).left(0)
        ''
    """

    def __init__(self, total: int) -> None:
        self.total = total
        self.began = time.monotonic()

    def left(self, done: int) -> str:
        """Return ``", about 0:05:00 left"`` after some pieces; nothing before the first."""
        if not done:
            return ""
        seconds = (time.monotonic() - self.began) / done * (self.total - done)
        return f", about {timedelta(seconds=round(seconds))} left"


class _Spoken:
    """Says in the log, now and then, how far a long piece of work is and what is left.

    A line at each tenth, though not more often than the first of :data:`SAID_SECONDS`,
    and at least once in the second. So what takes a moment says nothing.
    """

    def __init__(self, name: str, total: int, unit: str) -> None:
        self.name, self.total, self.unit = name, total, unit
        self.done = self.tenth = 0
        self.began = self.said = time.monotonic()

    def __call__(self, count: int = 1, /) -> None:
        self.done += count
        now, tenth = time.monotonic(), 10 * self.done // max(1, self.total)
        least, most = SAID_SECONDS
        due = now - self.said >= (least if tenth > self.tenth else most)
        if not due or not 0 < self.done < self.total:
            return
        self.said, self.tenth = now, tenth
        left = (now - self.began) / self.done * (self.total - self.done)
        log.info(
            *("%s: %d of %s, %s left", self.name, self.done),
            *(counted(self.total, self.unit), timedelta(seconds=round(left))),
        )


@contextmanager
def bar(name: str, total: int | None, *, unit: str = "tile") -> Iterator[Advance]:
    """Show a bar while the block runs; yield what moves it on.

    Where no bar is seen, the log says how far it is and how long the rest takes.

    Args:
        name: What is being done.
        total: Units in all, or None if nobody knows.
        unit: One of them.
    """
    with new_bar(name, total, unit=unit) as shown:
        if shown.disable and total is not None:
            yield _Spoken(name, total, unit)
        else:
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
