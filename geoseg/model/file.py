"""Read and write model files: safetensors weights with a JSON card."""

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

from geoseg.core.aside import replacing
from geoseg.core.errors import (
    MatchingError,
    ModelFileError,
    OutputError,
    ParameterError,
)
from geoseg.methods.bases.method import Method
from geoseg.model.card import CARD_KEY, ModelCard, load_card
from geoseg.model.codebooks import CodebookCard, combine
from geoseg.model.inference import Inference, in_parts, joined
from geoseg.model.matching import ClassRule
from geoseg.model.thresholds import move_threshold
from geoseg.model.weights import empty_method, load_weights


@dataclass(frozen=True, eq=False)
class Model:
    """A method with its card, which predicts class probabilities of images.

    It uses the weights that the method has at the first prediction.
    """

    method: Method
    card: ModelCard
    inference: Inference = Inference()
    books: Mapping[str, Method] = field(default_factory=dict)

    def to(self, device: str) -> "Model":
        """Return the model on a device; its inputs are moved there automatically.

        Raises:
            ParameterError: If the device does not exist.
        """
        try:
            books = {name: book.to(device) for name, book in self.books.items()}
            return replace(self, method=self.method.to(device), books=books)
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
        return joined([self._part_scores(i, v, name) for i, v in in_parts(*both)])

    def _part_scores(self, image: Tensor, valid: Tensor, head: str) -> Tensor:
        """Return the class scores of a part of a batch."""
        if not self.method.hard:
            own = self.fold(self.cluster_probabilities(image, valid, head), head)
            return self.named_together(own, image, valid, head)
        self.require_matching(head)
        own = self._hard_scores(
            self._predictor, self.card.matchings[head].matrix, head, image, valid
        )
        return self.named_together(own, image, valid, head)

    def _hard_scores(
        self, method: Method, shares: Tensor, head: str, image: Tensor, valid: Tensor
    ) -> Tensor:
        """Return the ``(N, C, H, W)`` class scores of a hard method's clusters."""
        shares = shares.to(image)  # (K, C)

        def folded(image: Tensor, valid: Tensor) -> dict[str, Tensor]:
            ids = method.cluster_ids(image, valid, head)  # (N, H, W)
            return {head: shares[ids].permute(0, 3, 1, 2).contiguous()}

        return self.inference(folded, image, valid)[head]

    def named_together(
        self, scores: Tensor, image: Tensor, valid: Tensor, head: str
    ) -> Tensor:
        """Return the class scores of a head together with those of the codebooks.

        The scores themselves if the head is not named together with codebooks.
        """
        together = self.card.combined
        if together is None or together.head != head:
            return scores
        books = [book for book in self.card.codebooks if book.weight]
        weights = [together.weight, *(book.weight for book in books)]
        batch = scores, image.to(self._device), valid.to(self._device)
        return joined(
            [
                combine([own, *self._of_books(books, *part)], weights, together.prior)
                for own, *part in in_parts(*batch)
            ]
        )

    def _of_books(
        self, books: Sequence[CodebookCard], image: Tensor, valid: Tensor
    ) -> list[Tensor]:
        """Return the class scores of codebooks."""
        return [
            self._hard_scores(
                self.books[book.name], book.matching.matrix, book.head, image, valid
            )
            for book in books
            if book.matching is not None
        ]

    def cluster_ids(self, image: Tensor, valid: Tensor, head: str) -> Tensor:
        """Return the ``(N, H, W)`` long cluster ids of a hard method."""
        both = image.to(self._device), valid.to(self._device)
        return joined(
            [self._predictor.cluster_ids(i, v, head) for i, v in in_parts(*both)]
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

    def with_codebooks(self, books: Mapping[str, "Model"]) -> "Model":
        """Return the model with further clusterings, not named yet.

        Args:
            books: Models of hard methods on the same bands, by name.
        """
        cards = tuple(
            CodebookCard(
                name=name,
                method=book.card.method,
                parameters=book.card.parameters,
                head=book.card.head,
            )
            for name, book in books.items()
        )
        methods = {name: book.method for name, book in books.items()}
        return replace(self.with_card(codebooks=cards, combined=None), books=methods)

    def codebook(self, card: CodebookCard) -> "Model":
        """Return a codebook as a model of its own, named as its card says."""
        matchings = {} if card.matching is None else {card.head: card.matching}
        return replace(self, method=self.books[card.name], books={}).with_card(
            method=card.method,
            parameters=card.parameters,
            head=card.head,
            matchings=matchings,
            codebooks=(),
            combined=None,
        )

    def rule(self, *, smooth: bool = True) -> ClassRule:
        """Return what prediction does with the class scores of the card's head.

        Args:
            smooth: Smooth them, if the head has been matched for that.
        """
        together = self.card.combined
        if together is not None and together.head == self.card.head:
            return together.rule(smooth=smooth)
        matching = self.card.matchings.get(self.card.head)
        if matching is None or self.learned_classes:
            return ClassRule(None, ())
        return matching.rule(smooth=smooth)

    @property
    def jumps(self) -> bool:
        """Whether rounding may change the scores of single pixels much."""
        books = self.card.codebooks if self.card.combined is not None else ()
        used = [self.books[book.name].jumps for book in books if book.weight]
        return self.method.jumps or any(used)

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
        prefix + name: tensor.detach().cpu().contiguous()
        for prefix, method in {"": model.method, **_prefixed(model.books)}.items()
        for name, tensor in method.state_dict().items()
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
    channels = card.normalization.channels
    method = empty_method(path, card.method, channels, card.parameters)
    books = {
        book.name: empty_method(path, book.method, channels, book.parameters)
        for book in card.codebooks
    }
    load_weights(path, {"": method, **_prefixed(books)})
    for each in (method, *books.values()):
        each.whiten(card.normalization.whitening)
        each.requires_grad_(False).eval()
    _check_heads(path, card, method)
    return Model(method, card, books=books)


def _prefixed(books: Mapping[str, Method]) -> dict[str, Method]:
    """Return the methods of codebooks by the prefix of their weights in a file."""
    return {f"codebooks.{name}.": method for name, method in books.items()}


def _check_heads(path: Path, card: ModelCard, method: Method) -> None:
    """Raise if the card names heads or sizes that the method does not have."""
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


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file, as hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
