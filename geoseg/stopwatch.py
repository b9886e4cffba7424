"""Where the time of a run went: seconds by stage, in a file of their own.

Scores and models hold no clock, so that equal runs leave equal files.
"""

import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


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
    aside = path.with_suffix(".part")
    aside.write_text(json.dumps(seconds, indent=2) + "\n")
    os.replace(aside, path)


def read_seconds(path: Path) -> dict[str, float]:
    """Return seconds by stage; nothing where the file is absent or damaged."""
    try:
        stored = json.loads(path.read_text())
        return {str(stage): float(seconds) for stage, seconds in stored.items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}
