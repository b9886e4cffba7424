"""Codebooks: clusterings of the same pixels that are named together.

A model may carry further clusterings beside its network's, such as one of colours. Each
gives every pixel class scores; weighted log-odds add them up.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Annotated, Any

import torch
from torch import Tensor

from geoseg.core.errors import MatchingError
from geoseg.core.stored import Range, StoredError, typed
from geoseg.model.decisions import Decision, Smoothing
from geoseg.model.matching import ClassRule, Matching

#: Scores are kept this far from 0 and 1, so that no codebook decides alone.
SUREST = 0.001

_Weight = Annotated[float, Range(0.0, 1.0)]


@dataclass(frozen=True, kw_only=True)
class CodebookCard:
    """A further clustering of a model file.

    Attributes:
        name: In tables, such as ``colors``.
        method: In ``METHODS``.
        parameters: All of the method's.
        head: The head whose clusters are taken.
        matching: Class shares of its clusters; None before matching.
        weight: In the combination.
    """

    name: str
    method: str
    parameters: Mapping[str, Any]
    head: str
    matching: Matching | None = None
    weight: _Weight = 0.0

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {
            **{name: getattr(self, name) for name in ("name", "method", "head")},
            "parameters": dict(self.parameters),
            "matching": self.matching and self.matching.to_json(),
            "weight": self.weight,
        }

    @classmethod
    def from_json(cls, values: Any) -> "CodebookCard":
        """Rebuild a card from the values of :meth:`to_json`.

        Raises:
            StoredError, MatchingError: If a value is missing or malformed.
        """
        card = typed(values, _Stored)
        matching = card.matching and Matching.from_json(card.matching)
        return cls(**{**vars(card), "matching": matching})


@dataclass(frozen=True, kw_only=True)
class _Stored:
    """The values of a :class:`CodebookCard` in a file."""

    name: str
    method: str
    parameters: dict[str, Any]
    head: str
    matching: dict[str, Any] | None
    weight: _Weight


@dataclass(frozen=True)
class Combination:
    """How the scores of a model's head and of its codebooks become probabilities.

    Attributes:
        head: The head of the model's own method.
        weight: Of that head's scores.
        prior: ``C`` class shares over all labelled pixels.
        smoothing: Of the combined scores.
        smoothed: The decision on smoothed scores.
        plain: The decision on scores that are not smoothed.
        tried: Weights that were tried, as ``name 0.5, …`` → held-out IoU of building or,
            with more classes than two, mean IoU.
    """

    head: str
    weight: _Weight
    prior: tuple[float, ...]
    smoothing: Smoothing | None = None
    smoothed: Decision | None = None
    plain: Decision | None = None
    tried: Mapping[str, float] = field(default_factory=dict)

    def rule(self, *, smooth: bool = True) -> ClassRule:
        """Return what prediction does with the combined scores."""
        if smooth and self.smoothing is not None and self.smoothed is not None:
            return ClassRule(self.smoothed, self.prior, self.smoothing)
        return ClassRule(self.plain, self.prior)

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {**asdict(self), "prior": list(self.prior)}

    @classmethod
    def from_json(cls, values: Any) -> "Combination":
        """Rebuild a combination from the values of :meth:`to_json`.

        Raises:
            MatchingError: If a value is missing or malformed.
        """
        try:
            return typed(values, cls)
        except StoredError as error:
            raise MatchingError(
                f"the stored combination is damaged ({error}): run `geoseg match` again"
            ) from error


def combine(
    scores: Sequence[Tensor], weights: Sequence[float], prior: Sequence[float]
) -> Tensor:
    """Add up the weighted log-odds of several class scores.

    ``log p = log π + Σ w_b (log s_b - log π)``, scaled to sum to one. A single codebook of
    weight 1 keeps its scores, bit for bit.

    Args:
        scores: ``(N, C, …)`` of each codebook, summing to one over C.
        weights: Of each codebook, with a sum of 1 at most: what several codebooks know
            alike must not count twice.
        prior: ``C`` class shares, all above 0.

    Returns:
        ``(N, C, …)``, sums to one over C.
    """
    used = [(s, w) for s, w in zip(scores, weights, strict=True) if w]
    if len(used) == 1 and used[0][1] == 1:
        return used[0][0]
    first = scores[0]
    shape = (1, -1, *[1] * (first.ndim - 2))
    base = torch.tensor(prior, dtype=first.dtype, device=first.device)
    base = base.clamp(min=SUREST).log().reshape(shape)
    total = base
    for own, weight in used:
        sure = own.clamp(SUREST, 1 - SUREST).log()
        total = total + weight * (sure - base)
    return total.expand(first.shape).softmax(dim=1)
