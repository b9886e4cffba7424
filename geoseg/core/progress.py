"""Show the progress of long work: bars on a terminal, lines in the log elsewhere.

All of geoseg's bars are made here. Progress has the log level INFO: where geoseg's log
is set to a higher level, as by default in scripts that import it, no bar is shown.

A program that runs geoseg can set ``GEOSEG_PROGRESS=lines``. Standard error then has
lines of JSON, among those of the log, in place of bars::

    {"progress": "mapping", "done": 512, "total": 4096, "unit": "row"}

``total`` is null where it is unknown; ``note`` holds the text after the bar, if any.
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

#: Environment variable; ``lines`` gives progress in a form that programs can read.
VARIABLE = "GEOSEG_PROGRESS"
#: Seconds between two lines of one bar.
LINE_SECONDS = 0.25
#: Shortest and longest seconds between two log lines of one piece of work: without a
#: terminal a line is logged at each tenth, within these limits.
LOG_SECONDS = (10.0, 60.0)


class Advance(Protocol):
    """Advances a progress bar."""

    def __call__(self, count: int = 1, /) -> object:
        """Add a number of units."""


def on_terminal() -> bool:
    """Return whether progress bars are shown: on a terminal, at the log level INFO."""
    return sys.stderr.isatty() and log.isEnabledFor(logging.INFO)


class _Lines(tqdm):  # type: ignore[misc]  # tqdm has no types
    """A bar for programs: writes a line of JSON whenever tqdm would draw."""

    disable: bool

    @staticmethod
    def status_printer(file: Any) -> Callable[[str], None]:
        return lambda _: None

    def display(self, msg: str | None = None, pos: int | None = None) -> bool:
        state = {"progress": self.desc, "done": self.n, "total": self.total}
        state["unit"] = self.unit
        if self.postfix:
            state["note"] = self.postfix
        self.fp.write(json.dumps(state) + "\n")
        self.fp.flush()
        return True

    def close(self) -> None:
        if not self.disable:
            if self.n != self.last_print_n:
                self.display()
            self.disable = True
            self._decr_instances(self)


def new_bar(name: str, total: int | None, *, unit: str, **options: Any) -> "tqdm[Any]":
    """Return a bar on standard error, which the caller closes.

    It is disabled where there is no terminal and ``GEOSEG_PROGRESS`` is not ``lines``.
    """
    # tqdm's own lock works across processes, and a killed process would leave it behind
    tqdm.set_lock(threading.RLock())
    shared = {"total": total, "desc": name, "unit": unit, "file": sys.stderr}
    if os.environ.get(VARIABLE) == "lines":
        quiet = not log.isEnabledFor(logging.INFO)
        return _Lines(**shared, mininterval=LINE_SECONDS, disable=quiet, **options)
    return tqdm(**shared, disable=not on_terminal(), **options)


class Pace:
    """Estimates the time left for pieces of work of equal size.

    Example:
        >>> Pace(3).left(0)
        ''
    """

    def __init__(self, total: int) -> None:
        self.total = total
        self.began = time.monotonic()

    def left(self, done: int) -> str:
        """Return ``", about 0:05:00 left"``, or ``""`` before any piece is done."""
        if not done:
            return ""
        seconds = (time.monotonic() - self.began) / done * (self.total - done)
        return f", about {timedelta(seconds=round(seconds))} left"


class _LogLines:
    """Logs the progress of long work and the time left.

    One line at each tenth, within the limits of :data:`LOG_SECONDS`. Short work logs
    nothing.
    """

    def __init__(self, name: str, total: int, unit: str) -> None:
        self.name, self.total, self.unit = name, total, unit
        self.done = self.tenth = 0
        self.began = self.logged = time.monotonic()

    def __call__(self, count: int = 1, /) -> None:
        self.done += count
        now, tenth = time.monotonic(), 10 * self.done // max(1, self.total)
        least, most = LOG_SECONDS
        due = now - self.logged >= (least if tenth > self.tenth else most)
        if not due or not 0 < self.done < self.total:
            return
        self.logged, self.tenth = now, tenth
        left = (now - self.began) / self.done * (self.total - self.done)
        log.info(
            "%s: %d of %s, %s left",
            self.name,
            self.done,
            counted(self.total, self.unit),
            timedelta(seconds=round(left)),
        )


@contextmanager
def bar(name: str, total: int | None, *, unit: str = "tile") -> Iterator[Advance]:
    """Show a bar while the block runs; yield the function that advances it.

    Without a terminal, the log shows the progress and the time left.

    Args:
        name: Name of the work.
        total: Number of units, or None if unknown.
        unit: Noun for one unit.
    """
    with new_bar(name, total, unit=unit) as shown:
        if shown.disable and total is not None:
            yield _LogLines(name, total, unit)
        else:
            yield shown.update


def track(
    items: Iterable[T], name: str, total: int | None, *, unit: str = "tile"
) -> Iterator[T]:
    """Yield the items and show how many are done."""
    with bar(name, total, unit=unit) as advance:
        for item in items:
            yield item
            advance()


def say_stage(name: str) -> None:
    """Log the start of a stage, unless a bar shows it."""
    if not on_terminal():
        log.info("%s", name)
