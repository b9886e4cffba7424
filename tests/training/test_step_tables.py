"""Tables that a training appends to, and what power cuts and others do to them."""

import pytest

from geoseg.core.errors import TrainingError
from geoseg.training.step_tables import WORDS, read_step_table

WHOLE = b"step,epoch,loss\r\n1,0,0.5\r\n2,0,\r\n"
ROWS = [{"step": "1", "epoch": "0", "loss": "0.5"}, {"step": "2", "epoch": "0"}]
ROWS[1]["loss"] = ""


@pytest.mark.parametrize(
    "end", [b"", b"3,0", b"3,0,0.\0\0", bytes(64), bytes(10**6), b"x,0,1\r\n", b"\xff"]
)
def test_a_spoilt_end_does_not_count(tmp_path, end):
    path = tmp_path / "metrics.csv"
    path.write_bytes(WHOLE + end)
    rows = read_step_table(path)
    assert rows[:2] == ROWS
    assert len(rows) == 2 or rows[2]["loss"] == "0."


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (WHOLE + b"a,0,1\r\n4,0,1\r\n", "line 4: step is 'a', expected a whole number"),
        (WHOLE + b"3,0,nan\r\n4,0,1\r\n", "line 4: loss is 'nan', expected a finite"),
        (WHOLE + b"3,0\r\n4,0,1\r\n", "line 4: 2 values, expected 3"),
        (WHOLE + b"3,0,1,2\r\n4,0,1\r\n", "line 4: 4 values, expected 3"),
        (WHOLE + b"-3,0,1\r\n4,0,1\r\n", "line 4: step is '-3'"),
        (b"epoch\r\n1\r\n2\r\n", "first line does not name the columns"),
        (b"step,step\r\n1,1\r\n", "first line does not name the columns"),
        (b"\0\0step\r\n1\r\n", "first line does not name the columns"),
        (b"step,loss\r\n1," + b"9" * 200_000 + b"\r\n2,1\r\n", "field larger"),
    ],
)
def test_damage_elsewhere_is_said_in_one_line(tmp_path, data, said):
    path = tmp_path / "metrics.csv"
    path.write_bytes(data)
    with pytest.raises(TrainingError) as caught:
        read_step_table(path)
    assert said in str(caught.value) and str(path) in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


def test_nothing_has_no_rows(tmp_path):
    path = tmp_path / "metrics.csv"
    assert read_step_table(path) == []
    for data in (b"", bytes(100), b"step,loss\r\n", b"step,lo"):
        path.write_bytes(data)
        assert read_step_table(path) == []


def test_words_are_where_they_are_expected(tmp_path):
    path = tmp_path / "areas.csv"
    path.write_bytes(b"step,head,area_0\r\n1,main,0.5\r\n2,over,1\r\n")
    assert [row["head"] for row in read_step_table(path, WORDS)] == ["main", "over"]
    with pytest.raises(TrainingError, match="head is 'main', expected a finite number"):
        read_step_table(path)
    path.write_bytes(b"step,area_0\r\n1,0.5\r\n")
    with pytest.raises(TrainingError, match="does not name the columns"):
        read_step_table(path, WORDS)
