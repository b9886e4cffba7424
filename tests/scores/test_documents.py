"""Tests of geoseg.scores.documents: one table as Markdown, CSV and in the terminal."""

import csv
import io
import math

import pytest

from geoseg.scores.documents import (
    WIDTH,
    Cell,
    Column,
    Document,
    Row,
    Table,
    score_cell,
)

NAMES = (
    "iic (over, K=24)",
    "colour k-means (K=24, matched for accuracy)",
    "a|b <i> *c*",
)
HEADS = "IoU,F1,precision,recall,accuracy,balanced,κ,footprint F1".split(",")
CELLS = [
    score_cell(0.343, low=0.3, high=0.4),
    score_cell(0.512, spread=0.02, low=0.2, high=0.6),
    *[score_cell(0.9)] * 5,
    Cell("0.1"),
]


def table(names=NAMES, cells=CELLS) -> Table:
    columns = [Column("", number=False), *map(Column, HEADS)]
    return Table(columns, [Row(name, cells, best=name == NAMES[0]) for name in names])


def unescaped(line: str) -> list[str]:
    """Return the cells of a line of Markdown, as a reader of tables splits them."""
    cells, cell, characters = [], "", iter(line[1:])
    for character in characters:
        if character == "\\" and (following := next(characters)) in "|\\":
            cell += following
        elif character == "|":
            cells.append(cell.strip())
            cell = ""
        else:
            cell += character if character != "\\" else character + following
    return cells


def test_markdown_has_a_line_for_the_headings_their_sides_and_every_row():
    head, sides, first, *_ = str(table()).splitlines()
    assert head == f"| | {' | '.join(HEADS)} |"
    assert sides == "|---|" + "---:|" * 8
    numbers = "0.343 [0.30, 0.40] | 0.512 ± 0.020 [0.20, 0.60] | " + "0.900 | " * 5
    assert first == f"| **iic (over, K=24)** | {numbers}0.1 |"


@pytest.mark.parametrize(
    "name", ["a|b", "a\\|b", "|", "||", "a\\\\|", "x\n| y |", "a\r|b"]
)
def test_no_name_breaks_a_row_of_markdown(name):
    shown = name.replace("\n", "\\n").replace("\r", "\\r")
    lines = str(Table([Column(name), Column(name)], [Row(name, [Cell(name)])])).split(
        "\n"
    )
    assert len(lines) == 3
    for line in (lines[0], lines[2]):
        assert unescaped(line) == [shown, shown]


def test_a_score_without_value_spread_or_interval_says_so():
    assert str(score_cell(math.nan, spread=0.1, low=0.1, high=0.2)) == "–"
    assert str(score_cell(0.5, spread=0.1)) == "0.500 ± 0.100"
    assert str(score_cell(0.5, low=0.1, high=0.25)) == "0.500 [0.10, 0.25]"


def test_csv_reads_back_as_it_was():
    rows = list(csv.reader(io.StringIO(table(["a,b", 'x"y', "p\nq"]).to_csv())))
    assert rows[0] == ["", *HEADS]
    assert [row[0] for row in rows[1:]] == ["a,b", 'x"y', "p\nq"]
    assert rows[1][1:] == [str(cell) for cell in CELLS]


def test_wide_tables_fit_the_terminal_with_every_number_whole():
    text = table().to_terminal()
    lines = text.splitlines()
    assert max(map(len, lines)) <= WIDTH
    for number in ("0.343", "0.30–0.40", "0.512 ± 0.020", "0.20–0.60", "0.900", "0.1"):
        assert text.count(number) >= len(NAMES)
    words = [line[:20].strip() for line in lines[3:]]
    for name in NAMES:
        assert name.split()[0] in " ".join(words)
    assert "a|b <i> *c*" in text and "|---" not in text and "**" not in text


def test_names_do_not_act_on_the_terminal():
    name = "roof\x1b[31m\nrow"
    columns = [Column("cluster"), Column("class", number=False)]
    for row in (Row("3", [Cell(name)]), Row(name, [Cell("3")])):
        text = Table(columns, [row]).to_terminal()
        assert "\x1b" not in text and "\\x1b[31m\\nrow" in text


def test_text_between_tables_is_wrapped_and_kept():
    long = "On 25 test tiles " + "the buildings are mapped " * 9 + "<well>."
    parts = ["# Title\n", long, "", table(), "", "- **Bold**: a point", ""]
    text = Document(parts).to_terminal(60)
    assert text.startswith("Title\n\nOn 25 test tiles")
    assert long in " ".join(text.split("\n\n")[1].split())
    assert text.endswith("- Bold: a point\n")
    assert str(Document(parts)) == f"# Title\n\n{long}\n\n{table()}\n\n{parts[5]}\n"


def test_files_and_pipes_get_markdown_and_terminals_tables():
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    document = Document([table()])
    assert document.for_stream(io.StringIO()) == str(table())
    assert document.for_stream(Terminal()) == document.to_terminal()
