"""Semi-supervised reference: cross-entropy of labels, and IIC's loss of all patches."""

import copy
from collections.abc import Sequence
from functools import partial
from typing import ClassVar, get_args

import torch
from torch import Tensor, nn

from geoseg.core.errors import ParameterError
from geoseg.core.patches import PatchBatch
from geoseg.methods.bases.classes import (
    ClassBalance,
    ClassLearner,
    class_numbers,
    known_mask,
)
from geoseg.methods.bases.method import (
    Batches,
    Method,
    Start,
    StepContext,
    StepOutput,
    check_heads,
    check_rate,
)
from geoseg.methods.bases.two_views import compare_views, full_size_softmax
from geoseg.methods.losses.cross_entropy import labelled_cross_entropy
from geoseg.methods.networks import TRUNKS
from geoseg.methods.networks.gradients import SobelMode, with_gradients
from geoseg.methods.networks.heads import PixelHead, SubHeads, softmax, upsample
from geoseg.methods.views.geometric import GeometricView
from geoseg.methods.views.photometric import Photometric
from geoseg.methods.views.symmetries import apply_symmetry

#: What is averaged: these modules of the method follow those of its ``learner``.
AVERAGED = ("trunk", "classes", "over")


class SemiSupervised(ClassLearner):
    """Learns classes from labelled tiles, and clusters from all, in one network.

    The loss is the cross-entropy of the labelled pixels plus α times IIC's, minus the
    information that the clusters of two views share, over all patches. Half of the
    patches come from the labelled tiles. Not the network that learns predicts, but
    its teacher: the running mean of its weights over the steps.

    Started from a run of ``iic`` with as many clusters, it goes on with the clusters of
    that run; else its over-clustering starts anew.

    Differs from IIC's paper, whose semi-supervised results fine-tune a trained network
    by labels alone, which is ``finetune`` here: both losses train together. The teacher
    gives the prediction and no target to learn.

    Logs ``loss``, ``supervised`` and ``information`` (its parts, before α), ``entropy``
    (of the predicted areas of the classes, over ln C) and ``confidence``; both of the
    network that learns.

    Label-free choice of a checkpoint: the last one.

    Args:
        in_channels: Channels of the image.
        trunk: Network that computes the features.
        width: Width of the trunk.
        classes: Number of classes C; by default that of the labels.
        over_clusters: Number of clusters K of head ``over``, which the unsupervised loss
            trains.
        alpha: Weight of the unsupervised loss; with 0 the network learns from labels
            alone.
        decay: Decay of the running mean of the weights at each step; the first steps
            have a plain mean.
        half_width: Largest displacement T between compared pixels.
        lam: λ in the loss of head ``over``; above 1 it favours equal clusters.
        learning_rate: Learning rate of Adam.
        balance: ``inverse``: all classes have the same weight in the loss, which finds
            more pixels of rare classes, right and wrong; ``none``: pixels have.
        jitter: Strength of the photometric changes of the second view, 0 to 1.
        symmetries: Turn and mirror the second view.
        sobel: Gradient channels: left out, after the bands, or in their place.

    References:
        Ji, Henriques, Vedaldi. Invariant Information Clustering for Unsupervised Image
        Classification and Segmentation. ICCV 2019. https://arxiv.org/abs/1807.06653.
        Tarvainen, Valpola. Mean teachers are better role models. NeurIPS 2017.
        https://arxiv.org/abs/1703.01780
    """

    couples_batch = True
    labelled_share = 0.5
    start: ClassVar[Start] = "may"
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
        over_clusters: int = 24,
        alpha: float = 0.1,
        decay: float = 0.99,
        half_width: int = 10,
        lam: float = 1.0,
        learning_rate: float = 1e-3,
        balance: str = "none",
        jitter: float = 0.1,
        symmetries: bool = True,
        sobel: str = "none",
    ) -> None:
        super().__init__(in_channels)
        check_rate(learning_rate)
        if alpha < 0 or not 0 <= decay < 1:
            raise ParameterError(
                f"alpha is {alpha} and decay {decay}, expected alpha of 0 or more and "
                "decay in [0, 1)"
            )
        self.alpha, self.decay, self.lam = alpha, decay, lam
        self.half_width, self.learning_rate = half_width, learning_rate
        self.photometric = Photometric.of_strength(jitter)
        self.symmetries = symmetries
        self.balance_by(balance)
        self.build(classes, trunk=trunk, width=width, sobel=sobel)
        self.heads["over"] = over_clusters
        check_heads(self.heads)
        self.classes = PixelHead(self.trunk.out_channels, classes)
        self.over = SubHeads(self.trunk.out_channels, over_clusters)
        self.learner = nn.ModuleDict(
            {name: copy.deepcopy(self.get_submodule(name)) for name in AVERAGED}
        )
        for name in AVERAGED:
            self.get_submodule(name).requires_grad_(False)
        self.register_buffer("steps", torch.zeros((), dtype=torch.long))

    def configure_optimizer(self) -> torch.optim.Optimizer:
        """Adam, of the network that learns."""
        return torch.optim.Adam(self.learner.parameters(), lr=self.learning_rate)

    def start_from(self, other: Method) -> None:
        """Copy the trunk, and the over-clustering head if it has the same shapes."""
        super().start_from(other)
        over = self.over.state_dict()
        found = {
            name.removeprefix("over."): weights
            for name, weights in other.state_dict().items()
            if name.startswith("over.")
        }
        if _shapes(found) == _shapes(over):
            self.over.load_state_dict(found)
        for name in AVERAGED:
            own = self.get_submodule(name).state_dict()
            self.learner.get_submodule(name).load_state_dict(own)

    def probabilities(self, image: Tensor, valid: Tensor, head: str) -> Tensor:
        """Return ``(N, K, H, W)`` probabilities of the classes or the clusters."""
        return self.head_probabilities(image, valid, (head,))[head]

    def head_probabilities(
        self, image: Tensor, valid: Tensor, heads: Sequence[str]
    ) -> dict[str, Tensor]:
        """Return the probabilities of several heads from one set of features."""
        features, size = self.features(image, valid), image.shape[-2:]
        return {
            head: full_size_softmax(self.get_submodule(head)(features), size)
            for head in heads
        }

    def training_step(self, batch: PatchBatch, context: StepContext) -> StepOutput:
        """Return the cross-entropy of the labels plus α times IIC's loss of all."""
        if context.step:
            self._follow()
        key = {"epoch": context.epoch, "seed": context.seed}
        image = self.photometric(batch.image, batch.valid, batch.index, **key)
        view = GeometricView.draw(
            batch.index,
            epoch=context.epoch,
            seed=context.seed,
            symmetries=self.symmetries,
        )
        image, valid = view.apply(image, batch.valid)
        mask = apply_symmetry(known_mask(batch), view.codes)
        features = self._learned_features(image, valid)
        size = (image.shape[2], image.shape[3])
        logits = upsample(self.learner["classes"](features), size)
        loss = labelled_cross_entropy(logits, mask, self.class_weights)
        parts, areas = {"supervised": loss.detach()}, {}
        if self.alpha:
            found = self._information(batch, features, partial(view.undo, valid=valid))
            parts["information"] = found.loss.detach()
            areas = dict(found.areas)
            loss = loss + self.alpha * found.loss
        logs, areas["classes"] = class_numbers(softmax(logits.detach()), valid)
        return StepOutput(loss, parts | logs, areas)

    def finish(self, batches: Batches) -> None:
        """Add the last step's weights to the running means."""
        self._follow()

    def _information(
        self, batch: PatchBatch, others: Tensor, undo: "partial[Tensor]"
    ) -> StepOutput:
        """Compare the patches as they are with the features of their second views."""
        over = self.learner["over"]
        assert isinstance(over, SubHeads)
        # A call of its own, so that each view has batch statistics of its own.
        features = self._learned_features(batch.image, batch.valid)
        return compare_views(
            "over",
            over,
            (features, others),
            batch.valid,
            undo,
            half_width=self.half_width,
            lam=self.lam,
        )

    def _learned_features(self, image: Tensor, valid: Tensor) -> Tensor:
        bands = self.whitened(image)
        inputs = with_gradients(image, valid, self.sobel, bands=bands)
        features: Tensor = self.learner["trunk"](inputs)
        return features

    @torch.no_grad()
    def _follow(self) -> None:
        """Add the weights of the last step to the running means.

        With the decay that a plain mean over t steps has, 1 - 1 / t, until that is the
        larger one: so the random start does not linger.
        """
        steps = self.get_buffer("steps")
        steps += 1
        share = (1 / steps.double()).clamp(min=1 - self.decay)
        for name in AVERAGED:
            learned = self.learner.get_submodule(name).state_dict()
            for key, mean in self.get_submodule(name).state_dict().items():
                if mean.is_floating_point():
                    mean.lerp_(learned[key], share.to(mean.dtype))
                else:
                    mean.copy_(learned[key])


def _shapes(state: dict[str, Tensor]) -> dict[str, tuple[int, ...]]:
    return {name: tuple(tensor.shape) for name, tensor in state.items()}
