"""Prediction with several heads of a model, which share one run of the trunk."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import accumulate, pairwise
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from geoseg.core.patches import IGNORE
from geoseg.geo.predict.predictor import predict_strips
from geoseg.geo.predict.stitching import STEPS
from geoseg.geo.rasters.description import RasterDescription
from geoseg.geo.rasters.strips import ClassStrip, Strip
from geoseg.geo.tiles.tiles import Tile
from geoseg.model.card import ModelCard
from geoseg.model.file import Model


class ClusterStrip(NamedTuple):
    """Clusters of some rows.

    Attributes:
        row: first row, counted from the top of the predicted region.
        ids: ``(h, W)`` int64, the most probable cluster; -1 where there is no data.
        valid: ``(h, W)`` bool.
        guide: ``(h, W)`` uint8, the image's brightness.
        probability: ``(K, h, W)`` float32; None for a hard method.
    """

    row: int
    ids: npt.NDArray[np.int64]
    valid: npt.NDArray[np.bool_]
    guide: npt.NDArray[np.uint8]
    probability: npt.NDArray[np.float32] | None

    @classmethod
    def of(cls, strip: Strip) -> "ClusterStrip":
        """Return the most probable clusters of a strip with a plane for each."""
        ids = np.where(strip.valid, strip.probability.argmax(axis=0), -1)
        return cls(strip.row, ids, strip.valid, strip.guide, strip.probability)

    def as_classes(self) -> ClassStrip:
        """Return the ids as those of classes, for a raster of bytes."""
        ids = np.where(self.valid, self.ids, IGNORE).astype(np.uint8)
        return ClassStrip(self.row, ids, self.valid.astype(np.float32))


class Onlooker(Protocol):
    """Collects predictions that are made for another purpose."""

    def feed(self, tile: Tile, parts: Mapping[str, ClusterStrip]) -> None:
        """Take the clusters by head of the next strip of a tile."""


class ClusterView:
    """A model that predicts the clusters of one or more heads, for the predictor.

    The planes of a head are its cluster probabilities. A hard method has one plane for a
    head, of cluster ids in steps: they must not be blended.

    Args:
        model: A model, matched or not.
        heads: The heads, in the order of their planes.
    """

    def __init__(self, model: Model, *heads: str) -> None:
        self._model = model
        self._heads = heads
        self._hard = model.method.hard
        sizes = model.method.heads
        self._counts = [1 if self._hard else sizes[head] for head in heads]
        names = tuple(str(k) for count in self._counts for k in range(count))
        self.card: ModelCard = replace(model.card, class_names=names)

    def strips(
        self, grid: RasterDescription, **how: Any
    ) -> Iterator[dict[str, ClusterStrip]]:
        """Yield the clusters by head of a raster, from top to bottom.

        Args:
            grid: The raster.
            how: Further arguments of :func:`geoseg.geo.predict.predictor.predict_strips`.
        """
        for strip in predict_strips(self, grid, blended=not self._hard, **how):
            parts = zip(self._heads, _parts(strip, self._counts), strict=True)
            read = self._read_ids if self._hard else ClusterStrip.of
            yield {head: read(part) for head, part in parts}

    @staticmethod
    def _read_ids(strip: Strip) -> ClusterStrip:
        ids = np.rint(strip.probability[0] * np.float32(STEPS)).astype(np.int64)
        ids[~strip.valid] = -1
        return ClusterStrip(strip.row, ids, strip.valid, strip.guide, None)

    def class_probabilities(self, image: Tensor, valid: Tensor) -> Tensor:
        """Return ``(N, ΣK, H, W)`` cluster probabilities, or ids in steps."""
        if self._hard:
            ids = [self._model.cluster_ids(image, valid, head) for head in self._heads]
            return torch.stack(ids, dim=1).float() / STEPS
        by_head = self._model.head_probabilities(image, valid, self._heads)
        return _concatenate([by_head[head] for head in self._heads])


class ClassView:
    """The class scores of models that share their weights, for the predictor.

    Args:
        models: Matched models of one method; their cards may name different heads and
            matchings.
        heads: Heads whose cluster probabilities follow the classes, for an onlooker.
    """

    def __init__(self, models: Sequence[Model], heads: Sequence[str] = ()) -> None:
        self._models, self._clusters = models, heads
        self._heads = list(dict.fromkeys([*(m.card.head for m in models), *heads]))
        sizes = models[0].method.heads
        self._counts = [len(model.card.class_names) for model in models]
        self._counts += [sizes[head] for head in heads]
        names = [name for model in models for name in model.card.class_names]
        names += [str(k) for head in heads for k in range(sizes[head])]
        self.card: ModelCard = replace(models[0].card, class_names=tuple(names))

    def class_probabilities(self, image: Tensor, valid: Tensor) -> Tensor:
        """Return ``(N, ΣC + ΣK, H, W)`` class scores, then cluster probabilities."""
        if self._models[0].method.hard and not self._clusters:
            return _concatenate(
                [model.class_probabilities(image, valid) for model in self._models]
            )
        by_head = self._models[0].head_probabilities(image, valid, self._heads)
        folded = [
            model.named_together(
                model.fold(by_head[model.card.head]), image, valid, model.card.head
            )
            for model in self._models
        ]
        return _concatenate([*folded, *(by_head[head] for head in self._clusters)])

    def split(self, strip: Strip) -> list[Strip]:
        """Return the classes of each model of a strip."""
        return _parts(strip, self._counts)[: len(self._models)]

    def clusters(self, strip: Strip) -> dict[str, ClusterStrip]:
        """Return the clusters of each head of a strip."""
        parts = _parts(strip, self._counts)[len(self._models) :]
        return dict(zip(self._clusters, map(ClusterStrip.of, parts), strict=True))


def fold_strip(model: Model, head: str, clusters: ClusterStrip) -> Strip:
    """Return the class scores of a strip of clusters.

    Prediction folds clusters into classes before it blends windows, so the last bits
    may differ.
    """
    fold = model.card.matchings[head].matrix.numpy()  # (K, C)
    if clusters.probability is None:
        scores = np.moveaxis(fold[clusters.ids], -1, 0) * clusters.valid
    else:
        scores = np.einsum("khw,kc->chw", clusters.probability, fold)
    return Strip(clusters.row, scores, clusters.valid, clusters.guide)


def _concatenate(planes: Sequence[Tensor]) -> Tensor:
    return planes[0] if len(planes) == 1 else torch.cat(list(planes), dim=1)


def _parts(strip: Strip, counts: Sequence[int]) -> list[Strip]:
    return [
        strip._replace(probability=strip.probability[first:end])
        for first, end in pairwise(accumulate(counts, initial=0))
    ]
