"""Read stored values and check their types.

Files of runs, maps and models may be damaged, edited or made by somebody else. Here
they are read once into the types that the rest of the code relies on: one function for
each kind of file calls :func:`read_json` and :func:`typed`, and names the file in its
error.
"""

import dataclasses
import json
import math
import os
import types
import typing
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, TypeVar

from geoseg.core.words import one_line

T = TypeVar("T")

#: Largest size of a stored file in bytes, and deepest nesting of its values.
MOST_BYTES, MOST_LEVELS = 2**28, 32
#: Whole numbers that fit into eight bytes.
_WHOLE = range(-(2**63), 2**63)
_WORDS = {
    str: "text",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    type(None): "null",
}


class StoredError(ValueError):
    """A stored value is wrong; the message names it, its value and the expected type.

    Names of fields come from files, so the message is forced onto one line.
    """

    def __init__(self, message: str) -> None:
        super().__init__(one_line(message))


class Range(NamedTuple):
    """Limits of a number, both included; for ``Annotated``.

    Attributes:
        low: Lower end.
        high: Upper end; None: unlimited.
    """

    low: float
    high: float | None = None

    def __str__(self) -> str:
        return f"{self.low:g} " + (
            "or more" if self.high is None else f"to {self.high:.10g}"
        )

    def holds(self, value: float) -> bool:
        """Return whether a number lies within the limits."""
        return value >= self.low and (self.high is None or value <= self.high)


def read_json(path: Path) -> Any:
    """Return the plain values of a JSON file.

    Raises:
        StoredError: If it is not a readable file, too large, or not JSON.
    """
    return parse_json(read_bytes(path))


def read_bytes(path: Path) -> bytes:
    """Return the bytes of a file.

    Raises:
        StoredError: If it is not a readable file, or too large.
    """
    try:
        if not path.exists():
            raise StoredError("it is absent")
        if not path.is_file():  # reading a pipe would wait for ever
            raise StoredError("it is not a file")
        if path.stat().st_size > MOST_BYTES:
            raise StoredError(f"it is larger than {MOST_BYTES >> 20} MiB")
        return path.read_bytes()
    except OSError as error:
        raise StoredError(f"it cannot be read: {error.strerror}") from error


def parse_json(data: bytes | str) -> Any:
    """Return the plain values of JSON text in UTF-8; all numbers are finite.

    Raises:
        StoredError: If it is not JSON, repeats a name or is nested too deep.

    Example:
        >>> parse_json(b'{"a": [1, null]}')
        {'a': [1, None]}
    """
    try:
        text = data if isinstance(data, str) else data.decode("utf-8-sig")
        if not text.strip():
            raise StoredError("it is empty")
        values = json.loads(
            text,
            object_pairs_hook=_object,
            parse_constant=_no_constant,
            parse_float=_finite,
        )
    except StoredError:
        raise
    except UnicodeDecodeError as error:
        raise StoredError(f"it is not UTF-8: {error}") from error
    except (ValueError, RecursionError) as error:
        raise StoredError(f"it is not JSON: {error}") from error
    _check_levels(values)
    return values


def typed(value: Any, kind: type[T], where: str = "") -> T:
    """Convert a plain JSON value to a type, such as a dataclass with these fields.

    Lists become tuples where the type says so. Names that a dataclass does not have are
    ignored.

    Args:
        value: Plain JSON value.
        kind: A dataclass, ``NamedTuple``, ``TypedDict``, or any type made of text,
            numbers, lists and mappings; ``Annotated`` with a :class:`Range` limits it.
        where: Place of the value, for the message.

    Raises:
        StoredError: If the value is not of the type.

    Example:
        >>> typed({"a": [1, 2]}, dict[str, tuple[int, ...]])
        {'a': (1, 2)}
        >>> typed({"a": [1, "2"]}, dict[str, tuple[int, ...]])
        Traceback (most recent call last):
        geoseg.core.stored.StoredError: a[1] is '2', expected a whole number
    """
    result: T = _typed(value, kind, where)
    return result


def _typed(value: Any, kind: Any, where: str) -> Any:
    origin, parts = typing.get_origin(kind), typing.get_args(kind)
    if origin is Annotated:
        result = _typed(value, parts[0], where)
        if not all(part.holds(result) for part in parts if isinstance(part, Range)):
            raise _wrong(value, kind, where)
        return result
    if origin in (typing.Union, types.UnionType):
        return _one_of(value, kind, where)
    if origin is Literal:
        # 1 == True
        if any(type(value) is type(part) and value == part for part in parts):
            return value
        raise _wrong(value, kind, where)
    if kind is Any:
        return _plain(value, where)
    if kind in _WORDS:
        return _scalar(value, kind, where)
    if _base(kind) is list:
        return _items(value, kind, where)
    if _base(kind) is dict:
        return _pairs(value, kind, where)
    return _fields(value, kind, where)


def _base(kind: Any) -> Any:
    """Return list or dict for a type that JSON stores as one, None for any other."""
    origin = typing.get_origin(kind) or kind
    if isinstance(origin, type) and not _names_fields(origin):
        if issubclass(origin, Mapping):
            return dict
        if issubclass(origin, Sequence):
            return list
    return None


def _names_fields(kind: Any) -> bool:
    named = dataclasses.is_dataclass(kind) or hasattr(kind, "_fields")
    return named or typing.is_typeddict(kind)


def _one_of(value: Any, kind: Any, where: str) -> Any:
    errors = []
    for part in typing.get_args(kind):
        try:
            return _typed(value, part, where)
        except StoredError as error:
            errors.append(error)
    deeper = [error for error in errors if not str(error).startswith(f"{where} is")]
    raise deeper[0] if deeper and where else _wrong(value, kind, where)


def _scalar(value: Any, kind: Any, where: str) -> Any:
    if kind is float and type(value) is int and value in _WHOLE:
        return float(value)
    right = type(value) is kind
    if right and kind is int:
        right = value in _WHOLE
    elif right and kind is float:
        right = math.isfinite(value)
    elif right and kind is str:
        return _text(value, where)
    if not right:
        raise _wrong(value, kind, where)
    return value


def _text(value: str, where: str) -> str:
    """Return the text if a file name can hold it: no NUL, no lone surrogates."""
    try:
        if "\0" not in value:
            os.fsencode(value)
            return value
    except UnicodeEncodeError:
        pass
    raise StoredError(f"{where or 'it'} is {_short(value)}, which no text can hold")


def _plain(value: Any, where: str) -> Any:
    """Check the texts and numbers of any JSON value."""
    if isinstance(value, dict):
        return {_text(k, where): _plain(v, _at(where, k)) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item, f"{where}[{i}]") for i, item in enumerate(value)]
    if type(value) not in _WORDS:
        raise StoredError(f"{where or 'it'} is {_short(value)}, expected a JSON value")
    return _scalar(value, type(value), where)


def _items(value: Any, kind: Any, where: str) -> Any:
    if not isinstance(value, list | tuple):
        raise _wrong(value, kind, where)
    parts = typing.get_args(kind) or (Any,)
    whole = typing.get_origin(kind) is tuple and parts[-1] is not Ellipsis
    if whole and len(parts) != len(value):
        raise _wrong(value, kind, where)
    kinds = parts if whole else parts[:1] * len(value)
    items = (
        _typed(item, part, f"{where}[{i}]")
        for i, (item, part) in enumerate(zip(value, kinds, strict=True))
    )
    return list(items) if typing.get_origin(kind) is list else tuple(items)


def _pairs(value: Any, kind: Any, where: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise _wrong(value, kind, where)
    _, part = typing.get_args(kind) or (str, Any)
    return {
        _text(name, where): _typed(item, part, _at(where, name))
        for name, item in value.items()
    }


def _fields(value: Any, kind: Any, where: str) -> Any:
    if not isinstance(value, dict):
        raise _wrong(value, kind, where)
    hints = _hints(kind)
    read = {
        name: _typed(value[name], hint, _at(where, name))
        for name, hint in hints.items()
        if name in value
    }
    for name in _required(kind):
        if name not in read:
            raise StoredError(f"{_at(where, name)} is missing")
    if typing.is_typeddict(kind):
        others = {name: item for name, item in value.items() if name not in read}
        return read | _plain(others, where)
    try:
        return kind(**read)
    except StoredError:
        raise
    except ValueError as error:  # raised by the type's own check
        raise StoredError(f"{where}: {error}" if where else str(error)) from error


@lru_cache
def _hints(kind: Any) -> dict[str, Any]:
    hints = typing.get_type_hints(kind, include_extras=True)
    if dataclasses.is_dataclass(kind):
        return {field.name: hints[field.name] for field in dataclasses.fields(kind)}
    return hints


@lru_cache
def _required(kind: Any) -> tuple[str, ...]:
    if typing.is_typeddict(kind):
        return tuple(kind.__required_keys__)
    if not dataclasses.is_dataclass(kind):
        return tuple(name for name in kind._fields if name not in kind._field_defaults)
    return tuple(
        field.name
        for field in dataclasses.fields(kind)
        if field.default is field.default_factory is dataclasses.MISSING
    )


def _at(where: str, name: str) -> str:
    return f"{where}.{name}" if where else name


def _wrong(value: Any, kind: Any, where: str) -> StoredError:
    return StoredError(
        f"{where or 'it'} is {_short(value)}, expected {_in_words(kind)}"
    )


def _in_words(kind: Any) -> str:
    origin, parts = typing.get_origin(kind), typing.get_args(kind)
    if kind in _WORDS:
        return _WORDS[kind]
    if origin is Annotated:
        return " of ".join([_in_words(parts[0]), *map(str, parts[1:])])
    if origin in (typing.Union, types.UnionType):
        return " or ".join(map(_in_words, parts))
    if origin is Literal:
        return " or ".join(map(repr, parts))
    if _base(kind) is list:
        return "a list"
    return "an object"


def _short(value: Any) -> str:
    shown = "null" if value is None else ascii(value)
    return shown if len(shown) <= 40 else f"{shown[:36]} …"


def _object(pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for name, value in pairs:
        if name in values:
            raise StoredError(f"{_short(name)} is there twice")
        values[name] = value
    return values


def _no_constant(name: str) -> float:
    raise StoredError(f"it holds {name}, expected finite numbers")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise StoredError(f"it holds {text[:20]}, expected finite numbers")
    return value


def _check_levels(values: Any) -> None:
    level = [values]
    for _ in range(MOST_LEVELS):
        lower: list[Any] = []
        for value in level:
            if isinstance(value, dict):
                lower += value.values()
            elif isinstance(value, list):
                lower += value
        level = lower
    if level:
        raise StoredError(f"its values lie in more than {MOST_LEVELS} others")
