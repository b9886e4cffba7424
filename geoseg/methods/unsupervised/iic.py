"""Invariant information clustering for segmentation."""

from collections.abc import Sequence
from functools import partial
from typing import Literal, get_args

import torch
from torch import Tensor
from torch.profiler import record_function

from geoseg.core.errors import ParameterError
from geoseg.core.patches import PatchBatch
from geoseg.methods.bases.method import (
    Method,
    StepContext,
    StepOutput,
    check_heads,
    check_rate,
)
from geoseg.methods.bases.two_views import compare_views, full_size_softmax
from geoseg.methods.networks import TRUNKS, build_trunk
from geoseg.methods.networks.gradients import (
    SobelMode,
    check_sobel,
    sobel_channels,
    with_gradients,
)
from geoseg.methods.networks.heads import SubHeads
from geoseg.methods.views.affine import Affine
from geoseg.methods.views.geometric import GeometricView
from geoseg.methods.views.photometric import Photometric

Schedule = Literal["alternate", "joint"]


class IIC(Method):
    """Clusters pixels so that their clusters in two views share most information.

    The second view of a patch is warped (where asked for), turned or mirrored, and its
    colours are changed. Its clusters, moved back, share as much information as possible
    with those of the first view at the same pixel and up to ``half_width`` pixels
    away. A main head with few clusters and an over-clustering head with many share one
    trunk. Of several sub-heads each, all train, and the one with the lowest loss
    predicts.

    Differs from the paper: turns and mirrors instead of mirrors alone, photometric
    changes of any bands instead of RGB, logits instead of probabilities are upsampled
    (Arithmer's variant; ``softmax_first`` is the paper's), no padding of the 1×1
    convolution. ``schedule="alternate"`` trains the heads in alternating epochs as
    published, ``"joint"`` in one pass. Affine views, which the authors' code has and no
    published segmentation took, show a reflection beyond the patch instead of black.

    Logs ``loss``, ``loss_at_one`` (λ = 1: minus the mutual information), ``entropy`` (of
    the cluster sizes, over ln K: 0 is collapse), ``confidence`` (mean highest
    probability); with the joint schedule those of the over-clustering head, and
    ``loss_main``. Of several sub-heads, ``loss`` is the mean and the others are those of
    the one that would predict.

    Args:
        in_channels: Channels of the image.
        trunk: Network that computes the features.
        width: Width of the trunk; the blog's ``vgg`` has 64, a CPU can train 16.
        main_clusters: Number of clusters K of head ``main``.
        over_clusters: Number of clusters K of head ``over``.
        half_width: Largest displacement T between compared pixels.
        lam_main: λ in the loss of head ``main``; above 1 it favours equal clusters.
        lam_over: λ in the loss of head ``over``.
        collapsed: Sum the joint distributions of all displacements before the
            mutual information is computed.
        schedule: Whether the heads train in alternating epochs or in one pass.
        learning_rate: Learning rate of Adam.
        jitter: Strength of the photometric changes, 0 to 1.
        jitter_both: Change the colours of both views instead of the second alone.
        gain: Strength of the change of each band by itself, if half of ``jitter`` is
            not enough. This and the next three hide colours from the network.
        drop: Probability of dropping a band.
        blur: Largest standard deviation of a Gaussian blur, in pixels.
        noise: Largest standard deviation of noise, with bands in [0, 1].
        symmetries: Turn and mirror the second view.
        rotate: Largest angle of the second view's rotation, in degrees.
        shear: Largest angle of the second view's shear, in degrees.
        scale: Largest factor of the second view's scale: 1.2 draws 1/1.2 to 1.2.
        translate: Largest shift of the second view, in pixels.
        sub_heads: Number of heads of each kind that train together.
        softmax_first: Compute the softmax before the upsampling.
        sobel: Gradient channels: left out, after the bands, or in their place.

    References:
        Ji, Henriques, Vedaldi. Invariant Information Clustering for Unsupervised Image
        Classification and Segmentation. ICCV 2019. https://arxiv.org/abs/1807.06653,
        section 3.3, equation 5.
    """

    has_features = True
    couples_batch = True
    start = "may"
    choices = {
        "trunk": tuple(TRUNKS),
        "schedule": get_args(Schedule),
        "sobel": get_args(SobelMode),
    }
    label_free_choice = (
        "the last checkpoint; of several sub-heads the one whose loss, a running mean "
        "over about a hundred steps, is lowest"
    )

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
        gain: float = 0.0,
        drop: float = 0.0,
        blur: float = 0.0,
        noise: float = 0.0,
        symmetries: bool = True,
        rotate: float = 0.0,
        shear: float = 0.0,
        scale: float = 1.0,
        translate: float = 0.0,
        sub_heads: int = 1,
        softmax_first: bool = False,
        sobel: str = "none",
    ) -> None:
        super().__init__(in_channels)
        _check_schedule(schedule)
        check_sobel(sobel)
        self.heads = {"main": main_clusters, "over": over_clusters}
        check_heads(self.heads)
        check_rate(learning_rate)
        self.default_head = "over"
        self.half_width = half_width
        self.lam = {"main": lam_main, "over": lam_over}
        self.collapsed, self.schedule = collapsed, schedule
        self.learning_rate = learning_rate
        self.photometric = Photometric.of_strength(
            jitter, gain=gain, drop=drop, blur=blur, noise=noise
        )
        self.jitter_both, self.symmetries = jitter_both, symmetries
        self.affine = Affine(rotate, shear, scale, translate)
        self.softmax_first, self.sobel = softmax_first, sobel
        channels = sobel_channels(in_channels, sobel)
        self.trunk = build_trunk(trunk, channels, width=width)
        self.divisor = self.trunk.divisor
        self.main = SubHeads(self.trunk.out_channels, main_clusters, sub_heads)
        self.over = SubHeads(self.trunk.out_channels, over_clusters, sub_heads)

    def configure_optimizer(self) -> torch.optim.Optimizer:
        """Adam with a constant rate, as published."""
        return torch.optim.Adam(self.parameters(), lr=self.learning_rate)

    def advice_on_collapse(self, head: str) -> str:
        """Return what to try on collapse: first a larger λ, which favours equal sizes."""
        lam, clusters = 1.5 * max(self.lam[head], 1.0), 2 * self.heads[head]
        return (
            f"-p lam_{head}={lam:g}, -p learning_rate={self.learning_rate / 3:.1g}, a "
            f"larger --batch-size or -p {head}_clusters={clusters}"
        )

    def probabilities(self, image: Tensor, valid: Tensor, head: str) -> Tensor:
        """Return ``(N, K, H, W)`` softmax probabilities of a head."""
        return self.head_probabilities(image, valid, (head,))[head]

    def head_probabilities(
        self, image: Tensor, valid: Tensor, heads: Sequence[str]
    ) -> dict[str, Tensor]:
        """Return the probabilities of several heads from one set of features."""
        features, size = self.features(image, valid), image.shape[-2:]
        return {
            head: full_size_softmax(
                self.get_submodule(head)(features), size, first=self.softmax_first
            )
            for head in heads
        }

    def features(self, image: Tensor, valid: Tensor) -> Tensor:
        """Return the trunk's ``(N, D, h, w)`` features."""
        bands = self.whitened(image)
        inputs = with_gradients(image, valid, self.sobel, bands=bands)
        features: Tensor = self.trunk(inputs)
        return features

    def training_step(self, batch: PatchBatch, context: StepContext) -> StepOutput:
        """Return minus the information that two views share, of one head or both."""
        key = {"epoch": context.epoch, "seed": context.seed}
        first = batch.image
        with record_function("views"):
            if self.jitter_both:
                first = self.photometric(
                    first, batch.valid, batch.index, **key, stream=1
                )
            second = self.photometric(batch.image, batch.valid, batch.index, **key)
            view = GeometricView.draw(
                batch.index, **key, symmetries=self.symmetries, affine=self.affine
            )
            second, valid = view.apply(second, batch.valid)
        # Two calls, so that each view has batch statistics of its own as published.
        features = self.features(first, batch.valid)
        others = self.features(second, valid)
        undo = partial(view.undo, valid=valid)
        found = {
            head: compare_views(
                head,
                self.main if head == "main" else self.over,
                (features, others),
                batch.valid,
                undo,
                half_width=self.half_width,
                lam=self.lam[head],
                collapsed=self.collapsed,
                softmax_first=self.softmax_first,
            )
            for head in self._heads_of(context.epoch)
        }
        *before, last = found
        logs = {f"loss_{head}": found[head].loss.detach() for head in before}
        areas = {head: output.areas[head] for head, output in found.items()}
        loss = torch.stack([output.loss for output in found.values()]).sum()
        return StepOutput(loss, logs | found[last].logs, areas)

    def _heads_of(self, epoch: int) -> tuple[str, ...]:
        if self.schedule == "joint":
            return ("main", "over")
        return ("over",) if epoch % 2 == 0 else ("main",)


def _check_schedule(schedule: str) -> None:
    if schedule not in get_args(Schedule):
        raise ParameterError(
            f"schedule is {schedule!r}, expected one of {get_args(Schedule)}"
        )
