"""Base classes of methods that learn the classes of labelled tiles."""

from collections.abc import Sequence
from typing import Literal, get_args

import torch
from torch import Tensor

from geoseg.core.errors import ParameterError
from geoseg.core.patches import IGNORE, PatchBatch
from geoseg.core.processes import sum_over_ranks
from geoseg.methods.bases.method import (
    CLASS_HEAD,
    Batches,
    Method,
    StepContext,
    check_heads,
)
from geoseg.methods.clustering.pseudo_labels import normalized_entropy
from geoseg.methods.losses.prototypes import balancing_weights
from geoseg.methods.networks import build_trunk
from geoseg.methods.networks.gradients import (
    check_sobel,
    sobel_channels,
    with_gradients,
)
from geoseg.methods.pixels import cluster_areas, mean_confidence

#: Weights of classes: by their pixels (``none``) or all equal (``inverse``).
ClassBalance = Literal["none", "inverse"]


class ClassMethod(Method):
    """Predicts classes instead of clusters, in a head that needs no matching.

    A subclass calls :meth:`build` in its ``__init__``.
    """

    uses_labels = True
    has_features = True
    labelled_share = 1.0
    label_free_choice = "the last checkpoint; no labels of other tiles are used"

    def build(self, classes: int, *, trunk: str, width: int, sobel: str) -> None:
        """Build the trunk, and define the head.

        Args:
            classes: C.
            trunk: One of :data:`geoseg.methods.networks.TRUNKS`.
            width: Width of the trunk.
            sobel: Gradient channels: left out, after the bands, or in their place.

        Raises:
            ParameterError: If a value is not among its choices or out of range.
        """
        self.heads = {CLASS_HEAD: classes}
        check_heads(self.heads)
        check_sobel(sobel)
        self.default_head = self.class_head = CLASS_HEAD
        self.sobel = sobel
        channels = sobel_channels(self.in_channels, sobel)
        self.trunk = build_trunk(trunk, channels, width=width)
        self.divisor = self.trunk.divisor

    @classmethod
    def parameters_of_data(
        cls, bands: Sequence[str], classes: Sequence[str]
    ) -> dict[str, str | int]:
        """Return the number of classes."""
        return {"classes": len(classes)}

    def features(self, image: Tensor, valid: Tensor) -> Tensor:
        """Return the trunk's ``(N, D, h, w)`` features."""
        bands = self.whitened(image)
        inputs = with_gradients(image, valid, self.sobel, bands=bands)
        features: Tensor = self.trunk(inputs)
        return features


class ClassLearner(ClassMethod):
    """Learns classes by optimiser steps, with equal class weights if requested.

    A subclass calls :meth:`balance_by` in its ``__init__``.

    Attributes:
        class_weights: ``(C,)`` weights in the loss, or None for ones. They follow from
            the labels in the first epoch's patches of the matching tiles.
    """

    def balance_by(self, balance: str) -> None:
        """Set the balance of the classes.

        Raises:
            ParameterError: If it is none of :data:`ClassBalance`.
        """
        check_class_balance(balance)
        self.balance = balance
        self.class_weights: Tensor | None = None

    def begin_epoch(self, context: StepContext, batches: Batches) -> None:
        """Count the classes in the first epoch, if they have equal weights."""
        if self.balance == "none" or self.class_weights is not None:
            return
        counts = torch.zeros(self.heads["classes"], dtype=torch.long)
        for batch in batches():
            labels = known_mask(batch)
            counts = counts.to(labels.device)
            counts += labels[labels != IGNORE].bincount(minlength=len(counts))
        self.class_weights = balancing_weights(sum_over_ranks(counts), self.balance)

    def epoch_state(self) -> dict[str, Tensor]:
        """Return the class weights."""
        weights = self.class_weights
        return {} if weights is None else {"class_weights": weights}

    def load_epoch_state(self, state: dict[str, Tensor]) -> None:
        """Restore the state from :meth:`epoch_state`."""
        self.class_weights = state.get("class_weights")


def check_class_balance(balance: str) -> None:
    """Raise if the class balance is unknown.

    Raises:
        ParameterError: If it is not in :data:`ClassBalance`.
    """
    if balance not in get_args(ClassBalance):
        raise ParameterError(
            f"balance is {balance!r}, expected one of {get_args(ClassBalance)}"
        )


def known_mask(batch: PatchBatch) -> Tensor:
    """Return the mask with labels only where pixels have data."""
    return batch.mask.masked_fill(~batch.valid, IGNORE)


def class_numbers(
    probabilities: Tensor, valid: Tensor
) -> tuple[dict[str, Tensor], Tensor]:
    """Return the logged ``entropy`` and ``confidence`` of a class head, and its areas."""
    areas = cluster_areas(probabilities.detach(), valid)
    logs = {
        "entropy": normalized_entropy(areas),
        "confidence": mean_confidence(probabilities, valid),
    }
    return logs, areas
