"""Tables for the terminal, drawn from the Markdown that is written to files."""

import re
import shutil
import textwrap
from collections.abc import Iterable
from typing import TextIO

#: Widest text that is printed, in columns.
WIDTH = 100
_CELLS = re.compile(r"(?<!\\)\|")


def for_stream(markdown: str, stream: TextIO) -> str:
    """Return a Markdown text as a stream should get it: drawn if it is a terminal.

    Files and pipes get the Markdown itself.
    """
    return drawn(markdown) if stream.isatty() else markdown


def drawn(markdown: str, width: int | None = None) -> str:
    """Draw the tables of a Markdown text, and wrap the lines between them.

    Args:
        markdown: Text as geoseg writes it: tables, paragraphs, lists, headings.
        width: In columns; by default the terminal's, at most :data:`WIDTH`.

    Returns:
        Plain text; intervals in brackets stand below their numbers.
    """
    if width is None:
        width = min(WIDTH, shutil.get_terminal_size((WIDTH, 24)).columns)
    parts: list[str] = []
    table: list[str] = []
    for line in [*markdown.splitlines(), ""]:
        if line.startswith("|"):
            table.append(line)
            continue
        if table:
            parts.append(_draw(table, width))
            table = []
        parts.append(_wrap(line, width))
    return "\n".join(parts).strip("\n") + "\n"


def _wrap(line: str, width: int) -> str:
    """Wrap a line of text; what follows the mark of a list is indented."""
    text = line.replace("**", "").lstrip("# ") if line.startswith("#") else line
    return textwrap.fill(
        text.replace("**", ""),
        max(width, 20),
        subsequent_indent="  " if line.startswith("- ") else "",
        break_long_words=False,
        break_on_hyphens=False,
    )


def _draw(lines: Iterable[str], width: int) -> str:
    """Draw the lines of one Markdown table."""
    from rich import box  # only where something is printed
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    head, marks, *rows = (_cells(line) for line in lines)
    table = Table(
        box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0)
    )
    for name, mark in zip(head, marks, strict=True):
        number = mark.endswith(":")
        # where all does not fit, words give way to numbers
        heading = Text(name.replace(" ", "\n") if number else name)
        table.add_column(heading, justify="right" if number else "left", no_wrap=number)
    for row in rows:
        table.add_row(*(Text(_stacked(cell)) for cell in row))
    console = Console(width=max(width, 20), color_system=None, force_terminal=False)
    with console.capture() as capture:
        console.print(table)
    return "\n".join(line.rstrip() for line in capture.get().splitlines())


def _cells(line: str) -> list[str]:
    parts = _CELLS.split(line.strip())[1:-1]
    return [part.strip().replace("\\|", "|").replace("**", "") for part in parts]


def _stacked(cell: str) -> str:
    """Put an interval below its number: ``0.54 [0.51, 0.57]``."""
    number, bracket, interval = cell.partition(" [")
    if not bracket or not number.replace(".", "").replace(" ± ", "").isdigit():
        return cell
    low, _, high = interval.rstrip("]").partition(", ")
    return f"{number}\n{low}–{high}"
