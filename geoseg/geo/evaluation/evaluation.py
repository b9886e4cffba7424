"""Evaluation of predictions against reference labels, tile by tile.

Each tile yields a confusion matrix of its labelled pixels and the counts of its footprints;
:mod:`geoseg.scores.scores` computes scores from them.
"""

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from shapely import Polygon

from geoseg.core.classes import BACKGROUND, TWO_CLASSES, footprint_ids
from geoseg.core.errors import DatasetError, ParameterError
from geoseg.core.patches import IGNORE
from geoseg.core.progress import track
from geoseg.geo.evaluation.footprint_counts import mostly_inside, polygon_counts
from geoseg.geo.evaluation.judged_maps import Classes, JudgedMap, warn_of_unmapped
from geoseg.geo.evaluation.places import Place, labelled_places
from geoseg.geo.evaluation.tile_footprints import draw_classes, tile_footprints
from geoseg.geo.predict.head_views import ClassView, ClusterView, Onlooker
from geoseg.geo.predict.predictor import predict_strips
from geoseg.geo.predict.regions import cropped, region_maps
from geoseg.geo.predict.window_batches import ClassModel
from geoseg.geo.rasters.raster import open_raster, read_window
from geoseg.geo.tiles.tiles import Tile
from geoseg.model.file import Model
from geoseg.model.matching import contingency_table
from geoseg.scores.scores import Scores, TileCounts


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
    """Score the maps that prediction would write, with one tile in memory at a time.

    Args:
        model: A matched model. For another head than its card's, pass
            ``model.with_card(head=…)``; for several at once, see
            :func:`evaluate_models`.
        tiles: Labelled tiles.
        name: Name of the scores in tables.
        match_tiles: Tiles that the clusters were matched on; none may be in ``tiles``.
        window: Side of the predictor's windows in pixels.
        overlap: Smallest overlap of windows in pixels.
        batch_size: Windows per call of the network.
        polygons: Count footprints too: those that prediction would write by default,
            simplified, without small ones.
        footprint_classes: Classes whose footprints are counted; the first is the scores'
            target. Empty: ``building`` if there is one, else all but background.
        drawn: Score the pixels inside the footprints instead of the class map, to compare
            with a file of footprints.

    Raises:
        DatasetError: If there is no tile, or one was used for matching.
        LabelError: If a tile has no labels, or labels of other classes.
        ParameterError: If a footprint class is unknown.
        RasterError: If an image cannot be read.
    """
    sheet = _Sheet(
        [name],
        tuple(model.card.class_names),
        tiles,
        match_tiles,
        polygons=polygons,
        footprint_classes=footprint_classes,
        drawn=drawn,
    )
    for place in sheet.places():
        region, (mapped,) = region_maps([model], place.grid, place.extent)
        for strip in predict_strips(
            model,
            place.grid,
            region=region,
            window=window,
            overlap=overlap,
            batch_size=batch_size,
        ):
            mapped.feed(strip)
        sheet.feed(place, [mapped.data.classes])
    return sheet.data[0]


def evaluate_models(
    models: Mapping[str, Model],
    tiles: Sequence[Tile],
    *,
    match_tiles: Sequence[Tile] = (),
    polygons: bool = True,
    drawn: bool = False,
    onlooker: Onlooker | None = None,
) -> list[Scores]:
    """Score models with the same weights but other heads or matchings in one prediction.

    Scores equal those of :func:`evaluate_model` for each model.

    Args:
        models: Name in tables → matched model. All have the same method and classes.
        tiles: Labelled tiles.
        match_tiles: As in :func:`evaluate_model`.
        polygons: Count footprints too.
        drawn: As in :func:`evaluate_model`.
        onlooker: Receives the outputs of all matched heads of the first model.

    Raises:
        DatasetError, LabelError, RasterError: As in :func:`evaluate_model`.
    """
    if not models:
        return []
    first = next(iter(models.values()))
    # the ids of a hard method cannot be blended like its scores
    apart = first.method.hard
    heads = () if onlooker is None or apart else tuple(first.card.matchings)
    view = ClassView(list(models.values()), heads)
    sheet = _Sheet(
        list(models),
        first.card.class_names,
        tiles,
        match_tiles,
        polygons=polygons,
        drawn=drawn,
    )
    for place in sheet.places():
        sheet.feed(place, _maps(view, list(models.values()), place, onlooker))
        if onlooker is not None and apart:
            clusters = ClusterView(first, *first.card.matchings)
            for parts in clusters.strips(place.grid, region=place.extent):
                onlooker.feed(place.tile, parts)
    return sheet.data


def _maps(
    view: ClassView, models: Sequence[Model], place: Place, onlooker: Onlooker | None
) -> list[Classes]:
    """Return the map of a tile by each model; show an onlooker the clusters of a view."""
    region, maps = region_maps(models, place.grid, place.extent)
    for strip in predict_strips(view, place.grid, region=region):
        inside = cropped(strip, place.extent, region)
        if onlooker is not None and inside is not None and view.clusters(inside):
            onlooker.feed(place.tile, view.clusters(inside))
        for own, part in zip(maps, view.split(strip), strict=True):
            own.feed(part)
    return [own.data.classes for own in maps]


class _Sheet:
    """Collects the counts of one or more maps, tile by tile.

    Args:
        names: Names of the maps in tables.
        class_names: Classes of the maps and of the labels.
        tiles: Labelled tiles; they and the others are as in :func:`evaluate_model`.
    """

    def __init__(
        self,
        names: Sequence[str],
        class_names: tuple[str, ...],
        tiles: Sequence[Tile],
        match_tiles: Sequence[Tile],
        *,
        polygons: bool,
        footprint_classes: Sequence[str] = (),
        drawn: bool,
    ) -> None:
        _check_apart(tiles, match_tiles)
        self._names, self._class_names, self._tiles = names, class_names, tiles
        self._targets = _targets(class_names, footprint_classes)
        self._with_footprints, self._drawn = polygons or drawn, drawn
        self._counts: list[list[TileCounts]] = [[] for _ in names]

    def places(self) -> Iterator[Place]:
        """Yield the tiles with their labels, and show how many are done."""
        targets = self._targets if self._with_footprints else ()
        places = labelled_places(self._tiles, self._class_names, targets)
        return track(places, f"scoring {self._names[0]}", len(self._tiles))

    def feed(self, place: Place, maps: Sequence[Classes]) -> None:
        """Count the maps of a tile, in the order of their names."""
        for counts, predicted in zip(self._counts, maps, strict=True):
            known = np.where(predicted == IGNORE, np.uint8(IGNORE), place.reference)
            mapped = _mapped(place, predicted)
            if self._drawn:
                predicted = draw_classes(mapped, place.extent)
            counts.append(_counts(place, predicted, known, self._targets[0], mapped))

    @property
    def data(self) -> list[Scores]:
        """Scores of each map."""
        return [
            Scores(
                name,
                self._class_names,
                tuple(counts),
                target=self._targets[0],
                sparse=any(tile.classes.sparse for tile in self._tiles),
            )
            for name, counts in zip(self._names, self._counts, strict=True)
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

    Pixels without image data or labels are left out, and so are footprints with half of
    their area there. Sparse labels have no footprints. Labelled pixels where a class raster
    has no data count as background, as nothing was predicted.

    Args:
        prediction: A class raster, a folder of them, or a vector file of footprints. A
            class raster has the tile's grid, shifted by whole pixels at most, and covers
            the tile; in a folder, the one named like the tile's image is used, else one
            that covers it. Its values are the class ids named in its tags (as geoseg
            writes them), else the values that the labels' classes name. Footprints are
            rasterised on the tile's grid: a pixel is building if its centre is inside one,
            whatever its attributes (of another class: if attribute ``class`` names it).
            To be counted, they are clipped to the tile and matched in the file's order.
        tiles: Labelled tiles, all with the same classes.
        name: Name of the scores in tables; the file's name by default.
        nodata: Nodata rule of the images.
        polygons: Count footprints too.
        footprint_classes: As in :func:`evaluate_model`.

    Raises:
        DatasetError: If there is no tile.
        LabelError: If a tile has no labels, or a vector file cannot be read.
        RasterError: If no class raster covers a tile on its grid.
        ParameterError: If footprints are scored against more than two classes.
    """
    judged = JudgedMap(prediction)
    classes = tiles[0].classes if tiles else TWO_CLASSES
    if judged.vector:
        _check_one_class(prediction, classes.names)
    targets = _targets(classes.names, footprint_classes)
    counted = []
    places = labelled_places(tiles, classes.names, targets if polygons else ())
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
        buildings = scores.confusions[:, 1].sum(1)
        predicted = scores.confusions[:, :, 1].sum(1)
        warn_of_unmapped(prediction, predicted[buildings > 0] == 0)
    return scores


def _count_output(
    judged: JudgedMap, place: Place, target: int, nodata: str
) -> TileCounts:
    """Count pixels and footprints of a map on one tile, where its image has data."""
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
    """Return the ids of the footprint classes, the first requested one first."""
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


def _mapped(place: Place, predicted: Classes) -> Mapping[int, list[Polygon]]:
    """Return the footprints of predicted classes, IGNORE where there is no data."""
    if not place.drawn:
        return {}
    return tile_footprints(predicted, place.grid, place.extent, place.drawn)


def _counts(
    place: Place,
    predicted: Classes,
    known: Classes,
    target: int,
    mapped: Mapping[int, list[Polygon]],
) -> TileCounts:
    """Count pixels, and the footprints with most of their area labelled."""
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
