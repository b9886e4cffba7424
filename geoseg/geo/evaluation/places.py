"""Labelled tiles, read for a comparison with maps."""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from shapely import Polygon

from geoseg.core.errors import DatasetError, LabelError
from geoseg.core.words import counted
from geoseg.geo.evaluation.judged_maps import Classes
from geoseg.geo.labels.labels import read_footprints, read_labels
from geoseg.geo.rasters.description import PixelWindow, RasterDescription
from geoseg.geo.rasters.raster import describe
from geoseg.geo.tiles.tiles import Tile


class Place(NamedTuple):
    """A tile with its reference labels."""

    tile: Tile
    grid: RasterDescription
    extent: PixelWindow
    reference: Classes
    drawn: tuple[int, ...]  # classes that become footprints
    footprints: Mapping[int, list[Polygon]]  # of the labels; empty if not counted


def labelled_places(
    tiles: Sequence[Tile], class_names: tuple[str, ...], targets: Sequence[int]
) -> Iterator[Place]:
    """Yield each tile with its labels, and the footprints of some classes."""
    if not tiles:
        raise DatasetError("there are no tiles to score, expected at least one")
    without = [tile.id for tile in tiles if tile.labels is None]
    if without:
        raise LabelError(
            f"{len(without)} of {counted(len(tiles), 'tile')} without labels (such as "
            f"{without[0]}), expected labels for all scored tiles"
        )
    for tile in tiles:
        if tile.classes.names != class_names:
            raise LabelError(
                f"the labels of tile {tile.id} have classes "
                f"{', '.join(tile.classes.names)}, expected {', '.join(class_names)}: "
                "give --classes"
            )
        grid = describe(tile.image)
        # Sparse labels do not show where a building ends.
        footprints = {
            k: read_footprints(tile, grid, pixels=True, class_id=k)
            for k in (() if tile.classes.sparse else targets)
        }
        reference = read_labels(tile, grid)
        extent = tile.extent(grid)
        yield Place(tile, grid, extent, reference, tuple(targets), footprints)
