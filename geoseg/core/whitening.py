"""Whitening across bands: channels of unit variance that do not go together.

Where it stands matters. Views change the colours of images in [0, 1] and clip there;
whitened values have no such range, and a gain of one band means nothing among mixtures
of bands. So the loader gives images in [0, 1], a method makes its views of them, and
whitens what its network sees (:meth:`geoseg.methods.bases.method.Method.whitened`), as with
Sobel's gradients. Mean and matrix are data of the split: they travel in the
normalisation on the model card, and no weight depends on them, so a model file without
whitening has the very weights that one with it has.
"""

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from geoseg.core.errors import ParameterError, ShapeError
from geoseg.core.stored import typed

#: How a run whitens: not at all, or by zero-phase component analysis.
WhitenMode = Literal["none", "zca"]

#: Added to each variance before its root is taken. On channels in [0, 1] it is the
#: variance of a deviation of one hundredth of the stretch: what varies less is taken
#: for noise and grows a hundredfold at most.
EPSILON = 1e-4


@dataclass(frozen=True)
class Whitening:
    """A linear map of the channels that makes their covariance the identity.

    Attributes:
        mean: Per channel, taken away first.
        matrix: ``C`` rows of ``C`` numbers.

    Raises:
        ParameterError: If the shapes differ or a number is not finite.
    """

    mean: tuple[float, ...]
    matrix: tuple[tuple[float, ...], ...]

    def __post_init__(self) -> None:
        count = len(self.mean)
        if [len(row) for row in self.matrix] != [count] * count:
            raise ParameterError(
                f"whitening has {count} means and rows of "
                f"{[len(row) for row in self.matrix]} numbers, expected {count} rows "
                f"of {count}"
            )
        for values in (self.mean, *self.matrix):
            if not all(math.isfinite(value) for value in values):
                raise ParameterError(
                    f"whitening has numbers {values}, expected finite ones"
                )

    @classmethod
    def zca(
        cls,
        mean: np.ndarray[Any, Any],
        covariance: np.ndarray[Any, Any],
        *,
        epsilon: float = EPSILON,
    ) -> "Whitening":
        """Zero-phase component analysis: of all whitenings the one that changes least.

        ``W = U diag(1 / sqrt(λ + ε)) Uᵀ`` with the eigenvectors ``U`` and eigenvalues
        ``λ`` of the covariance. Symmetric, so every channel stays the image of its band.
        Equal or constant bands (λ = 0) are scaled by ``1 / sqrt(ε)`` at most.

        Args:
            mean: ``(C,)``.
            covariance: ``(C, C)``, symmetric.
            epsilon: ε, above 0.

        References:
            Bell, Sejnowski. The "independent components" of natural scenes are edge
            filters. Vision Research 37, 1997.

        Example:
            >>> Whitening.zca(np.zeros(2), np.diag([4.0, 0.25]), epsilon=1e-12).matrix
            ((0.5, 0.0), (0.0, 2.0))
        """
        values, vectors = np.linalg.eigh(np.asarray(covariance, np.float64))
        # rounding may leave a singular covariance a negative eigenvalue
        scales = 1 / np.sqrt(np.maximum(values, 0) + epsilon)
        matrix = (vectors * scales) @ vectors.T
        # symmetric to the last bit, and free of what varies between processors
        matrix = np.round((matrix + matrix.T) / 2, 9) + 0.0
        return cls(
            tuple(np.asarray(mean, np.float64).tolist()),
            tuple(tuple(row) for row in matrix.tolist()),
        )

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values; :meth:`from_json` is the exact inverse."""
        return {
            "method": "zca",
            "mean": list(self.mean),
            "matrix": [list(row) for row in self.matrix],
        }

    @classmethod
    def from_json(cls, values: Any) -> "Whitening":
        """Read what :meth:`to_json` wrote.

        Raises:
            ParameterError: If it is of another method, or the numbers do not fit.
            StoredError: If a value is missing or malformed.
        """
        whitening, method = typed(values, cls), typed(values, _Stored).method
        if method != "zca":
            raise ParameterError(
                f"whitening is by {method!r}, expected 'zca': use a newer geoseg"
            )
        return whitening


@dataclass(frozen=True)
class _Stored:
    method: str


class WhiteningLayer(nn.Module):
    """A whitening as the first layer of a network; nothing in it is learned.

    Its numbers are no part of ``state_dict``: the model card holds them.
    """

    def __init__(self, whitening: Whitening) -> None:
        super().__init__()
        matrix = torch.tensor(whitening.matrix, dtype=torch.float64)
        bias = -matrix @ torch.tensor(whitening.mean, dtype=torch.float64)
        self.register_buffer("matrix", matrix.float()[..., None, None], False)
        self.register_buffer("bias", bias.float(), False)

    def forward(self, image: Tensor) -> Tensor:
        """Whiten ``(N, C, H, W)``, in float32 also where others compute in half.

        Raises:
            ShapeError: If the image has another number of channels.
        """
        matrix, bias = self.get_buffer("matrix"), self.get_buffer("bias")
        if image.shape[1] != len(bias):
            raise ShapeError(
                f"an image of {image.shape[1]} channels meets a whitening of "
                f"{len(bias)}, expected as many"
            )
        with torch.autocast(image.device.type, enabled=False):
            return F.conv2d(image.float(), matrix, bias)
