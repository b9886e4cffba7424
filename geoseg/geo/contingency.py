"""What labelled tiles say about a model's clusters."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from geoseg.errors import LabelError
from geoseg.geo import raster
from geoseg.geo.aoi import Tile
from geoseg.geo.labels import read_labels
from geoseg.geo.predictor import predict_strips
from geoseg.matching import (
    Matching,
    Objective,
    contingency_table,
    identity_matching,
    match_clusters,
)
from geoseg.model import Model, ModelCard
from geoseg.progress import bar

log = logging.getLogger(__name__)

#: Share of the labelled pixels in one cluster beyond which a head tells nothing apart.
ALL_ALIKE = 0.99


class ClusterView:
    """A model whose classes are the clusters of a head, for the predictor."""

    def __init__(self, model: Model, head: str) -> None:
        self._model = model
        self._head = head
        names = tuple(map(str, range(model.method.heads[head])))
        self.card: ModelCard = replace(model.card, class_names=names)

    def class_probabilities(self, image: Tensor, valid: Tensor) -> Tensor:
        """Return ``(N, K, H, W)`` cluster probabilities."""
        return self._model.cluster_probabilities(image, valid, self._head)


def cluster_map(model: Model, tile: Tile, head: str, **options: Any) -> Tensor:
    """Return the most probable cluster of every pixel of a tile.

    Args:
        model: Need not be matched.
        tile: The part of its image that is predicted.
        head: One of the method's heads.
        options: Window, overlap and batch size of the predictor.

    Returns:
        ``(H, W)`` long; ``-1`` where the image has no data.
    """
    description = raster.describe(tile.image)
    rows = [
        np.where(strip.valid, strip.probability.argmax(axis=0), -1)
        for strip in predict_strips(
            ClusterView(model, head),
            tile.image,
            region=tile.extent(description),
            **options,
        )
    ]
    return torch.from_numpy(np.concatenate(rows))


def contingency_tables(
    model: Model,
    tiles: Sequence[Tile],
    head: str,
    *,
    on_tile: Callable[[], object] = lambda: None,
    **options: Any,
) -> Tensor:
    """Count, tile by tile, how often each cluster falls on each class.

    Pixels without data or without a label do not count.

    Args:
        model: Need not be matched.
        tiles: Labelled tiles.
        head: One of the method's heads.
        on_tile: Called after each tile.
        options: Window, overlap and batch size of the predictor.

    Returns:
        ``(tiles, K, C)`` long.
    """
    num_clusters = model.method.heads[head]
    tables = []
    for tile in tiles:
        clusters = cluster_map(model, tile, head, **options)
        classes = torch.from_numpy(
            read_labels(tile, raster.describe(tile.image)).astype(np.int64)
        )
        seen = clusters >= 0
        tables.append(
            contingency_table(
                clusters[seen],
                classes[seen],
                num_clusters=num_clusters,
                num_classes=len(tile.classes.names),
            )
        )
        on_tile()
    return torch.stack(tables)


def match_model(
    model: Model, tiles: Sequence[Tile], *, objective: Objective, **options: Any
) -> Model:
    """Return the model with a matching for every head, fitted on labelled tiles.

    The model's classes become those of the tiles' labels. With more than two, clusters
    are matched for accuracy whatever the objective: F1 is that of one class. A head that
    was trained to tell classes keeps them; its counts are noted all the same. Warns of
    heads that put nearly all pixels into one cluster.

    Raises:
        MatchingError: If the labels show fewer than two classes.
        LabelError: If the tiles' labels have different classes.
    """
    names = tiles[0].classes.names if tiles else model.card.class_names
    if any(tile.classes.names != names for tile in tiles):
        raise LabelError(
            f"the labels of {len(tiles)} matching tiles have different classes, expected "
            f"{', '.join(names)} in all"
        )
    if len(names) > 2:
        objective = "accuracy"
    heads = model.method.heads
    with bar(f"matching {model.card.method}", len(heads) * len(tiles)) as advance:
        matchings = {
            head: _match_head(
                contingency_tables(model, tiles, head, on_tile=advance, **options),
                None if head == model.method.class_head else objective,
            )
            for head in heads
        }
    _warn_of_alike(model.card.method, matchings, names)
    return model.with_card(matchings=matchings, class_names=names)


def _match_head(tables: Tensor, objective: Objective | None) -> Matching:
    """Match a head's clusters; without an objective they are classes by training."""
    if objective is None:
        return identity_matching(tables)
    return match_clusters(tables, objective=objective)


def _warn_of_alike(
    method: str, matchings: Mapping[str, Matching], names: Sequence[str]
) -> None:
    """Warn in one line of heads whose pixels are nearly all of one cluster."""
    alike = []
    for head, matching in matchings.items():
        pixels = [sum(row) for row in matching.counts]
        cluster = int(np.argmax(pixels))
        share = pixels[cluster] / sum(pixels)
        if share > ALL_ALIKE:
            called = names[matching.cluster_to_class[cluster]]
            alike.append(
                f"{head} ({100 * share:.1f} % of the labelled pixels lie in cluster "
                f"{cluster}, called {called})"
            )
    if alike:
        log.warning(
            "%s does not tell pixels apart on the matching tiles with head %s: its map "
            "says nothing there; check that the images are like the training's, or train "
            "longer",
            *(method, ", ".join(alike)),
        )
