"""The page: one file that needs nothing else, written aside and checked."""

from collections.abc import Iterable, Mapping
from importlib.resources import files
from pathlib import Path

import geoseg
from geoseg.core.errors import ParameterError
from geoseg.core.outputs import write_aside
from geoseg.report import sections
from geoseg.report.contents import Contents
from geoseg.report.html import Html, check_html, element, join
from geoseg.report.score_tables import scores_section
from geoseg.report.verdict import verdict

#: Section → its title, in the order of a reader's questions.
SECTIONS = {
    "scores": "Scores",
    "footprints": "Footprints",
    "tiles": "Tiles taken at random",
    "worst": "Where it fails",
    "clusters": "What the clusters are",
    "k": "Score and number of clusters",
    "labels": "Score and number of labelled tiles",
    "training": "Training",
    "card": "Run card",
    "caveats": "How far to trust this",
    "absent": "Not on this page",
}


def write_page(path: Path, contents: Contents, *, overwrite: bool = False) -> Path:
    """Write a report page. Equal contents give equal bytes.

    Raises:
        OutputExistsError: If the file exists and ``overwrite`` is False.
        OutputError: If it cannot be written.
        ParameterError: If there is nothing that was scored.
    """
    if not contents.entries:
        raise ParameterError("a report without scores, expected one entry at least")
    text = render(contents)
    with write_aside(path, verify=check_html, overwrite=overwrite) as temporary:
        temporary.write_text(text, encoding="utf-8")
    return path


def render(contents: Contents) -> str:
    """Return the page as text."""
    parts = _parts(contents)
    return whole_page(
        f"{contents.title}: geoseg report",
        _top(contents, parts),
        element("main", *_laid_out(parts)),
    )


def whole_page(title: str, *children: Html) -> str:
    """Return a page that needs nothing else, in the style of all of geoseg's."""
    style = files("geoseg.report").joinpath("page.css").read_text(encoding="utf-8")
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="color-scheme", content="light dark"),
        element("meta", name="generator", content=f"geoseg {geoseg.__version__}"),
        element("title", title),
        # ours, and free of "<": not for escaping
        element("style", Html("\n" + style)),
    )
    body = element(
        "body",
        *children,
        element(
            "footer", f"Made by geoseg {geoseg.__version__}. One file, no network."
        ),
    )
    return "<!DOCTYPE html>\n" + element("html", head, body, lang="en") + "\n"


def _top(contents: Contents, shown: Iterable[str]) -> Html:
    judged = verdict(contents.entries, contents.maker, seed=contents.seed)
    links = [
        element("li", element("a", SECTIONS[key], href=f"#{key}")) for key in shown
    ]
    warning = None
    if count := len(contents.caveats):
        many = "One caveat" if count == 1 else f"{count} caveats"
        link = element("a", many, href="#caveats")
        verb = "applies" if count == 1 else "apply"
        warning = element("p", link, f" {verb} to these numbers.", class_="lead")
    return element(
        "header",
        element("p", contents.subtitle, class_="over"),
        element("h1", contents.title),
        element(
            "div",
            element("p", judged.sentence, class_="result"),
            element("p", judged.comparison) if judged.comparison else None,
            element("p", judged.advice) if judged.advice else None,
            class_=f"verdict {judged.standing}",
        ),
        warning,
        element("nav", element("ul", *links), aria_label="Sections"),
    )


def _parts(contents: Contents) -> dict[str, Html]:
    """Return the sections that have contents, and why others that could have are not there."""
    names = contents.entries[0].class_names
    made = {
        "scores": scores_section(contents),
        "footprints": (
            sections.footprints(contents.footprints, contents.footprints_note)
            if contents.footprints
            else None
        ),
        "tiles": (
            sections.tile_stories(contents.tiles, names) if contents.tiles else None
        ),
        "worst": (
            sections.tile_stories(contents.worst, names) if contents.worst else None
        ),
        "clusters": sections.head_tables(contents.heads) if contents.heads else None,
        "k": sections.k_chart(contents) if contents.k_curves else None,
        "labels": (
            sections.label_chart(contents, contents.label_curve)
            if contents.label_curve
            else None
        ),
        "training": _training(contents),
        "card": sections.run_card(contents) if contents.card else None,
        "caveats": (
            sections.caveat_list(contents.caveats) if contents.caveats else None
        ),
        "absent": _reasons(contents.absent),
    }
    leads = LEADS | MANY_LEADS if len(names) > 2 else LEADS
    if any(head.learned for head in contents.heads):
        leads |= LEARNED_LEADS
    return {
        key: sections.section(key, title, made[key], lead=leads[key])
        for key, title in SECTIONS.items()
        if made[key] is not None
    }


def _reasons(absent: Mapping[str, str]) -> Html | None:
    """List the sections that are missing for a reason that can be mended."""
    rows = [
        join(element("dt", SECTIONS[key]), element("dd", absent[key]))
        for key in SECTIONS
        if absent.get(key)
    ]
    return element("dl", *rows) if rows else None


def _laid_out(parts: Mapping[str, Html]) -> list[Html]:
    """Put the two charts beside each other where both are there."""
    if not {"k", "labels"} <= parts.keys():
        return list(parts.values())
    pair = element("div", parts["k"], parts["labels"], class_="pair")
    keys = [key for key in parts if key != "labels"]
    return [pair if key == "k" else parts[key] for key in keys]


#: How to read a section.
LEADS = {
    "scores": "The first row is what maps are made with. Controls below it were matched "
    "and scored in the same way on the same tiles.",
    "footprints": "What lands in the map, over test tiles.",
    "tiles": "Drawn by the seed, not chosen, from the test tiles that are not shown "
    "as the worst.",
    "worst": "The test tiles with the lowest score. A tile without a building is among "
    "them only where buildings were invented on it.",
    "clusters": "Training saw no label. Some labelled tiles said afterwards what "
    "each cluster is. Typical places are the windows that a cluster fills most, "
    "one per tile where there are enough tiles.",
    "k": "More clusters fit more detail, and need more labelled tiles to be named.",
    "labels": "Labels only name the clusters, which are the same at every point.",
    "training": "Entropy tells how evenly the clusters share the pixels (0: one has "
    "taken all), confidence how sure the pixels are.",
    "card": "",
    "caveats": "What follows from how this run was made.",
    "absent": "",
}
#: Where it is another with more than two classes.
#: Those of a model that has learned its classes.
LEARNED_LEADS = {
    "clusters": "The classes were learned from the labels of the matching tiles, whose "
    "shares are given here. Typical places are the windows that a class fills most, one "
    "per tile where there are enough tiles.",
    "training": "Entropy tells how evenly the classes share the pixels, confidence how "
    "sure the pixels are.",
}
MANY_LEADS = {
    "footprints": "What lands in the map as outlines, over test tiles.",
    "worst": "The test tiles with the lowest mean IoU.",
}


def _training(contents: Contents) -> Html | None:
    if not contents.training and not contents.areas:
        return None
    reason = contents.absent.get("areas", "")
    return join(
        sections.training_charts(contents),
        element("p", contents.training_note, class_="note"),
        element("p", reason, class_="absent") if reason else None,
    )
