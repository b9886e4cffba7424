"""How a network is asked: how exactly it computes, and whether from all sides."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from geoseg.core.errors import ParameterError
from geoseg.methods.views.symmetries import apply_symmetry, invert_symmetry

#: Maps ``(N, channels, H, W)`` and ``(N, H, W)`` bool to ``(N, K, H, W)`` by head.
Predict = Callable[[Tensor, Tensor], Mapping[str, Tensor]]

Precision = Literal["32-true", "bf16-mixed"]

#: Images that go through a network at once on a CPU. The features of more fall out of
#: its caches: eight at once take the vgg 1.4 times as long.
CPU_IMAGES = 2

_SYMMETRIES = 8
# Probabilities of the eight views are summed as integers: the same sum in any order, so
# that a turned image gives the turned result to the bit. Eight times this fit in int32
# with a bit to spare.
_ONE = 2**27


@dataclass(frozen=True)
class Inference:
    """How a network is asked for probabilities.

    Attributes:
        precision: ``32-true``, or ``bf16-mixed``: layers compute in bfloat16 where that
            is safe, as in training. Probabilities are float32 always.
        symmetries: Average over the eight turns and mirrors of an image; takes eight
            times as long, and needs square images.
    """

    precision: Precision = "32-true"
    symmetries: bool = False

    def check(self, device: torch.device) -> None:
        """Refuse what does not pay.

        Raises:
            ParameterError: If the precision is half and the device no GPU.
        """
        if self.precision != "32-true" and device.type == "cpu":
            raise ParameterError(
                f"{self.precision} is asked of a CPU, where it takes 1.5 to 2.5 times as "
                "long as 32-true, expected a GPU: add --device cuda or leave out "
                "--precision"
            )

    def __call__(
        self, predict: Predict, image: Tensor, valid: Tensor
    ) -> dict[str, Tensor]:
        """Ask a network for ``(N, K, H, W)`` float32 probabilities by head.

        Raises:
            ShapeError: If the symmetries of images that are not square are wanted.
        """
        cast = (
            torch.autocast(image.device.type, torch.bfloat16)
            if self.precision == "bf16-mixed"
            else nullcontext()
        )
        with cast:
            if self.symmetries:
                return _average(predict, image, valid)
            return {head: it.float() for head, it in predict(image, valid).items()}


def _average(predict: Predict, image: Tensor, valid: Tensor) -> dict[str, Tensor]:
    """Average the probabilities of eight views, each brought back."""
    sums: dict[str, Tensor] = {}
    for code in range(_SYMMETRIES):
        codes = torch.full((len(image),), code, device=image.device)
        found = predict(apply_symmetry(image, codes), apply_symmetry(valid, codes))
        for head, probability in found.items():
            share = (invert_symmetry(probability.float(), codes) * _ONE).int()
            sums[head] = sums[head].add_(share) if head in sums else share
    return {head: it.float() / (_SYMMETRIES * _ONE) for head, it in sums.items()}


def in_parts(image: Tensor, valid: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Cut a batch into what a network is fastest with on the batch's device."""
    size = CPU_IMAGES if image.device.type == "cpu" else max(len(image), 1)
    return zip(torch.split(image, size), torch.split(valid, size), strict=True)


def joined(parts: Sequence[Tensor]) -> Tensor:
    """Put together what parts of a batch gave."""
    return parts[0] if len(parts) == 1 else torch.cat(list(parts))
