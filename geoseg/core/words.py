"""Words in messages: counted nouns, close names, and text that cannot act on a terminal.

Names and values out of files may hold characters that move the cursor, change colours or
the order of letters, or begin a new line that looks like one of ours. They are shown as
escapes instead.
"""

import json
import logging
from collections.abc import Iterable
from difflib import get_close_matches
from typing import Any

#: Control characters, line separators, marks of direction, halves of pairs.
_ACTING = (
    *range(0x20),
    *range(0x7F, 0xA0),
    0x061C,
    *range(0x200E, 0x2010),
    *range(0x2028, 0x202F),
    *range(0x2066, 0x206A),
    *range(0xD800, 0xE000),
    *(0xFEFF, 0xFFFE, 0xFFFF),
)
_ESCAPES = {code: ascii(chr(code))[1:-1] for code in _ACTING}
_LINES = {code: text for code, text in _ESCAPES.items() if chr(code) not in "\n\t"}
_JSON = {code: f"\\u{code:04x}" for code in _LINES}


def one_line(text: object) -> str:
    r"""Write a value on one line, with all that would act on a terminal as escapes.

    Example:
        >>> print(one_line("roof\x1b[31m\n"))
        roof\x1b[31m\n
    """
    return str(text).translate(_ESCAPES)


def plain(text: object) -> str:
    """Write lines of our own, likewise: line breaks and tabs stay."""
    return str(text).translate(_LINES)


def acts(text: str) -> bool:
    """Tell whether a text holds what would act on a terminal, or end a line."""
    return one_line(text) != text


def json_text(values: Any, **options: Any) -> str:
    """Write JSON in which letters stay readable, and nothing acts on a terminal."""
    text = json.dumps(values, indent=2, ensure_ascii=False, **options)
    return text.translate(_JSON)


class PlainFormatter(logging.Formatter):
    """Writes what is logged on one line; a traceback below it as it is."""

    def formatMessage(self, record: logging.LogRecord) -> str:
        return one_line(super().formatMessage(record))

    def formatException(self, ei: Any) -> str:
        return plain(super().formatException(ei))


def counted(number: int, noun: str) -> str:
    """Return a number and a noun that takes s, or es after a hiss, in the plural.

    Example:
        >>> counted(1, "tile"), counted(2, "tile"), counted(0, "patch")
        ('1 tile', '2 tiles', '0 patches')
    """
    ending = "es" if noun.endswith(("s", "x", "ch", "sh")) else "s"
    return f"{number} {noun}{'' if number == 1 else ending}"


#: Share of letters that a name has in common with what was meant: two of three will do.
_ALIKE = 0.66


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return ``" (did you mean …?)"`` with the nearest of the known names, or nothing.

    Example:
        >>> did_you_mean("trian", ["train", "match"])
        ' (did you mean train?)'
        >>> did_you_mean("nonsense", ["train", "match"])
        ''
    """
    names = {other.lower(): other for other in known}
    near = get_close_matches(name.lower(), names, n=1, cutoff=_ALIKE)
    return f" (did you mean {names[near[0]]}?)" if near else ""
