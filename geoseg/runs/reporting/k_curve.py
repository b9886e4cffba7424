"""Curves of score over number of clusters, for k-means of features and of colours."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from geoseg.core.errors import MatchingError
from geoseg.core.patches import IGNORE
from geoseg.core.progress import track
from geoseg.geo.patches.tile_reader import TileReader
from geoseg.geo.rasters.description import PixelWindow
from geoseg.geo.tiles.tiles import Tile
from geoseg.methods.bases.method import Batches
from geoseg.methods.clustering.kmeans import kmeans
from geoseg.methods.networks.heads import upsample
from geoseg.methods.pixels import sample_pixels, shrink_valid
from geoseg.model.decisions import Objective
from geoseg.model.file import Model
from geoseg.model.matching import contingency_table, match_clusters
from geoseg.report.contents import Curve
from geoseg.runs.reporting.survey import evenly
from geoseg.scores.metrics import Metric, bootstrap_interval, iou

#: Numbers of clusters of the curves.
CLUSTERS = (3, 6, 12, 24, 48, 96)
#: Most feature vectors for k-means, and most tiles per role.
SAMPLE, MOST_TILES = 65536, 40
#: Side of the cells of a tile, and width of the context around each, in pixels.
CELL, MARGIN = 224, 16

Space = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True, eq=False)
class _Clusterings:
    """Centroids of k-means in one feature space, for every K."""

    name: str
    space: Space
    centroids: tuple[Tensor, ...]

    def ids(self, image: Tensor, valid: Tensor) -> list[Tensor]:
        """Return ``(H, W)`` nearest centroids for every K, from one set of features."""
        features = self.space(image, valid)
        size = (image.shape[2], image.shape[3])
        nearest = []
        for centroids in self.centroids:
            # the nearest centroid has the largest score; scores are linear in the
            # features, so they can be upsampled
            scores = F.conv2d(
                features,
                centroids[:, :, None, None],
                bias=-centroids.square().sum(1) / 2,
            )
            nearest.append(upsample(scores, size).argmax(1)[0])
        return nearest


@torch.no_grad()
def k_curves(
    model: Model,
    matching: Sequence[Tile],
    test: Sequence[Tile],
    batches: Batches,
    *,
    objective: Objective,
    seed: int = 0,
    clusters: Sequence[int] = CLUSTERS,
    metric: Metric = iou,
) -> list[Curve]:
    """Return curves of k-means, fitted, matched and scored for several K.

    Every tile is read and passed through the trunk only once.

    Args:
        model: Its trunk gives the features, if it has one.
        matching: Labelled tiles to match on.
        test: Labelled tiles to score on.
        batches: Patches of the training tiles.
        objective: Of the matching.
        seed: Of k-means and of the bootstrap.
        clusters: Numbers of clusters.
        metric: Of confusions ``(..., C, C)``.

    Returns:
        A curve of the metric for the trunk (if there is one) and one for the colours.
    """
    spaces: list[tuple[str, Space]] = [
        ("k-means of the colours", partial(_colours, model))
    ]
    if model.method.has_features:
        name = "k-means of the trained network's features"
        spaces.insert(0, (name, partial(_features, model)))
    fitted = [
        _Clusterings(name, space, _fit(space, batches, clusters, seed))
        for name, space in spaces
    ]
    chosen = [evenly(matching, MOST_TILES), evenly(test, MOST_TILES)]
    tables = [_tables(model, tiles, fitted) for tiles in chosen]
    return [
        _curve(fit.name, tables[0][number], tables[1][number], objective, seed, metric)
        for number, fit in enumerate(fitted)
    ]


def _colours(model: Model, image: Tensor, valid: Tensor) -> Tensor:
    return model.method.whitened(image.to(_device(model))).cpu()


def _features(model: Model, image: Tensor, valid: Tensor) -> Tensor:
    device = _device(model)
    return model.method.features(image.to(device), valid.to(device)).float().cpu()


def _device(model: Model) -> torch.device:
    device: torch.device = next(iter(model.method.state_dict().values())).device
    return device


def _fit(
    space: Space, batches: Batches, clusters: Sequence[int], seed: int
) -> tuple[Tensor, ...]:
    maps = (
        (
            features := space(batch.image, batch.valid),
            shrink_valid(batch.valid, features),
        )
        for batch in batches()
    )
    sample = sample_pixels(maps, SAMPLE)
    return tuple(kmeans(lambda: [sample], k, seed=seed).centroids for k in clusters)


def _tables(
    model: Model, tiles: Sequence[Tile], fitted: Sequence[_Clusterings]
) -> list[list[NDArray[np.int64]]]:
    """Return ``(tiles, K, C)`` counts per space and number of clusters."""
    card = model.card
    classes = len(card.class_names)
    reader = TileReader(
        tiles,
        card.normalization.bands,
        nodata=card.nodata,
        cache_mib=0,
    )
    sums = [
        [np.zeros((len(tiles), len(c), classes), np.int64) for c in fit.centroids]
        for fit in fitted
    ]
    for number in track(range(len(tiles)), "report, curves over K", len(tiles)):
        for image, valid, mask in _cells(model, reader, number):
            inner = mask[0]
            for fit, tables in zip(fitted, sums, strict=True):
                for ids, table in zip(fit.ids(image, valid), tables, strict=True):
                    table[number] += contingency_table(
                        ids,
                        inner,
                        num_clusters=table.shape[1],
                        num_classes=classes,
                    ).numpy()
    return sums


def _cells(
    model: Model, reader: TileReader, number: int
) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Yield cells with context as image, valid and mask; context has mask IGNORE."""
    row, col, height, width = reader.extents[number]
    divisor = model.method.divisor
    side = CELL + 2 * MARGIN
    side += -side % divisor
    for top in range(0, height, CELL):
        for left in range(0, width, CELL):
            window = PixelWindow(row + top - MARGIN, col + left - MARGIN, side, side)
            decoded = reader.read(number, window)
            if not decoded.valid.any():
                continue
            image = model.card.normalization(decoded.pixels, decoded.valid)
            mask = torch.full((1, side, side), IGNORE)
            core = slice(MARGIN, MARGIN + CELL)
            mask[0, core, core] = torch.from_numpy(decoded.mask[core, core]).long()
            yield image[None], torch.from_numpy(decoded.valid)[None], mask


def _curve(
    name: str,
    matching: Sequence[NDArray[np.int64]],
    test: Sequence[NDArray[np.int64]],
    objective: Objective,
    seed: int,
    metric: Metric,
) -> Curve:
    points = []
    for known, counted in zip(matching, test, strict=True):
        try:
            matched = match_clusters(known, objective=objective)
        except MatchingError:
            continue
        confusions = matched.confusion(torch.from_numpy(counted))
        score = bootstrap_interval(confusions, metric, seed=seed)
        if not np.isnan(score.value):
            points.append((known.shape[1], score))
    intervals = not any(np.isnan(score.low) for _, score in points)
    return Curve(
        name,
        [k for k, _ in points],
        [score.value for _, score in points],
        [score.low for _, score in points] if intervals else (),
        [score.high for _, score in points] if intervals else (),
        role="control" if "colours" in name else "other",
    )
