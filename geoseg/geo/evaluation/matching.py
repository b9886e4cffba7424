"""Matching of a model's clusters to classes on labelled tiles."""

import logging
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from geoseg.core.classes import BUILDING
from geoseg.core.errors import LabelError
from geoseg.core.progress import track
from geoseg.geo.evaluation.held_out import fold_tiles, with_decisions
from geoseg.geo.evaluation.together import named_together
from geoseg.geo.labels.labels import read_labels
from geoseg.geo.predict.head_views import ClusterView, Onlooker
from geoseg.geo.rasters.description import RasterDescription
from geoseg.geo.rasters.raster import describe
from geoseg.geo.tiles.tiles import Tile
from geoseg.model.decisions import Objective
from geoseg.model.file import Model
from geoseg.model.matching import Matching, Naming, contingency_table, match_clusters
from geoseg.model.thresholds import GRADES, class_matching, grade, graded_matching

log = logging.getLogger(__name__)

#: Share of the labelled pixels in one cluster above which a head separates nothing.
ALL_ALIKE = 0.99


def cluster_map(model: Model, tile: Tile, head: str, **options: Any) -> Tensor:
    """Return one head's most probable cluster of every pixel of a tile.

    Args:
        model: Matched or not.
        tile: The tile to predict.
        head: One of the method's heads.
        options: Window, overlap and batch size of the predictor.

    Returns:
        ``(H, W)`` long; ``-1`` where the image has no data.
    """
    return cluster_maps(model, tile, describe(tile.image), (head,), **options)[head]


def cluster_maps(
    model: Model,
    tile: Tile,
    grid: RasterDescription,
    heads: Sequence[str],
    *,
    graded: str | None = None,
    onlooker: Onlooker | None = None,
    **options: Any,
) -> dict[str, Tensor]:
    """Return the :func:`cluster_map` of several heads from one pass.

    For the head ``graded``, which predicts two classes, it is the grade of every pixel
    (:func:`geoseg.model.thresholds.grade`).
    """
    view = ClusterView(model, *heads)
    rows: dict[str, list[NDArray[np.int64]]] = {head: [] for head in heads}
    for outputs in view.strips(grid, region=tile.extent(grid), **options):
        if onlooker is not None:
            onlooker.feed(tile, outputs)
        for head, part in outputs.items():
            ids = part.ids
            if head == graded and part.probability is not None:
                grades = grade(torch.from_numpy(part.probability[BUILDING])).numpy()
                ids = np.where(part.valid, grades, -1)
            rows[head].append(ids)
    return {
        head: torch.from_numpy(np.concatenate(parts)) for head, parts in rows.items()
    }


def contingency_tables(
    model: Model,
    tiles: Iterable[Tile],
    heads: Sequence[str],
    *,
    graded: str | None = None,
    onlooker: Onlooker | None = None,
    **options: Any,
) -> dict[str, Tensor]:
    """Count the pixels of each cluster in each class, tile by tile.

    Pixels without data or without a label do not count.

    Args:
        model: Matched or not.
        tiles: Labelled tiles.
        heads: Some of the method's heads; one pass counts for all.
        graded: The head whose grades are counted instead of its classes.
        onlooker: Receives the outputs of the heads.
        options: Window, overlap and batch size of the predictor.

    Returns:
        Head → ``(tiles, K, C)`` long; ``(tiles, GRADES, C)`` for the graded one.
    """
    tables: dict[str, list[Tensor]] = {head: [] for head in heads}
    for tile in tiles:
        grid = describe(tile.image)
        classes = torch.from_numpy(read_labels(tile, grid).astype(np.int64))
        maps = cluster_maps(
            model, tile, grid, heads, graded=graded, onlooker=onlooker, **options
        )
        for head, clusters in maps.items():
            seen = clusters >= 0
            table = contingency_table(
                clusters[seen],
                classes[seen],
                num_clusters=GRADES if head == graded else model.method.heads[head],
                num_classes=len(tile.classes.names),
            )
            tables[head].append(table)
    return {head: torch.stack(parts) for head, parts in tables.items()}


def match_model(
    model: Model,
    tiles: Sequence[Tile],
    *,
    objective: Objective,
    naming: Naming = "vote",
    onlooker: Onlooker | None = None,
    **options: Any,
) -> Model:
    """Return the model with a matching for every head, fitted on labelled tiles.

    The model's classes become those of the tiles' labels. With more than two, clusters
    are matched for accuracy whatever the objective, as F1 is defined for one class. A head
    that was trained on classes keeps them, with the threshold that is best for the
    objective. Warns of heads that put nearly all pixels into one cluster.

    Args:
        model: Matched or not.
        tiles: Labelled tiles.
        objective: Of the matching.
        naming: How clusters get their meaning.
        onlooker: Receives the outputs of the heads before any is matched.
        options: Window, overlap and batch size of the predictor.

    Raises:
        MatchingError, LabelError: If the labels show one class, or differ in classes.
    """
    names = tiles[0].classes.names if tiles else model.card.class_names
    if any(tile.classes.names != names for tile in tiles):
        raise LabelError(
            f"the labels of {len(tiles)} matching tiles have different classes, expected "
            f"{', '.join(names)} in all"
        )
    if len(names) > 2:
        objective = "accuracy"
    folds = None
    if naming == "share" and not model.learned_classes:
        tiles, folds = fold_tiles(tiles)
    learned = model.method.class_head
    graded = learned if objective == "f1" else None
    plain = model.with_card(matchings={})  # a former threshold would shift the outputs
    doing = "checking" if model.learned_classes else "matching"
    tables = contingency_tables(
        plain,
        track(tiles, f"{doing} {model.card.method}", len(tiles)),
        list(model.method.heads),
        graded=graded,
        onlooker=onlooker,
        **options,
    )
    matchings = _matchings(tables, objective, learned)
    _warn_of_alike(model, matchings, names)
    matched = model.with_card(matchings=matchings, class_names=names, combined=None)
    if folds is None:
        return matched
    tables.pop(learned or "", None)
    return _by_share(matched, tiles, folds, tables, objective, options)


def _by_share(
    model: Model,
    tiles: Sequence[Tile],
    folds: NDArray[np.int64],
    tables: dict[str, Tensor],
    objective: Objective,
    options: Mapping[str, Any],
) -> Model:
    """Return a matched model named by share, together with its codebooks."""
    named = with_decisions(
        model,
        tiles,
        folds,
        tables,
        objective=objective,
        **options,
    )
    if not model.books:
        return named
    for book in model.card.codebooks:
        alone = contingency_tables(model.codebook(book), tiles, [book.head], **options)
        tables[book.name] = alone[book.head]
    return named_together(named, tiles, folds, tables, objective=objective, **options)


def _matchings(
    tables: Mapping[str, Tensor], objective: Objective, learned: str | None
) -> dict[str, Matching]:
    """Return the matching of each head; the head ``learned`` keeps its classes."""
    match_learned = graded_matching if objective == "f1" else class_matching
    return {
        head: (
            match_learned(table)
            if head == learned
            else match_clusters(table, objective=objective)
        )
        for head, table in tables.items()
    }


def largest_cluster(matching: Matching) -> tuple[int, float]:
    """Return the cluster with the most labelled pixels, and its share of them."""
    pixels = [sum(row) for row in matching.counts]
    cluster = int(np.argmax(pixels))
    return cluster, pixels[cluster] / sum(pixels)


def _warn_of_alike(
    model: Model, matchings: Mapping[str, Matching], names: Sequence[str]
) -> None:
    """Warn in one line of heads with nearly all pixels in one cluster."""
    alike = []
    for head, matching in matchings.items():
        cluster, share = largest_cluster(matching)
        if share > ALL_ALIKE:
            called = names[matching.cluster_to_class[cluster]]
            alike.append(
                f"{head} ({100 * share:.1f} % of the labelled pixels lie in cluster "
                f"{cluster}, called {called})"
            )
    if alike:
        log.warning(
            "%s does not tell pixels apart on the matching tiles with head %s: its map "
            "is useless there; check that the images are like the training's%s",
            model.card.method,
            ", ".join(alike),
            ", or train longer" if model.method.gradient else "",
        )
