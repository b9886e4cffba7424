"""What README.md and docs/ say is there: methods, links, commands with their options."""

import re
import shlex
from pathlib import Path

import click
import pytest

from geoseg.cli import cli
from geoseg.leaderboard.plan import BenchmarkPlan, parse_rows, split_parameters
from geoseg.methods import METHODS, check_parameters
from geoseg.methods.presets import preset_of
from geoseg.runs.settings import RunSettings

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")]
NAMES = [str(page.relative_to(ROOT)) for page in PAGES]
#: What shell variables stand for on the pages.
VARIABLES = {
    "$T": "--images tiles/",
    "$S": "--max-steps 3",
    "$D": "folder",
    "$B": "--seeds 1 -p width=8",
}
HEADINGS = ["Logged numbers", "How to run it", "Measured"]


def commands(page: Path) -> list[list[str]]:
    """Return the geoseg commands that stand on lines of their own."""
    text = page.read_text(encoding="utf-8").replace("\\\n", " ")
    found = re.findall(r"^\s*(?:\$ )?geoseg ((?:[a-z]+)\b.*)$", text, re.MULTILINE)
    for variable, meaning in VARIABLES.items():
        found = [line.replace(variable, meaning) for line in found]
    split = [shlex.split(line, comments=True) for line in found]
    return [words for words in split if words[0] in cli.list_commands(None)]


def test_there_are_commands_to_check():
    assert sum(len(commands(page)) for page in PAGES) > 40


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_commands_have_the_options_that_a_page_gives_them(page):
    for name, *words in commands(page):
        parser = cli.get_command(None, name).make_parser(click.Context(cli))
        given = parser.parse_args(words)[0]
        pairs = dict(pair.split("=", 1) for pair in given.get("parameters", ()))
        # What has no meaning raises.
        if name == "train":
            preset = given.get("preset")
            method = "iic" if preset is None else preset_of(preset).method
            check_parameters(given.get("method", method), pairs)
        if name == "benchmark":
            rows = parse_rows(given["methods"])
            shared, own = split_parameters(pairs, tuple(METHODS))
            BenchmarkPlan(base=RunSettings(), rows=rows, shared=shared, own=own).check()


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_links_lead_to_files(page):
    links = re.findall(r"\]\(([^)]+)\)", page.read_text(encoding="utf-8"))
    for link in links:
        path = link.partition("#")[0]
        assert "://" in link or (page.parent / path).exists(), link


@pytest.mark.parametrize("name", METHODS)
def test_a_method_has_a_page_a_line_in_its_index_and_a_row_in_the_readme(name):
    page = ROOT / "docs" / "methods" / f"{name}.md"
    text = page.read_text(encoding="utf-8")
    assert re.findall(r"^## (.*)$", text, re.MULTILINE)[-3:] == HEADINGS
    assert f"--method {name}" in text
    assert f"]({name}.md)" in (page.parent / "README.md").read_text(encoding="utf-8")
    row = f"[`{name}`](docs/methods/{name}.md)"
    assert row in (ROOT / "README.md").read_text(encoding="utf-8")
