"""Cross-entropy with the labels of a mask, per pixel or per labelled pixel."""

import torch
import torch.nn.functional as F
from torch import Tensor

from geoseg.core.errors import ShapeError
from geoseg.core.patches import IGNORE
from geoseg.core.processes import sum_over_ranks, world_size


def pixel_cross_entropy(
    logits: Tensor, mask: Tensor, weights: Tensor | None = None
) -> Tensor:
    """Return the cross-entropy of the labels, summed and divided by all pixels.

    Pixels without a label count with a loss of 0. So the loss of a batch is the mean over
    its patches, whatever their labels, and the losses of several devices or accumulated
    batches add up exactly.

    Args:
        logits: ``(N, C, H, W)``.
        mask: ``(N, H, W)`` long, class ids, :data:`~geoseg.core.patches.IGNORE` where there
            is no label.
        weights: ``(C,)`` weights of the classes; None for ones.

    Returns:
        Scalar; without labels 0, still differentiable.

    Raises:
        ShapeError: If the shapes do not match.
    """
    return _summed(logits, mask, weights) / mask.numel()


def labelled_cross_entropy(
    logits: Tensor, mask: Tensor, weights: Tensor | None = None
) -> Tensor:
    """Return the cross-entropy divided by the labelled pixels, where few have labels.

    Labelled pixels are counted over all processes of a distributed run, so that the mean
    of their gradients equals that of one process with all patches.

    Args:
        logits: As in :func:`pixel_cross_entropy`.
        mask: As in :func:`pixel_cross_entropy`.
        weights: As in :func:`pixel_cross_entropy`.

    Returns:
        Scalar; without labels 0, still differentiable.

    Raises:
        ShapeError: If the shapes do not match.
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
