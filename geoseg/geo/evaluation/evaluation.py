"""Predictions against reference labels, tile by tile.

A tile gives a confusion matrix of its labelled pixels and the counts of its footprints;
:mod:`geoseg.scores.scores` makes scores of them.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from shapely import Polygon

from geoseg.core.classes import BACKGROUND, TWO_CLASSES, footprint_ids
from geoseg.core.errors import DatasetError, LabelError, ParameterError
from geoseg.core.patches import IGNORE
from geoseg.core.progress import track
from geoseg.core.words import counted
from geoseg.geo.evaluation.footprint_counts import mostly_inside, polygon_counts
from geoseg.geo.evaluation.judged_maps import Classes, JudgedMap, warn_of_unmapped
from geoseg.geo.evaluation.tile_footprints import draw_classes, tile_footprints
from geoseg.geo.labels.labels import read_footprints, read_labels
from geoseg.geo.predict.head_views import ClassView, Onlooker
from geoseg.geo.predict.predictor import predict_strips
from geoseg.geo.predict.window_batches import ClassModel
from geoseg.geo.rasters.description import PixelWindow, RasterDescription
from geoseg.geo.rasters.raster import describe, open_raster, read_window
from geoseg.geo.rasters.strips import Strip, classify
from geoseg.geo.tiles.tiles import Tile
from geoseg.model.file import Model
from geoseg.model.matching import contingency_table
from geoseg.scores.scores import Scores, TileCounts


class _Place(NamedTuple):
    """A tile with what its labels say."""

    tile: Tile
    grid: RasterDescription
    extent: PixelWindow
    reference: Classes
    drawn: tuple[int, ...]  # classes that become footprints
    footprints: Mapping[int, list[Polygon]]  # of the labels; none where not counted


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
    drawn: bool = False,
) -> Scores:
    """Score the very maps that prediction would write, one tile in memory at a time.

    Args:
        model: A matched model. For another head than its card's, pass
            ``model.with_card(head=…)``; for several at once, see
            :func:`evaluate_models`.
        tiles: Labelled tiles.
        name: Of the scores in tables.
        match_tiles: The tiles that the clusters were matched on: refused among
            ``tiles``.
        window: Side of the predictor's windows in pixels.
        overlap: Least overlap of windows in pixels.
        batch_size: Windows per call of the network.
        polygons: Count footprints too: those that prediction would write by default,
            simplified, without small ones.
        footprint_classes: Whose; the first is the scores' target. None: ``building`` if
            there is one, else all but background.
        drawn: Score the pixels in the footprints, not those of the classes: what stands
            beside a file of footprints.

    Raises:
        DatasetError: If there is no tile, or one was used for matching.
        LabelError: If a tile has no labels, or labels of other classes.
        ParameterError: If a footprint class is unknown.
        RasterError: If an image cannot be read.
    """
    (scores,) = _evaluate(
        model,
        tiles,
        [name],
        lambda _, strip: [strip],
        class_names=tuple(model.card.class_names),
        match_tiles=match_tiles,
        polygons=polygons,
        footprint_classes=footprint_classes,
        drawn=drawn,
        predictor={"window": window, "overlap": overlap, "batch_size": batch_size},
    )
    return scores


def evaluate_models(
    models: Mapping[str, Model],
    tiles: Sequence[Tile],
    *,
    match_tiles: Sequence[Tile] = (),
    polygons: bool = True,
    drawn: bool = False,
    onlooker: Onlooker | None = None,
) -> list[Scores]:
    """Score models of the same weights, other heads or matchings, in one prediction.

    Args:
        models: Name in tables → matched model. All have the same method and classes.
        tiles: Labelled tiles.
        match_tiles: As :func:`evaluate_model`, of which every score is that.
        polygons: Count footprints too.
        drawn: As :func:`evaluate_model`.
        onlooker: Sees what all matched heads of the first model say.

    Raises:
        DatasetError, LabelError, RasterError: As :func:`evaluate_model`.
    """
    if not models:
        return []
    first = next(iter(models.values()))
    heads = () if onlooker is None else tuple(first.card.matchings)
    view = ClassView(list(models.values()), heads)

    def split(tile: Tile, strip: Strip) -> Sequence[Strip]:
        if onlooker is not None:
            onlooker(tile, view.clusters(strip))
        return view.split(strip)

    return _evaluate(
        view,
        tiles,
        list(models),
        split,
        class_names=first.card.class_names,
        match_tiles=match_tiles,
        polygons=polygons,
        drawn=drawn,
    )


def _evaluate(
    model: ClassModel,
    tiles: Sequence[Tile],
    names: Sequence[str],
    split: Callable[[Tile, Strip], Sequence[Strip]],
    *,
    class_names: tuple[str, ...],
    match_tiles: Sequence[Tile],
    polygons: bool,
    footprint_classes: Sequence[str] = (),
    drawn: bool = False,
    predictor: Mapping[str, Any] | None = None,
) -> list[Scores]:
    """Score the parts of each predicted strip by the names in tables."""
    _check_apart(tiles, match_tiles)
    targets = _targets(class_names, footprint_classes)
    places = _labelled(tiles, class_names, targets if polygons or drawn else ())
    counted: list[list[TileCounts]] = [[] for _ in names]
    for place in track(places, f"scoring {names[0]}", len(tiles)):
        strips = predict_strips(
            model, place.tile.image, region=place.extent, **(predictor or {})
        )
        called = [
            [classify(part).classes for part in split(place.tile, strip)]
            for strip in strips
        ]
        for found, parts in zip(counted, zip(*called, strict=True), strict=True):
            predicted = np.concatenate(parts)
            known = np.where(predicted == IGNORE, np.uint8(IGNORE), place.reference)
            mapped = _mapped(place, predicted)
            if drawn:
                predicted = draw_classes(mapped, place.extent)
            found.append(_counts(place, predicted, known, targets[0], mapped))
    return [
        Scores(
            name,
            class_names,
            tuple(found),
            target=targets[0],
            sparse=_are_sparse(tiles),
        )
        for name, found in zip(names, counted, strict=True)
    ]


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

    Pixels where the image has no data or the labels have none are left out, and so are
    footprints of which half lies there. Sparse labels have no footprints. Labelled
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
    judged = JudgedMap(prediction)
    classes = tiles[0].classes if tiles else TWO_CLASSES
    if judged.vector:
        _check_one_class(prediction, classes.names)
    targets = _targets(classes.names, footprint_classes)
    counted = []
    places = _labelled(tiles, classes.names, targets if polygons else ())
    for place in track(places, "scoring", len(tiles)):
        counted.append(_count_output(judged, place, targets[0], nodata))
    scores = Scores(
        name or prediction.name,
        classes.names,
        tuple(counted),
        target=targets[0],
        sparse=classes.sparse,
    )
    if judged.vector:
        there, found = scores.confusions[:, 1].sum(1), scores.confusions[:, :, 1].sum(1)
        warn_of_unmapped(prediction, found[there > 0] == 0)
    return scores


def _count_output(
    judged: JudgedMap, place: _Place, target: int, nodata: str
) -> TileCounts:
    """Count what a map says of one tile, where its image has data."""
    with open_raster(place.tile.image) as image:
        _, valid = read_window(
            image, place.grid.band_indexes, place.extent, nodata=nodata
        )
    known = np.where(valid, place.reference, np.uint8(IGNORE))
    predicted = judged.classes(place.tile, place.grid)
    mapped = (
        {target: judged.footprints(place.tile, place.grid)}
        if judged.vector
        else _mapped(place, np.where(valid, predicted, np.uint8(IGNORE)))
    )
    return _counts(place, predicted, known, target, mapped)


def _check_one_class(prediction: Path, names: Sequence[str]) -> None:
    if len(names) != 2:
        raise ParameterError(
            f"footprints of {prediction} are scored as one class or not, found "
            f"{len(names)} classes: score the class raster"
        )


def _targets(class_names: Sequence[str], wanted: Sequence[str]) -> tuple[int, ...]:
    """Return the ids of the footprint classes, the first that was asked for first."""
    ids = footprint_ids(tuple(class_names), wanted)
    first = class_names.index(wanted[0]) if wanted else ids[0]
    return (first, *(k for k in ids if k != first))


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


def _check_apart(tiles: Sequence[Tile], match_tiles: Sequence[Tile]) -> None:
    both = sorted({tile.id for tile in tiles} & {tile.id for tile in match_tiles})
    if both:
        raise DatasetError(
            f"tiles {', '.join(both)} were used for matching, expected others: a score "
            "on them says nothing about new tiles"
        )


def _labelled(
    tiles: Sequence[Tile], class_names: tuple[str, ...], targets: Sequence[int]
) -> Iterator[_Place]:
    """Yield each tile with its labels, and the footprints of some classes."""
    if not tiles:
        raise DatasetError("there is no tile to score on, expected one at least")
    without = [tile.id for tile in tiles if tile.labels is None]
    if without:
        raise LabelError(
            f"{len(without)} of {counted(len(tiles), 'tile')} without labels ({without[0]} for "
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
        # What is sparse does not say where a building ends.
        footprints = {
            k: read_footprints(tile, grid, pixels=True, class_id=k)
            for k in (() if tile.classes.sparse else targets)
        }
        reference = read_labels(tile, grid)
        extent = tile.extent(grid)
        yield _Place(tile, grid, extent, reference, tuple(targets), footprints)


def _are_sparse(tiles: Sequence[Tile]) -> bool:
    return any(tile.classes.sparse for tile in tiles)


def _mapped(place: _Place, predicted: Classes) -> Mapping[int, list[Polygon]]:
    """Return the footprints of what is predicted, IGNORE where there is no data."""
    if not place.drawn:
        return {}
    return tile_footprints(predicted, place.grid, place.extent, place.drawn)


def _counts(
    place: _Place,
    predicted: Classes,
    known: Classes,
    target: int,
    mapped: Mapping[int, list[Polygon]],
) -> TileCounts:
    """Count pixels, and the footprints whose ground is labelled for the most part."""
    confusion = count_classes(
        predicted, known, num_classes=len(place.tile.classes.names)
    )
    labelled = partial(
        mostly_inside,
        inside=known != IGNORE,
        row=place.extent.row,
        col=place.extent.col,
    )
    counts = {
        k: polygon_counts(labelled(mapped[k]), labelled(reference))
        for k, reference in place.footprints.items()
    }
    return TileCounts(place.tile.id, confusion, counts.pop(target, None), counts)
