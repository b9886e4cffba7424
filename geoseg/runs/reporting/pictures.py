"""Draw pictures of predictions: the panel of some tiles, footprints over an image."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from geoseg.core.classes import convert_ids
from geoseg.core.errors import ParameterError
from geoseg.core.patches import IGNORE
from geoseg.core.words import counted
from geoseg.geo.labels.labels import read_footprints, read_labels
from geoseg.geo.predict.deciding import rule_for
from geoseg.geo.predict.head_views import ClusterView, fold_strip
from geoseg.geo.predict.regions import RegionClasses, class_strip
from geoseg.geo.rasters import raster
from geoseg.geo.rasters.bands import band_numbers
from geoseg.geo.rasters.description import RasterDescription
from geoseg.geo.tiles.tiles import Tile
from geoseg.model.file import Model
from geoseg.report.figures import overlay_figure, panel_figure
from geoseg.report.painting import PanelHead, PanelRow, Pixels


def draw_panel(
    path: Path, model: Model, tiles: Sequence[Tile], *, count: int = 3, seed: int = 0
) -> Path:
    """Draw a panel of random tiles: image, clusters, reference, classes.

    Args:
        path: PNG to write.
        model: A matched model.
        tiles: Labelled tiles to choose from.
        count: Most tiles to draw.
        seed: Of the choice.

    Raises:
        ParameterError: If ``count`` is not positive.
    """
    if count < 1:
        raise ParameterError(
            f"a panel of {counted(count, 'tile')}, expected at least 1"
        )
    order = torch.randperm(len(tiles), generator=torch.Generator().manual_seed(seed))
    chosen = [tiles[int(i)] for i in order[:count]]
    names = tiles[0].classes.names if tiles else ()
    rows = [_panel_row(model, tile) for tile in chosen]
    return panel_figure(path, rows, class_names=names)


def _panel_row(model: Model, tile: Tile) -> PanelRow:
    image, valid = read_colours(
        tile, model.card.nodata, bands=model.card.normalization.bands
    )
    own, names = model.card.class_names, tile.classes.names
    grid = raster.describe(tile.image)
    heads = [
        PanelHead(f"{head} head", clusters, convert_ids(classes, own, names))
        for head, (clusters, classes) in _maps(model, tile, grid).items()
    ]
    truth = np.where(valid, read_labels(tile, grid), np.uint8(IGNORE))
    return PanelRow(tile.id, image, heads, truth, valid)


def _maps(
    model: Model, tile: Tile, grid: RasterDescription
) -> dict[str, tuple[Pixels, Pixels]]:
    """Return the ``(H, W)`` cluster and class ids of every matched head."""
    heads = list(model.card.matchings)
    view = ClusterView(model, *heads)
    extent = tile.extent(grid)
    ids: dict[str, list[Pixels]] = {head: [] for head in heads}
    maps = {
        head: RegionClasses(rule_for(model.with_head(head), grid), extent, extent)
        for head in heads
    }
    for strips in view.strips(grid, region=extent):
        for head, clusters in strips.items():
            ids[head].append(clusters.ids)
            maps[head].feed(fold_strip(model, head, clusters))
    classes = {head: maps[head].data.classes for head in heads}
    combined = model.card.combined
    if combined is not None:
        own = model.with_head(combined.head)
        classes[combined.head] = class_strip(own, grid, extent).classes
    return {head: (np.concatenate(parts), classes[head]) for head, parts in ids.items()}


def read_colours(
    tile: Tile, nodata: str, *, bands: Sequence[str] | None = None
) -> tuple[Pixels, Pixels]:
    """Read the bands of an image for display.

    Args:
        tile: Its window is read.
        nodata: The nodata rule.
        bands: To choose from; None: all of the image.

    Returns:
        ``(3 or 1, H, W)`` pixels and ``(H, W)`` valid.
    """
    grid = raster.describe(tile.image)
    numbers = band_numbers(grid, shown_bands(bands or grid.band_names))
    with raster.open_raster(tile.image) as dataset:
        return raster.read_window(dataset, numbers, tile.extent(grid), nodata=nodata)


def shown_bands(bands: Sequence[str]) -> tuple[str, ...]:
    """Return red, green and blue if they exist, else the first three bands or one."""
    natural = ("red", "green", "blue")
    if set(natural) <= set(bands):
        return natural
    return tuple(bands[:3]) if len(bands) > 2 else tuple(bands[:1])


def draw_overlay(path: Path, model: Model, tile: Tile, footprints: Path) -> Path:
    """Draw a file of footprints over a tile, with the reference if it has labels.

    Args:
        path: PNG to write.
        model: Its card gives bands and nodata rule.
        tile: The tile to show.
        footprints: A vector file; parts outside the tile are left out.
    """
    grid = raster.describe(tile.image)
    image, valid = read_colours(
        tile, model.card.nodata, bands=model.card.normalization.bands
    )
    called = Tile(tile.id, tile.image, str(footprints), tile.window)
    extent = tile.extent(grid)
    drawn, reference = (
        [_moved(polygon, -extent.col, -extent.row) for polygon in polygons]
        for polygons in (
            read_footprints(called, grid, pixels=True),
            read_footprints(tile, grid, pixels=True) if tile.labels else [],
        )
    )
    title = f"{tile.id}: {counted(len(drawn), 'footprint')}"
    if reference:
        title += f", {len(reference)} in the reference (dashed)"
    return overlay_figure(
        path, image, drawn, reference=reference, valid=valid, title=title
    )


def _moved(polygon: Any, right: int, down: int) -> dict[str, Any]:
    """Return a polygon's shifted rings in the form of the geo interface."""
    rings = polygon.__geo_interface__["coordinates"]
    moved = [[(x + right, y + down) for x, y, *_ in ring] for ring in rings]
    return {"type": "Polygon", "coordinates": moved}
