"""Read and write model files: safetensors weights with a JSON card."""

import hashlib
import json
import math
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from geoseg.core.aside import replacing
from geoseg.core.errors import (
    MatchingError,
    ModelFileError,
    OutputError,
    ParameterError,
)
from geoseg.methods import build_method
from geoseg.methods.bases.method import Method
from geoseg.model.card import CARD_KEY, ModelCard, load_card
from geoseg.model.inference import Inference, in_parts, joined
from geoseg.model.matching import ClassRule
from geoseg.model.thresholds import move_threshold

#: Models with widths and numbers of clusters up to this are built directly.
MODEST_SIZE = 256


@dataclass(frozen=True, eq=False)
class Model:
    """A method with its card, which predicts class probabilities of images.

    It uses the weights that the method has at the first prediction.
    """

    method: Method
    card: ModelCard
    inference: Inference = Inference()

    def to(self, device: str) -> "Model":
        """Return the model on a device; its inputs are moved there automatically.

        Raises:
            ParameterError: If the device does not exist.
        """
        try:
            return replace(self, method=self.method.to(device))
        except (RuntimeError, AssertionError) as error:
            raise ParameterError(
                f"there is no device {device!r} here ({error}): choose --device cpu"
            ) from error

    @property
    def learned_classes(self) -> bool:
        """Whether the card's head predicts classes that it learned from labels."""
        return self.card.head == self.method.class_head

    def save(self, path: str | Path) -> None:
        """Write the model file, as :func:`save_model` does."""
        save_model(Path(path), self)

    def with_card(self, **changes: Any) -> "Model":
        """Return a model with the same weights and a changed card."""
        return replace(self, card=replace(self.card, **changes))

    def with_inference(self, inference: Inference) -> "Model":
        """Return the model with other inference options.

        Raises:
            ParameterError: If they are slow on its device.
        """
        inference.check(self._device)
        return replace(self, inference=inference)

    @cached_property
    def _predictor(self) -> Method:
        return self.method.for_prediction()

    @property
    def _device(self) -> torch.device:
        return torch.device(next(iter(self.method.state_dict().values())).device)

    def head_probabilities(
        self, image: Tensor, valid: Tensor, heads: Sequence[str]
    ) -> dict[str, Tensor]:
        """Return the ``(N, K, H, W)`` cluster probabilities of several heads.

        Probabilities of learned classes are moved so that their threshold is 1/2.
        """
        predict = partial(self._predictor.predict_heads, heads=heads)
        ask = partial(self.inference, predict)
        both = image.to(self._device), valid.to(self._device)
        parts = [ask(*part) for part in in_parts(*both)]
        return {
            head: self.at_one_half(joined([part[head] for part in parts]), head)
            for head in heads
        }

    def at_one_half(self, probability: Tensor, head: str) -> Tensor:
        """Move the threshold of ``(N, K, H, W)`` to 1/2 if the head learned classes."""
        own = head == self.method.class_head
        matching = self.card.matchings.get(head) if own else None
        if matching is None or matching.threshold is None:
            return probability
        return move_threshold(probability, matching.threshold)

    def with_head(self, head: str) -> "Model":
        """Return the model with another head for prediction.

        Raises:
            ParameterError: If the method has no such head.
        """
        if head not in self.method.heads:
            raise ParameterError(
                f"the model has no head {head!r}, expected one of "
                f"{', '.join(self.method.heads)}"
            )
        return self.with_card(head=head)

    def cluster_probabilities(
        self, image: Tensor, valid: Tensor, head: str | None = None
    ) -> Tensor:
        """Return ``(N, K, H, W)`` cluster probabilities of a head."""
        name = head or self.card.head
        return self.head_probabilities(image, valid, (name,))[name]

    def require_matching(self, head: str | None = None) -> None:
        """Raise if the clusters of a head (by default the card's) have no classes.

        Raises:
            MatchingError: If the head has not been matched to classes.
        """
        name = head or self.card.head
        if name != self.method.class_head and name not in self.card.matchings:
            raise MatchingError(
                f"no cluster of head {name!r} has a class yet: run geoseg match with "
                "labelled tiles first"
            )

    def class_probabilities(
        self, image: Tensor, valid: Tensor, head: str | None = None
    ) -> Tensor:
        """Return ``(N, C, H, W)`` class scores that sum to one over C.

        The probabilities of all clusters of a class are summed, or weighted with the
        class shares. Their :meth:`rule` makes probabilities and classes of them.

        Raises:
            MatchingError: If the head has not been matched to classes.
        """
        name = head or self.card.head
        both = image.to(self._device), valid.to(self._device)
        # part by part: joining classes takes less memory than joining clusters
        return joined([self._part_scores(*part, name) for part in in_parts(*both)])

    def _part_scores(self, image: Tensor, valid: Tensor, head: str) -> Tensor:
        """Return the class scores of a part of a batch."""
        if not self.method.hard:
            return self.fold(self.cluster_probabilities(image, valid, head), head)
        self.require_matching(head)
        folded = partial(self._fold_ids, head=head)
        return self.inference(folded, image, valid)[head]

    def _fold_ids(self, image: Tensor, valid: Tensor, head: str) -> dict[str, Tensor]:
        """Return the class scores of the clusters of a hard method, by head."""
        ids = self._predictor.cluster_ids(image, valid, head)  # (N, H, W)
        scores = self.card.matchings[head].matrix.to(image)[ids]  # (N, H, W, C)
        return {head: scores.permute(0, 3, 1, 2).contiguous()}

    def cluster_ids(self, image: Tensor, valid: Tensor, head: str) -> Tensor:
        """Return the ``(N, H, W)`` long cluster ids of a hard method."""
        both = image.to(self._device), valid.to(self._device)
        return joined(
            [self._predictor.cluster_ids(*part, head) for part in in_parts(*both)]
        )

    def fold(self, clusters: Tensor, head: str | None = None) -> Tensor:
        """Sum ``(N, K, H, W)`` cluster probabilities to ``(N, C, H, W)`` class scores.

        The output of a head that learned classes is returned unchanged.

        Raises:
            MatchingError: If the head has not been matched to classes.
        """
        name = head or self.card.head
        if name == self.method.class_head:
            return clusters
        self.require_matching(name)
        fold = self.card.matchings[name].matrix.to(clusters)  # (K, C)
        folded = clusters.permute(0, 2, 3, 1) @ fold  # (N, H, W, C)
        return folded.permute(0, 3, 1, 2).contiguous()

    def decided(self, scores: Tensor) -> Tensor:
        """Return probabilities of ``(N, C, H, W)`` class scores, without smoothing.

        The odds of two classes are moved so that the threshold is 1/2: the most probable
        class is that of a map without smoothing.
        """
        decision, prior, _ = self.rule(smooth=False)
        if decision is None:
            return scores
        if len(prior) > 2:
            balanced = (
                scores / scores.new_tensor(decision.divisors(prior))[:, None, None]
            )
            return balanced / balanced.sum(dim=1, keepdim=True)
        factors = math.exp(-decision.offset / 2), math.exp(decision.offset / 2)
        weighted = scores**decision.slope * scores.new_tensor(factors)[:, None, None]
        probability = weighted / weighted.sum(dim=1, keepdim=True)
        threshold = decision.threshold
        return (
            probability if threshold is None else move_threshold(probability, threshold)
        )

    def rule(self, *, smooth: bool = True) -> ClassRule:
        """Return what prediction does with the class scores of the card's head.

        Args:
            smooth: Smooth them, if the head has been matched for that.
        """
        matching = self.card.matchings.get(self.card.head)
        if matching is None or self.learned_classes:
            return ClassRule(None, ())
        return matching.rule(smooth=smooth)

    @property
    def has_scores(self) -> bool:
        """Whether the classes of pixels have graded probabilities."""
        return self.method.has_probabilities or self.rule().decision is not None


def save_model(path: Path, model: Model) -> None:
    """Write a model file, complete or not at all.

    Equal models give equal bytes.

    Raises:
        OutputError: If it cannot be written.
    """
    card = json.dumps(model.card.to_json(), sort_keys=True, allow_nan=False)
    weights = {
        name: tensor.detach().cpu().contiguous()
        for name, tensor in model.method.state_dict().items()
    }
    try:
        with replacing(path) as aside:
            # safetensors ignores the umask and makes its files private to their owner
            mode = aside.stat().st_mode
            save_file(weights, aside, metadata={CARD_KEY: card})
            aside.chmod(mode)
    except (SafetensorError, OSError) as error:
        raise OutputError.unwritable(path, error) from error


def load_model(path: Path) -> Model:
    """Read a model file, without executing anything in it.

    Raises:
        ModelFileError: If the file is absent, damaged or not written by geoseg, or its
            weights do not fit the method that its card names.
    """
    card = load_card(path)
    method = _empty_method(path, card)
    expected = method.state_dict()
    with safe_open(path, framework="pt") as file:
        stored = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}
        shapes = {name: tuple(tensor.shape) for name, tensor in expected.items()}
        if stored != shapes:
            names = sorted(set(stored.items()) ^ set(shapes.items()))
            raise ModelFileError(
                f"the weights of {path} do not fit its card, first at "
                f"{names[0][0]!r}: the file is damaged or was edited"
            )
        weights = {name: file.get_tensor(name) for name in shapes}
    for name, tensor in weights.items():
        if tensor.dtype != expected[name].dtype:
            raise ModelFileError(
                f"{name!r} in {path} is {tensor.dtype}, expected "
                f"{expected[name].dtype}: the file is damaged or was edited"
            )
        if not bool(tensor.isfinite().all()):
            raise ModelFileError(
                f"{name!r} in {path} is not finite, expected numbers: the file is "
                "damaged or its training diverged; train again"
            )
    method.load_state_dict(weights, assign=True)
    method.whiten(card.normalization.whitening)
    method.requires_grad_(False)
    if card.head not in method.heads:
        raise ModelFileError(
            f"the card of {path} names head {card.head!r}, the method has "
            f"{list(method.heads)}"
        )
    for head, matching in card.matchings.items():
        expected_size = (method.heads.get(head), len(card.class_names))
        if (matching.num_clusters, matching.num_classes) != expected_size:
            raise ModelFileError(
                f"the card of {path} matches {matching.num_clusters} clusters of head "
                f"{head!r} to {matching.num_classes} classes, the model has "
                f"{expected_size[0]} clusters and {expected_size[1]} classes"
            )
    return Model(method.eval(), card)


def _empty_method(path: Path, card: ModelCard) -> Method:
    """Build the method that a card names; its weights are still to be loaded.

    A card may name sizes that would fill the memory. So large sizes are built on the
    meta device, without memory, until the file is known to hold tensors of these
    shapes. The usual sizes are built directly: that device needs 2 s of imports.
    """
    channels = card.normalization.channels
    sizes = [v for v in card.parameters.values() if isinstance(v, int)]
    modest = max([channels, *sizes]) <= MODEST_SIZE
    try:
        with nullcontext() if modest else torch.device("meta"):
            return build_method(card.method, channels, card.parameters)
    except (RuntimeError, TypeError, ValueError, OverflowError) as error:
        # torch adds its C++ stack below the first line
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise ModelFileError(
            f"the card of {path} describes no known method: {reason}"
        ) from error


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file, as hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
