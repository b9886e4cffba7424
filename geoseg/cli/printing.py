"""What commands print on standard output: the one place that writes there."""

from typing import Any

import click

from geoseg.plain_text import json_text, plain


def echo(text: object, *, nl: bool = True) -> None:
    """Print a result; what would act on a terminal is shown as escapes."""
    click.echo(plain(text), nl=nl)


def echo_json(values: Any, **options: Any) -> None:
    """Print plain values as JSON, likewise."""
    click.echo(json_text(values, **options))
