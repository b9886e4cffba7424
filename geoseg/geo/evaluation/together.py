"""Codebooks that are named together: their weights, chosen on held-out tiles."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import combinations
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from geoseg.core.classes import BUILDING
from geoseg.core.patches import IGNORE
from geoseg.core.progress import track
from geoseg.geo.evaluation.counting import count_classes
from geoseg.geo.evaluation.held_out import count_scores, with_shares
from geoseg.geo.labels.labels import read_labels
from geoseg.geo.predict.predictor import predict_strips
from geoseg.geo.predict.smoothing import guided_filter
from geoseg.geo.rasters.description import PixelWindow
from geoseg.geo.rasters.raster import describe
from geoseg.geo.tiles.tiles import Tile
from geoseg.model.codebooks import Combination, combine
from geoseg.model.decisions import BINS, Objective, best_bin, histogram
from geoseg.model.file import Model
from geoseg.model.matching import Matching, match_clusters
from geoseg.model.shares import held_out_shares
from geoseg.scores.metrics import iou, mean_iou

log = logging.getLogger(__name__)

#: Largest side of the part of a tile from which weights are chosen, pixels.
SIDE = 256


class _Part(NamedTuple):
    """A part of a tile with the held-out class scores of every codebook.

    Attributes:
        scores: ``(B, C, h, w)``.
        valid: ``(h, w)`` bool.
        guide: ``(h, w)`` uint8.
        labels: ``(h, w)`` class ids.
        fold: Of the tile.
    """

    scores: NDArray[np.float32]
    valid: NDArray[np.bool_]
    guide: NDArray[np.uint8]
    labels: NDArray[np.uint8]
    fold: int


def named_together(
    model: Model,
    tiles: Sequence[Tile],
    folds: NDArray[np.int64],
    tables: Mapping[str, Tensor],
    *,
    objective: Objective,
    **options: Any,
) -> Model:
    """Return a model whose head is named together with its codebooks.

    A few weights are tried on a part of each tile, smoothed, with the shares and the
    threshold of the other folds' tiles. The best are taken if they are better than one
    codebook alone, the first of :attr:`ModelCard.codebooks`, by more than the standard
    error over the folds. The decision follows from whole tiles.

    Args:
        model: With codebooks, and a matching of its head.
        tiles: The matching tiles.
        folds: ``(T,)`` fold of each tile.
        tables: Head or name of a codebook → ``(T, K, C)`` counts on the tiles.
        objective: Of the threshold, with two classes.
        options: Window, overlap and batch size of the predictor.
    """
    head = model.card.head
    own = model.card.matchings[head]
    books = [
        replace(book, matching=_by_share(tables[book.name], own))
        for book in model.card.codebooks
    ]
    model = model.with_card(codebooks=tuple(books), combined=None)
    members = {head: own, **{book.name: book.matching for book in books}}
    shares = {
        name: held_out_shares(tables[name].numpy(), folds, matching.shrinkage)
        for name, matching in members.items()
        if matching is not None
    }
    held_out = [_held_out(model, shares, fold) for fold in range(int(folds.max()) + 1)]
    parts = _parts(held_out, tiles, folds, options)
    weights, tried = _choose(parts, list(members), own)
    combined = Combination(head, weights[0], own.prior, own.smoothing, tried=tried)
    together = [_weighted(each, weights, combined) for each in held_out]
    plain, smoothed = count_scores(together, tiles, folds, own.prior, options)
    combined = replace(
        combined,
        plain=plain.decision(objective),
        smoothed=smoothed.decision(objective),
    )
    said = ", ".join(f"{n} {w:g}" for n, w in zip(members, weights, strict=True) if w)
    log.info("named together: %s", said)
    return _weighted(model, weights, combined)


def _by_share(table: Tensor, like: Matching) -> Matching:
    """Return the matching of a codebook, named by share like another."""
    matching = match_clusters(table, objective=like.objective)
    return replace(matching, naming="share")


def _held_out(
    model: Model, shares: Mapping[str, NDArray[np.float64]], fold: int
) -> Model:
    """Return the model with the shares of all codebooks without a fold."""
    head = model.card.head
    books = tuple(
        replace(book, matching=with_shares(book.matching, shares[book.name][fold]))
        for book in model.card.codebooks
        if book.matching is not None
    )
    matching = with_shares(model.card.matchings[head], shares[head][fold])
    return model.with_card(matchings={head: matching}, codebooks=books)


def _weighted(model: Model, weights: Sequence[float], combined: Combination) -> Model:
    """Return the model with weights of its codebooks."""
    books = tuple(
        replace(book, weight=weight)
        for book, weight in zip(model.card.codebooks, weights[1:], strict=True)
    )
    return model.with_card(codebooks=books, combined=combined)


def _parts(
    held_out: Sequence[Model],
    tiles: Sequence[Tile],
    folds: NDArray[np.int64],
    options: Mapping[str, Any],
) -> list[_Part]:
    """Predict a part of each tile with the codebooks of its fold, each alone."""
    parts = []
    each = zip(tiles, folds.tolist(), strict=True)
    for number, (tile, fold) in enumerate(
        track(each, "comparing codebooks", len(tiles))
    ):
        grid = describe(tile.image)
        extent, region = tile.extent(grid), _draw_window(tile.extent(grid), number)
        model = held_out[fold]
        maps = []
        for member in (model, *map(model.codebook, model.card.codebooks)):
            strips = list(predict_strips(member, grid, region=region, **options))
            maps.append(np.concatenate([s.probability for s in strips], axis=1))
        top, left = region.row - extent.row, region.col - extent.col
        inside = np.s_[top : top + region.height, left : left + region.width]
        parts.append(
            _Part(
                np.stack(maps),
                np.concatenate([strip.valid for strip in strips]),
                np.concatenate([strip.guide for strip in strips]),
                read_labels(tile, grid)[inside],
                fold,
            )
        )
    return parts


def _draw_window(extent: PixelWindow, seed: int) -> PixelWindow:
    """Return a random window of a tile, at most :data:`SIDE` pixels a side."""
    draws = np.random.default_rng(seed)
    height, width = min(extent.height, SIDE), min(extent.width, SIDE)
    row = extent.row + int(draws.integers(extent.height - height + 1))
    col = extent.col + int(draws.integers(extent.width - width + 1))
    return PixelWindow(row, col, height, width)


def _choose(
    parts: Sequence[_Part], names: Sequence[str], matching: Matching
) -> tuple[tuple[float, ...], dict[str, float]]:
    """Return the weights to take, and the held-out scores of all that were tried."""
    tried = candidates(len(names))
    confusions = [_confusions(parts, weights, matching) for weights in tried]
    scores = np.array([_score(each.sum(0)) for each in confusions])
    best, simple = int(np.nanargmax(scores)), 1  # the first codebook alone
    if scores[best] - scores[simple] <= _error(confusions[best], confusions[simple]):
        best = simple
    called = {
        ", ".join(f"{n} {w:g}" for n, w in zip(names, weights, strict=True) if w): score
        for weights, score in zip(tried, scores.tolist(), strict=True)
    }
    return tried[best], called


def _score(confusion: NDArray[np.int64]) -> float:
    """Return the IoU of building or, with more classes than two, the mean IoU."""
    return float(iou(confusion) if len(confusion) == 2 else mean_iou(confusion))


def _error(ones: NDArray[np.int64], others: NDArray[np.int64]) -> float:
    """Return the jackknife standard error of a difference of scores over the folds."""
    count = len(ones)
    if count < 2:
        return np.inf
    without = np.array(
        [
            _score(ones.sum(0) - ones[fold]) - _score(others.sum(0) - others[fold])
            for fold in range(count)
        ]
    )
    return float(np.sqrt((count - 1) * without.var()))


def candidates(count: int) -> list[tuple[float, ...]]:
    """Return weights to try for a number of codebooks: each alone, then combinations.

    Example:
        >>> candidates(2)
        [(1.0, 0.0), (0.0, 1.0), (0.5, 0.5), (0.75, 0.25), (0.25, 0.75)]
    """
    alone = [tuple(float(i == j) for j in range(count)) for i in range(count)]
    pairs = [
        tuple(share if k == i else 1 - share if k == j else 0.0 for k in range(count))
        for share in (0.5, 0.75, 0.25)
        for i, j in combinations(range(count), 2)
    ]
    whole = [(1 / count,) * count] if count > 2 else []
    return alone + pairs[: 11 - count] + whole


def _confusions(
    parts: Sequence[_Part], weights: Sequence[float], matching: Matching
) -> NDArray[np.int64]:
    """Return ``(F, C, C)`` confusions of smoothed scores, fold by fold.

    The threshold of two classes is that of the other folds.
    """
    count = 1 + max(part.fold for part in parts)
    bins = np.zeros((count, BINS, 2), np.int64)
    confusions = np.zeros((count, matching.num_classes, matching.num_classes), np.int64)
    for part in parts:
        scores = combine(
            [torch.from_numpy(own)[None] for own in part.scores],
            weights,
            matching.prior,
        )[0].numpy()
        if matching.smoothing is not None:
            scores = guided_filter(scores, part.guide, part.valid, matching.smoothing)
        known = part.valid & (part.labels != IGNORE)
        if len(scores) == 2:
            bins[part.fold] += histogram(scores[BUILDING][known], part.labels[known])
        else:
            called = scores[:, known].argmax(0).astype(np.uint8)
            confusions[part.fold] += count_classes(
                called, part.labels[known], num_classes=len(scores)
            )
    if matching.num_classes > 2:
        return confusions
    for fold in range(count):
        edge = best_bin(bins.sum(0) - bins[fold], matching.objective)
        below, above = bins[fold, :edge].sum(0), bins[fold, edge:].sum(0)
        confusions[fold] = np.stack((below, above), axis=1)  # (reference, predicted)
    return confusions
