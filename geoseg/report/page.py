"""The page: one file that needs nothing else, written aside and checked."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import geoseg
from geoseg.core.classes import BUILDING
from geoseg.core.errors import ParameterError
from geoseg.core.outputs import write_aside
from geoseg.core.palette import (
    FOUND,
    INVENTED,
    MISSED,
    class_colours,
    cluster_colours,
    css_colour,
    hex_colour,
)
from geoseg.core.words import counted
from geoseg.report.charts import interval_bar, score_chart, training_charts
from geoseg.report.contents import Contents
from geoseg.report.html import check_html
from geoseg.report.images import PLACE_SIDE
from geoseg.report.rendering import render
from geoseg.report.score_tables import score_blocks
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
    write_whole(path, report_text(contents), overwrite=overwrite)
    return path


def write_whole(path: Path, text: str, *, overwrite: bool) -> None:
    """Write a page aside, check it, and rename it.

    Raises:
        OutputExistsError: If the file exists and ``overwrite`` is False.
        OutputError: If it cannot be written, or the page is not whole.
    """
    with write_aside(path, verify=check_html, overwrite=overwrite) as temporary:
        temporary.write_text(text, encoding="utf-8")


def report_text(contents: Contents) -> str:
    """Return the page as text."""
    missing = {
        title: contents.absent[key]
        for key, title in SECTIONS.items()
        if contents.absent.get(key)
    }
    return page_text(
        "report.html.jinja",
        contents=contents,
        names=contents.entries[0].class_names,
        verdict=verdict(contents.entries, contents.maker, seed=contents.seed),
        scores=score_blocks(contents),
        missing=missing,
        shown=_shown(contents, missing),
        score_chart=score_chart,
        training=training_charts(contents),
        place_side=PLACE_SIDE,
        building_id=BUILDING,
    )


def page_text(template: str, **values: Any) -> str:
    """Fill the template of a page, in the style of all of geoseg's."""
    meanings = {"found": FOUND, "invented": INVENTED, "missed": MISSED}
    return render(
        template,
        version=geoseg.__version__,
        interval_bar=interval_bar,
        ring_path=_ring_path,
        counted=counted,
        class_colour=lambda k: hex_colour(class_colours(k + 1)[k]),
        cluster_colour=lambda k: css_colour(cluster_colours(k + 1)[k].tolist()),
        building_colours={word: css_colour(c) for word, c in meanings.items()},
        **values,
    )


def _shown(contents: Contents, missing: Mapping[str, str]) -> dict[str, str]:
    """Return the sections that have contents, with their titles."""
    present = {
        "scores": True,
        "footprints": contents.footprints,
        "tiles": contents.tiles,
        "worst": contents.worst,
        "clusters": contents.heads,
        "k": contents.k_curves,
        "labels": contents.label_curve,
        "training": contents.training or contents.areas,
        "card": contents.card,
        "caveats": contents.caveats,
        "absent": missing,
    }
    return {key: title for key, title in SECTIONS.items() if present[key]}


def _ring_path(ring: Sequence[tuple[float, float]]) -> str:
    """Write a closed ring as the path of an SVG."""
    return "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in ring) + "Z"
