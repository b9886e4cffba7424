"""Format messages: counted nouns, suggested names, text without control characters.

Names and values from files may hold characters that move the cursor, change colours or
the order of letters, or begin a new line that looks like one of geoseg's. Messages show
such characters as escapes.
"""

import json
import logging
from collections.abc import Iterable
from difflib import get_close_matches
from typing import Any

#: Control characters, line separators, direction marks, surrogates.
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
    r"""Return a value as one line, with control characters as escapes.

    Example:
        >>> print(one_line("roof\x1b[31m\n"))
        roof\x1b[31m\n
    """
    return str(text).translate(_ESCAPES)


def plain(text: object) -> str:
    """Return text with control characters as escapes; line breaks and tabs stay."""
    return str(text).translate(_LINES)


def has_control_characters(text: str) -> bool:
    """Return whether a text holds control characters or line breaks."""
    return one_line(text) != text


def json_text(values: Any, **options: Any) -> str:
    """Return JSON text with readable letters and control characters as escapes."""
    text = json.dumps(values, indent=2, ensure_ascii=False, **options)
    return text.translate(_JSON)


class PlainFormatter(logging.Formatter):
    """Formats a log record on one line, with its traceback on the lines below."""

    def formatMessage(self, record: logging.LogRecord) -> str:
        return one_line(super().formatMessage(record))

    def formatException(self, ei: Any) -> str:
        return plain(super().formatException(ei))


def counted(number: int, noun: str) -> str:
    """Return a number with its noun, in the plural with s, or es after s, x, ch or sh.

    Example:
        >>> counted(1, "tile"), counted(2, "tile"), counted(0, "patch")
        ('1 tile', '2 tiles', '0 patches')
    """
    ending = "es" if noun.endswith(("s", "x", "ch", "sh")) else "s"
    return f"{number} {noun}{'' if number == 1 else ending}"


#: Smallest similarity, in [0, 1], of a mistyped name to a suggestion.
_ALIKE = 0.66


def no_such(kind: str, name: str, known: Iterable[str]) -> str:
    """Return the message for a name that is none of the known ones.

    Example:
        >>> no_such("method", "icc", ["iic", "mdc"])
        "there is no method 'icc' (did you mean iic?), expected one of iic, mdc"
    """
    known = list(known)
    hint = did_you_mean(name, known)
    return f"there is no {kind} {name!r}{hint}, expected one of {', '.join(known)}"


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return ``" (did you mean …?)"`` with the nearest known name, or ``""``.

    Example:
        >>> did_you_mean("trian", ["train", "match"])
        ' (did you mean train?)'
        >>> did_you_mean("nonsense", ["train", "match"])
        ''
    """
    names = {other.lower(): other for other in known}
    near = get_close_matches(name.lower(), names, n=1, cutoff=_ALIKE)
    return f" (did you mean {names[near[0]]}?)" if near else ""
