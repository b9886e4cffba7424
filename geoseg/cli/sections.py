"""Commands whose help lists the options under headings."""

from collections.abc import Mapping, Sequence
from typing import Any

import click


class SectionedCommand(click.Command):
    """A command whose help lists its options in sections.

    Args:
        sections: Heading → names of the parameters below it, in this order. Other
            parameters come last, below "Options".
    """

    def __init__(
        self, *args: Any, sections: Mapping[str, Sequence[str]], **kwargs: Any
    ) -> None:
        super().__init__(*args, **kwargs)
        self.sections = sections

    def format_options(
        self, ctx: click.Context, formatter: click.HelpFormatter
    ) -> None:
        named = {str(option.name): option for option in self.get_params(ctx)}
        for heading, names in self.sections.items():
            _write(ctx, formatter, heading, [named.pop(name) for name in names])
        _write(ctx, formatter, "Options", list(named.values()))


def _write(
    ctx: click.Context,
    formatter: click.HelpFormatter,
    heading: str,
    options: Sequence[click.Parameter],
) -> None:
    rows = [row for option in options if (row := option.get_help_record(ctx))]
    if rows:
        with formatter.section(heading):
            formatter.write_dl(rows)
