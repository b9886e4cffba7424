"""Base class of methods that label their own pixels by k-means, once per epoch."""

from collections.abc import Iterator

import torch
from torch import Tensor

from geoseg.core.errors import ParameterError, TrainingError
from geoseg.core.patches import PatchBatch
from geoseg.methods.bases.centroids import CentroidMethod
from geoseg.methods.bases.method import Batches, StepContext, check_rate
from geoseg.methods.clustering.pseudo_labels import (
    Seen,
    Targets,
    cluster_epoch,
    label_epoch,
    targets_from_state,
    targets_state,
)
from geoseg.methods.losses.prototypes import check_balance, check_similarity
from geoseg.methods.views.photometric import Photometric
from geoseg.methods.views.symmetries import draw_symmetries


class SelfLabelledMethod(CentroidMethod):
    """Clusters an epoch's features, and learns which cluster each pixel belongs to.

    A subclass calls :meth:`label_by` in its ``__init__``, after :meth:`build`, and defines
    its views in :meth:`see`. Labels and steps of an epoch have the same views.

    Attributes:
        targets: Head → its targets in the current epoch.
    """

    labels_epochs = True

    def label_by(
        self,
        *,
        learning_rate: float,
        balance: str,
        final: str,
        jitter: float,
        symmetries: bool,
        start_batches: int,
    ) -> None:
        """Set the parameters that all such methods have.

        Args:
            learning_rate: Above 0.
            balance: Balance of the clusters in the loss.
            final: Similarity of features and the final centroids.
            jitter: Strength of the photometric changes, 0 to 1.
            symmetries: Whether to rotate and mirror.
            start_batches: Number of batches that k-means starts from.

        Raises:
            ParameterError: If a value is not among its choices or out of range.
        """
        check_rate(learning_rate)
        check_balance(balance)
        check_similarity(final)
        if start_batches < 1:
            raise ParameterError(
                f"start_batches is {start_batches}, expected 1 or more"
            )
        self.learning_rate, self.balance, self.final = learning_rate, balance, final
        self.photometric = Photometric.of_strength(jitter)
        self.symmetries, self.start_batches = symmetries, start_batches
        self.targets: dict[str, Targets] = {}

    def see(self, batch: PatchBatch, context: StepContext) -> Seen:
        """Return the features of the epoch's views of a batch."""
        raise NotImplementedError(f"{type(self).__name__} has no views")

    @torch.no_grad()
    def begin_epoch(self, context: StepContext, batches: Batches) -> None:
        """Cluster the features of each view and label all patches of the epoch."""

        def seen() -> Iterator[Seen]:
            return (self.see(batch, context) for batch in batches())

        self.train()  # batch statistics, as released with PiCIE
        centroids = cluster_epoch(
            seen(), self.heads, seed=self.seed, start_batches=self.start_batches
        )
        self.eval()
        self.targets = label_epoch(seen(), centroids, balance=self.balance)
        self.train()

    def epoch_targets(self) -> dict[str, Targets]:
        """Return the targets of the epoch.

        Raises:
            TrainingError: If no epoch has begun.
        """
        if not self.targets:
            raise TrainingError("no epoch has begun: call begin_epoch before a step")
        return self.targets

    def epoch_state(self) -> dict[str, Tensor]:
        """Return labels and centroids of the current epoch."""
        return targets_state(self.targets)

    def load_epoch_state(self, state: dict[str, Tensor]) -> None:
        """Restore the state from :meth:`epoch_state`."""
        self.targets = targets_from_state(state)

    def codes(self, index: Tensor, context: StepContext) -> Tensor:
        """Return the symmetry codes of patches in an epoch."""
        codes = draw_symmetries(index, epoch=context.epoch, seed=context.seed)
        return codes if self.symmetries else torch.zeros_like(codes)

    def recolored(
        self, batch: PatchBatch, context: StepContext, view: int = 0
    ) -> Tensor:
        """Return the patches with the photometric changes of a view."""
        return self.photometric(
            batch.image,
            batch.valid,
            batch.index,
            epoch=context.epoch,
            seed=context.seed,
            stream=view,
        )
