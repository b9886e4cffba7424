"""What commands print on standard output: the one place that writes there."""

import logging
import sys
from typing import Any

import click

from geoseg.core.words import json_text, plain

log = logging.getLogger(__name__)


def echo(text: object, *, nl: bool = True) -> None:
    """Print a result; what would act on a terminal is shown as escapes."""
    click.echo(_encodable(plain(text)), nl=nl)


def echo_json(values: Any, **options: Any) -> None:
    """Print plain values as JSON, likewise."""
    click.echo(_encodable(json_text(values, **options)))


def _encodable(text: str) -> str:
    """Write letters that the output's encoding lacks as escapes, and say so.

    Pipes and files of Windows are in cp1252, which has no κ.
    """
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    shown = text.encode(encoding, "backslashreplace").decode(encoding)
    if shown != text:
        log.warning(
            "the output is in %s, which lacks some letters: they are escapes there; "
            "PYTHONIOENCODING=utf-8 keeps them",
            encoding,
        )
    return shown
