"""Prediction with several heads of a model, which share one run of the trunk."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import accumulate, pairwise
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from geoseg.geo.rasters.strips import ClassStrip, Strip, classify
from geoseg.geo.tiles.tiles import Tile
from geoseg.model.card import ModelCard
from geoseg.model.file import Model


class Onlooker(Protocol):
    """Collects predictions that are made for another purpose."""

    def feed(self, tile: Tile, parts: Mapping[str, Strip]) -> None:
        """Take the cluster probabilities by head of the next strip of a tile."""


class ClusterView:
    """A model whose classes are the clusters of one or more heads, for the predictor.

    Args:
        model: A model, matched or not.
        heads: The heads, in the order of their planes.
    """

    def __init__(self, model: Model, *heads: str) -> None:
        self._model = model
        self._heads = heads
        self._counts = [model.method.heads[head] for head in heads]
        names = tuple(str(k) for count in self._counts for k in range(count))
        self.card: ModelCard = replace(model.card, class_names=names)

    def class_probabilities(self, image: Tensor, valid: Tensor) -> Tensor:
        """Return ``(N, ΣK, H, W)`` cluster probabilities."""
        by_head = self._model.head_probabilities(image, valid, self._heads)
        return _concatenate([by_head[head] for head in self._heads])

    def split(self, strip: Strip) -> dict[str, Strip]:
        """Return the planes of each head of a strip."""
        return dict(zip(self._heads, _parts(strip, self._counts), strict=True))


class ClassView:
    """The class probabilities of models that share their weights, for the predictor.

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
        """Return ``(N, ΣC + ΣK, H, W)`` class, then cluster probabilities."""
        by_head = self._models[0].head_probabilities(image, valid, self._heads)
        folded = [model.fold(by_head[model.card.head]) for model in self._models]
        return _concatenate([*folded, *(by_head[head] for head in self._clusters)])

    def split(self, strip: Strip) -> list[Strip]:
        """Return the classes of each model of a strip."""
        return _parts(strip, self._counts)[: len(self._models)]

    def clusters(self, strip: Strip) -> dict[str, Strip]:
        """Return the clusters of each head of a strip."""
        parts = _parts(strip, self._counts)[len(self._models) :]
        return dict(zip(self._clusters, parts, strict=True))


def fold_strip(model: Model, head: str, strip: Strip) -> ClassStrip:
    """Return the most probable classes of a strip of cluster probabilities.

    Prediction folds clusters into classes before it blends windows, so the last bits
    may differ.
    """
    fold = model.card.matchings[head].matrix.numpy()  # (K, C)
    folded = np.einsum("khw,kc->chw", strip.probability, fold)
    return classify(strip._replace(probability=folded))


def _concatenate(planes: Sequence[Tensor]) -> Tensor:
    return planes[0] if len(planes) == 1 else torch.cat(list(planes), dim=1)


def _parts(strip: Strip, counts: Sequence[int]) -> list[Strip]:
    return [
        strip._replace(probability=strip.probability[first:end])
        for first, end in pairwise(accumulate(counts, initial=0))
    ]
