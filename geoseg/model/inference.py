"""Inference options: precision and averaging over symmetries."""

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

#: Images per pass through a network on a CPU. Some processors take other kernels for two
#: images, so that the last bits would depend on the batch; and the features of more
#: images do not fit into the caches: with eight, vgg takes 1.4 times as long per image.
CPU_IMAGES = 1

_SYMMETRIES = 8
# Integer steps per unit of probability. The eight views are summed as integers: the sum
# does not depend on their order, so a turned image gives exactly the turned result.
# Eight times this fits into int32.
_PROBABILITY_STEPS = 2**27


@dataclass(frozen=True)
class Inference:
    """Options of a network's inference.

    Attributes:
        precision: ``32-true``, or ``bf16-mixed``: layers compute in bfloat16 where that
            is safe, as in training. Probabilities are always float32.
        symmetries: Average over the eight rotations and reflections of an image; takes
            eight times as long and needs square images.
    """

    precision: Precision = "32-true"
    symmetries: bool = False

    def check(self, device: torch.device) -> None:
        """Raise if the options are slow on a device.

        Raises:
            ParameterError: For bfloat16 on a device other than a GPU.
        """
        if self.precision != "32-true" and device.type == "cpu":
            raise ParameterError(
                f"{self.precision} takes 1.5 to 2.5 times as long as 32-true on a CPU, "
                "expected a GPU: add --device cuda or leave out --precision"
            )

    def __call__(
        self, predict: Predict, image: Tensor, valid: Tensor
    ) -> dict[str, Tensor]:
        """Return ``(N, K, H, W)`` float32 probabilities by head.

        Raises:
            ShapeError: If symmetries are averaged and the images are not square.
        """
        cast = (
            torch.autocast(image.device.type, torch.bfloat16)
            if self.precision == "bf16-mixed"
            else nullcontext()
        )
        with cast:
            if self.symmetries:
                return _average(predict, image, valid)
            outputs = predict(image, valid)
            return {head: output.float() for head, output in outputs.items()}


def _average(predict: Predict, image: Tensor, valid: Tensor) -> dict[str, Tensor]:
    """Return the mean probabilities of the eight views, each turned back."""
    sums: dict[str, Tensor] = {}
    for code in range(_SYMMETRIES):
        codes = torch.full((len(image),), code, device=image.device)
        outputs = predict(apply_symmetry(image, codes), apply_symmetry(valid, codes))
        for head, probability in outputs.items():
            share = (
                invert_symmetry(probability.float(), codes) * _PROBABILITY_STEPS
            ).int()
            sums[head] = sums[head].add_(share) if head in sums else share
    steps = _SYMMETRIES * _PROBABILITY_STEPS
    return {head: total.float() / steps for head, total in sums.items()}


def in_parts(*batch: Tensor) -> Iterator[tuple[Tensor, ...]]:
    """Yield the tensors of a batch in parts of the size that is fastest on its device."""
    first = batch[0]
    size = CPU_IMAGES if first.device.type == "cpu" else max(len(first), 1)
    return zip(*(torch.split(tensor, size) for tensor in batch), strict=True)


def joined(parts: Sequence[Tensor]) -> Tensor:
    """Return the outputs of all parts as one batch."""
    return parts[0] if len(parts) == 1 else torch.cat(list(parts))
