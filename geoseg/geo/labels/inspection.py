"""Inspection of reference labels, on a sample of the tiles' pixels."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from geoseg.core.addresses import is_remote
from geoseg.core.classes import BACKGROUND
from geoseg.core.patches import IGNORE
from geoseg.geo.coordinates.crs import same_crs
from geoseg.geo.labels.labels import is_vector, read_labels
from geoseg.geo.labels.layers import read_file
from geoseg.geo.labels.masks import fits_grid
from geoseg.geo.labels.vector_inspection import inspect_vector, may_be_classes
from geoseg.geo.labels.vectors import meeting, read_layer
from geoseg.geo.rasters.description import PixelWindow, RasterDescription
from geoseg.geo.rasters.inspection import WHOLE_PIXELS, sample, sample_windows
from geoseg.geo.rasters.kinds import count_values
from geoseg.geo.rasters.nodata import NodataRule
from geoseg.geo.rasters.raster import describe, open_raster, read_window
from geoseg.geo.tiles.tiles import Tile

#: Most label files whose attributes are read.
LOOKED_AT = 100
#: Remote images are read whole up to this many pixels in all.
REMOTE_PIXELS = 2**21


@dataclass(frozen=True)
class LabelFacts:
    """Statistics of labels; shares are of the pixels where the image has data.

    Attributes:
        kind: Kind of the label files.
        files: Number of label files.
        tiles: Number of labelled tiles.
        looked_at: Number of sampled tiles, evenly spaced, for the shares.
        polygons: Number of features with polygons in all files; None for masks.
        inside: Number of these features that meet a tile; None for masks.
        left_out: What is wrong → number of features left out, whole or in part.
        crs: Short name of the first file's CRS, or None.
        other_crs: Whether it differs from the CRS of the first image.
        other_grid: Number of sampled masks on another grid than their image.
        values: Mask value, as ``--classes`` writes it, → share of the sampled masks;
            ``no data`` for nodata. Empty for vectors and for many values.
        fields: Attribute that may be the class → value → features; empty for masks.
        classes: Class → share of the labelled pixels.
        unlabelled: Unlabelled share of the pixels.
        by_tile: Smallest and largest share of the foreground classes in a tile.
        empty: Number of sampled tiles that hold only background.
    """

    kind: Literal["vector", "mask"]
    files: int
    tiles: int
    looked_at: int
    polygons: int | None
    inside: int | None
    left_out: dict[str, int]
    crs: str | None
    other_crs: bool
    other_grid: int
    values: dict[str, float]
    fields: dict[str, dict[str, int]]
    classes: dict[str, float]
    unlabelled: float
    by_tile: tuple[float, float] | None
    empty: int


def inspect_labels(tiles: Sequence[Tile], *, nodata: NodataRule = "auto") -> LabelFacts:
    """Inspect the labels of tiles.

    Args:
        tiles: Labelled tiles of the same classes; at least one.
        nodata: The nodata rule of the images.

    Raises:
        LabelError: If labels cannot be read, or do not fit their image.
        RasterError: If an image cannot be read.
    """
    grids = [describe(tile.image) for tile in tiles]
    pixels = sum(grid.height * grid.width for grid in grids)
    remote = any(is_remote(grid.path) for grid in grids)
    every = min(len(tiles), -(-pixels // (REMOTE_PIXELS if remote else WHOLE_PIXELS)))
    near = list(zip(tiles, grids, strict=True))[::every]
    files = dict.fromkeys(str(tile.labels) for tile in tiles)
    counts = np.stack([_count(tile, grid, nodata) for tile, grid in near])
    vector = is_vector(tiles[0])
    crs = _crs_of(tiles[0], vector)
    labelled = counts[:, :IGNORE].sum(1)
    foreground = (labelled - counts[:, BACKGROUND])[labelled > 0]
    shares = foreground / labelled[labelled > 0]
    total = counts.sum(0)
    return LabelFacts(
        kind="vector" if vector else "mask",
        files=len(files),
        tiles=len(tiles),
        looked_at=len(near),
        polygons=_polygons(tiles) if vector else None,
        inside=_inside(tiles, grids) if vector else None,
        left_out=_left_out(tiles) if vector else {},
        crs=crs.to_string() if crs else None,
        other_crs=crs is not None and not same_crs(crs, grids[0].crs),
        other_grid=0 if vector else _other_grids(near),
        values={} if vector else _mask_values([tile for tile, _ in near]),
        fields=_fields(list(files), tiles[0]) if vector else {},
        classes={
            name: float(total[number] / max(1, labelled.sum()))
            for number, name in enumerate(tiles[0].classes.names)
        },
        unlabelled=float(total[IGNORE] / max(1, total.sum())),
        by_tile=(float(shares.min()), float(shares.max())) if len(shares) else None,
        empty=int((foreground == 0).sum()),
    )


def _count(
    tile: Tile, grid: RasterDescription, nodata: NodataRule
) -> np.ndarray[Any, Any]:
    """Count the pixels of each class id, in a sample of windows of a large image.

    Pixels without data do not count, as in training and in scores.
    """
    counts = np.zeros(IGNORE + 1, np.int64)
    with open_raster(tile.image) as image:
        for window in _windows(tile, grid):
            ids = read_labels(replace(tile, window=window), grid)
            _, valid = read_window(image, grid.band_indexes, window, nodata=nodata)
            counts += np.bincount(ids[valid], minlength=IGNORE + 1)
    return counts


def _windows(tile: Tile, grid: RasterDescription) -> Iterator[PixelWindow]:
    whole = tile.extent(grid)
    if whole.height * whole.width <= WHOLE_PIXELS:
        yield whole
    else:
        yield from sample_windows(whole)


def _crs_of(tile: Tile, vector: bool) -> Any:
    path = str(tile.labels)
    return read_file(tile).crs if vector else describe(path).crs


def _polygons(tiles: Sequence[Tile]) -> int:
    first = {tile.labels: tile for tile in tiles}
    return sum(len(np.unique(read_file(tile).features)) for tile in first.values())


def _left_out(tiles: Sequence[Tile]) -> dict[str, int]:
    counts = Counter[str]()
    for tile in {tile.labels: tile for tile in tiles}.values():
        for wrong, numbers in read_file(tile).left_out.items():
            counts[wrong] += len(numbers)
    return dict(counts.most_common())


def _inside(tiles: Sequence[Tile], grids: Sequence[RasterDescription]) -> int:
    met = {
        (tile.labels, number)
        for tile, grid in zip(tiles, grids, strict=True)
        for number in read_layer(tile, grid).features[meeting(tile, grid)].tolist()
    }
    return len(met)


def _other_grids(near: Sequence[tuple[Tile, RasterDescription]]) -> int:
    return sum(not fits_grid(describe(str(t.labels)), grid) for t, grid in near)


def _mask_values(tiles: Sequence[Tile]) -> dict[str, float]:
    """Return the shares of the values of masks, most frequent first."""
    counts = Counter[str]()
    for path in dict.fromkeys(str(tile.labels) for tile in tiles):
        mask = describe(path)
        counts.update(count_values(mask, sample(mask, nodata="none")[0]))
    total = counts.total()
    return {value: count / total for value, count in counts.most_common()}


def _fields(files: Sequence[str], tile: Tile) -> dict[str, dict[str, int]]:
    """Count the values of attributes that may be classes, over some files."""
    counts: dict[str, Counter[str]] = {}
    others: set[str] = set()
    for path in files[:LOOKED_AT]:
        if is_remote(path) or not Path(path).stat().st_size:
            continue
        for layer in inspect_vector(Path(path)):
            if tile.classes.layer in (None, layer.name):
                others |= set(layer.attributes) - set(layer.values)
                for name, values in layer.values.items():
                    counts.setdefault(name, Counter()).update(values)
    return {
        name: dict(values.most_common())
        for name, values in counts.items()
        if name not in others and may_be_classes(values)
    }
