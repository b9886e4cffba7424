"""A symmetry and an affine map as one view, and their inverse."""

from dataclasses import dataclass

import torch
from torch import Tensor

from geoseg.methods.views.affine import Affine, invert_affine, warp, warp_valid
from geoseg.methods.views.symmetries import (
    apply_symmetry,
    draw_symmetries,
    invert_symmetry,
)


@dataclass(frozen=True, eq=False)
class GeometricView:
    """Geometric transforms of a batch: an affine map, then a symmetry.

    With the affine map A and the symmetry D the view shows ``patch(A D p)`` at p. What
    a network says of the view at p thus belongs to the point ``A D p`` of the patch, and
    :meth:`undo` shows ``D⁻¹ A⁻¹ q`` at q: the two do not commute. D moves whole pixels;
    A, where there is one, interpolates.

    Attributes:
        codes: ``(N,)`` long symmetries.
        matrices: ``(N, 2, 3)`` affine maps, or None for the identity.
    """

    codes: Tensor
    matrices: Tensor | None = None

    @classmethod
    def draw(
        cls,
        index: Tensor,
        *,
        epoch: int,
        seed: int,
        stream: int = 0,
        symmetries: bool = True,
        affine: Affine = Affine(),
    ) -> "GeometricView":
        """Draw a view for each patch.

        Args:
            index: ``(N,)`` long, number of each patch within its epoch.
            epoch: Number of the epoch.
            seed: Of the run.
            stream: Number of the view, where several are drawn.
            symmetries: Turn and mirror.
            affine: Strengths of the affine maps.
        """
        key = {"epoch": epoch, "seed": seed, "stream": stream}
        codes = draw_symmetries(index, **key)
        if not symmetries:
            codes = torch.zeros_like(codes)
        return cls(codes, affine.draw(index, **key))

    def apply(self, image: Tensor, valid: Tensor) -> tuple[Tensor, Tensor]:
        """Make the view.

        Args:
            image: ``(N, C, H, W)`` float.
            valid: ``(N, H, W)`` bool.

        Returns:
            Both as the view shows them. A pixel is valid if all that it was made of is;
            beyond the patch none is, and the image is continued by reflection, so that
            no black edge is there to be learned.

        Raises:
            ShapeError: If the shapes do not belong together, or a patch that is not
                square is to be turned by a quarter.
        """
        if self.matrices is not None:
            image = warp(image, self.matrices, outside="reflection")
            valid = warp_valid(valid, self.matrices)
        return apply_symmetry(image, self.codes), apply_symmetry(valid, self.codes)

    def undo(self, probabilities: Tensor, valid: Tensor) -> Tensor:
        """Map probabilities of the view back to the patch's coordinates.

        Args:
            probabilities: ``(N, K, H, W)``, of the view.
            valid: ``(N, H, W)`` bool, of the view, as :meth:`apply` returned it.

        Returns:
            ``(N, K, H, W)``. With an affine map the sum over K is the coverage: the
            weight in [0, 1] of the view's valid pixels at each place, 0 where the view
            does not reach. This is the soft mask of IIC, which its joint counts by.
        """
        if self.matrices is None:
            return invert_symmetry(probabilities, self.codes)
        seen = probabilities * valid[:, None].to(probabilities.dtype)
        return warp(invert_symmetry(seen, self.codes), invert_affine(self.matrices))
