"""Text for terminals and logs: what stands in a file's names must not act there.

Names and values out of files may hold characters that move the cursor, change colours or
the order of letters, or begin a new line that looks like one of ours. They are shown as
escapes instead.
"""

import json
import logging
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
