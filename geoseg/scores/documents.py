"""Tables as values, to be written as Markdown and CSV or drawn in a terminal."""

import csv
import io
import math
import re
import shutil
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, TextIO

from geoseg.core.words import one_line

#: Widest text that is drawn in a terminal, in columns.
WIDTH = 100


class Cell(NamedTuple):
    """A value as text.

    Attributes:
        text: The value.
        spread: Its standard deviation, or nothing.
        ends: Lower and upper end of its interval, or nothing.
    """

    text: str
    spread: str = ""
    ends: tuple[str, str] | None = None

    def __str__(self) -> str:
        """Write it on one line: ``0.540 ± 0.020 [0.51, 0.57]``."""
        interval = f" [{', '.join(self.ends)}]" if self.ends else ""
        return f"{self.text}{self._deviation}{interval}"

    @property
    def stacked(self) -> str:
        """The value with the interval on the line below."""
        below = f"\n{'–'.join(self.ends)}" if self.ends else ""
        return f"{one_line(self.text)}{self._deviation}{below}"

    @property
    def _deviation(self) -> str:
        return f" ± {self.spread}" if self.spread else ""


def score_cell(
    value: float,
    *,
    spread: float = math.nan,
    low: float = math.nan,
    high: float = math.nan,
) -> Cell:
    """Return the cell of a score in [0, 1]; parts that are ``nan`` are left out.

    Example:
        >>> str(score_cell(0.54, low=0.5123, high=0.57)), str(score_cell(math.nan))
        ('0.540 [0.51, 0.57]', '–')
    """
    if math.isnan(value):
        return Cell("–")
    return Cell(
        f"{value:.3f}",
        "" if math.isnan(spread) else f"{spread:.3f}",
        None if math.isnan(low) else (f"{low:.2f}", f"{high:.2f}"),
    )


class Column(NamedTuple):
    """A heading, and whether numbers stand below it: those are aligned at the right."""

    name: str
    number: bool = True


@dataclass(frozen=True)
class Row:
    """A row of a table.

    Attributes:
        name: Its first cell.
        cells: The others.
        best: Whether its name is bold.
        role: On pages: ``model``, ``control`` or ``other``, which chooses the colour.
        class_id: On pages: the class whose colour stands before the name.
        bar: On pages: a score in [0, 1] and the ends of its interval, to be drawn.
    """

    name: str
    cells: Sequence[Cell]
    best: bool = False
    role: str = ""
    class_id: int | None = None
    bar: tuple[float, float, float] | None = None


@dataclass(frozen=True)
class Table:
    """Rows of text below headings.

    Attributes:
        columns: The first is that of the rows' names.
        rows: Each with a cell for every other column.
        caption: Text for screen readers.
        bars: On pages: heading of the rows' bars; if empty, no bars are drawn.
    """

    columns: Sequence[Column]
    rows: Sequence[Row]
    caption: str = ""
    bars: str = ""

    def __str__(self) -> str:
        """Return the table in Markdown, without a line break at the end."""
        lines = [
            _markdown_row([column.name for column in self.columns]),
            f"|{''.join('---:|' if c.number else '---|' for c in self.columns)}",
        ]
        for row in self.rows:
            name = f"**{row.name}**" if row.best else row.name
            lines.append(_markdown_row([name, *map(str, row.cells)]))
        return "\n".join(lines)

    def to_csv(self) -> str:
        """Return the table as CSV, with a line of headings."""
        buffer = io.StringIO()
        writer = csv.writer(buffer, lineterminator="\n")
        writer.writerow([column.name for column in self.columns])
        writer.writerows([row.name, *map(str, row.cells)] for row in self.rows)
        return buffer.getvalue()

    def to_terminal(self, width: int = WIDTH) -> str:
        """Return the table drawn for a terminal, with intervals below their numbers."""
        from rich import box  # only where something is printed
        from rich.console import Console
        from rich.table import Table as Drawing
        from rich.text import Text

        drawing = Drawing(
            box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0)
        )
        for name, number in self.columns:
            # if the table is too wide, text columns wrap and number columns do not
            heading = one_line(name).replace(" ", "\n") if number else one_line(name)
            drawing.add_column(
                Text(heading), justify="right" if number else "left", no_wrap=number
            )
        for row in self.rows:
            cells = [cell.stacked for cell in row.cells]
            drawing.add_row(Text(one_line(row.name)), *map(Text, cells))
        console = Console(width=width, color_system=None, force_terminal=False)
        with console.capture() as capture:
            console.print(drawing)
        return "\n".join(line.rstrip() for line in capture.get().splitlines())


def _markdown_row(cells: Sequence[str]) -> str:
    """Return a line of a Markdown table; a ``|`` within a cell is escaped."""
    texts = [re.sub(r"(\\*)\|", r"\1\1\\|", one_line(cell)) for cell in cells]
    return f"|{''.join(f' {text} |' if text else ' |' for text in texts)}"


@dataclass(frozen=True)
class Document:
    """Markdown text and tables, one below another.

    Attributes:
        parts: Tables, and text that may hold several lines; a line break after each.
    """

    parts: Sequence[str | Table]

    def __str__(self) -> str:
        """Return the document in Markdown."""
        return "\n".join(map(str, self.parts))

    def to_terminal(self, width: int | None = None) -> str:
        """Return the document with drawn tables and wrapped lines between them.

        Args:
            width: In columns; by default the terminal's, at most :data:`WIDTH`.
        """
        if width is None:
            width = min(WIDTH, shutil.get_terminal_size((WIDTH, 24)).columns)
        width = max(width, 20)
        lines: list[str] = []
        for part in self.parts:
            if isinstance(part, Table):
                lines.append(part.to_terminal(width))
            else:
                lines += [_wrap(line, width) for line in part.split("\n")]
        return "\n".join(lines).strip("\n") + "\n"

    def for_stream(self, stream: TextIO) -> str:
        """Return the document for a stream: drawn if it is a terminal, else Markdown."""
        return self.to_terminal() if stream.isatty() else str(self)


def _wrap(line: str, width: int) -> str:
    """Wrap a line of text; the lines of a list item are indented."""
    text = line.lstrip("# ") if line.startswith("#") else line
    return textwrap.fill(
        text.replace("**", ""),
        width,
        subsequent_indent="  " if line.startswith("- ") else "",
        break_long_words=False,
        break_on_hyphens=False,
    )
