"""Loss of two views: the mutual information of their clusters."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from geoseg.methods.bases.method import StepOutput
from geoseg.methods.losses.information import mutual_information
from geoseg.methods.networks.heads import SubHeads, softmax, upsample
from geoseg.methods.pixels import cluster_areas, mean_confidence


def compare_views(
    name: str,
    module: SubHeads,
    features: tuple[Tensor, Tensor],
    valid: Tensor,
    undo: Callable[[Tensor], Tensor],
    *,
    half_width: int,
    lam: float,
    collapsed: bool = False,
    softmax_first: bool = False,
) -> StepOutput:
    """Return the mean loss of a head's sub-heads, and the logs of the chosen one.

    Records the losses in the module, which chooses the sub-head by them.

    Args:
        name: Name of the head, for its areas.
        module: The head.
        features: ``(N, D, h, w)`` of the first view and of the second.
        valid: ``(N, H, W)`` bool of the first view.
        undo: Maps ``(N, K, H, W)`` of the second view to the first one's coordinates.
        half_width: T, largest displacement in pixels.
        lam: Weight of the marginal entropies.
        collapsed: Sum the joints of all displacements before taking the information.
        softmax_first: Take the softmax before the upsampling.
    """
    size = valid.shape[-2:]
    losses, numbers, areas = [], [], []
    for sub_head in range(module.count):
        x, y = (
            full_size_softmax(module(each, sub_head), size, first=softmax_first)
            for each in features
        )
        information = mutual_information(
            x, undo(y), valid, half_width=half_width, lam=lam, collapsed=collapsed
        )
        losses.append(information.loss)
        confidence = mean_confidence(x, valid)
        numbers.append(torch.stack([*information[1:], confidence]))
        areas.append(cluster_areas(x.detach(), valid))
    loss = torch.stack(losses)
    module.note(loss.detach())
    chosen = module.chosen()
    names = ("loss_at_one", "entropy", "confidence")
    logs = dict(zip(names, torch.stack(numbers)[chosen], strict=True))
    return StepOutput(loss.mean(), logs, {name: torch.stack(areas)[chosen]})


def full_size_softmax(
    logits: Tensor, size: Sequence[int], *, first: bool = False
) -> Tensor:
    """Return ``(N, K, H, W)`` probabilities of ``(N, K, h, w)`` logits.

    Args:
        logits: At the trunk's resolution.
        size: ``H`` and ``W``.
        first: Take the softmax before the upsampling.
    """
    shape = (size[0], size[1])
    if first:
        return upsample(softmax(logits), shape)
    return softmax(upsample(logits, shape))
