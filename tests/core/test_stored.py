"""Stored values are checked for type as they are read."""

import json
from dataclasses import dataclass
from typing import Annotated, Any, Literal, NamedTuple, TypedDict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from geoseg.core.stored import Range, StoredError, parse_json, read_json, typed


class Pair(NamedTuple):
    low: int
    high: int = 9


class Named(TypedDict, total=False):
    seed: int


@dataclass(frozen=True)
class Thing:
    name: str
    size: Annotated[int, Range(1, 4)] | None = None
    kind: Literal["a", "b"] = "a"
    pairs: tuple[Pair, ...] = ()
    table: dict[str, tuple[float, ...]] | None = None
    more: Any = None


def test_values_become_the_type():
    stored = {
        "name": "ü",
        "size": 4,
        "kind": "b",
        "pairs": [{"low": 1}, {"low": 2, "high": 3}],
        "table": {"x": [1, 0.5]},
        "more": [None, {"deep": [True]}],
        "of a later version": 1,
    }
    assert typed(stored, Thing) == Thing(
        "ü", 4, "b", (Pair(1), Pair(2, 3)), {"x": (1.0, 0.5)}, [None, {"deep": [True]}]
    )
    assert typed({"seed": 1, "other": "x"}, Named) == {"seed": 1, "other": "x"}


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ([], "it is [], expected an object"),
        ({}, "name is missing"),
        ({"name": 1}, "name is 1, expected text"),
        ({"name": "a\0"}, "name is 'a\\x00', which no text can hold"),
        ({"name": "\ud800"}, "name is '\\ud800', which no text can hold"),
        ({"size": 5}, "size is 5, expected a whole number of 1 to 4 or null"),
        ({"size": True}, "size is True, expected a whole number of 1 to 4 or null"),
        ({"size": 2.0}, "size is 2.0, expected"),
        ({"kind": "c"}, "kind is 'c', expected 'a' or 'b'"),
        ({"kind": ["a"]}, "kind is ['a'], expected 'a' or 'b'"),
        ({"pairs": {"low": 1}}, "pairs is {'low': 1}, expected a list"),
        ({"pairs": [{"low": "1"}]}, "pairs[0].low is '1', expected a whole number"),
        ({"pairs": [{"low": 2**63}]}, "pairs[0].low is 9223372036854775808, expected"),
        ({"table": {"x": [1, float("nan")]}}, "table.x[1] is nan, expected a number"),
        ({"table": {"x": "ab"}}, "table.x is 'ab', expected a list"),
        ({"more": {"x": [float("inf")]}}, "more.x[0] is inf, expected a number"),
    ],
)
def test_what_is_wrong_is_named(values, said):
    if isinstance(values, dict) and values:
        values = {"name": "n"} | values
    with pytest.raises(StoredError) as caught:
        typed(values, Thing)
    assert str(caught.value).startswith(said)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "it is empty"),
        (b" \n", "it is empty"),
        (b"{", "it is not JSON"),
        (b"{}\0\0", "it is not JSON"),
        (b'{"a": NaN}', "it holds NaN"),
        (b'{"a": -Infinity}', "it holds -Infinity"),
        (b'{"a": 1e999}', "it holds 1e999"),
        (b'{"a": 1, "a": 2}', "'a' is there twice"),
        (b'"\xff"', "it is not UTF-8"),
        (b"[" * 40 + b"]" * 40, "its values lie in more than 32 others"),
        (b"[" * 10**5, "it is not JSON"),
        (b'{"a": ' * 10**5, "it is not JSON"),
        (b"9" * 5000, "it is not JSON"),
    ],
)
def test_no_json_is_said(data, said, tmp_path):
    with pytest.raises(StoredError, match=f"^{said}"):
        parse_json(data)
    (tmp_path / "f").write_bytes(data)
    with pytest.raises(StoredError, match=f"^{said}"):
        read_json(tmp_path / "f")


def test_what_is_no_file_is_said(tmp_path):
    for path in (tmp_path / "absent", tmp_path):
        with pytest.raises(StoredError, match="absent|not a file"):
            read_json(path)


def test_a_mark_of_byte_order_does_no_harm():
    assert parse_json("{}".encode("utf-8-sig")) == {}


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from(sorted(Thing.__annotations__)), values), values)
def test_any_value_is_of_the_type_or_an_error_of_one_line(fields, other):
    for stored in (fields, other):
        try:
            thing = typed(stored, Thing)
        except StoredError as error:
            assert len(str(error).splitlines()) == 1
        else:
            assert isinstance(thing.name, str)
            assert thing.size is None or 1 <= thing.size <= 4
            json.dumps(thing.more, allow_nan=False)


@given(st.binary())
def test_any_bytes_are_json_or_an_error_of_one_line(data):
    try:
        json.dumps(parse_json(data), allow_nan=False)
    except StoredError as error:
        assert len(str(error).splitlines()) == 1
