"""Labels that a method gives itself: clusters of features, kept for an epoch.

A pass over an epoch's patches clusters their features, a second one labels every pixel.
In a distributed run every process passes its own patches, and all end with the labels
of all.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from geoseg.core.processes import gather_rows, sum_over_ranks, world_size
from geoseg.methods.clustering.kmeans import MiniBatchKMeans
from geoseg.methods.clustering.nearest import assign
from geoseg.methods.losses.prototypes import balancing_weights

#: Stands in a byte for "no label"; two bytes have -1.
_NONE = 255


@dataclass(frozen=True, eq=False)
class Seen:
    """What a network says of a batch of patches, in one view or in several.

    Attributes:
        index: ``(N,)`` long, number of each patch within its epoch.
        features: One ``(N, D, h, w)`` of each view.
        valid: ``(N, h, w)`` bool, which features count.
    """

    index: Tensor
    features: tuple[Tensor, ...]
    valid: Tensor


class Targets(NamedTuple):
    """What one head learns in one epoch, of each view.

    Attributes:
        labels: ``(patches, h, w)`` packed, see :func:`pack_labels`, by the patch's index.
        centroids: ``(K, D)``.
        weights: ``(K,)``, of the clusters.
    """

    labels: tuple[Tensor, ...]
    centroids: tuple[Tensor, ...]
    weights: tuple[Tensor, ...]


def pack_labels(labels: Tensor, clusters: int) -> Tensor:
    """Keep labels in as few bytes as their number allows.

    Args:
        labels: Long, in [0, clusters), or -1 where there is none.
        clusters: ``K``, at most 32767.

    Returns:
        uint8 with 255 for none, or int16 with -1 where 255 is a cluster.
    """
    if clusters > _NONE:
        return labels.to(torch.int16)
    return labels.where(labels >= 0, _NONE).to(torch.uint8)


def unpack_labels(packed: Tensor) -> Tensor:
    """Return the labels that :func:`pack_labels` took."""
    labels = packed.long()
    return labels.where(labels != _NONE, -1) if packed.dtype == torch.uint8 else labels


def label_features(features: Tensor, valid: Tensor, centroids: Tensor) -> Tensor:
    """Give every pixel its nearest centroid.

    Args:
        features: ``(N, D, h, w)`` float.
        valid: ``(N, h, w)`` bool.
        centroids: ``(K, D)``.

    Returns:
        ``(N, h, w)`` packed, without a label where invalid.
    """
    n, d, h, w = features.shape
    ids = assign(features.permute(0, 2, 3, 1).reshape(-1, d), centroids).view(n, h, w)
    return pack_labels(ids.where(valid, -1), len(centroids))


def cluster_sizes(packed: Tensor, clusters: int) -> Tensor:
    """Return ``(K,)`` long numbers of pixels per cluster, of packed labels."""
    if packed.dtype == torch.uint8:
        return packed.flatten().bincount(minlength=_NONE + 1)[:clusters]
    return packed[packed >= 0].bincount(minlength=clusters)


def cluster_shares(packed: Tensor, clusters: int) -> Tensor:
    """Return ``(K,)`` shares of the labelled pixels; zeros if there is none."""
    sizes = cluster_sizes(packed, clusters)
    return sizes / sizes.sum().clamp(min=1)


def normalized_entropy(shares: Tensor) -> Tensor:
    """Return the entropy of ``(K,)`` shares over ln K: 0 is collapse."""
    entropy: Tensor = torch.special.entr(shares).sum() / math.log(len(shares))
    return entropy


def softmax_confidence(logits: Tensor, known: Tensor) -> Tensor:
    """Return the mean highest softmax of pixels.

    Args:
        logits: ``(N, K, h, w)``.
        known: ``(N, h, w)`` bool, the pixels that count.

    Returns:
        Scalar. In a distributed run the mean of the processes' is that of all pixels.
    """
    highest = logits.softmax(dim=1).amax(dim=1)
    number = sum_over_ranks(known.sum()).clamp(min=1)
    return (highest * known).sum() * world_size() / number


def cluster_epoch(
    batches: Iterable[Seen],
    heads: Mapping[str, int],
    *,
    seed: int,
    start_batches: int,
) -> dict[str, tuple[Tensor, ...]]:
    """Cluster the features of an epoch, each view by itself.

    Args:
        batches: All patches of the epoch, once.
        heads: Name of each clustering → its ``K``.
        seed: Of the starts.
        start_batches: Batches that k-means starts from.

    Returns:
        Head → ``(K, D)`` centroids of each view.

    Raises:
        TrainingError: If no feature counts, or one is not finite.
    """
    clusterings: dict[str, list[MiniBatchKMeans]] = {head: [] for head in heads}
    for batch in batches:
        rows = [z.permute(0, 2, 3, 1)[batch.valid] for z in batch.features]
        for head, views in clusterings.items():
            while len(views) < len(rows):
                views.append(
                    MiniBatchKMeans(heads[head], seed=seed, start_blocks=start_batches)
                )
            for clustering, block in zip(views, rows, strict=True):
                clustering.feed(block)
    return {
        head: tuple(clustering.result().centroids for clustering in views)
        for head, views in clusterings.items()
    }


def label_epoch(
    batches: Iterable[Seen],
    centroids: Mapping[str, tuple[Tensor, ...]],
    *,
    balance: str,
) -> dict[str, Targets]:
    """Label every pixel of every patch of an epoch.

    Args:
        batches: All patches of the epoch, once.
        centroids: Head → ``(K, D)`` of each view.
        balance: Of the clusters' weights, see
            :func:`geoseg.methods.losses.prototypes.balancing_weights`.

    Returns:
        Head → labels of the patches of all processes, by index.
    """
    index: list[Tensor] = []
    found: dict[str, list[list[Tensor]]] = {
        head: [[] for _ in views] for head, views in centroids.items()
    }
    for batch in batches:
        index.append(batch.index)
        for head, views in centroids.items():
            for labels, z, mu in zip(found[head], batch.features, views, strict=True):
                labels.append(label_features(z, batch.valid, mu))
    order = gather_rows(torch.cat(index)).argsort()
    targets = {}
    for head, views in centroids.items():
        maps = tuple(gather_rows(torch.cat(labels))[order] for labels in found[head])
        sizes = (cluster_sizes(labels, len(views[0])) for labels in maps)
        weights = tuple(balancing_weights(size, balance).to(views[0]) for size in sizes)
        targets[head] = Targets(maps, views, weights)
    return targets


def targets_state(targets: Mapping[str, Targets]) -> dict[str, Tensor]:
    """Return an epoch's targets under names, for a checkpoint."""
    return {
        f"{head}/{field}/{view}": value
        for head, target in targets.items()
        for field in Targets._fields
        for view, value in enumerate(getattr(target, field))
    }


def targets_from_state(state: Mapping[str, Tensor]) -> dict[str, Targets]:
    """Take back what :func:`targets_state` returned."""
    found: dict[str, dict[str, list[Tensor]]] = {}
    for name, value in state.items():  # in the order of the views
        head, field, _ = name.split("/")
        found.setdefault(head, {}).setdefault(field, []).append(value)
    return {
        head: Targets(**{field: tuple(values) for field, values in fields.items()})
        for head, fields in found.items()
    }
