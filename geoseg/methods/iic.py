"""Invariant information clustering for segmentation."""

from collections.abc import Sequence
from typing import Literal, get_args

import torch
from torch import Tensor

from geoseg.errors import ParameterError
from geoseg.losses.mutual_information import mutual_information
from geoseg.methods.base import Method, StepContext, StepOutput, check_heads
from geoseg.networks import build_trunk
from geoseg.networks.gradients import check_sobel, sobel_channels, with_gradients
from geoseg.networks.heads import PixelHead, softmax, upsample
from geoseg.patches import PatchBatch
from geoseg.pixels import cluster_areas
from geoseg.views import (
    Photometric,
    apply_symmetry,
    draw_symmetries,
    invert_symmetry,
)

Schedule = Literal["alternate", "joint"]


class IIC(Method):
    """Clusters pixels so that two views, and neighbours, tell most about each other.

    The second view of a patch is turned or mirrored, and its colours are changed. Its
    clusters, turned back, share as much information as they can with those of the first
    view at the same pixel and up to ``half_width`` pixels away. A main head with few
    clusters and an over-clustering head with many share one trunk.

    Differs from the paper: turns and mirrors instead of mirrors alone, photometric
    changes of any bands instead of RGB, logits instead of probabilities are upsampled
    (Arithmer's variant), no padding of the 1×1 convolution. ``schedule="alternate"``
    trains the heads in alternating epochs as published, ``"joint"`` in one pass.

    Logs ``loss``, ``loss_at_one`` (λ = 1: minus the mutual information), ``entropy`` (of
    the cluster sizes, over ln K: 0 is collapse), ``confidence`` (mean highest
    probability); with the joint schedule those of the over-clustering head, and
    ``loss_main``.

    Label-free choice of a checkpoint: the last one.

    Args:
        in_channels: Channels of the image.
        trunk: ``vgg``, ``fpn`` or ``unet``.
        width: Of the trunk; 64 is the blog's ``vgg``, 16 what a CPU can train.
        main_clusters: K of head ``main``.
        over_clusters: K of head ``over``.
        half_width: T, largest displacement in pixels.
        lam_main: λ of head ``main``; above 1 it presses for clusters of equal size.
        lam_over: λ of head ``over``.
        collapsed: Sum the joints of all displacements before taking the information.
        schedule: ``alternate`` or ``joint``.
        learning_rate: Adam's, constant.
        jitter: Strength of the photometric changes, 0 to 1.
        jitter_both: Change the colours of both views instead of the second alone.
        symmetries: Turn and mirror the second view.
        sobel: Gradient channels: ``none``, ``append`` or ``only``.

    References:
        Ji, Henriques, Vedaldi. Invariant Information Clustering for Unsupervised Image
        Classification and Segmentation. ICCV 2019. https://arxiv.org/abs/1807.06653,
        section 3.3, equation 5.
    """

    has_features = True
    couples_batch = True

    def __init__(
        self,
        in_channels: int,
        *,
        trunk: str = "vgg",
        width: int = 16,
        main_clusters: int = 3,
        over_clusters: int = 24,
        half_width: int = 10,
        lam_main: float = 1.0,
        lam_over: float = 1.0,
        collapsed: bool = False,
        schedule: str = "alternate",
        learning_rate: float = 1e-3,
        jitter: float = 0.1,
        jitter_both: bool = False,
        symmetries: bool = True,
        sobel: str = "none",
    ) -> None:
        super().__init__(in_channels)
        if schedule not in get_args(Schedule):
            raise ParameterError(
                f"schedule is {schedule!r}, expected one of {get_args(Schedule)}"
            )
        self.heads = {"main": main_clusters, "over": over_clusters}
        check_heads(self.heads)
        self.default_head = "over"
        self.half_width = half_width
        self.lam = {"main": lam_main, "over": lam_over}
        self.collapsed = collapsed
        self.schedule = schedule
        self.learning_rate = learning_rate
        self.photometric = Photometric.of_strength(jitter)
        self.jitter_both = jitter_both
        self.symmetries = symmetries
        check_sobel(sobel)
        self.sobel = sobel
        channels = sobel_channels(in_channels, sobel)
        self.trunk = build_trunk(trunk, channels, width=width)
        self.divisor = self.trunk.divisor
        self.main = PixelHead(self.trunk.out_channels, main_clusters)
        self.over = PixelHead(self.trunk.out_channels, over_clusters)

    def configure_optimizer(self) -> torch.optim.Optimizer:
        """Adam with a constant rate, as published."""
        return torch.optim.Adam(self.parameters(), lr=self.learning_rate)

    def probabilities(self, image: Tensor, valid: Tensor, head: str) -> Tensor:
        """Return ``(N, K, H, W)`` softmax probabilities of a head."""
        return self._softmax(self.features(image, valid), head, image.shape[-2:])

    def features(self, image: Tensor, valid: Tensor) -> Tensor:
        """Return the trunk's ``(N, D, h, w)`` features."""
        bands = self.whitened(image)
        inputs = with_gradients(image, valid, self.sobel, bands=bands)
        features: Tensor = self.trunk(inputs)
        return features

    def training_step(self, batch: PatchBatch, context: StepContext) -> StepOutput:
        """Return minus the information that two views share, of one head or both."""
        first, second, codes = self._views(batch, context)
        # Two calls, so that each view has batch statistics of its own as published.
        features = self.features(first, batch.valid)
        valid = apply_symmetry(batch.valid, codes)
        others = self.features(second, valid)
        heads = self._heads_of(context.epoch)
        logs: dict[str, Tensor] = {}
        areas: dict[str, Tensor] = {}
        losses = []
        for head in heads:
            x = self._softmax(features, head, first.shape[-2:])
            y = self._softmax(others, head, second.shape[-2:])
            information = mutual_information(
                x,
                invert_symmetry(y, codes),
                batch.valid,
                half_width=self.half_width,
                lam=self.lam[head],
                collapsed=self.collapsed,
            )
            losses.append(information.loss)
            areas[head] = cluster_areas(x.detach(), batch.valid)
            if head == heads[-1]:
                logs["loss_at_one"] = information.loss_at_one
                logs["entropy"] = information.marginal_entropy
                logs["confidence"] = _confidence(x, batch.valid)
            else:
                logs[f"loss_{head}"] = information.loss.detach()
        return StepOutput(torch.stack(losses).sum(), logs, areas)

    def _heads_of(self, epoch: int) -> tuple[str, ...]:
        if self.schedule == "joint":
            return ("main", "over")
        return ("over",) if epoch % 2 == 0 else ("main",)

    def _views(
        self, batch: PatchBatch, context: StepContext
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return both views and the symmetry that made the second."""
        key = {"epoch": context.epoch, "seed": context.seed}
        second = self.photometric(batch.image, batch.valid, batch.index, **key)
        first = batch.image
        if self.jitter_both:
            first = self.photometric(first, batch.valid, batch.index, **key, stream=1)
        codes = draw_symmetries(batch.index, **key)
        if not self.symmetries:
            codes = torch.zeros_like(codes)
        return first, apply_symmetry(second, codes), codes

    def _softmax(self, features: Tensor, head: str, size: Sequence[int]) -> Tensor:
        logits = self.get_submodule(head)(features)
        return softmax(upsample(logits, (size[0], size[1])))


def _confidence(probabilities: Tensor, valid: Tensor) -> Tensor:
    """Return the mean highest probability over valid pixels, detached."""
    highest = probabilities.detach().amax(dim=1)
    return (highest * valid).sum() / valid.sum().clamp(min=1)
