import io
import json
import logging
import sys
from datetime import timedelta
from types import SimpleNamespace

import pytest

from geoseg.core import progress


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


@pytest.fixture
def lines(monkeypatch, capsys):
    """Return what reads the lines that a program asked for."""
    monkeypatch.setenv(progress.VARIABLE, "lines")

    def read() -> list[dict]:
        return [json.loads(line) for line in capsys.readouterr().err.splitlines()]

    return read


def test_a_program_that_asks_for_lines_reads_how_far_the_work_is(lines):
    listen(logging.INFO)
    assert list(progress.track("abc", "matching", 3, unit="tile")) == list("abc")
    first, *_, last = lines()
    base = {"progress": "matching", "total": 3, "unit": "tile"}
    assert first == {**base, "done": 0} and last == {**base, "done": 3}


def test_a_line_says_what_the_bar_would_and_null_for_an_unknown_total(lines):
    listen(logging.INFO)
    with progress.new_bar("training", None, unit="step", initial=7) as shown:
        shown.set_postfix({"loss": "0.125"}, refresh=False)
        shown.update()
    assert lines()[-1] == {
        **{"progress": "training", "done": 8, "total": None, "unit": "step"},
        "note": "loss=0.125",
    }


def test_lines_are_few_however_often_the_work_advances(lines):
    listen(logging.INFO)
    with progress.bar("mapping", 10**5, unit="row") as advance:
        for _ in range(10**5):
            advance()
    assert len(lines()) < 50


def test_a_program_that_wants_errors_alone_reads_no_lines(lines):
    listen(logging.ERROR)
    assert list(progress.track("abc", "matching", 3)) == list("abc")
    assert lines() == []


@pytest.mark.parametrize(
    "seconds, said", [(0.1, []), (1, range(10, 50, 10)), (2, range(5, 50, 5))]
)
def test_without_a_terminal_the_log_says_how_long_is_left(
    seconds, said, monkeypatch, caplog
):
    """Fifty tiles; at most a line a tenth, and one in ten seconds."""
    now = [0.0]
    clock = SimpleNamespace(monotonic=lambda: now[0])
    monkeypatch.setattr(progress, "time", clock)
    caplog.set_level(logging.INFO, logger="geoseg")
    for _ in progress.track(range(50), "scoring iic", 50):
        now[0] += seconds
    lines = [
        f"scoring iic: {done} of 50 tiles, {timedelta(seconds=seconds * (50 - done))} left"
        for done in said
    ]
    assert [m for m in caplog.messages if "left" in m] == lines


def test_slow_pieces_are_told_of_within_a_tenth(monkeypatch, caplog):
    now = [0.0]
    monkeypatch.setattr(progress, "time", SimpleNamespace(monotonic=lambda: now[0]))
    caplog.set_level(logging.INFO, logger="geoseg")
    with progress.bar("mapping", 1000, unit="row") as advance:
        advance(0)
        for _ in range(3):
            now[0] += 40
            advance(1)
    assert caplog.messages == ["mapping: 2 of 1000 rows, 11:05:20 left"]


def test_the_pace_tells_how_long_the_rest_takes(monkeypatch):
    now = [100.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    pace = progress.Pace(5)
    assert pace.left(0) == ""
    now[0] += 60
    assert pace.left(2) == ", about 0:01:30 left"
