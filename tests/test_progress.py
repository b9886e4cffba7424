import io
import logging
import sys

import pytest

from geoseg import progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def sit_down(monkeypatch):
    """Return what makes standard error a terminal, once the test itself runs."""

    def attach() -> Terminal:
        stream = Terminal()
        monkeypatch.setattr(sys, "stderr", stream)
        return stream

    return attach


def listen(level) -> None:
    logging.getLogger("geoseg").setLevel(level)


def test_a_terminal_sees_a_bar_with_the_stage_and_the_count(sit_down):
    terminal = sit_down()
    listen(logging.INFO)
    assert list(progress.track("abc", "matching", 3)) == list("abc")
    *_, last = terminal.getvalue().split("\r")
    assert last.startswith("matching: 100%") and "3/3" in last


def test_who_wants_no_information_sees_no_bar(sit_down):
    terminal = sit_down()
    listen(logging.ERROR)
    with progress.bar("matching", 3) as advance:
        advance()
    assert terminal.getvalue() == ""


def test_without_a_terminal_a_stage_is_a_line_and_a_bar_is_nothing(capsys, caplog):
    listen(logging.INFO)
    progress.say_stage("matching on 5 tiles")
    with progress.bar("matching", 2) as advance:
        advance()
    assert caplog.messages == ["matching on 5 tiles"]
    assert capsys.readouterr() == ("", "")


def test_on_a_terminal_the_bar_alone_names_the_stage(sit_down, caplog):
    terminal = sit_down()
    listen(logging.INFO)
    progress.say_stage("matching on 5 tiles")
    assert not caplog.messages and not terminal.getvalue()
