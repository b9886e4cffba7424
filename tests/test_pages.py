"""What README.md and docs/ say is there: methods, links, commands with their options."""

import re
import shlex
import shutil
from pathlib import Path

import click
import pytest
from method_pages import expected_pages

from geoseg.cli import cli
from geoseg.leaderboard.plan import BenchmarkPlan, parse_rows, split_parameters
from geoseg.methods import METHODS, MethodEntry, check_parameters
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
def test_a_method_has_a_page(name):
    text = (ROOT / "docs" / "methods" / f"{name}.md").read_text(encoding="utf-8")
    assert re.findall(r"^## (.*)$", text, re.MULTILINE)[-3:] == HEADINGS
    assert f"--method {name}" in text


def test_tables_of_methods_are_made_of_methods_and_their_pages():
    for page, text in expected_pages().items():
        now = page.read_text(encoding="utf-8")
        assert now == text, f"{page}: run python tests/method_pages.py"


def test_a_new_method_needs_its_line_and_its_page_for_the_tables(tmp_path):
    shutil.copytree(ROOT / "docs" / "methods", tmp_path / "docs" / "methods")
    shutil.copy(ROOT / "README.md", tmp_path)
    more = METHODS | {"new": MethodEntry("controls.new", "New", "guesses", "control")}
    page = tmp_path / "docs" / "methods" / "new.md"
    page.write_text("# New\n\n**Idea.** Guess.\n")
    with pytest.raises(AssertionError, match=r"new.md: expected \*\*In short"):
        expected_pages(tmp_path, more)
    page.write_text("# New\n\n**In short.** guesses · [A, 1999](https://a.org)\n")
    readme, index = expected_pages(tmp_path, more).values()
    row = "| [`new`](docs/methods/new.md) | guesses | [A, 1999](https://a.org) |"
    assert f"{row}\n\n<!-- end of methods" in readme
    assert "- [new](new.md): guesses\n\n<!-- end of control" in index
