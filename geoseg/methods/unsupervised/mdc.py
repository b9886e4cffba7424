"""Modified DeepCluster: DeepCluster for the pixels of one view."""

from typing import get_args

import torch
from torch import nn

from geoseg.core.patches import PatchBatch
from geoseg.methods.bases.method import Batches, StepContext, StepOutput
from geoseg.methods.bases.self_labelled import SelfLabelledMethod
from geoseg.methods.clustering.pseudo_labels import (
    Seen,
    cluster_shares,
    normalized_entropy,
    softmax_confidence,
    unpack_labels,
)
from geoseg.methods.losses.prototypes import Balance, Similarity, label_cross_entropy
from geoseg.methods.networks import TRUNKS
from geoseg.methods.networks.gradients import SobelMode
from geoseg.methods.pixels import shrink_valid
from geoseg.methods.views.hashing import WEIGHTS, normal, states
from geoseg.methods.views.symmetries import apply_symmetry

#: The trunk's rate falls to a tenth after so many epochs, as released.
DECAY_EPOCHS = 20
#: Spread of the classifier's first weights, as released.
SPREAD = 0.01


class MDC(SelfLabelledMethod):
    """Clusters features, learns to classify the clusters, and repeats.

    Every epoch begins with k-means of the features, which gives every pixel a label.
    The network then learns the labels through a linear classifier that starts anew: the
    numbers of the clusters mean nothing from one epoch to the next. After training, the
    features of the images as they are get clustered once more: those are the clusters
    that prediction gives.

    There is one view: patches are turned, mirrored and recoloured, the same for their
    labels and for the steps of the epoch. What PiCIE adds is the second view, and
    centroids in place of the classifier.

    The classifier has an Adam of its own, which starts anew with it, at the full rate;
    the trunk's rate falls to a tenth every 20 epochs.

    Differs from the release: turns besides mirrors, no crops; photometric changes of any
    bands instead of RGB; random weights instead of ImageNet's; as many clusters to learn
    as to predict; no balance of the clusters, where the release weighs them by size
    (``balance=as_released``); the final clusters go by distance (``final=dot`` as
    released).

    Logs ``loss``, ``entropy`` (of the sizes of the labels' clusters in the batch, over
    ln K: 0 is collapse) and ``confidence`` (mean highest softmax of the classifier; it
    falls back to 1/K at each epoch's start).

    Label-free choice of a checkpoint: the last one.

    Args:
        in_channels: Channels of the image.
        trunk: Network that computes the features; ``pyramid`` is the published one.
        width: Width of the trunk; the published ``pyramid`` has 16.
        clusters: Number of clusters K.
        learning_rate: Learning rate of Adam; 1e-4 on COCO-Stuff, by default 1e-3 in
            the released code.
        balance: Weight of a cluster in the loss: ``inverse`` of its size, ``none``, or
            its size (``as_released``).
        final: How prediction compares features with centroids; ``dot`` as released.
        jitter: Strength of the photometric changes, 0 to 1.
        symmetries: Turn and mirror the patches.
        start_batches: Number of batches that k-means starts from.
        sobel: Gradient channels: left out, after the bands, or in their place.
        pixels: Number of features that the last clustering sees, at most.
        seed: Of k-means.

    References:
        Cho, Mall, Bala, Hariharan. PiCIE: Unsupervised Semantic Segmentation using
        Invariance and Equivariance in Clustering. CVPR 2021, section 4.1, and
        ``train_mdc.py`` of https://github.com/janghyuncho/PiCIE. After Caron,
        Bojanowski, Joulin, Douze. Deep Clustering for Unsupervised Learning of Visual
        Features. ECCV 2018. https://arxiv.org/abs/1807.05520
    """

    start = "may"
    choices = {
        "trunk": tuple(TRUNKS),
        "balance": get_args(Balance),
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
        learning_rate: float = 1e-4,
        balance: str = "none",
        final: str = "distance",
        jitter: float = 0.3,
        symmetries: bool = True,
        start_batches: int = 20,
        sobel: str = "none",
        pixels: int = 262144,
        seed: int = 0,
    ) -> None:
        super().__init__(in_channels)
        self.build(
            {"main": clusters},
            trunk=trunk,
            width=width,
            sobel=sobel,
            pixels=pixels,
            seed=seed,
        )
        self.label_by(
            learning_rate=learning_rate,
            balance=balance,
            final=final,
            jitter=jitter,
            symmetries=symmetries,
            start_batches=start_batches,
        )
        self.classifier = nn.Conv2d(self.trunk.out_channels, clusters, kernel_size=1)
        self.optimizer: torch.optim.Optimizer | None = None

    def configure_optimizer(self) -> torch.optim.Optimizer:
        """Adam of the trunk, and one of the classifier: Adam treats each weight alone."""
        self.optimizer = torch.optim.Adam(
            [
                {"params": list(self.trunk.parameters())},
                {"params": list(self.classifier.parameters())},
            ],
            lr=self.learning_rate,
        )
        return self.optimizer

    def rate_factor(self, group: int, epoch: int) -> float:
        """Return a tenth every 20 epochs for the trunk, 1 for the classifier."""
        return 1.0 if group else float(0.1 ** (epoch // DECAY_EPOCHS))

    @torch.no_grad()
    def begin_epoch(self, context: StepContext, batches: Batches) -> None:
        """Cluster the features, label the epoch's patches, and reset the classifier."""
        super().begin_epoch(context, batches)
        self._renew_classifier(context)

    def training_step(self, batch: PatchBatch, context: StepContext) -> StepOutput:
        """Return the cross-entropy of the classifier and the epoch's labels."""
        targets = self.epoch_targets()["main"]
        packed = targets.labels[0][batch.index]
        labels = unpack_labels(packed)
        logits = self.classifier(self.see(batch, context).features[0]).float()
        loss = label_cross_entropy(logits, labels, targets.weights[0])
        shares = cluster_shares(packed, self.heads["main"])
        confidence = softmax_confidence(logits.detach(), labels >= 0)
        logs = {"entropy": normalized_entropy(shares), "confidence": confidence}
        return StepOutput(loss, logs, {"main": shares})

    def see(self, batch: PatchBatch, context: StepContext) -> Seen:
        """Return the features of the patches, turned and recoloured."""
        codes = self.codes(batch.index, context)
        z = self.features(
            apply_symmetry(self.recolored(batch, context), codes),
            apply_symmetry(batch.valid, codes),
        )
        valid = apply_symmetry(shrink_valid(batch.valid, z), codes)
        return Seen(batch.index, (z,), valid)

    def _renew_classifier(self, context: StepContext) -> None:
        """Redraw the classifier's weights, and reset its optimiser state."""
        weight, bias = self.classifier.parameters()
        rows = torch.arange(len(weight))
        key = {"epoch": context.epoch, "seed": context.seed, "view": 0}
        drawn = normal(states(rows, **key, use=WEIGHTS), weight.shape[1])
        weight.copy_(SPREAD * drawn[:, :, None, None])
        bias.zero_()
        if self.optimizer is not None:
            for parameter in (weight, bias):
                self.optimizer.state.pop(parameter, None)
