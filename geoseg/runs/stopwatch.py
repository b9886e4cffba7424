"""Where the time of a run went: seconds by stage, in a file of their own.

Scores and models hold no clock, so that equal runs leave equal files.
"""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from geoseg.core.aside import replace_text
from geoseg.core.stored import StoredError, read_json, typed


@contextmanager
def timed(path: Path, stage: str) -> Iterator[None]:
    """Add the seconds that a block takes to a stage's; a resumed run goes on counting.

    A block that fails is not counted.
    """
    started = time.monotonic()
    yield
    add_seconds(path, stage, started)


def add_seconds(path: Path, stage: str, started: float) -> None:
    """Add the seconds since a moment of the monotonic clock to a stage's."""
    seconds = read_seconds(path)
    passed = seconds.get(stage, 0.0) + time.monotonic() - started
    seconds[stage] = round(passed, 2)
    replace_text(path, json.dumps(seconds, indent=2) + "\n")


def read_seconds(path: Path) -> dict[str, float]:
    """Return seconds by stage; nothing where the file is absent or damaged."""
    try:
        return typed(read_json(path), dict[str, float])
    except StoredError:
        return {}
