"""Base class of all segmentation methods."""

import copy
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import ClassVar, Literal, NamedTuple, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from geoseg.core.errors import ParameterError
from geoseg.core.patches import PatchBatch
from geoseg.core.whitening import Whitening, WhiteningLayer
from geoseg.methods.networks.trunk import Trunk

#: Returns the batches of one epoch from the start at each call.
Batches = Callable[[], Iterable[PatchBatch]]


#: Name of the class head in all methods that learn classes.
CLASS_HEAD = "classes"

#: Whether a training starts from another model: see :meth:`Method.start_from`.
Start = Literal["never", "may", "must"]


class StepContext(NamedTuple):
    """Position of a step in the training; with the patch index it keys all randomness.

    Attributes:
        epoch: Number of the pass over the patches, from 0.
        step: Number of optimiser steps made before this one.
        seed: The run's seed.
    """

    epoch: int
    step: int
    seed: int


class StepOutput(NamedTuple):
    """Result of a training step.

    Attributes:
        loss: Scalar to minimise.
        logs: Scalars to log, detached. ``entropy`` (marginal entropy over ln K) and
            ``confidence`` (mean highest probability) are shown while training, and
            reveal a collapse.
        areas: Head → ``(K,)`` float, each cluster's share of the valid pixels, detached;
            logged to ``areas.csv``. For the heads that the step trained; ``entropy`` and
            ``confidence`` are those of the last one.
    """

    loss: Tensor
    logs: dict[str, Tensor]
    areas: Mapping[str, Tensor] = MappingProxyType({})


class Method(nn.Module):
    """A segmentation method: a torch module with its loss and its outputs.

    A subclass builds every module and buffer in ``__init__`` from ``in_channels`` and
    plain JSON values; its ``state_dict()`` is all that prediction needs. A cluster id
    has the same meaning in every patch. It overrides :meth:`probabilities`, and
    :meth:`training_step` or :meth:`finish` according to how it learns.

    Attributes:
        uses_labels: Whether it reads ``PatchBatch.mask``.
        gradient: Whether it learns by optimiser steps; if not, only by :meth:`finish`.
        couples_batch: Whether its loss depends on the whole batch instead of being a mean
            over patches, so that parts of a batch do not add up to it.
        has_features: Whether a trunk computes features, see :meth:`features`.
        hard: Whether each pixel belongs to one cluster, see :meth:`cluster_ids`; then a head may
            have a thousand clusters.
        has_probabilities: Whether :meth:`predict` returns graded probabilities; if not,
            they are 0 or 1, and footprints have no score.
        labelled_share: Share of the patches that come from labelled tiles: 1 for training
            only on these. None: tiles count by their area, labelled or not.
        labels_epochs: Whether :meth:`begin_epoch` needs every patch of its epoch, to label
            them. Epochs are then short: see
            :data:`geoseg.core.patches.FIT_PATCHES`.
        start: Whether training may or must start from another model's trunk, see
            :meth:`start_from`.
        label_free_choice: How a checkpoint, and its predicting head, is chosen without
            labels; for ``geoseg methods``.
        choices: Parameter → its allowed values, for text parameters.
        jumps: Whether probabilities jump at a bound (the nearest centroid, a threshold),
            so that rounding may change single pixels.
        heads: Name of each output → its number of clusters K.
        default_head: The head that predicts by default.
        class_head: The head whose outputs are classes instead of clusters and need no
            matching; only methods with ``uses_labels`` have one.
        divisor: :meth:`probabilities` needs heights and widths that are multiples of it.
    """

    uses_labels: ClassVar[bool] = False
    gradient: ClassVar[bool] = True
    couples_batch: ClassVar[bool] = False
    has_features: ClassVar[bool] = False
    hard: ClassVar[bool] = False
    has_probabilities: ClassVar[bool] = True
    labelled_share: ClassVar[float | None] = None
    labels_epochs: ClassVar[bool] = False
    start: ClassVar[Start] = "never"
    label_free_choice: ClassVar[str] = "nothing to choose"
    choices: ClassVar[Mapping[str, Sequence[str]]] = MappingProxyType({})

    heads: dict[str, int]
    default_head: str
    class_head: str | None = None
    divisor: int = 1
    jumps: bool = False

    def __init__(self, in_channels: int) -> None:
        super().__init__()
        if in_channels < 1:
            raise ParameterError(f"in_channels is {in_channels}, expected at least 1")
        self.in_channels = in_channels
        self.whitening: WhiteningLayer | None = None

    @classmethod
    def parameters_of_data(
        cls, bands: Sequence[str], classes: Sequence[str]
    ) -> dict[str, str | int]:
        """Return the parameters that follow from the data by default.

        Args:
            bands: Name of each channel of the image, such as ``red`` or ``nir``.
            classes: Names of the labels' classes, ``background`` first.
        """
        return {}

    @classmethod
    def check_installed(cls) -> None:
        """Raise if a package is missing that training needs."""

    def whiten(self, whitening: Whitening | None) -> None:
        """Set the whitening from the model card; to be called after construction."""
        self.whitening = None if whitening is None else WhiteningLayer(whitening)

    def whitened(self, image: Tensor) -> Tensor:
        """Return the whitened bands, the input of networks and clusterings.

        Every method calls this once per image, after it has made its views.

        Args:
            image: ``(N, C, H, W)`` in [0, 1].

        Returns:
            The image itself, or ``(N, C, H, W)`` of about mean 0 and variance 1.
        """
        if self.whitening is None:
            return image
        whitened: Tensor = self.whitening(image)
        return whitened

    def probabilities(self, image: Tensor, valid: Tensor, head: str) -> Tensor:
        """Return ``(N, K, H, W)`` probabilities; H and W are multiples of divisor."""
        raise NotImplementedError(f"{type(self).__name__} does not predict")

    def cluster_ids(self, image: Tensor, valid: Tensor, head: str) -> Tensor:
        """Return the ``(N, H, W)`` long cluster ids of images of any size.

        Only methods that are ``hard`` have it. A thousand planes of probabilities would
        fill the memory.
        """
        raise NotImplementedError(f"{type(self).__name__} gives probabilities")

    def head_probabilities(
        self, image: Tensor, valid: Tensor, heads: Sequence[str]
    ) -> dict[str, Tensor]:
        """Return the :meth:`probabilities` of several heads, bit for bit.

        Methods whose heads share a trunk override it, to run the trunk once.
        """
        return {head: self.probabilities(image, valid, head) for head in heads}

    def features(self, image: Tensor, valid: Tensor) -> Tensor:
        """Return the trunk's ``(N, D, h, w)`` features, often smaller than the image.

        H and W are multiples of divisor. Only methods with ``has_features`` have features;
        probes and reports use them instead of the heads.
        """
        raise NotImplementedError(f"{type(self).__name__} has no trunk")

    def training_step(self, batch: PatchBatch, context: StepContext) -> StepOutput:
        """Return the loss of one batch; only methods with ``gradient`` have it."""
        raise NotImplementedError(f"{type(self).__name__} has no training step")

    def start_from(self, other: "Method") -> None:
        """Copy the weights of another method's trunk, which is the same network.

        Args:
            other: A trained method with features.

        Raises:
            ParameterError: If it has no trunk, or another one.
        """
        weights = _trunk_weights(other)
        expected = _trunk_weights(self)
        shapes, own = (
            {name: tuple(tensor.shape) for name, tensor in state.items()}
            for state in (weights, expected)
        )
        if not weights or shapes != own:
            what = "another trunk" if weights else "no trunk"
            raise ParameterError(
                f"{type(other).__name__} has {what}, expected that of "
                f"{type(self).__name__}: start from a model of the same trunk and width"
            )
        self.load_state_dict(weights, strict=False)

    def configure_optimizer(self) -> torch.optim.Optimizer:
        """Return the optimiser of all trainable parameters."""
        raise NotImplementedError(f"{type(self).__name__} has no optimiser")

    def rate_factor(self, group: int, epoch: int) -> float:
        """Return a factor on a parameter group's learning rate, beside the schedule.

        Args:
            group: Index of the group in the optimiser.
            epoch: Number of the epoch.
        """
        return 1.0

    def begin_epoch(self, context: StepContext, batches: Batches) -> None:
        """Prepare an epoch, for instance by clustering; not repeated on resume.

        Args:
            context: Of the epoch's first step.
            batches: All batches of the epoch, for methods with ``labels_epochs``; else as
                many as a fit needs.
        """

    def advice_on_collapse(self, head: str) -> str:
        """Return what to try when a head's clusters have collapsed, as text."""
        return "a lower learning rate, a larger --batch-size or more clusters"

    def epoch_state(self) -> dict[str, Tensor]:
        """Return the state that :meth:`begin_epoch` made for the epoch.

        It is stored in the checkpoint, so that a run can resume within an epoch, but not
        in the model file.
        """
        return {}

    def load_epoch_state(self, state: dict[str, Tensor]) -> None:
        """Restore the state from :meth:`epoch_state`."""

    def finish(self, batches: Batches) -> None:
        """Fit after the optimiser steps, or instead of them.

        Args:
            batches: Batches from all tiles, the same in every pass.
        """

    def for_prediction(self) -> Self:
        """Return the method with its trunk's :meth:`Trunk.for_prediction`.

        Itself if that changes nothing. The copy shares all else, and does not follow later
        changes of the weights.
        """
        trunk = self._modules.get("trunk")
        faster = trunk.for_prediction() if isinstance(trunk, Trunk) else trunk
        if faster is trunk:
            return self
        predictor = copy.copy(self)
        predictor._modules = {**self._modules, "trunk": faster}
        return predictor

    def predict(self, image: Tensor, valid: Tensor, head: str | None = None) -> Tensor:
        """Return cluster probabilities for images of any size.

        Args:
            image: ``(N, C, H, W)`` float, normalised as in training.
            valid: ``(N, H, W)`` bool.
            head: One of :attr:`heads`, or None for the default.

        Returns:
            ``(N, K, H, W)`` float in [0, 1], summing to one over K.

        Raises:
            ParameterError: If there is no such head.
        """
        name = self.default_head if head is None else head
        return self.predict_heads(image, valid, (name,))[name]

    def predict_traced(self, image: Tensor, valid: Tensor, head: str) -> Tensor:
        """Return the result of :meth:`predict` with operations that can be traced."""
        height, width = image.shape[-2:]
        planes = self.traced_probabilities(*self._padded(image, valid), head)
        return planes[..., :height, :width]

    def traced_probabilities(self, image: Tensor, valid: Tensor, head: str) -> Tensor:
        """Return the :meth:`probabilities`, up to rounding, with traceable operations.

        That means no numpy, and no branch or loop that depends on values or sizes. A method
        with other probabilities overrides it.
        """
        return self.probabilities(image, valid, head)

    def predict_heads(
        self, image: Tensor, valid: Tensor, heads: Sequence[str]
    ) -> dict[str, Tensor]:
        """Return the results of :meth:`predict` for several heads, in one pass.

        Args:
            image: ``(N, C, H, W)`` float, normalised as in training.
            valid: ``(N, H, W)`` bool.
            heads: Some of :attr:`heads`.

        Returns:
            Head → ``(N, K, H, W)``, bit for bit as from :meth:`predict`.

        Raises:
            ParameterError: If there is no such head.
        """
        for name in heads:
            if name not in self.heads:
                raise ParameterError(
                    f"there is no head {name!r}, expected one of {list(self.heads)}"
                )
        height, width = image.shape[-2:]
        image, valid = self._padded(image, valid)
        padded = self.head_probabilities(image, valid, heads)
        return {name: planes[..., :height, :width] for name, planes in padded.items()}

    def _padded(self, image: Tensor, valid: Tensor) -> tuple[Tensor, Tensor]:
        """Pad to multiples of the divisor by repeating border pixels, marked invalid."""
        height, width = image.shape[-2:]
        bottom, right = -height % self.divisor, -width % self.divisor
        if bottom or right:
            image = F.pad(image, (0, right, 0, bottom), mode="replicate")
            valid = F.pad(valid, (0, right, 0, bottom), value=False)
        return image, valid


def _trunk_weights(method: Method) -> dict[str, Tensor]:
    """Return the entries of a method's state that belong to its ``trunk``."""
    state = method.state_dict()
    return {name: state[name] for name in state if name.startswith("trunk.")}


#: Largest number of clusters of a head. Some hundreds can be matched on 50 tiles, and the
#: joint of IIC has their square for every displacement.
MOST_CLUSTERS = 4096


def check_heads(heads: Mapping[str, int]) -> None:
    """Raise if a head has too few or too many clusters.

    Raises:
        ParameterError: If a head has fewer than two clusters or more than
            :data:`MOST_CLUSTERS`.
    """
    for name, clusters in heads.items():
        if not 2 <= clusters <= MOST_CLUSTERS:
            raise ParameterError(
                f"head {name!r} has {clusters} clusters, expected 2 to {MOST_CLUSTERS}"
            )


def check_rate(learning_rate: float) -> None:
    """Raise if the learning rate is not positive.

    Raises:
        ParameterError: If it is not positive.
    """
    if learning_rate <= 0:
        raise ParameterError(
            f"learning_rate is {learning_rate}, expected more than 0, such as 0.001"
        )
