"""The sections of a page, from its contents to markup."""

import math
from collections.abc import Sequence

from geoseg.core.classes import BUILDING
from geoseg.core.palette import FOUND, INVENTED, MISSED, cluster_colours
from geoseg.core.words import counted
from geoseg.report.charts import area_chart, css_colour, line_chart
from geoseg.report.contents import (
    ClusterRow,
    Contents,
    Curve,
    HeadTable,
    Picture,
    TileStory,
)
from geoseg.report.html import Html, element, join
from geoseg.report.images import PLACE_SIDE
from geoseg.report.score_tables import class_name


def section(key: str, title: str, *children: Html | None, lead: str = "") -> Html:
    """Return a section with its heading and a sentence that says how to read it."""
    intro = element("p", lead, class_="lead") if lead else None
    return element(
        "section", element("h2", title), intro, *children, id=key, class_="part"
    )


def picture(shown: Picture) -> Html:
    """A figure: the image, what is drawn over it, its caption."""
    image = element(
        "img",
        src=shown.uri,
        alt=shown.alt,
        width=shown.width,
        height=shown.height,
        class_="flat" if shown.flat else None,
    )
    over = _outlines(shown) if shown.outlines else None
    caption = None
    if shown.caption or shown.note:
        note = element("span", shown.note, class_="value") if shown.note else None
        caption = element("figcaption", element("span", shown.caption), note)
    return element("figure", element("div", image, over, class_="frame"), caption)


def _outlines(shown: Picture) -> Html:
    paths = [
        element("path", d="".join(map(_ring, outline.rings)), class_=outline.kind)
        for outline in shown.outlines
    ]
    return element(
        "svg", *paths, viewBox=f"0 0 {shown.width} {shown.height}", aria_hidden="true"
    )


def _ring(ring: Sequence[tuple[float, float]]) -> str:
    return "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in ring) + "Z"


def map_key(names: Sequence[str]) -> Html:
    """The legend of maps: buildings by whether they are right, or many classes."""
    if len(names) > 2:
        words = [element("li", class_name(*pair)) for pair in enumerate(names)][1:]
        key = element("span", class_="key", style="background:#b3b3b3")
        rest = element("li", key, f" {names[0]}: the image in grey")
        return element("ul", *words, rest, class_="legend")
    meanings = (("found", FOUND), ("invented", INVENTED), ("missed", MISSED))
    items = [
        element(
            "li",
            element("span", class_="key", style=f"background:{css_colour(colour)}"),
            f" building {name}",
        )
        for name, colour in meanings
    ]
    return element("ul", *items, class_="legend")


def footprints(shown: Sequence[Picture], note: str = "") -> Html:
    """Large pictures with outlines, what the outlines mean, how they were chosen."""
    items = [
        element("li", element("span", class_=f"key {kind}"), f" {words}")
        for kind, words in (("found", "footprint"), ("reference", "reference"))
    ]
    return join(
        element("ul", *items, class_="legend"),
        *([element("p", note, class_="note")] if note else []),
        element("div", *map(picture, shown), class_="large"),
    )


def tile_stories(stories: Sequence[TileStory], names: Sequence[str]) -> Html:
    """Tiles one below another, each with its pictures side by side."""
    parts = [map_key(names)]
    for story in stories:
        notes = element("p", " ".join(story.notes), class_="note")
        shown = [picture(one) for one in story.pictures]
        parts.append(
            element(
                "article",
                element("h3", story.name),
                notes if story.notes else None,
                element("div", *shown, class_="panels", style=f"--across:{len(shown)}"),
            )
        )
    return join(*parts)


def head_tables(heads: Sequence[HeadTable]) -> Html:
    """Cluster tables; all but the default head's can be folded away."""
    return join(*(_head(head, opened=number == 0) for number, head in enumerate(heads)))


def _head(head: HeadTable, *, opened: bool) -> Html:
    kind = "classes, learned from labels" if head.learned else "clusters"
    label = f"Head {head.head}: {head.clusters} {kind}"
    if head.is_default:
        label += ", the one that maps are made with"
    how = "Learned from" if head.learned else "Matched on"
    what = f"{how} {counted(head.tiles, 'tile')}."
    if head.threshold is not None and head.learned:
        what += (
            f" A pixel is building when its probability is above {head.threshold:.2f}, "
            "where F1 is best on those tiles; in maps and their probabilities that is "
            "drawn to one half."
        )
    elif head.threshold is not None:
        what += f" A cluster is building when its score is above {head.threshold:.3f}."
    if head.omitted:
        what += (
            " Left out of the table, not of the map: the smallest "
            f"{counted(head.omitted, 'cluster')}, {100 * head.omitted_share:.2g} % of the "
            "pixels."
        )
    score = "building score" if head.classes == 2 else "share of its class"
    names = (
        "output" if head.learned else "cluster",
        "class",
        "share",
        score,
        "most typical places",
    )
    numeric = {"share", score}
    header = [
        element("th", name, scope="col", class_="num" if name in numeric else None)
        for name in names
    ]
    table = element(
        "table",
        element("caption", label, class_="hidden"),
        element("thead", element("tr", *header)),
        element("tbody", *(_cluster(row, head.classes) for row in head.rows)),
        class_="clusters",
    )
    return element(
        "details",
        element("summary", label),
        element("p", what, class_="note"),
        element("div", table, class_="scroll"),
        open=opened,
    )


def _cluster(row: ClusterRow, classes: int) -> Html:
    colour = css_colour(cluster_colours(row.cluster + 1)[-1])
    swatch = element("span", class_="key", style=f"background:{colour}")
    is_building = classes == 2 and row.class_id == BUILDING
    meaning = element(
        "span",
        class_name(row.class_id, row.class_name) if classes > 2 else row.class_name,
        class_="class building" if is_building else "class",
    )
    places = [
        element(
            "img",
            src=place.uri,
            alt=place.alt,
            title=place.caption,
            width=PLACE_SIDE,
            height=PLACE_SIDE,
        )
        for place in row.places
    ]
    none = element("span", "nowhere fills a window", class_="absent")
    return element(
        "tr",
        element("th", swatch, f" {row.cluster}", scope="row"),
        element("td", meaning),
        element("td", f"{100 * row.share:.1f} %", class_="num"),
        element("td", f"{row.score:.3f}", class_="num"),
        element("td", *(places or [none]), class_="places"),
        class_="building" if is_building else None,
    )


def k_chart(contents: Contents) -> Html:
    """Score against the number of clusters."""
    values = sorted({x for curve in contents.k_curves for x in curve.x})
    chart = line_chart(
        contents.k_curves,
        title=f"{_measure(contents)} by number of clusters",
        x_label="number of clusters K",
        y_label=_measure(contents),
        log_x=len(values) > 1,
        x_ticks=values,
        y_range=_from_zero(contents.k_curves),
    )
    return join(chart, element("p", contents.k_note, class_="note"))


def label_chart(contents: Contents, curve: Curve) -> Html:
    """Score against the number of labelled tiles."""
    chart = line_chart(
        [curve],
        title=f"{_measure(contents)} by number of labelled tiles",
        x_label="labelled tiles",
        y_label=_measure(contents),
        log_x=len(curve.x) > 1,
        x_ticks=curve.x,
        y_range=_from_zero([curve]),
    )
    return join(chart, element("p", contents.label_note, class_="note"))


def _measure(contents: Contents) -> str:
    return "IoU" if len(contents.entries[0].class_names) == 2 else "mean IoU"


def _from_zero(curves: Sequence[Curve]) -> tuple[float, float]:
    values = [v for curve in curves for v in (*curve.y, *curve.high)]
    highest = max((v for v in values if math.isfinite(v)), default=1.0)
    return 0.0, min(1.0, max(0.1, 1.1 * highest))


def training_charts(contents: Contents) -> Html:
    """Small charts of what was logged, and of the cluster areas."""
    size = (340, 210)
    drawn = [
        (
            curve.name.replace("_", " "),
            line_chart([curve], title=curve.name, x_label="step", size=size),
        )
        for curve in contents.training
    ]
    drawn += [
        (f"cluster areas, head {areas.head}", area_chart(areas, size=size))
        for areas in contents.areas
    ]
    charts = [
        element("figure", element("figcaption", element("span", name)), chart)
        for name, chart in drawn
    ]
    return element("div", *charts, class_="charts")


def run_card(contents: Contents) -> Html:
    """Everything that is needed to know the run, and to make it again."""
    groups = [
        element(
            "div",
            element("h3", group),
            element(
                "dl",
                *(
                    join(element("dt", label), element("dd", value))
                    for label, value in rows
                ),
            ),
        )
        for group, rows in contents.card.items()
    ]
    again = None
    if contents.command:
        again = join(
            element("h3", "To make it again"),
            element("pre", element("code", contents.command)),
        )
    return join(element("div", *groups, class_="card"), again)


def caveat_list(caveats: Sequence[str]) -> Html:
    """What the numbers do not say."""
    return element("ul", *(element("li", text) for text in caveats), class_="caveats")
