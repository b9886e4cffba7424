"""Majority control: the most common class everywhere, whatever the image."""

from collections.abc import Sequence

import torch
from torch import Tensor

from geoseg.core.errors import ParameterError
from geoseg.core.patches import IGNORE
from geoseg.methods.bases.method import Batches, Method, check_heads
from geoseg.methods.pixels import labelled_pixels, no_pixel


class Majority(Method):
    """Predicts the most common class of the labelled pixels, whatever the image shows.

    It gives the accuracy of a trivial map: where buildings are rare it is high, and the
    map shows none. Probabilities are the shares of the classes.

    Args:
        in_channels: Channels of the image.
        classes: C; by default as many as the labels have.
    """

    uses_labels = True
    gradient = False
    labelled_share = 1.0

    def __init__(self, in_channels: int, *, classes: int = 2) -> None:
        super().__init__(in_channels)
        self.heads = {"classes": classes}
        check_heads(self.heads)
        self.default_head = self.class_head = "classes"
        self.register_buffer("counts", torch.zeros(classes, dtype=torch.long))

    @classmethod
    def parameters_of_data(
        cls, bands: Sequence[str], classes: Sequence[str]
    ) -> dict[str, str | int]:
        """Return the number of classes."""
        return {"classes": len(classes)}

    def finish(self, batches: Batches) -> None:
        """Count the classes.

        Raises:
            ParameterError: If the labels have more classes than ``classes``.
            TrainingError: If no pixel has a label.
        """
        counts = self.get_buffer("counts")
        pixels = torch.zeros(IGNORE, dtype=torch.long)
        for batch in batches():
            labels = batch.mask[labelled_pixels(batch)].cpu()
            pixels += torch.bincount(labels, minlength=IGNORE)
        if pixels[len(counts) :].any():
            raise ParameterError(
                f"the labels have class {int(pixels.nonzero().max())}, expected ids "
                f"below classes={len(counts)}: leave out -p classes"
            )
        if not pixels.any():
            raise no_pixel("has a label")
        counts.copy_(pixels[: len(counts)])

    def probabilities(self, image: Tensor, valid: Tensor, head: str) -> Tensor:
        """Return the ``(N, C, H, W)`` shares of the classes, equal before fitting."""
        n, _, h, w = image.shape
        counts = self.get_buffer("counts").to(image.dtype)
        shares = torch.where(counts.any(), counts, torch.ones_like(counts))
        shares = shares / shares.sum()
        return shares[:, None, None].expand(n, -1, h, w).contiguous()
