"""Crops of patches, enlarged to the patch's size again."""

from dataclasses import dataclass

import torch
from torch import Tensor

from geoseg.core.errors import ParameterError
from geoseg.methods.views import hashing
from geoseg.methods.views.affine import WHOLE, warp


def check_crop(smallest: float) -> None:
    """Raise if the smallest share of a crop's side is out of range.

    Raises:
        ParameterError: If it is not above 0 and at most 1.
    """
    if not 0 < smallest <= 1:
        raise ParameterError(f"crop is {smallest}, expected above 0 and at most 1")


@dataclass(frozen=True, eq=False)
class Crop:
    """Part of each patch that a view shows, with the patch's aspect ratio.

    The box is one of the ground, not of pixels: an image and a feature map of it, of
    whatever stride, are cropped alike, without rounding to the stride.

    Attributes:
        share: ``(N,)`` in (0, 1], side of the box over that of the patch.
        middle: ``(N, 2)``, from the patch's middle to the box's, over the patch's width
            (to the right) and height (downwards).
    """

    share: Tensor
    middle: Tensor

    @classmethod
    def draw(
        cls,
        index: Tensor,
        *,
        smallest: float,
        epoch: int,
        seed: int,
        stream: int = 0,
    ) -> "Crop | None":
        """Draw a crop for each patch: its side evenly, then its place evenly.

        Args:
            index: ``(N,)`` long, number of each patch within its epoch.
            smallest: Least share of a side, in (0, 1].
            epoch: Number of the epoch.
            seed: Of the run.
            stream: Number of the view, where several are drawn.

        Returns:
            None where there is nothing to draw, with ``smallest`` 1.

        Raises:
            ParameterError: If ``smallest`` is out of range.
        """
        check_crop(smallest)
        if smallest == 1:
            return None
        state = hashing.states(
            index, epoch=epoch, seed=seed, view=stream, use=hashing.CROP
        )
        draws = hashing.uniform(state, 3)  # in [0, 1)
        share = smallest + (1 - smallest) * draws[:, 0]
        return cls(share, (draws[:, 1:] - 0.5) * (1 - share[:, None]))

    def apply(self, x: Tensor) -> Tensor:
        """Enlarge the boxes to the size of the patches, with bilinear interpolation.

        Args:
            x: ``(N, C, H, W)`` float, images or feature maps.

        Returns:
            ``(N, C, H, W)``, float32 at least; differentiable.
        """
        height, width = x.shape[2:]
        zero = torch.zeros_like(self.share)
        right, down = self.middle[:, 0] * width, self.middle[:, 1] * height
        rows = [
            torch.stack([self.share, zero, right], 1),
            torch.stack([zero, self.share, down], 1),
        ]
        # A box ends with the patch at most, half a pixel beyond the outermost centres.
        return warp(x, torch.stack(rows, 1), outside="reflection")

    def apply_valid(self, valid: Tensor) -> Tensor:
        """Return which pixels of the view are made of valid pixels alone.

        Args:
            valid: ``(N, H, W)`` bool, of the patches or of their feature maps.
        """
        return self.apply(valid[:, None].float())[:, 0] >= WHOLE
