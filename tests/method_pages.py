"""The tables of methods in README.md and docs/methods/README.md, made of METHODS.

What a method is and its paper stand on its own page, after "In short". To write the
tables anew: ``python tests/method_pages.py``.
"""

import re
from collections.abc import Mapping
from pathlib import Path

from geoseg.methods import METHODS, MethodEntry

ROOT = Path(__file__).parents[1]
#: Family → its name in the plural, and what its methods do.
FAMILIES = {
    "unsupervised": (
        "unsupervised",
        "learn from unlabelled tiles; labels only name the clusters",
    ),
    "reference": ("references", "learn from the labels of the matching tiles"),
    "control": ("controls", "what is to be had for little"),
}
IN_SHORT = re.compile(r"\*\*In short\.\*\* (.+?)(?: · (\[.+?\]\(.+?\)))?$")


def in_short(name: str, folder: Path) -> tuple[str, str]:
    """Return what a method is and the link to its paper, or "", as its page says."""
    page = folder / f"{name}.md"
    match = IN_SHORT.fullmatch(page.read_text(encoding="utf-8").split("\n")[2])
    assert match, f"{page}: expected **In short.** WHAT IT IS · [PAPER](URL) in line 3"
    return match[1], match[2] or ""


def table_of_readme(methods: Mapping[str, MethodEntry], folder: Path) -> str:
    """Return the table of README.md."""
    lines = ["| name | what it is | paper |", "|---|---|---|"]
    for family, (plural, meaning) in FAMILIES.items():
        lines.append(f"| **{plural}** | **{meaning}** | |")
        for name in names_of(family, methods):
            what, paper = in_short(name, folder)
            link = f"[`{name}`](docs/methods/{name}.md)"
            lines.append(" ".join(f"| {link} | {what} | {paper} |".split()))
    return "\n".join(lines)


def list_of_index(family: str, methods: Mapping[str, MethodEntry], folder: Path) -> str:
    """Return the list of a family in docs/methods/README.md."""
    names = names_of(family, methods)
    return "\n".join(f"- [{n}]({n}.md): {in_short(n, folder)[0]}" for n in names)


def names_of(family: str, methods: Mapping[str, MethodEntry]) -> list[str]:
    """Return the methods of a family, in the order of METHODS."""
    return [name for name, entry in methods.items() if entry.family == family]


def expected_pages(
    root: Path = ROOT, methods: Mapping[str, MethodEntry] = METHODS
) -> dict[Path, str]:
    """Return README.md and the index as they are with the tables that are due."""
    folder = root / "docs" / "methods"
    parts = {family: list_of_index(family, methods, folder) for family in FAMILIES}
    return {
        root
        / "README.md": filled(
            root / "README.md", {"methods": table_of_readme(methods, folder)}
        ),
        folder / "README.md": filled(folder / "README.md", parts),
    }


def filled(page: Path, parts: Mapping[str, str]) -> str:
    """Return the text of a page with each part between its two marks."""
    text = page.read_text(encoding="utf-8")
    for name, part in parts.items():
        start, end = f"<!-- {name} -->\n\n", f"\n\n<!-- end of {name} -->"
        assert text.count(start) == text.count(end) == 1, f"{page}: no marks of {name}"
        before, rest = text.split(start)
        text = before + start + part + end + rest.split(end)[1]
    return text


if __name__ == "__main__":
    for path, contents in expected_pages().items():
        path.write_text(contents, encoding="utf-8", newline="\n")
