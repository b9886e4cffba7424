"""Cross-entropy with the labels of a mask."""

import torch
import torch.nn.functional as F
from torch import Tensor

from geoseg.core.errors import ShapeError
from geoseg.core.patches import IGNORE
from geoseg.core.processes import sum_over_ranks, world_size


def pixel_cross_entropy(
    logits: Tensor, mask: Tensor, weights: Tensor | None = None
) -> Tensor:
    """Return minus the log probability of the labels, summed, per pixel of the batch.

    Pixels without a label count in the number of pixels, with a loss of 0: so the loss
    of a batch is the mean of those of its patches, however the labels lie, and what
    several devices or accumulated batches compute adds up exactly.

    Args:
        logits: ``(N, C, H, W)``.
        mask: ``(N, H, W)`` long, class ids, :data:`~geoseg.core.patches.IGNORE` where there
            is no label.
        weights: ``(C,)`` of the classes; None for ones.

    Returns:
        Scalar, 0 without labels, with a gradient all the same.

    Raises:
        ShapeError: If the two do not belong together.
    """
    return _summed(logits, mask, weights) / mask.numel()


def labelled_cross_entropy(
    logits: Tensor, mask: Tensor, weights: Tensor | None = None
) -> Tensor:
    """Return the same per labelled pixel: the loss where few patches have labels.

    The labelled pixels are those of the batches of all processes of a distributed run,
    whose mean gradient is that of one process with all patches.

    Args:
        logits: As :func:`pixel_cross_entropy`.
        mask: Likewise.
        weights: Likewise.

    Returns:
        Scalar, 0 without labels, with a gradient all the same.

    Raises:
        ShapeError: If the two do not belong together.
    """
    total = _summed(logits, mask, weights)
    count = sum_over_ranks((mask != IGNORE).sum())
    return total * world_size() / count.clamp(min=1)


def _summed(logits: Tensor, mask: Tensor, weights: Tensor | None) -> Tensor:
    n, _, h, w = logits.shape
    if mask.shape != (n, h, w):
        raise ShapeError(
            f"mask has shape {tuple(mask.shape)}, expected {(n, h, w)} of the logits"
        )
    wide = logits if logits.dtype == torch.float64 else logits.float()
    weights = None if weights is None else weights.to(wide)
    return F.cross_entropy(wide, mask, weights, ignore_index=IGNORE, reduction="sum")
