"""PiCIE: invariance and equivariance in clustering."""

import math
from collections.abc import Sequence
from typing import NamedTuple, get_args

import torch
import torch.nn.functional as F
from torch import Tensor

from geoseg.clustering import MiniBatchKMeans, assign, kmeans
from geoseg.errors import ParameterError, TrainingError
from geoseg.losses.prototypes import (
    Balance,
    Similarity,
    balancing_weights,
    prototype_cross_entropy,
    prototype_logits,
)
from geoseg.methods.base import Batches, Method, StepContext, StepOutput, check_heads
from geoseg.networks import TRUNKS, build_trunk
from geoseg.networks.gradients import (
    SobelMode,
    check_sobel,
    sobel_channels,
    with_gradients,
)
from geoseg.networks.heads import upsample
from geoseg.patches import PatchBatch
from geoseg.pixels import one_hot_planes, sample_pixels, shrink_valid
from geoseg.ranks import gather_rows
from geoseg.views import Photometric, apply_symmetry, draw_symmetries

VIEWS = (0, 1)


class _Targets(NamedTuple):
    """What one head learns in one epoch, per view.

    Attributes:
        labels: Two of ``(patches, h, w)`` int16, by the index of the patch; -1: none.
        centroids: Two of ``(K, D)``.
        weights: Two of ``(K,)``.
    """

    labels: tuple[Tensor, Tensor]
    centroids: tuple[Tensor, Tensor]
    weights: tuple[Tensor, Tensor]


class PiCIE(Method):
    """Clusters features, learns to tell the clusters apart in two views, and repeats.

    Every epoch begins with k-means of the features of two views, each by itself, and
    gives every pixel a label in each view. The network then learns both views' labels
    from both views' features, against the frozen centroids: to change colours must not
    change labels (invariance), to turn an image must turn its labels (equivariance).

    The first view is turned, mirrored and recoloured, then encoded; the second
    recoloured, encoded, and its features then turned in the same way. Views are drawn
    once an epoch. After training, the features of the images as they are get clustered
    once more: those are the clusters that prediction gives.

    ``over_clusters`` adds a second clustering with more clusters, whose loss weighs
    less by the logarithm of its number: PiCIE+H.

    Differs from the paper: turns and mirrors instead of crops and mirrors; photometric
    changes of any bands instead of RGB; random weights instead of ImageNet's; the loss
    takes distances as in the paper's equation 4 (``similarity=dot`` takes scalar
    products as the released code does), and the final clusters go by distance too.

    Logs ``loss``, ``within`` and ``cross`` (their parts of the loss), ``entropy`` (of
    the sizes of the labels' clusters in the batch, over ln K: 0 is collapse) and
    ``confidence`` (mean highest softmax). Without a temperature the loss has a floor far
    above 0: see :func:`geoseg.losses.prototypes.prototype_cross_entropy`.

    Label-free choice of a checkpoint: the last one.

    Args:
        in_channels: Channels of the image.
        trunk: Network that computes the features; ``pyramid`` is the published one.
        width: Of the trunk; 16 is the published ``pyramid``.
        clusters: K.
        over_clusters: K of the second clustering; 0: none.
        learning_rate: Adam's, constant; 1e-4 on COCO-Stuff, 1e-3 on Cityscapes.
        balance: ``inverse``: every cluster pulls alike; ``none``; or ``as_released``,
            by size.
        similarity: Of features and centroids.
        jitter: Strength of the photometric changes, 0 to 1.
        symmetries: Turn and mirror.
        start_batches: Batches that k-means starts from.
        sobel: Gradient channels: left out, after the bands, or in their place.
        pixels: Number of features that the last clustering sees, at most.
        seed: Of k-means.

    References:
        Cho, Mall, Bala, Hariharan. PiCIE: Unsupervised Semantic Segmentation using
        Invariance and Equivariance in Clustering. CVPR 2021.
        https://arxiv.org/abs/2103.17070
    """

    has_features = True
    start = "may"
    choices = {
        "trunk": tuple(TRUNKS),
        "balance": get_args(Balance),
        "similarity": get_args(Similarity),
        "sobel": get_args(SobelMode),
    }

    def __init__(
        self,
        in_channels: int,
        *,
        trunk: str = "pyramid",
        width: int = 16,
        clusters: int = 24,
        over_clusters: int = 0,
        learning_rate: float = 1e-4,
        balance: str = "none",
        similarity: str = "distance",
        jitter: float = 0.3,
        symmetries: bool = True,
        start_batches: int = 20,
        sobel: str = "none",
        pixels: int = 262144,
        seed: int = 0,
    ) -> None:
        super().__init__(in_channels)
        self.heads = {"main": clusters}
        if over_clusters:
            self.heads["over"] = over_clusters
        check_heads(self.heads)
        self.default_head = "over" if over_clusters else "main"
        self.learning_rate = learning_rate
        self.balance, self.similarity = balance, similarity
        # Both refuse what they do not know before anything is trained.
        balancing_weights(torch.ones(2), self.balance)
        prototype_logits(torch.zeros(1, 1, 1, 1), torch.zeros(1, 1), self.similarity)
        if start_batches < 1:
            raise ParameterError(
                f"start_batches is {start_batches}, expected 1 or more"
            )
        self.photometric = Photometric.of_strength(jitter)
        self.symmetries = symmetries
        self.start_batches = start_batches
        self.pixels, self.seed = pixels, seed
        check_sobel(sobel)
        self.sobel = sobel
        channels = sobel_channels(in_channels, sobel)
        self.trunk = build_trunk(trunk, channels, width=width)
        self.divisor = self.trunk.divisor
        for head, count in self.heads.items():
            self.register_buffer(
                f"centroids_{head}", torch.zeros(count, self.trunk.out_channels)
            )
        self.targets: dict[str, _Targets] = {}

    def configure_optimizer(self) -> torch.optim.Optimizer:
        """Adam with a constant rate, as published."""
        return torch.optim.Adam(self.parameters(), lr=self.learning_rate)

    def features(self, image: Tensor, valid: Tensor) -> Tensor:
        """Return the trunk's ``(N, D, h, w)`` features, scaled to length 1."""
        bands = self.whitened(image)
        features: Tensor = self.trunk(
            with_gradients(image, valid, self.sobel, bands=bands)
        )
        return F.normalize(features.float(), dim=1)

    def probabilities(self, image: Tensor, valid: Tensor, head: str) -> Tensor:
        """Return ``(N, K, H, W)`` ones at the nearest centroid, zeros elsewhere."""
        return self.head_probabilities(image, valid, (head,))[head]

    def head_probabilities(
        self, image: Tensor, valid: Tensor, heads: Sequence[str]
    ) -> dict[str, Tensor]:
        """Return the planes of several heads from one set of features."""
        features, size = self.features(image, valid), (image.shape[2], image.shape[3])
        found = {}
        for head in heads:
            centroids = self.get_buffer(f"centroids_{head}")
            logits = prototype_logits(features, centroids)
            ids = upsample(logits, size).argmax(dim=1)
            found[head] = one_hot_planes(ids, self.heads[head], image.dtype)
        return found

    @torch.no_grad()
    def begin_epoch(self, context: StepContext, batches: Batches) -> None:
        """Cluster both views' features and label all patches of the epoch."""
        centroids = self._cluster_views(context, batches)
        self.targets = self._label_views(context, batches, centroids)

    def training_step(self, batch: PatchBatch, context: StepContext) -> StepOutput:
        """Return the cross-entropy of two views' features and both views' labels."""
        if not self.targets:
            raise TrainingError("no epoch has begun: call begin_epoch before a step")
        views = self._views(batch, context)
        weights = self._head_weights()
        within, cross = [], []
        for head, targets in self.targets.items():
            loss = self._pairwise(views, batch.index, targets)
            within.append(weights[head] * (loss[0][0] + loss[1][1]) / 2)
            cross.append(weights[head] * (loss[0][1] + loss[1][0]) / 2)
        parts = {"within": torch.stack(within).sum(), "cross": torch.stack(cross).sum()}
        logs = {name: part.detach() for name, part in parts.items()}
        areas = {
            head: _shares(targets.labels[0][batch.index], self.heads[head])
            for head, targets in self.targets.items()
        }
        logs["entropy"] = _entropy(areas[self.default_head])
        logs["confidence"] = self._confidence(views[0], batch.index)
        # The default head last: entropy and confidence are of that one.
        return StepOutput((parts["within"] + parts["cross"]) / 2, logs, areas)

    @torch.no_grad()
    def finish(self, batches: Batches) -> None:
        """Cluster the features of the images as they are."""
        self.eval()
        maps = (
            (
                features := self.features(batch.image, batch.valid),
                shrink_valid(batch.valid, features),
            )
            for batch in batches()
        )
        sample = sample_pixels(maps, self.pixels)
        for head, count in self.heads.items():
            result = kmeans(lambda: [sample], count, seed=self.seed)
            self.get_buffer(f"centroids_{head}").copy_(result.centroids)

    def epoch_state(self) -> dict[str, Tensor]:
        """Return labels and centroids of the epoch under way."""
        return {
            f"{head}/{field}/{view}": getattr(targets, field)[view]
            for head, targets in self.targets.items()
            for field in _Targets._fields
            for view in VIEWS
        }

    def load_epoch_state(self, state: dict[str, Tensor]) -> None:
        """Take back what :meth:`epoch_state` returned."""
        heads = dict.fromkeys(key.split("/")[0] for key in state)
        self.targets = {
            head: _Targets(
                *(
                    (state[f"{head}/{field}/0"], state[f"{head}/{field}/1"])
                    for field in _Targets._fields
                )
            )
            for head in heads
        }

    def _views(self, batch: PatchBatch, context: StepContext) -> tuple[Tensor, Tensor]:
        """Return both views' ``(N, D, h, w)`` features, in the first view's frame."""
        key = {"epoch": context.epoch, "seed": context.seed}
        codes = self._codes(batch.index, context)
        first, second = (
            self.photometric(batch.image, batch.valid, batch.index, **key, stream=view)
            for view in VIEWS
        )
        turned = apply_symmetry(batch.valid, codes)
        # Two calls, so that each view has batch statistics of its own as published.
        z1 = self.features(apply_symmetry(first, codes), turned)
        z2 = apply_symmetry(self.features(second, batch.valid), codes)
        return z1, z2

    def _valid(self, batch: PatchBatch, context: StepContext, like: Tensor) -> Tensor:
        """Return which ``(N, h, w)`` features of the turned patches count."""
        codes = self._codes(batch.index, context)
        return apply_symmetry(shrink_valid(batch.valid, like), codes)

    def _codes(self, index: Tensor, context: StepContext) -> Tensor:
        codes = draw_symmetries(index, epoch=context.epoch, seed=context.seed)
        return codes if self.symmetries else torch.zeros_like(codes)

    def _cluster_views(
        self, context: StepContext, batches: Batches
    ) -> dict[str, tuple[Tensor, Tensor]]:
        """Return per head the centroids of both views."""
        self.train()  # batch statistics, as released
        clusterings = {
            head: [
                MiniBatchKMeans(count, seed=self.seed, start_blocks=self.start_batches)
                for _ in VIEWS
            ]
            for head, count in self.heads.items()
        }
        for batch in batches():
            for view, z in enumerate(self._views(batch, context)):
                rows = z.permute(0, 2, 3, 1)[self._valid(batch, context, z)]
                for clustering in clusterings.values():
                    clustering[view].feed(rows)
        return {
            head: (pair[0].result().centroids, pair[1].result().centroids)
            for head, pair in clusterings.items()
        }

    def _label_views(
        self,
        context: StepContext,
        batches: Batches,
        centroids: dict[str, tuple[Tensor, Tensor]],
    ) -> dict[str, _Targets]:
        """Give every pixel of every patch the nearest centroid of each view."""
        self.eval()
        index: list[Tensor] = []
        found: dict[tuple[str, int], list[Tensor]] = {}
        for batch in batches():
            index.append(batch.index)
            for view, z in enumerate(self._views(batch, context)):
                valid = self._valid(batch, context, z)
                for head, pair in centroids.items():
                    labels = _nearest(z, pair[view], valid)
                    found.setdefault((head, view), []).append(labels)
        self.train()
        order = gather_rows(torch.cat(index)).argsort()
        targets = {}
        for head, pair in centroids.items():
            both = [gather_rows(torch.cat(found[head, view]))[order] for view in VIEWS]
            weights = [
                balancing_weights(_sizes(labels, self.heads[head]), self.balance)
                for labels in both
            ]
            targets[head] = _Targets(
                (both[0], both[1]),
                pair,
                (weights[0].to(pair[0]), weights[1].to(pair[1])),
            )
        return targets

    def _pairwise(
        self, views: tuple[Tensor, Tensor], index: Tensor, targets: _Targets
    ) -> list[list[Tensor]]:
        """Return the loss of view a's features against view b's labels, ``[a][b]``."""
        return [
            [
                prototype_cross_entropy(
                    z,
                    targets.labels[view][index],
                    targets.centroids[view],
                    targets.weights[view],
                    similarity=self.similarity,
                )
                for view in VIEWS
            ]
            for z in views
        ]

    def _head_weights(self) -> dict[str, float]:
        """Weigh a head by the other's ln K, so that the harder one does not drown."""
        if len(self.heads) == 1:
            return {"main": 1.0}
        logs = {head: math.log(count) for head, count in self.heads.items()}
        total = sum(logs.values())
        return {head: 1 - value / total for head, value in logs.items()}

    @torch.no_grad()
    def _confidence(self, z: Tensor, index: Tensor) -> Tensor:
        """Return the mean highest softmax over labelled pixels."""
        targets = self.targets[self.default_head]
        known = targets.labels[0][index] >= 0
        logits = prototype_logits(z, targets.centroids[0], self.similarity)
        highest = logits.softmax(dim=1).amax(dim=1)
        return (highest * known).sum() / known.sum().clamp(min=1)


def _nearest(z: Tensor, centroids: Tensor, valid: Tensor) -> Tensor:
    """Label ``(N, D, h, w)`` features; -1 where invalid."""
    n, d, h, w = z.shape
    ids = assign(z.permute(0, 2, 3, 1).reshape(-1, d), centroids).view(n, h, w)
    return torch.where(valid, ids, -1).to(torch.int16)


def _sizes(labels: Tensor, clusters: int) -> Tensor:
    """Return ``(K,)`` numbers of pixels per cluster."""
    return labels[labels >= 0].long().bincount(minlength=clusters)


def _shares(labels: Tensor, clusters: int) -> Tensor:
    """Return ``(K,)`` shares of the labelled pixels."""
    sizes = _sizes(labels, clusters)
    return sizes / sizes.sum().clamp(min=1)


def _entropy(shares: Tensor) -> Tensor:
    """Return the entropy of ``(K,)`` shares over ln K."""
    entropy: Tensor = torch.special.entr(shares).sum() / math.log(len(shares))
    return entropy
