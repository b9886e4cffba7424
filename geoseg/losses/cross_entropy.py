"""Cross-entropy with the labels of a mask."""

import torch
import torch.nn.functional as F
from torch import Tensor

from geoseg.errors import ShapeError
from geoseg.patches import IGNORE


def pixel_cross_entropy(
    logits: Tensor, mask: Tensor, weights: Tensor | None = None
) -> Tensor:
    """Return minus the log probability of the labels, summed, per pixel of the batch.

    Pixels without a label count in the number of pixels, with a loss of 0: so the loss
    of a batch is the mean of those of its patches, however the labels lie, and what
    several devices or accumulated batches compute adds up exactly.

    Args:
        logits: ``(N, C, H, W)``.
        mask: ``(N, H, W)`` long, class ids, :data:`~geoseg.patches.IGNORE` where there
            is no label.
        weights: ``(C,)`` of the classes; None for ones.

    Returns:
        Scalar, 0 without labels, with a gradient all the same.

    Raises:
        ShapeError: If the two do not belong together.
    """
    n, _, h, w = logits.shape
    if mask.shape != (n, h, w):
        raise ShapeError(
            f"mask has shape {tuple(mask.shape)}, expected {(n, h, w)} of the logits"
        )
    wide = logits if logits.dtype == torch.float64 else logits.float()
    total = F.cross_entropy(wide, mask, weights, ignore_index=IGNORE, reduction="sum")
    return total / mask.numel()
