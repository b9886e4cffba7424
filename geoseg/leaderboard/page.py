"""The leaderboard as one HTML page: tables, curves, and maps of the same tiles."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from geoseg.core.errors import TrainingError
from geoseg.core.outputs import write_aside
from geoseg.core.patches import IGNORE
from geoseg.geo.rasters import raster
from geoseg.geo.tiles.tiles import Tile
from geoseg.leaderboard.results import Line, Summary
from geoseg.leaderboard.tables import (
    COLUMNS,
    FACTS,
    FAMILIES,
    MAIN,
    Board,
    facts,
    row_name,
    shown,
)
from geoseg.leaderboard.trial import MAPS_NAME
from geoseg.leaderboard.trial_files import read_maps
from geoseg.leaderboard.verdict import sentences, winners
from geoseg.report.charts import interval_bar, line_chart
from geoseg.report.contents import Curve, Picture, TileStory
from geoseg.report.html import Html, check_html, element, join
from geoseg.report.images import PANEL_SIDE, picture
from geoseg.report.page import whole_page
from geoseg.report.painting import paint_buildings, paint_classes, score_note
from geoseg.report.sections import caveat_list, section, tile_stories
from geoseg.runs.reporting.look import TileLook, shown_image, story
from geoseg.runs.reporting.survey import shown_part, truth_of

log = logging.getLogger(__name__)

Role = Literal["model", "control", "other"]

#: Family → role, which chooses the colour.
ROLES: dict[str, Role] = {
    "unsupervised": "model",
    "reference": "other",
    "control": "control",
}


class Gallery:
    """Test tiles with the maps of all rows; what is drawn is drawn once.

    Args:
        tiles: Those of the first split that may be shown.
        nodata: The nodata rule.
    """

    def __init__(self, tiles: Sequence[Tile], nodata: str) -> None:
        self.tiles = {tile.id: tile for tile in tiles}
        self.nodata = nodata
        self._looks: dict[str, tuple[TileLook, Sequence[Picture]]] = {}
        self._maps: dict[tuple[Path, str], Picture] = {}

    def stories(self, lines: Sequence[Line]) -> list[TileStory]:
        """Return the tiles, each with the map of every row's first run."""
        found: dict[str, list[Picture]] = {}
        for line in lines:
            folder = line.trials[0].folder
            if line.trials[0].job.split or not line.is_run:
                continue
            try:
                maps = read_maps(folder, MAPS_NAME)
                for name in filter(self.tiles.__contains__, maps):
                    drawn = self._map(folder, line, name, maps[name])
                    found.setdefault(name, []).append(drawn)
            except TrainingError as error:
                log.warning("no maps of %s are shown: %s", line.row.name, error)
        return [
            TileStory(name, [*self._looks[name][1], *pictures])
            for name, pictures in found.items()
        ]

    def _map(self, path: Path, line: Line, tile: str, classes: NDArray[Any]) -> Picture:
        names = line.trials[0].scores.class_names
        if tile not in self._looks:
            look = self._look(tile, names)
            self._looks[tile] = look, story(look, explain=False).pictures
        look = self._looks[tile][0]
        known = np.isin(classes, [*range(len(names)), IGNORE]).all()
        if classes.shape != look.truth.shape or not known:
            raise TrainingError(f"the map of {tile} in {path} is of another tile")
        if (path, tile) not in self._maps:
            self._maps[path, tile] = _draw(look, line, classes)
        return self._maps[path, tile]

    def _look(self, name: str, names: Sequence[str]) -> TileLook:
        tile = self.tiles[name]
        part = shown_part(tile, raster.describe(tile.image))
        image, valid = shown_image(part, self.nodata)
        return TileLook(part, image, truth_of(part, valid), names=names)


def _draw(look: TileLook, line: Line, classes: NDArray[Any]) -> Picture:
    """Draw a row's map over a tile."""
    note = score_note(classes, look.truth, len(look.names))
    if look.many:
        painted = paint_classes(look.image, classes)
    else:
        painted = paint_buildings(look.image, classes, look.truth)
    name = line.row.name
    alt = f"Map of {name} on {look.tile.id}. {note}"
    return picture(painted, side=PANEL_SIDE, alt=alt, caption=name, note=note)


def write_page(path: Path, board: Board, gallery: Gallery) -> None:
    """Write the page, in the place of an older one.

    Raises:
        OutputError: If it cannot be written.
    """
    parts = [
        section("scores", "Scores", _scores(board), lead=LEADS["scores"]),
        section("cost", "What each row took", _costs(board.lines), lead=LEADS["cost"]),
        *_curves(board),
        *_maps(board, gallery),
        section("notes", "How this was made", *_making(board)),
    ]
    text = whole_page(
        f"{board.title}: geoseg benchmark", _top(board), element("main", *parts)
    )
    with write_aside(path, verify=check_html, overwrite=True) as temporary:
        temporary.write_text(text, encoding="utf-8")


#: How to read a section.
LEADS = {
    "scores": "The best row of each family has a star. Methods are compared within a "
    "family: references learn from the very labels that otherwise only name clusters.",
    "cost": "Means over the runs. Memory is the most that a run's process held.",
    "labels": "With fewer labelled tiles. Where labels only name clusters, the network is "
    "the same at every point; what learns from labels was trained again for each.",
    "clusters": "k-means of the features that each row's network has learned, matched and "
    "scored in the same way.",
    "maps": "The same test tiles for every row, evenly spaced among those that are not "
    "all background; of each row the first run.",
}


def _top(board: Board) -> Html:
    words = " · ".join(board.budget.values()).replace("**", "")
    said = [element("p", text, class_="result") for text in sentences(board.lines)]
    left = None
    if board.left:
        left = element("p", f"{board.left} runs are not finished yet.", class_="lead")
    return element(
        "header",
        element("p", words, class_="over"),
        element("h1", board.title),
        element("div", *said, class_="verdict alone") if said else None,
        left,
    )


def _scores(board: Board) -> Html:
    if not board.lines:
        return element("p", "No run is finished yet.", class_="absent")
    return join(
        _table(board.lines, winners(board.lines)),
        element("p", FAMILIES, class_="note"),
    )


def _table(lines: Sequence[Line], best: Sequence[Line]) -> Html:
    main = lines[0].main
    heads = [MAIN[main], *(head for head, _ in COLUMNS)]
    words = ("", "family", f"{MAIN[main]}, 0 to 1")
    header = [element("th", word, scope="col") for word in words]
    header += [element("th", head, scope="col", class_="num") for head in heads]
    table = element(
        "table",
        element("thead", element("tr", *header)),
        element("tbody", *(_row(line, line in best) for line in lines)),
        class_="scores",
    )
    return element("div", table, class_="scroll")


def _row(line: Line, best: bool) -> Html:
    role = ROLES[line.row.family]
    main = line.summaries[line.main]
    bar = (
        interval_bar(main.mean, main.low, main.high, role)
        if shown(main) != "–"
        else None
    )
    cells = [_cell(main)]
    cells += [_cell(line.summaries.get(key)) for _, key in COLUMNS]
    name = row_name(line)
    return element(
        "tr",
        element("th", f"{name} ★" if best else name, scope="row"),
        element("td", line.row.family),
        element("td", bar),
        *cells,
        class_=role,
    )


def _costs(lines: Sequence[Line]) -> Html:
    """What the rows have and need, beside their scores."""
    header = [element("th", "", scope="col")]
    header += [element("th", fact, scope="col", class_="num") for fact in FACTS]
    body = [
        element(
            "tr",
            element("th", row_name(line), scope="row"),
            *(element("td", text, class_="num") for text in facts(line)),
            class_=ROLES[line.row.family],
        )
        for line in lines
        if line.is_run
    ]
    table = element(
        "table",
        element("thead", element("tr", *header)),
        element("tbody", *body),
    )
    return element("div", table, class_="scroll")


def _cell(score: Summary | None) -> Html:
    mean, _, spread = shown(score).partition(" ")
    return element(
        "td", mean, element("small", spread) if spread else None, class_="num"
    )


def _curves(board: Board) -> list[Html]:
    parts = []
    for key, which, title, label in (
        ("labels", "by_labels", "Score and labelled tiles", "labelled tiles"),
        ("clusters", "by_clusters", "Score and number of clusters", "K"),
    ):
        curves = [
            _curve(line, points)
            for line in board.lines
            if (points := getattr(line, which)())
        ]
        if curves:
            parts.append(section(key, title, _charts(curves, label), lead=LEADS[key]))
    return parts


def _curve(line: Line, points: Sequence[tuple[int, NDArray[Any]]]) -> Curve:
    return Curve(
        line.row.name,
        [float(number) for number, _ in points],
        [float(values.mean()) for _, values in points],
        [float(values.min()) for _, values in points],
        [float(values.max()) for _, values in points],
        role=ROLES[line.row.family],
    )


def _charts(curves: Sequence[Curve], label: str) -> Html:
    """A small chart for each row, all with the same axes; bands are from run to run."""
    highest = max(value for curve in curves for value in curve.high)
    charts = [
        element(
            "figure",
            element("figcaption", element("span", curve.name)),
            line_chart(
                [curve],
                title=f"{curve.name} by {label}",
                x_label=label,
                log_x=len(curve.x) > 1,
                x_ticks=curve.x,
                y_range=(0.0, min(1.0, max(0.1, 1.1 * highest))),
                size=(340, 210),
            ),
        )
        for curve in curves
    ]
    return element("div", *charts, class_="charts")


def _maps(board: Board, gallery: Gallery) -> list[Html]:
    stories = gallery.stories(board.lines)
    if not stories:
        return []
    names = board.lines[0].trials[0].scores.class_names
    shown_tiles = tile_stories(stories, names)
    return [section("maps", "Maps", shown_tiles, lead=LEADS["maps"])]


def _making(board: Board) -> list[Html]:
    rows = [
        join(element("dt", label), element("dd", value.replace("**", "")))
        for label, value in board.budget.items()
    ]
    notes = [note.replace("**", "") for note in board.notes]
    notes += [f"No run of {job}: {why}" for job, why in board.failures.items()]
    return [
        element("dl", *rows),
        element("pre", element("code", board.command)),
        caveat_list(notes),
    ]
