"""Predictions against reference labels, tile by tile.

A tile gives a confusion matrix of its labelled pixels and the counts of its footprints;
:mod:`geoseg.geo.scores` makes scores of them.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from shapely import Polygon

from geoseg.classes import TWO_CLASSES, LabelClasses, footprint_ids, value_key
from geoseg.errors import DatasetError, LabelError, ParameterError, RasterError
from geoseg.geo.aoi import Tile
from geoseg.geo.georeference import grids_agree, locate, shift
from geoseg.geo.labels import read_footprints, read_labels
from geoseg.geo.layouts import IMAGE_SUFFIXES, VECTOR_SUFFIXES
from geoseg.geo.polygon_scores import mask_polygons, polygon_counts
from geoseg.geo.predictor import ClassModel, predict_strips
from geoseg.geo.raster import (
    PixelWindow,
    RasterDescription,
    describe,
    open_raster,
    read_window,
)
from geoseg.geo.scores import Scores, TileCounts
from geoseg.geo.strips import classify
from geoseg.matching import contingency_table
from geoseg.metrics import BACKGROUND, BUILDING, PolygonCounts
from geoseg.patches import IGNORE
from geoseg.progress import track

Classes = npt.NDArray[np.uint8]


def evaluate_model(
    model: ClassModel,
    tiles: Sequence[Tile],
    *,
    name: str,
    match_tiles: Sequence[Tile] = (),
    window: int = 256,
    overlap: int = 32,
    batch_size: int = 8,
    polygons: bool = True,
    footprint_classes: Sequence[str] = (),
) -> Scores:
    """Score the very maps that prediction would write, one tile in memory at a time.

    Args:
        model: A matched model. For another head than its card's, pass
            ``model.with_card(head=…)``.
        tiles: Labelled tiles.
        name: Of the scores in tables.
        match_tiles: The tiles that the clusters were matched on: refused among
            ``tiles``.
        window: Side of the predictor's windows in pixels.
        overlap: Least overlap of windows in pixels.
        batch_size: Windows per call of the network.
        polygons: Count footprints too: outlines of 4-connected pixels of a class, as
            they are, without any regularisation.
        footprint_classes: Whose; the first is the scores' target. None: ``building`` if
            there is one, else all but background.

    Raises:
        DatasetError: If there is no tile, or one was used for matching.
        LabelError: If a tile has no labels, or labels of other classes.
        ParameterError: If a footprint class is unknown.
        RasterError: If an image cannot be read.
    """
    both = sorted({tile.id for tile in tiles} & {tile.id for tile in match_tiles})
    if both:
        raise DatasetError(
            f"tiles {', '.join(both)} were used for matching, expected others: a score "
            "on them says nothing about new tiles"
        )
    class_names = tuple(model.card.class_names)
    targets = _targets(class_names, footprint_classes)
    counted = []
    for tile, grid, extent, reference in track(
        _labelled(tiles, class_names), f"scoring {name}", len(tiles)
    ):
        strips = predict_strips(
            model,
            tile.image,
            window=window,
            overlap=overlap,
            batch_size=batch_size,
            region=extent,
        )
        predicted = np.concatenate([classify(strip).classes for strip in strips])
        known = np.where(predicted == IGNORE, np.uint8(IGNORE), reference)
        confusion = count_classes(predicted, known, num_classes=len(class_names))
        counts = {
            k: polygon_counts(
                _proposals(predicted, known, extent, k),
                read_footprints(tile, grid, pixels=True, class_id=k),
            )
            for k in (targets if polygons else ())
        }
        counted.append(_tile_counts(tile, confusion, counts, targets[0]))
    return Scores(name, class_names, tuple(counted), target=targets[0])


def evaluate_output(
    prediction: Path,
    tiles: Sequence[Tile],
    *,
    name: str | None = None,
    nodata: str = "auto",
    polygons: bool = True,
    footprint_classes: Sequence[str] = (),
) -> Scores:
    """Score class rasters or footprints against the labels of tiles.

    Pixels where the image has no data or the labels have none are left out. Labelled
    pixels where a class raster has no data count as background: nothing was predicted.

    Args:
        prediction: A class raster, a folder of them, or a vector file of footprints. A
            class raster has the tile's grid, shifted by whole pixels at most, and covers
            the tile; of a folder's, the one named like the tile's image is taken, else
            one that covers it. Its values are the ids that it names itself (geoseg's do)
            or else the values that the labels' classes name. Footprints are rasterised
            on the tile's grid: a pixel is building if its centre is inside one, whatever
            its attributes (of another class: if ``class`` says so); for their own count
            they are clipped to the tile and choose in the file's order.
        tiles: Labelled tiles, all of the same classes.
        name: Of the scores in tables; the file's name by default.
        nodata: The nodata rule of the images.
        polygons: Count footprints too.
        footprint_classes: As :func:`evaluate_model`.

    Raises:
        DatasetError: If there is no tile.
        LabelError: If a tile has no labels, or a vector file cannot be read.
        RasterError: If no class raster covers a tile on its grid.
        ParameterError: If footprints are to be scored as more than two classes.
    """
    vector = prediction.suffix.lower() in VECTOR_SUFFIXES
    classes = tiles[0].classes if tiles else TWO_CLASSES
    if vector and len(classes.names) != 2:
        raise ParameterError(
            f"footprints of {prediction} are scored as one class or not, found "
            f"{len(classes.names)} classes: score the class raster"
        )
    targets = _targets(classes.names, footprint_classes)
    rasters = [] if vector else _class_rasters(prediction)
    counted = []
    for tile, grid, extent, reference in _labelled(tiles, classes.names):
        with open_raster(tile.image) as image:
            _, valid = read_window(image, grid.band_indexes, extent, nodata=nodata)
        known = np.where(valid, reference, np.uint8(IGNORE))
        # Footprints are read as labels are: same CRS rules, same pixel-centre rule.
        called = replace(tile, labels=str(prediction), classes=_called(classes))
        if vector:
            predicted = read_labels(called, grid)
        else:
            predicted = _read_classes(rasters, tile, grid, extent)
        confusion = count_classes(predicted, known, num_classes=len(classes.names))
        counts = {
            k: polygon_counts(
                (
                    read_footprints(called, grid, pixels=True)
                    if vector
                    else _proposals(predicted, known, extent, k)
                ),
                read_footprints(tile, grid, pixels=True, class_id=k),
            )
            for k in (targets if polygons else ())
        }
        counted.append(_tile_counts(tile, confusion, counts, targets[0]))
    return Scores(
        name or prediction.name, classes.names, tuple(counted), target=targets[0]
    )


def _targets(class_names: Sequence[str], wanted: Sequence[str]) -> tuple[int, ...]:
    """Return the ids of the footprint classes, the first that was asked for first."""
    ids = footprint_ids(tuple(class_names), wanted)
    first = class_names.index(wanted[0]) if wanted else ids[0]
    return (first, *(k for k in ids if k != first))


def _tile_counts(
    tile: Tile,
    confusion: npt.NDArray[np.int64],
    counts: dict[int, PolygonCounts],
    target: int,
) -> TileCounts:
    return TileCounts(tile.id, confusion, counts.pop(target, None), counts)


def _called(classes: LabelClasses) -> LabelClasses:
    """Say what footprints on disk mean: building, or what ``class`` says."""
    if classes.names == TWO_CLASSES.names:
        return TWO_CLASSES
    named = tuple((value_key(n), i) for i, n in enumerate(classes.names) if i)
    return LabelClasses(classes.names, named, rest=BACKGROUND, field="class")


def read_map(prediction: Path, tile: Tile) -> Classes:
    """Read the part of a map that covers a tile, as :func:`evaluate_output` scores it.

    Args:
        prediction: A class raster, a folder of them, or a vector file of footprints.
        tile: Its window is read; its classes name the map's values.

    Returns:
        ``(H, W)`` class ids, IGNORE where a class raster has no data.

    Raises:
        LabelError: If a vector file cannot be read.
        RasterError: If no class raster covers the tile on its grid.
    """
    grid = describe(tile.image)
    if prediction.suffix.lower() in VECTOR_SUFFIXES:
        called = _called(tile.classes)
        return read_labels(replace(tile, labels=str(prediction), classes=called), grid)
    rasters = _class_rasters(prediction)
    return _read_classes(rasters, tile, grid, tile.extent(grid))


def count_classes(
    predicted: Classes, reference: Classes, *, num_classes: int
) -> npt.NDArray[np.int64]:
    """Return the ``(C, C)`` confusion matrix of two ``(H, W)`` class maps.

    Pixels whose reference is ``IGNORE`` are left out; predicted ``IGNORE`` counts as
    background.
    """
    called = np.where(predicted == IGNORE, np.uint8(BACKGROUND), predicted)
    table = contingency_table(
        torch.from_numpy(called),
        torch.from_numpy(np.ascontiguousarray(reference)),
        num_clusters=num_classes,
        num_classes=num_classes,
    )
    return table.numpy().T.copy()


def _labelled(
    tiles: Sequence[Tile], class_names: tuple[str, ...]
) -> Iterator[tuple[Tile, RasterDescription, PixelWindow, Classes]]:
    """Yield each tile with its image's grid, its part of it and its labels."""
    if not tiles:
        raise DatasetError("there is no tile to score on, expected one at least")
    without = [tile.id for tile in tiles if tile.labels is None]
    if without:
        raise LabelError(
            f"{len(without)} of {len(tiles)} tiles have no labels ({without[0]} for "
            "one), expected labels for all that are scored"
        )
    for tile in tiles:
        if tile.classes.names != class_names:
            raise LabelError(
                f"the labels of tile {tile.id} have classes "
                f"{', '.join(tile.classes.names)}, expected {', '.join(class_names)}: "
                "give --classes"
            )
        grid = describe(tile.image)
        yield tile, grid, tile.extent(grid), read_labels(tile, grid)


def _proposals(
    predicted: Classes, known: Classes, extent: PixelWindow, class_id: int
) -> list[Polygon]:
    called = (predicted == class_id) & (known != IGNORE)
    return mask_polygons(called, row=extent.row, col=extent.col)


def _class_rasters(prediction: Path) -> list[RasterDescription]:
    """Describe the class raster, or those of a folder."""
    if prediction.is_dir():
        paths = sorted(
            path
            for path in prediction.iterdir()
            if path.suffix.lower() in IMAGE_SUFFIXES
        )
        if not paths:
            raise RasterError(
                f"no class raster in {prediction}, expected {', '.join(IMAGE_SUFFIXES)}"
            )
    elif prediction.suffix.lower() in IMAGE_SUFFIXES:
        paths = [prediction]
    else:
        raise RasterError(
            f"{prediction} ends in {prediction.suffix!r}, expected class rasters "
            f"({', '.join(IMAGE_SUFFIXES)}), a folder of them, or footprints "
            f"({', '.join(VECTOR_SUFFIXES)})"
        )
    return [describe(path) for path in paths]


def _read_classes(
    rasters: Sequence[RasterDescription],
    tile: Tile,
    grid: RasterDescription,
    extent: PixelWindow,
) -> Classes:
    """Read the tile's part of the class raster that covers it."""
    stem = re.escape(Path(tile.image).stem)
    named = [
        r for r in rasters if re.match(rf"{stem}(?![0-9A-Za-z])", Path(r.path).stem)
    ]
    # Without a CRS every image lies at the same place: only names tell them apart.
    candidates = named or (rasters if grid.crs or len(rasters) == 1 else [])
    for raster in candidates:
        area = _shared_window(raster, grid, extent)
        if area is not None:
            return _checked_classes(raster, area, tile.classes)
    what = (candidates or rasters)[0].path
    raise RasterError(
        f"no class raster covers tile {tile.id} on the grid of {tile.image} (looked at "
        f"{len(candidates)}, {what} first); expected the same CRS and pixels, as geoseg "
        "predict --raster writes"
    )


def _shared_window(
    raster: RasterDescription, grid: RasterDescription, extent: PixelWindow
) -> PixelWindow | None:
    """Return where the tile lies in the raster; None if off its grid or outside."""
    if raster.crs != grid.crs:
        return None
    row, col, height, width = extent
    corner = locate(grid.transform, col, row)
    left, top = (round(value) for value in locate(~raster.transform, *corner))
    own, tiles = shift(raster.transform, left, top), shift(grid.transform, col, row)
    if not grids_agree(own, tiles, width, height):
        return None
    inside = 0 <= top <= raster.height - height and 0 <= left <= raster.width - width
    return PixelWindow(top, left, height, width) if inside else None


def _checked_classes(
    raster: RasterDescription, area: PixelWindow, classes: LabelClasses
) -> Classes:
    """Read class ids from a class raster's values."""
    if raster.count != 1 or not np.issubdtype(np.dtype(raster.dtypes[0]), np.integer):
        raise RasterError(
            f"{raster.path} has {raster.count} bands of {raster.dtypes[0]}, expected a "
            "class raster: one band of whole numbers"
        )
    with open_raster(raster.path) as dataset:
        pixels, valid = read_window(dataset, raster.band_indexes, area)
        ids = _meanings(dataset.tags(), classes)
    values = pixels[0]
    found = np.full(values.shape, IGNORE, np.uint8)
    known = ~valid | (values == IGNORE)
    for value, class_id in ids.items():
        found[valid & (values == value)] = class_id
        known |= values == value
    if not known.all():
        expected = ", ".join(f"{v} ({classes.names[c]})" for v, c in ids.items())
        raise RasterError(
            f"{raster.path} holds value {values[~known][0]}, expected class ids {expected} and "
            f"{IGNORE} for nodata: name the classes with --classes"
        )
    return found


def _meanings(tags: Mapping[str, str], classes: LabelClasses) -> dict[int, int]:
    """Return the class id of each value: by the names in geoseg's tags, else as labels."""
    named = {
        int(key.removeprefix("CLASS_")): name
        for key, name in tags.items()
        if re.fullmatch(r"CLASS_\d+", key)
    }
    if named:
        named[BACKGROUND] = classes.names[BACKGROUND]  # whatever it is called
        return {
            value: classes.names.index(name)
            for value, name in sorted(named.items())
            if name in classes.names
        }
    if classes.any_building:
        return {BACKGROUND: BACKGROUND, BUILDING: BUILDING}
    return {int(number): class_id for number, class_id in classes.numbers}
