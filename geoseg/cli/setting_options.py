"""Options that are fields of ``RunSettings``."""

import types
import typing
from collections.abc import Callable
from typing import Annotated, Any, Literal, TypeVar

import click

from geoseg.core.stored import Range
from geoseg.runs.settings import RunSettings

F = TypeVar("F", bound=Callable[..., Any])

_HINTS = typing.get_type_hints(RunSettings, include_extras=True)


def setting_opt(
    name: str,
    *flags: str,
    least: int | None = None,
    show_default: bool = True,
    **words: Any,
) -> Callable[[F], F]:
    """Make the option that gives a field of ``RunSettings``.

    Its type, range, choices and default are those of the field.

    Args:
        name: Of the field.
        flags: Other names of the option, such as ``-b``.
        least: Smallest number to take, where a stored file may hold smaller ones.
        show_default: Whether the help tells the default.
        words: ``help`` and ``metavar`` of ``click.option``.
    """
    kind, limits = _type_and_range(_HINTS[name])
    default = getattr(RunSettings, name)
    flag = "--" + name.replace("_", "-")
    more: dict[str, Any] = {"default": default} if default is not None else {}
    if kind is bool:
        plain = default is False and show_default
        flag += "" if plain else "/--no-" + flag[2:]
        more["is_flag"] = True
    elif typing.get_origin(kind) is Literal:
        more["type"] = click.Choice(typing.get_args(kind))
    elif kind is int:
        low = int(limits.low) if least is None else least
        # 2**31 ends what a file may hold, and no help needs to say it
        high = None if limits.high in (None, 2**31) else int(limits.high or 0)
        more["type"] = click.IntRange(low, high)
    told = show_default and default is not None and default is not False
    return click.option(*flags, flag, **more, **words, show_default=told)


def _type_and_range(hint: Any) -> tuple[Any, Range]:
    """Return the type of a field without ``None``, and its range."""
    limits = Range(-(2**63))
    while typing.get_origin(hint) in (Annotated, typing.Union, types.UnionType):
        parts = typing.get_args(hint)
        limits = next((part for part in parts if isinstance(part, Range)), limits)
        hint = parts[0]
    return hint, limits
