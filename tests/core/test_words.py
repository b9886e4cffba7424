"""Words in messages; names out of files do not act on terminals."""

import ast
import json
import logging
import sys
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import geoseg
from geoseg.core.classes import LabelClasses, check_printable
from geoseg.core.errors import ParameterError
from geoseg.core.words import (
    PlainFormatter,
    counted,
    did_you_mean,
    json_text,
    one_line,
    plain,
)
from geoseg.info.sheet import Sheet, columns

BIDI = "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"


def acting(text):
    kinds = {"Cc", "Zl", "Zp", "Cs"}
    return [c for c in text if unicodedata.category(c) in kinds or c in BIDI]


@given(st.text())
def test_one_line_is_one_and_nothing_in_it_acts(text):
    assert not acting(one_line(text))
    assert len(one_line(text).splitlines()) <= 1
    one_line(text).encode()


def test_every_character_that_acts_is_escaped_and_no_letter_is():
    for code in range(sys.maxunicode + 1):
        character = chr(code)
        if acting(character):
            assert one_line(character).isascii() and one_line(character).isprintable()
        elif unicodedata.category(character)[0] in "LNPSM" or character == " ":
            assert one_line(character) == character


@given(st.text())
def test_plain_text_keeps_breaks_and_tabs_alone(text):
    assert set(acting(plain(text))) <= {"\n", "\t"}
    assert plain(text).count("\n") == text.count("\n")


@given(st.dictionaries(st.text(), st.text() | st.integers()))
def test_json_is_the_same_values_and_acts_on_nothing(values):
    text = json_text(values)
    assert json.loads(text) == values
    assert set(acting(text)) <= {"\n"}


def test_a_line_of_the_log_cannot_hold_another(capsys):
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(PlainFormatter("%(message)s"))
    logger = logging.Logger("one")
    logger.addHandler(handler)
    logger.warning("%s has no CRS", "a\x1b]0;owned\x07\r\nError: all is lost\u202e")
    try:
        raise ValueError("\x1b[31m")
    except ValueError:
        logger.exception("it failed")
    said = capsys.readouterr().err
    first, second, *traceback = said.splitlines()
    assert first.startswith("a\\x1b]0;owned\\x07\\r\\nError: all is lost\\u202e has")
    assert second == "it failed" and len(traceback) > 2
    assert set(acting(said)) == {"\n"}


def test_values_on_a_sheet_cannot_forge_its_rows():
    sheet = Sheet("a\nb.tif", "image")
    sheet.say("classes\n", "one\n  scores      IoU 0.99")
    sheet.say("", *columns([("a\nb", "c"), ("d", "\x9b2J")]))
    assert len(sheet.text().splitlines()) == 4
    assert set(acting(sheet.text())) == {"\n"}


def test_only_the_printing_module_writes_to_standard_output():
    folder = Path(geoseg.__file__).parent
    for path in folder.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.Call):
                continue
            called = ast.unparse(node.func)
            assert called != "print", path
            to_error = any(word.arg == "err" for word in node.keywords)
            own = path.name == "printing.py"
            assert own or to_error or called not in ("click.echo", "click.secho"), path


@pytest.mark.parametrize(
    "name", ["a\x1b", "a\nb", "", " ", "a\u2028", "\ud800", "a\x85"]
)
def test_a_class_whose_name_cannot_be_printed_is_refused(name):
    with pytest.raises(ParameterError, match="cannot be printed"):
        check_printable(["background", name])


def test_so_it_is_on_the_command_line():
    with pytest.raises(ParameterError, match="cannot be printed"):
        LabelClasses.parse("background,ro\x1bad")


def test_one_is_singular_and_none_is_plural():
    assert [counted(n, "tile") for n in (0, 1, 2)] == ["0 tiles", "1 tile", "2 tiles"]
    assert [counted(2, noun) for noun in ("class", "patch")] == [
        "2 classes",
        "2 patches",
    ]


def test_the_nearest_name_is_suggested_whatever_its_case():
    assert did_you_mean("Width", ["width", "trunk"]) == " (did you mean width?)"
    assert did_you_mean("with", ["width", "half_width"]) == " (did you mean width?)"
    assert did_you_mean("zzz", ["width"]) == ""


def test_a_name_that_shares_but_some_letters_is_no_suggestion():
    assert did_you_mean("depth", ["width"]) == ""


def test_a_short_name_with_one_wrong_letter_is_told_from_others():
    for wrong in ("icc", "iid", "ici"):
        assert did_you_mean(wrong, ["iic", "mdc"]) == " (did you mean iic?)"
    assert did_you_mean("iox", ["iic", "mdc"]) == ""
