"""The scores of a page: one table for two classes; for more, all classes and each."""

import math
from collections.abc import Sequence

from geoseg.core.palette import class_colours, hex_colour
from geoseg.core.words import counted
from geoseg.report.charts import interval_bar
from geoseg.report.contents import Contents
from geoseg.report.html import Html, element, join
from geoseg.scores.metrics import Interval, class_iou
from geoseg.scores.scores import Scores
from geoseg.scores.tables import (
    CLASS_COLUMNS,
    OVERALL_COLUMNS,
    SPARSE_NOTE,
    TABLE_COLUMNS,
)

#: When a footprint counts as found.
FOUND_NOTE = (
    "A footprint counts as found when its IoU with one of the reference is at least one "
    "half."
)

Columns = Sequence[tuple[str, str, bool]]


def scores_section(contents: Contents) -> Html:
    """The entries with intervals; the numbers are those of scores.json.

    Two classes: the scores of building. More: those over all classes, every class of
    the first entry, and the IoU of every class of the others.
    """
    entries, seed = contents.entries, contents.seed
    names = [Html(element("span", entry.name)) for entry in entries]
    if len(entries[0].class_names) == 2:
        table = _table(
            TABLE_COLUMNS, entries, names, "Scores on the test tiles", seed, ranked=True
        )
        return join(table, _note(entries[0], "IoU and F1"))
    first = entries[0]
    count = len(first.class_names)
    classes = [first.of_class(class_id) for class_id in range(count)]
    words = [class_name(k, name) for k, name in enumerate(first.class_names)]
    return join(
        element("h3", f"Over all {count} classes"),
        _table(
            OVERALL_COLUMNS,
            entries,
            names,
            "Scores over all classes",
            seed,
            ranked=True,
        ),
        _note(first, "the mean IoU"),
        element("h3", f"{first.name}, class by class"),
        _table(CLASS_COLUMNS, classes, words, "Scores of each class", seed),
        element("h3", "IoU of every class"),
        _iou_table(entries, words),
    )


def class_name(class_id: int, name: str) -> Html:
    """A class with its colour, which is that of the map's style."""
    colour = hex_colour(class_colours(class_id + 1)[class_id])
    return join(element("span", class_="key", style=f"background:{colour}"), f" {name}")


def _table(
    columns: Columns,
    rows: Sequence[Scores],
    names: Sequence[Html],
    caption: str,
    seed: int,
    *,
    ranked: bool = False,
) -> Html:
    """Tabulate scores; of ranked rows the first is the one that counts."""
    first = columns[0][0]
    heads = [
        element("th", "", scope="col"),
        element("th", f"{first}, 0 to 1", scope="col"),
        *(element("th", head, scope="col", class_="num") for head, _, _ in columns),
    ]
    body = [_row(columns, *pair, seed) for pair in zip(rows, names, strict=True)]
    return _scrolled(heads, body, caption, ranked=ranked)


def _scrolled(
    heads: Sequence[Html], body: Sequence[Html], caption: str, *, ranked: bool = False
) -> Html:
    table = element(
        "table",
        element("caption", caption, class_="hidden"),
        element("thead", element("tr", *heads)),
        element("tbody", *body),
        class_="scores ranked" if ranked else "scores",
    )
    return element("div", table, class_="scroll")


def _row(columns: Columns, entry: Scores, name: Html, seed: int) -> Html:
    scores = entry.metrics(seed=seed)
    main = scores[columns[0][1]]
    bar = None if math.isnan(main.value) else interval_bar(*main, entry.role)
    cells = [_cell(scores.get(key), ends) for _, key, ends in columns]
    head = element("th", name, scope="row")
    return element("tr", head, element("td", bar), *cells, class_=entry.role)


def _cell(score: Interval | None, ends: bool) -> Html:
    if score is None or math.isnan(score.value):
        return element("td", "–", class_="num")
    interval = None
    if ends and not math.isnan(score.low):
        interval = element("small", f"{score.low:.2f}–{score.high:.2f}")
    return element("td", f"{score.value:.3f}", interval, class_="num")


def _iou_table(entries: Sequence[Scores], names: Sequence[Html]) -> Html:
    """Classes in rows and entries in columns: classes may be many."""
    heads = [element("th", "", scope="col")]
    heads += [element("th", e.name, scope="col", class_="num") for e in entries]
    ious = [class_iou(entry.confusions.sum(0)) for entry in entries]
    body = []
    for class_id, name in enumerate(names):
        values = [float(iou[class_id]) for iou in ious]
        cells = ["–" if math.isnan(value) else f"{value:.3f}" for value in values]
        head = element("th", name, scope="row")
        body.append(
            element("tr", head, *(element("td", c, class_="num") for c in cells))
        )
    return _scrolled(heads, body, "IoU of every class of every row above")


def _note(entry: Scores, read: str) -> Html:
    """Say what a constant scores, without which no accuracy can be read."""
    shares = entry.confusions.sum((0, 2)) / max(1, entry.confusions.sum())
    winner = int(shares.argmax())
    said = winner if len(shares) > 2 else entry.target
    text = (
        f"{counted(len(entry.tiles), 'tile')}; {100 * shares[said]:.1f} % of the labelled pixels "
        f"are {entry.class_names[said]}. Calling every pixel "
        f"{entry.class_names[winner]} scores {shares[winner]:.3f} accuracy: read {read}. "
        "Intervals come from resampling tiles. "
    )
    text += SPARSE_NOTE.strip() if entry.sparse else FOUND_NOTE
    return element("p", text, class_="note")
