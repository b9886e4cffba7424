"""Affine views: rotation, shear, scale and shift about the middle of a patch.

A map is a ``(2, 3)`` matrix that takes a pixel of the view to the point of the patch
that is shown there: ``q = M p + t``, with ``(x, y)`` offsets from the middle in pixels,
x to the right and y downwards. Pixel centres lie at 0.5 (``align_corners=False``).
"""

import math
from dataclasses import dataclass, fields
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from geoseg.core.errors import ParameterError, ShapeError
from geoseg.methods.views import hashing

#: Least weight of valid pixels in a warped one: it forgives the rounding of float32,
#: and next to nothing else.
WHOLE = 1 - 1e-3

_LIMITS = {
    "rotate": (0.0, 180.0),
    "shear": (0.0, 45.0),
    "scale": (1.0, 4.0),
    "translate": (0.0, math.inf),
}


@dataclass(frozen=True)
class Affine:
    """Random affine maps; the identity if all strengths are zero.

    Attributes:
        rotate: Largest angle in degrees, to either side.
        shear: Largest angle between the y axis and its place, in degrees.
        scale: Largest factor; drawn from ``1 / scale`` to ``scale``, evenly in its
            logarithm. The views show that many times more or less ground a side.
        translate: Largest shift in pixels, along both axes.

    Raises:
        ParameterError: If a strength is out of range.

    References:
        Ji, Henriques, Vedaldi. Invariant Information Clustering for Unsupervised Image
        Classification and Segmentation. ICCV 2019, https://arxiv.org/abs/1807.06653.
        Their code has these maps, without shift, at 30°, 10° and 0.8 to 1.2; no
        published segmentation took them.
    """

    rotate: float = 0.0
    shear: float = 0.0
    scale: float = 1.0
    translate: float = 0.0

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            low, high = _LIMITS[field.name]
            if not low <= value <= high or not math.isfinite(value):
                limit = f"in [{low:g}, {high:g}]" if high < math.inf else "at least 0"
                raise ParameterError(f"{field.name} is {value}, expected {limit}")

    def draw(
        self, index: Tensor, *, epoch: int, seed: int, stream: int = 0
    ) -> Tensor | None:
        """Draw a map for each patch.

        Args:
            index: ``(N,)`` long, number of each patch within its epoch.
            epoch: Number of the epoch.
            seed: Of the run.
            stream: Number of the view, where several are drawn.

        Returns:
            ``(N, 2, 3)`` float32; None where there is nothing to draw.
        """
        if self == Affine():
            return None
        state = hashing.states(
            index, epoch=epoch, seed=seed, view=stream, use=hashing.AFFINE
        )
        draws = 2 * hashing.uniform(state, 5) - 1  # in [-1, 1)
        angle, shear, scale, right, down = draws.unbind(1)
        angle = math.radians(self.rotate) * angle
        tilted = angle + math.radians(self.shear) * shear
        scale = (math.log(self.scale) * scale).exp()
        rows = [
            torch.stack([angle.cos() * scale, -tilted.sin() * scale], 1),
            torch.stack([angle.sin() * scale, tilted.cos() * scale], 1),
        ]
        shift = self.translate * torch.stack([right, down], 1)
        return torch.cat([torch.stack(rows, 1), shift[..., None]], 2)


def warp(
    x: Tensor,
    matrices: Tensor,
    *,
    outside: Literal["zeros", "reflection"] = "zeros",
) -> Tensor:
    """Warp each patch by its map, with bilinear interpolation.

    Args:
        x: ``(N, C, H, W)`` float.
        matrices: ``(N, 2, 3)``, as :meth:`Affine.draw` returns.
        outside: What is shown where the map leaves the patch.

    Returns:
        ``(N, C, H, W)``, float32 at least; differentiable in ``x``.

    Raises:
        ShapeError: If the shapes do not belong together.

    Example:
        >>> x = torch.tensor([[[[1.0, 2.0, 3.0]]]])
        >>> to_the_right = torch.tensor([[[1.0, 0.0, 1.0], [0.0, 1.0, 0.0]]])
        >>> warp(x, to_the_right).round().tolist()  # each shows its right neighbour
        [[[[2.0, 3.0, 0.0]]]]
    """
    if x.ndim != 4 or matrices.shape != (len(x), 2, 3):
        raise ShapeError(
            f"matrices have shape {tuple(matrices.shape)} beside patches of shape "
            f"{tuple(x.shape)}, expected (N, 2, 3) and (N, C, H, W)"
        )
    # A grid in bfloat16 would be off by whole pixels.
    with torch.autocast(x.device.type, enabled=False):
        x = x if x.dtype == torch.float64 else x.float()
        half = x.new_tensor([x.shape[3] / 2, x.shape[2] / 2])
        # From pixels to torch's coordinates, where the patch reaches from -1 to 1.
        linear = matrices[:, :, :2].to(x) * half / half[:, None]
        shift = matrices[:, :, 2:].to(x) / half[:, None]
        theta = torch.cat([linear, shift], 2)
        grid = F.affine_grid(theta, list(x.shape), align_corners=False)
        return F.grid_sample(
            x, grid, mode="bilinear", padding_mode=outside, align_corners=False
        )


def warp_valid(valid: Tensor, matrices: Tensor) -> Tensor:
    """Return which pixels of a warped patch are made of valid pixels alone.

    Args:
        valid: ``(N, H, W)`` bool.
        matrices: ``(N, 2, 3)``, as :meth:`Affine.draw` returns.

    Returns:
        ``(N, H, W)`` bool; False beyond the patch.
    """
    return warp(valid[:, None].float(), matrices)[:, 0] >= WHOLE


def invert_affine(matrices: Tensor) -> Tensor:
    """Return the inverse maps, ``p = M⁻¹ q - M⁻¹ t``, of ``(N, 2, 3)`` maps."""
    a, b, c, d = matrices[:, :, :2].flatten(1).unbind(1)
    rows = [torch.stack([d, -b], 1), torch.stack([-c, a], 1)]
    inverse = torch.stack(rows, 1) / (a * d - b * c)[:, None, None]
    shift = -(inverse * matrices[:, None, :, 2]).sum(2, keepdim=True)
    return torch.cat([inverse, shift], 2)
