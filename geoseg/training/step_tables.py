"""Read the tables that a training appends to: ``metrics.csv`` and ``areas.csv``."""

import csv
import io
import math
from collections.abc import Sequence
from pathlib import Path

from geoseg.core.errors import TrainingError
from geoseg.core.stored import StoredError, read_bytes

#: Columns of ``areas.csv`` that hold text.
WORDS = ("head",)


def read_step_table(path: Path, words: Sequence[str] = ()) -> list[dict[str, str]]:
    """Return the rows of a table as text; none if the file is absent.

    Rows at the end of the file that a kill or a power cut damaged are left out.

    Args:
        path: Of the table.
        words: Columns that hold text.

    Returns:
        Column → cell of each row. ``step`` is a whole number; other cells, except text,
        are finite numbers or empty.

    Raises:
        TrainingError: If other rows are damaged.
    """
    if not path.exists():
        return []
    try:
        return _rows(read_bytes(path), words)
    except StoredError as error:
        raise TrainingError(
            f"{path} is damaged ({error}), expected a table written by geoseg train: "
            "remove it, the training can continue without it"
        ) from error


def _rows(data: bytes, words: Sequence[str]) -> list[dict[str, str]]:
    text = data.rstrip(b"\0").decode("utf-8", errors="replace")
    try:
        head, *lines = list(csv.reader(io.StringIO(text, newline=""))) or [[]]
    except csv.Error as error:
        raise StoredError(str(error)) from error
    if not lines:  # a kill before the first row
        return []
    if not {"step", *words} <= set(head) or len(set(head)) < len(head):
        raise StoredError("its first line does not name the columns")
    rows = []
    for number, line in enumerate(lines, start=2):
        wrong = _what_is_wrong(head, line, words)
        if wrong is None:
            rows.append(dict(zip(head, line, strict=True)))
        elif number <= len(lines):
            raise StoredError(f"line {number}: {wrong}")
    return rows


def _what_is_wrong(
    head: Sequence[str], line: Sequence[str], words: Sequence[str]
) -> str | None:
    if len(line) != len(head):
        return f"{len(line)} values, expected {len(head)}"
    for name, cell in zip(head, line, strict=True):
        whole = name == "step"
        if not (_is_whole(cell) if whole else name in words or _is_number(cell)):
            kind = "a whole number" if whole else "a finite number"
            return f"{name} is {cell[:20]!a}, expected {kind}"
    return None


def _is_whole(cell: str) -> bool:
    return cell.isascii() and cell.isdigit() and len(cell) < 19


def _is_number(cell: str) -> bool:
    try:
        return not cell or math.isfinite(float(cell))
    except ValueError:
        return False
