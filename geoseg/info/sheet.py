"""A sheet of facts: text rows for people, plain values for scripts."""

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from geoseg.core.words import one_line

#: Columns before the values.
_LABEL = 12


@dataclass
class Sheet:
    """Facts about one thing.

    Attributes:
        path: Of the thing.
        kind: ``folder``, ``vector``, ``model``, ``run``, ``runs``, or the kind of
            raster: ``image``, ``mask``, ``class raster`` and so on.
        facts: Plain JSON values.
        rows: (label, text) pairs.
    """

    path: str
    kind: str
    facts: dict[str, Any] = field(default_factory=dict)
    rows: list[tuple[str, str]] = field(default_factory=list)

    def say(self, label: str, *lines: str) -> None:
        """Add lines, with the label before the first."""
        for number, line in enumerate(lines):
            self.rows.append(("" if number else label, line))

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {"path": self.path, "kind": self.kind, **self.facts}

    def text(self) -> str:
        """Return aligned text."""
        lines = [f"  {label:<{_LABEL}}{text}".rstrip() for label, text in self.rows]
        return "\n".join(map(one_line, [f"{self.path}: {self.kind}", *lines]))


def columns(rows: Sequence[tuple[str, ...]]) -> list[str]:
    """Return rows as lines with aligned cells.

    Example:
        >>> columns([("1", "red"), ("12", "nir")])
        ['1   red', '12  nir']
    """
    rows = [tuple(map(one_line, row)) for row in rows]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)
        ).rstrip()
        for row in rows
    ]


def wrapped(text: str, width: int = 74) -> list[str]:
    """Break text into lines between words; empty text gives no line.

    Example:
        >>> wrapped("a=1 b=2 c=3", width=8)
        ['a=1 b=2', 'c=3']
    """
    return textwrap.wrap(text, width, break_long_words=False, break_on_hyphens=False)


def number(value: float | None) -> str:
    """Return a number as text with four significant digits."""
    return "–" if value is None else f"{value:.4g}"


def percent(share: float) -> str:
    """Return a share as percent, never rounded to 0 or 100 %."""
    if 0 < share < 0.001 or 0.999 < share < 1:
        return "under 0.1 %" if share < 0.5 else "over 99.9 %"
    return f"{100 * share:.3g} %"
