"""Whiten bands: map them to uncorrelated channels of unit variance.

Whitening comes after the views. Views change the colours of images in [0, 1] and clip
there; whitened values have no such range, and each mixes several bands. So the loader
gives images in [0, 1], the method makes its views of them, and then whitens the input
of its network (:meth:`geoseg.methods.bases.method.Method.whitened`), as with Sobel's
gradients. Mean and matrix are statistics of the split: they are stored in the
normalisation on the model card, and the network has no weights for them.
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

#: Whitening of a run: none, or zero-phase component analysis.
WhitenMode = Literal["none", "zca"]

#: Added to each variance before the square root. On channels in [0, 1] it is the
#: variance of a standard deviation of 0.01: smaller variation counts as noise and is
#: amplified a hundredfold at most.
EPSILON = 1e-4


@dataclass(frozen=True)
class Whitening:
    """A linear map of the channels that makes their covariance the identity.

    Attributes:
        mean: Per channel, subtracted first.
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
                    f"whitening has numbers {values}, expected finite numbers"
                )

    @classmethod
    def zca(
        cls,
        mean: np.ndarray[Any, Any],
        covariance: np.ndarray[Any, Any],
        *,
        epsilon: float = EPSILON,
    ) -> "Whitening":
        """Return the whitening that changes bands least: zero-phase component analysis.

        ``W = U diag(1 / sqrt(λ + ε)) Uᵀ`` with the eigenvectors ``U`` and eigenvalues
        ``λ`` of the covariance. It is symmetric: every channel stays close to its band.
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
        # exactly symmetric, and without rounding that varies between processors
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
        """Read the values of :meth:`to_json`.

        Raises:
            ParameterError: If the method is unknown, or the numbers do not fit.
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
    """A whitening as the first layer of a network, without learned weights.

    Its numbers are not in ``state_dict``: the model card holds them.
    """

    def __init__(self, whitening: Whitening) -> None:
        super().__init__()
        matrix = torch.tensor(whitening.matrix, dtype=torch.float64)
        bias = -matrix @ torch.tensor(whitening.mean, dtype=torch.float64)
        self.register_buffer("matrix", matrix.float()[..., None, None], False)
        self.register_buffer("bias", bias.float(), False)

    def forward(self, image: Tensor) -> Tensor:
        """Whiten ``(N, C, H, W)``, in float32 even under autocast.

        Raises:
            ShapeError: If the image has another number of channels.
        """
        matrix, bias = self.get_buffer("matrix"), self.get_buffer("bias")
        if image.shape[1] != len(bias):
            raise ShapeError(
                f"the image has {image.shape[1]} channels, expected {len(bias)} as the "
                "whitening has"
            )
        with torch.autocast(image.device.type, enabled=False):
            return F.conv2d(image.float(), matrix, bias)
