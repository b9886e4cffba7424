"""Decisions on class scores, from tiles whose labels did not count in their shares."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from geoseg.core.classes import BUILDING
from geoseg.core.patches import IGNORE
from geoseg.core.progress import track
from geoseg.geo.evaluation.counting import count_classes
from geoseg.geo.labels.labels import read_labels
from geoseg.geo.predict.deciding import rule_for
from geoseg.geo.predict.head_views import ClassView
from geoseg.geo.predict.predictor import predict_strips
from geoseg.geo.predict.regions import cropped, grown
from geoseg.geo.predict.smoothing import Smoother
from geoseg.geo.rasters import raster
from geoseg.geo.rasters.strips import Strip
from geoseg.geo.tiles.groups import cut_into_blocks, overlapping_groups, place_tiles
from geoseg.geo.tiles.roles import split_blocks
from geoseg.geo.tiles.tiles import Tile
from geoseg.model.decisions import (
    BINS,
    PRIOR_POWERS,
    Decision,
    Objective,
    Smoothing,
    fit_decision,
    histogram,
)
from geoseg.model.file import Model
from geoseg.model.matching import Matching
from geoseg.model.shares import held_out_shares
from geoseg.scores.metrics import mean_iou

#: Most folds of the matching tiles.
FOLDS = 10


def fold_tiles(tiles: Sequence[Tile]) -> tuple[list[Tile], NDArray[np.int64]]:
    """Deal tiles into folds of neighbours; overlapping tiles share a fold.

    A single tile, or tiles that all overlap, are cut into quarters. If the quarters all
    overlap too, each is dealt for itself.

    Args:
        tiles: With labels.

    Returns:
        The tiles, and the ``(T,)`` fold of each, from 0 to at most :data:`FOLDS` - 1.
    """
    groups = overlapping_groups(place_tiles(tiles))
    if len(groups) == 1:
        tiles = split_blocks(tiles, 2, 0)
        groups = overlapping_groups(place_tiles(tiles))
    near = [
        [tile.id for tile in group.tiles]
        for block in cut_into_blocks(groups, 1)
        for group in block
    ]
    if len(near) == 1:
        near = [[tile.id] for tile in tiles]
    count = min(FOLDS, len(near))
    fold_of = {
        name: number * count // len(near)
        for number, group in enumerate(near)
        for name in group
    }
    return list(tiles), np.array([fold_of[tile.id] for tile in tiles])


def with_decisions(
    model: Model,
    tiles: Sequence[Tile],
    folds: NDArray[np.int64],
    tables: Mapping[str, Tensor],
    *,
    objective: Objective,
    **options: Any,
) -> Model:
    """Return a model named by share, with decisions for all heads that have tables.

    Every tile is predicted with the shares of the other folds' tiles, stitched and
    smoothed as in a map.

    Args:
        model: With matchings.
        tiles: The matching tiles.
        folds: ``(T,)`` fold of each tile.
        tables: Head → ``(T, K, C)`` counts on the tiles.
        objective: Of the thresholds, with two classes.
        options: Window, overlap and batch size of the predictor.
    """
    smoothing = Smoothing.of_gsd(model.card.gsd_m)
    named = {
        head: replace(model.card.matchings[head], naming="share", smoothing=smoothing)
        for head in tables
    }
    shares = {
        head: held_out_shares(tables[head].numpy(), folds, named[head].shrinkage)
        for head in named
    }
    counts = {
        head: (Counts(own.prior), Counts(own.prior)) for head, own in named.items()
    }
    each = zip(tiles, folds.tolist(), strict=True)
    doing = f"choosing thresholds of {model.card.method}"
    for tile, fold in track(each, doing, len(tiles)):
        held_out = [
            model.with_card(
                head=head, matchings={head: with_shares(own, shares[head][fold])}
            )
            for head, own in named.items()
        ]
        _count_tile(held_out, tile, list(counts.values()), options)
    decided = {
        head: replace(
            own,
            plain=counts[head][0].decision(objective),
            smoothed=counts[head][1].decision(objective),
        )
        for head, own in named.items()
    }
    return model.with_card(matchings={**model.card.matchings, **decided})


def with_shares(matching: Matching, shares: NDArray[np.float64]) -> Matching:
    """Return a matching with other ``(K, C)`` class shares of its clusters."""
    return replace(matching, scores=tuple(map(tuple, shares.tolist())))


def count_scores(
    held_out: Sequence[Model],
    tiles: Sequence[Tile],
    folds: NDArray[np.int64],
    prior: tuple[float, ...],
    options: Mapping[str, Any],
) -> tuple["Counts", "Counts"]:
    """Count the plain and the smoothed scores of labelled pixels.

    Args:
        held_out: The model of each fold, without the labels of its tiles.
        tiles: The matching tiles.
        folds: ``(T,)`` fold of each tile.
        prior: ``C`` shares of the classes.
        options: Window, overlap and batch size of the predictor.
    """
    counts = Counts(prior), Counts(prior)
    each = zip(tiles, folds.tolist(), strict=True)
    for tile, fold in track(each, "choosing the threshold", len(tiles)):
        _count_tile([held_out[fold]], tile, [counts], options)
    return counts


def _count_tile(
    models: Sequence[Model],
    tile: Tile,
    counts: Sequence[tuple["Counts", "Counts"]],
    options: Mapping[str, Any],
) -> None:
    """Count the plain and the smoothed scores of models on a labelled tile."""
    grid = raster.describe(tile.image)
    labels = read_labels(tile, grid)
    part = tile.extent(grid)
    smoothings = [
        rule_for(_undecided(model), grid).smoothing or Smoothing() for model in models
    ]
    region = grown(part, grid.window, smoothings)
    view = ClassView(models)
    smoothers = [Smoother(smoothing) for smoothing in smoothings]

    def count(strip: Strip, own: Counts) -> None:
        if inside := cropped(strip, part, region):
            own.feed(inside, labels[inside.row : inside.row + len(inside.valid)])

    for strip in predict_strips(view, grid, region=region, **options):
        each = zip(view.split(strip), smoothers, counts, strict=True)
        for own, smoother, (plain, smoothed) in each:
            count(own, plain)
            for smooth in smoother.feed(own):
                count(smooth, smoothed)
    for smoother, (_, smoothed) in zip(smoothers, counts, strict=True):
        for smooth in smoother.done():
            count(smooth, smoothed)


def _undecided(model: Model) -> Model:
    """Return a model whose rule smooths, though nothing is decided yet."""
    head, combined = model.card.head, model.card.combined
    if combined is not None:
        return model.with_card(combined=replace(combined, smoothed=Decision()))
    matching = replace(model.card.matchings[head], smoothed=Decision())
    return model.with_card(matchings={head: matching})


class Counts:
    """Counts of labelled pixels by class score.

    Args:
        prior: ``C`` shares of the classes.
    """

    def __init__(self, prior: tuple[float, ...]) -> None:
        classes = len(prior)
        self._prior = prior
        self._bins = np.zeros((BINS, 2), np.int64)
        self._confusions = np.zeros((len(PRIOR_POWERS), classes, classes), np.int64)

    def feed(self, strip: Strip, labels: NDArray[np.uint8]) -> None:
        """Count the labelled pixels of a strip of scores."""
        known = strip.valid & (labels != IGNORE)
        if len(self._prior) == 2:
            self._bins += histogram(strip.probability[BUILDING][known], labels[known])
            return
        for power, confusion in zip(PRIOR_POWERS, self._confusions, strict=True):
            balanced = Decision(prior_power=power).probabilities(
                strip.probability[:, known], self._prior
            )
            called = balanced.argmax(0).astype(np.uint8)
            confusion += count_classes(
                called, labels[known], num_classes=len(self._prior)
            )

    def decision(self, objective: Objective) -> Decision:
        """Return the decision that the counts support best."""
        if len(self._prior) == 2:
            return fit_decision(self._bins, objective)
        best = int(np.argmax([mean_iou(confusion) for confusion in self._confusions]))
        return Decision(prior_power=PRIOR_POWERS[best])
