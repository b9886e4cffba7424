"""Print the results of commands; nothing else writes to standard output."""

import logging
import sys
from typing import Any

import click

from geoseg.core.words import json_text, plain

log = logging.getLogger(__name__)


def echo(text: object, *, nl: bool = True) -> None:
    """Print a result, with control characters as escapes."""
    click.echo(_encodable(plain(text)), nl=nl)


def echo_json(values: Any, **options: Any) -> None:
    """Print plain values as JSON, with control characters as escapes."""
    click.echo(_encodable(json_text(values, **options)))


def _encodable(text: str) -> str:
    """Return text with escapes for letters that the output's encoding lacks; warn.

    Pipes and files on Windows are in cp1252, which has no κ.
    """
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    shown = text.encode(encoding, "backslashreplace").decode(encoding)
    if shown != text:
        log.warning(
            "the output is in %s, which lacks some letters: they become escapes; "
            "set PYTHONIOENCODING=utf-8 to keep them",
            encoding,
        )
    return shown
