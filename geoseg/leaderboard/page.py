"""The leaderboard as one HTML page: tables, curves, and maps of the same tiles."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from geoseg.core.errors import TrainingError
from geoseg.core.patches import IGNORE
from geoseg.geo.rasters import raster
from geoseg.geo.tiles.tiles import Tile
from geoseg.leaderboard.results import Line
from geoseg.leaderboard.tables import FAMILIES, ROLES, Board, cost_table, score_table
from geoseg.leaderboard.trial import MAPS_NAME
from geoseg.leaderboard.trial_files import read_maps
from geoseg.leaderboard.verdict import sentences, winners
from geoseg.report.charts import SMALL, from_zero, line_chart
from geoseg.report.contents import Curve, Picture, TileStory
from geoseg.report.images import PANEL_SIDE, picture
from geoseg.report.page import page_text, write_whole
from geoseg.report.painting import paint_buildings, paint_classes, score_note
from geoseg.runs.reporting.look import TileLook, shown_image, story
from geoseg.runs.reporting.survey import shown_part, truth_of

log = logging.getLogger(__name__)


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
    notes = [note.replace("**", "") for note in board.notes]
    notes += [f"No run of {job}: {why}" for job, why in board.failures.items()]
    text = page_text(
        "leaderboard.html.jinja",
        board=board,
        budget={k: value.replace("**", "") for k, value in board.budget.items()},
        sentences=sentences(board.lines),
        scores=score_table(board.lines, winners(board.lines)) if board.lines else None,
        families=FAMILIES,
        costs=cost_table(board.lines),
        by_labels=_charts(board.lines, "by_labels", "labelled tiles"),
        by_clusters=_charts(board.lines, "by_clusters", "K"),
        stories=gallery.stories(board.lines),
        names=board.lines[0].trials[0].scores.class_names if board.lines else (),
        notes=notes,
    )
    write_whole(path, text, overwrite=True)


def _charts(lines: Sequence[Line], which: str, label: str) -> list[tuple[str, Markup]]:
    """Draw a chart for each row, all with the same axes; bands are from run to run."""
    curves = [
        Curve(
            line.row.name,
            [float(number) for number, _ in points],
            [float(values.mean()) for _, values in points],
            [float(values.min()) for _, values in points],
            [float(values.max()) for _, values in points],
            role=ROLES[line.row.family],
        )
        for line in lines
        if (points := getattr(line, which)())
    ]
    return [
        (
            curve.name,
            line_chart(
                [curve],
                title=f"{curve.name} by {label}",
                log_x=len(curve.x) > 1,
                x_ticks=curve.x,
                x_label=label,
                y_range=from_zero(curves),
                size=SMALL,
            ),
        )
        for curve in curves
    ]
