"""Supervised references, from random weights or from a trained model's trunk."""

from typing import ClassVar, get_args

import torch
from torch import Tensor

from geoseg.core.patches import PatchBatch
from geoseg.methods.bases.classes import (
    ClassBalance,
    ClassLearner,
    class_numbers,
    known_mask,
)
from geoseg.methods.bases.method import Start, StepContext, StepOutput, check_rate
from geoseg.methods.losses.cross_entropy import pixel_cross_entropy
from geoseg.methods.networks import TRUNKS
from geoseg.methods.networks.gradients import SobelMode
from geoseg.methods.networks.heads import PixelHead, softmax, upsample
from geoseg.methods.views.photometric import Photometric
from geoseg.methods.views.symmetries import apply_symmetry, draw_symmetries


class Supervised(ClassLearner):
    """Learns the classes of labelled tiles by cross-entropy, from random weights.

    It shows what a network gains by learning from the labels of the matching tiles
    instead of naming clusters by them. It sees the labelled tiles alone, turned,
    mirrored and recoloured.

    Logs ``loss``, ``entropy`` (of the predicted areas, over ln C) and ``confidence``.

    Label-free choice of a checkpoint: the last one.

    Args:
        in_channels: Channels of the image.
        trunk: Network that computes the features.
        width: Width of the trunk.
        classes: Number of classes C; by default that of the labels.
        learning_rate: Learning rate of Adam.
        balance: ``inverse``: all classes have the same weight in the loss, which finds
            more pixels of rare classes, right and wrong; ``none``: pixels have.
        jitter: Strength of the photometric changes, 0 to 1.
        symmetries: Turn and mirror the patches.
        sobel: Gradient channels: left out, after the bands, or in their place.
    """

    start: ClassVar[Start] = "never"
    choices = {
        "trunk": tuple(TRUNKS),
        "balance": get_args(ClassBalance),
        "sobel": get_args(SobelMode),
    }

    def __init__(
        self,
        in_channels: int,
        *,
        trunk: str = "vgg",
        width: int = 16,
        classes: int = 2,
        learning_rate: float = 1e-3,
        balance: str = "none",
        jitter: float = 0.1,
        symmetries: bool = True,
        sobel: str = "none",
    ) -> None:
        super().__init__(in_channels)
        check_rate(learning_rate)
        self.learning_rate, self.symmetries = learning_rate, symmetries
        self.photometric = Photometric.of_strength(jitter)
        self.balance_by(balance)
        self.build(classes, trunk=trunk, width=width, sobel=sobel)
        self.head = PixelHead(self.trunk.out_channels, classes)

    def configure_optimizer(self) -> torch.optim.Optimizer:
        """Adam."""
        return torch.optim.Adam(self.parameters(), lr=self.learning_rate)

    def probabilities(self, image: Tensor, valid: Tensor, head: str) -> Tensor:
        """Return ``(N, C, H, W)`` class probabilities."""
        return softmax(self._logits(image, valid))

    def training_step(self, batch: PatchBatch, context: StepContext) -> StepOutput:
        """Return the cross-entropy of the labelled pixels."""
        key = {"epoch": context.epoch, "seed": context.seed}
        image = self.photometric(batch.image, batch.valid, batch.index, **key)
        valid, mask = batch.valid, known_mask(batch)
        if self.symmetries:
            codes = draw_symmetries(batch.index, **key)
            image, valid, mask = (
                apply_symmetry(x, codes) for x in (image, valid, mask)
            )
        logits = self._logits(image, valid)
        loss = pixel_cross_entropy(logits, mask, self.class_weights)
        logs, areas = class_numbers(softmax(logits.detach()), valid)
        return StepOutput(loss, logs, {"classes": areas})

    def _logits(self, image: Tensor, valid: Tensor) -> Tensor:
        """Return ``(N, C, H, W)`` logits."""
        logits = self.head(self.features(image, valid))
        return upsample(logits, (image.shape[2], image.shape[3]))


class FineTuned(Supervised):
    """Learns from labelled tiles as ``supervised`` does, from a trained model's trunk.

    Whether training without labels first helps to learn from few labels: PiCIE's claim.
    Compare with ``supervised`` of the same tiles, trunk and steps.

    Args:
        in_channels: Channels of the image.
        trunk: Network that computes the features; it must be the model's.
        width: Width of the trunk; it must be the model's.
        classes: Number of classes C; by default that of the labels.
        learning_rate: Learning rate of Adam.
        balance: ``inverse``: all classes have the same weight in the loss, which finds
            more pixels of rare classes, right and wrong; ``none``: pixels have.
        jitter: Strength of the photometric changes, 0 to 1.
        symmetries: Turn and mirror the patches.
        sobel: Gradient channels; those of the model.

    References:
        Cho, Mall, Bala, Hariharan. PiCIE: Unsupervised Semantic Segmentation using
        Invariance and Equivariance in Clustering. CVPR 2021.
        https://arxiv.org/abs/2103.17070
    """

    start = "must"
