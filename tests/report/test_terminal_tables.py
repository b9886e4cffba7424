"""Tests of geoseg.report.terminal_tables: Markdown drawn for the terminal."""

import io

from geoseg.report.terminal_tables import WIDTH, drawn, for_stream

NAMES = (
    "iic (over, K=24)",
    "colour k-means (K=24, matched for accuracy)",
    "a|b <i> *c*",
)
CELLS = "0.343 [0.30, 0.40] | 0.512 ± 0.020 [0.20, 0.60] | " + "0.900 | " * 5 + "0.1 |"


def table(names=NAMES) -> str:
    heads = "IoU | F1 | precision | recall | accuracy | balanced | κ | footprint F1"
    rows = [f"| {name.replace('|', chr(92) + '|')} | {CELLS}" for name in names]
    return "\n".join([f"| | {heads} |", "|---|" + "---:|" * 8, *rows])


def test_wide_tables_fit_the_terminal_with_every_number_whole():
    text = drawn(table(), WIDTH)
    lines = text.splitlines()
    assert max(map(len, lines)) <= WIDTH
    for number in ("0.343", "0.30–0.40", "0.512 ± 0.020", "0.20–0.60", "0.900", "0.1"):
        assert text.count(number) >= len(NAMES)
    words = [line[:20].strip() for line in lines[3:]]
    for name in NAMES:
        assert name.split()[0] in " ".join(words)
    assert "a|b <i> *c*" in text and "|---" not in text


def test_text_between_tables_is_wrapped_and_kept():
    long = "On 25 test tiles " + "the buildings are mapped " * 9 + "<well>."
    text = drawn(f"# Title\n\n{long}\n\n{table()}\n\n- **Bold**: a point\n", 60)
    assert text.startswith("Title\n\nOn 25 test tiles")
    assert long in " ".join(text.split("\n\n")[1].split())
    assert text.endswith("- Bold: a point\n")


def test_files_and_pipes_get_markdown_and_terminals_tables():
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    assert for_stream(table(), io.StringIO()) == table()
    assert for_stream(table(), Terminal()) == drawn(table())
