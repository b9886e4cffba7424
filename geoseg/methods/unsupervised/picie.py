"""PiCIE: invariance and equivariance in clustering."""

import math
from typing import get_args

import torch
import torch.nn.functional as F
from torch import Tensor

from geoseg.core.patches import PatchBatch
from geoseg.methods.bases.method import StepContext, StepOutput
from geoseg.methods.bases.self_labelled import SelfLabelledMethod
from geoseg.methods.clustering.pseudo_labels import (
    Seen,
    Targets,
    cluster_shares,
    normalized_entropy,
    softmax_confidence,
    unpack_labels,
)
from geoseg.methods.losses.prototypes import (
    Balance,
    Similarity,
    check_similarity,
    prototype_cross_entropy,
    prototype_logits,
)
from geoseg.methods.networks import TRUNKS
from geoseg.methods.networks.gradients import SobelMode
from geoseg.methods.pixels import shrink_valid
from geoseg.methods.views.crops import Crop, check_crop
from geoseg.methods.views.symmetries import apply_symmetry

VIEWS = (0, 1)


class PiCIE(SelfLabelledMethod):
    """Clusters features, learns the clusters in two views, and repeats.

    Every epoch begins with k-means of the features of two views, each by itself, and
    gives every pixel a label in each view. The network then learns both views' labels
    from both views' features, against the frozen centroids: a change of
    colours must not change labels (invariance), and a turned image must have turned
    labels (equivariance).

    The first view is cropped, turned, mirrored and recoloured, then encoded; the second
    recoloured, encoded, and its features then cropped and turned in the same way. Views
    are drawn once an epoch. After training, the features of the images as they are get clustered
    once more: those are the clusters that prediction gives.

    ``over_clusters`` adds a second clustering with more clusters, whose loss weighs
    less by the logarithm of its number: PiCIE+H.

    Differs from the paper: turns and mirrors instead of crops and mirrors (``crop=0.5``
    adds its crops); photometric changes of any bands instead of RGB; random weights instead of ImageNet's; the loss
    takes distances as in the paper's equation 4 (``similarity=dot`` takes scalar
    products as the released code does), and the final clusters go by distance too.

    Logs ``loss``, ``within`` and ``cross`` (their parts of the loss), ``entropy`` (of
    the sizes of the labels' clusters in the batch, over ln K: 0 is collapse) and
    ``confidence`` (mean highest softmax). Without a temperature the loss has a floor far
    above 0: see :func:`geoseg.methods.losses.prototypes.prototype_cross_entropy`.

    Label-free choice of a checkpoint: the last one.

    Args:
        in_channels: Channels of the image.
        trunk: Network that computes the features; ``pyramid`` is the published one.
        width: Width of the trunk; the published ``pyramid`` has 16.
        clusters: Number of clusters K.
        over_clusters: Number of clusters of the second clustering; 0 for none.
        learning_rate: Learning rate of Adam; published: 1e-4 (COCO-Stuff), 1e-3
            (Cityscapes).
        balance: Weight of a cluster in the loss: ``inverse`` of its size, ``none``, or
            its size (``as_released``).
        similarity: How the loss compares features with centroids.
        final: How prediction compares features with centroids; ``dot`` as released.
        jitter: Strength of the photometric changes, 0 to 1.
        symmetries: Turn and mirror the views.
        crop: Least share of a side that a view shows, enlarged to the patch's size;
            drawn from there to 1. 1 is no crop; 0.5 as published.
        start_batches: Number of batches that k-means starts from.
        sobel: Gradient channels: left out, after the bands, or in their place.
        pixels: Number of features that the last clustering sees, at most.
        seed: Of k-means.

    References:
        Cho, Mall, Bala, Hariharan. PiCIE: Unsupervised Semantic Segmentation using
        Invariance and Equivariance in Clustering. CVPR 2021.
        https://arxiv.org/abs/2103.17070
    """

    start = "may"
    choices = {
        "trunk": tuple(TRUNKS),
        "balance": get_args(Balance),
        "similarity": get_args(Similarity),
        "final": get_args(Similarity),
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
        final: str = "distance",
        jitter: float = 0.3,
        symmetries: bool = True,
        crop: float = 1.0,
        start_batches: int = 20,
        sobel: str = "none",
        pixels: int = 262144,
        seed: int = 0,
    ) -> None:
        super().__init__(in_channels)
        heads = {"main": clusters}
        if over_clusters:
            heads["over"] = over_clusters
        self.build(
            heads, trunk=trunk, width=width, sobel=sobel, pixels=pixels, seed=seed
        )
        self.label_by(
            learning_rate=learning_rate,
            balance=balance,
            final=final,
            jitter=jitter,
            symmetries=symmetries,
            start_batches=start_batches,
        )
        check_similarity(similarity)
        check_crop(crop)
        self.similarity, self.crop = similarity, crop

    def configure_optimizer(self) -> torch.optim.Optimizer:
        """Adam with a constant rate, as published."""
        return torch.optim.Adam(self.parameters(), lr=self.learning_rate)

    def training_step(self, batch: PatchBatch, context: StepContext) -> StepOutput:
        """Return the cross-entropy of two views' features and both views' labels."""
        all_targets = self.epoch_targets()
        views = self.see(batch, context).features
        weights = self._head_weights()
        within, cross = [], []
        for head, targets in all_targets.items():
            loss = self._pairwise(views, batch.index, targets)
            within.append(weights[head] * (loss[0][0] + loss[1][1]) / 2)
            cross.append(weights[head] * (loss[0][1] + loss[1][0]) / 2)
        parts = {"within": torch.stack(within).sum(), "cross": torch.stack(cross).sum()}
        logs = {name: part.detach() for name, part in parts.items()}
        areas = {
            head: cluster_shares(targets.labels[0][batch.index], self.heads[head])
            for head, targets in all_targets.items()
        }
        logs["entropy"] = normalized_entropy(areas[self.default_head])
        logs["confidence"] = self._confidence(views[0], batch.index)
        # The default head last: entropy and confidence are of that one.
        return StepOutput((parts["within"] + parts["cross"]) / 2, logs, areas)

    def see(self, batch: PatchBatch, context: StepContext) -> Seen:
        """Return both views' features, in the first view's frame."""
        codes = self.codes(batch.index, context)
        crop = Crop.draw(
            batch.index, smallest=self.crop, epoch=context.epoch, seed=context.seed
        )
        first, second = (self.recolored(batch, context, view) for view in VIEWS)
        shown = batch.valid
        if crop is not None:
            first, shown = crop.apply(first), crop.apply_valid(shown)
        # Two calls, so that each view has batch statistics of its own as published.
        z1 = self.features(apply_symmetry(first, codes), apply_symmetry(shown, codes))
        z2 = self.features(second, batch.valid)
        valid = shrink_valid(batch.valid, z2)
        if crop is not None:
            valid = crop.apply_valid(valid)
            z2 = F.normalize(crop.apply(z2), dim=1)
        z2, valid = apply_symmetry(z2, codes), apply_symmetry(valid, codes)
        return Seen(batch.index, (z1, z2), valid)

    def _pairwise(
        self, views: tuple[Tensor, ...], index: Tensor, targets: Targets
    ) -> list[list[Tensor]]:
        """Return the loss of view a's features against view b's labels, ``[a][b]``."""
        labels = [unpack_labels(maps[index]) for maps in targets.labels]
        return [
            [
                prototype_cross_entropy(
                    z,
                    labels[view],
                    targets.centroids[view],
                    targets.weights[view],
                    similarity=self.similarity,
                )
                for view in VIEWS
            ]
            for z in views
        ]

    def _head_weights(self) -> dict[str, float]:
        """Return each head's weight, the other's share of ln K, to balance their losses."""
        if len(self.heads) == 1:
            return {"main": 1.0}
        logs = {head: math.log(count) for head, count in self.heads.items()}
        total = sum(logs.values())
        return {head: 1 - value / total for head, value in logs.items()}

    @torch.no_grad()
    def _confidence(self, z: Tensor, index: Tensor) -> Tensor:
        """Return the mean highest softmax over labelled pixels."""
        targets = self.targets[self.default_head]
        known = unpack_labels(targets.labels[0][index]) >= 0
        logits = prototype_logits(z, targets.centroids[0], self.similarity)
        return softmax_confidence(logits, known)
