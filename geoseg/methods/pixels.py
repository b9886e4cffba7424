"""Pixels of patches as rows of a table, and statistics of their clusters."""

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from geoseg.core.errors import TrainingError
from geoseg.core.patches import IGNORE, PatchBatch


def one_hot_planes(ids: Tensor, clusters: int, dtype: torch.dtype) -> Tensor:
    """Return ``(N, K, H, W)`` probabilities of 0 and 1 for ``(N, H, W)`` cluster ids."""
    return F.one_hot(ids, clusters).permute(0, 3, 1, 2).to(dtype)


def cluster_areas(probabilities: Tensor, valid: Tensor) -> Tensor:
    """Return each cluster's share of the valid pixels.

    Args:
        probabilities: ``(N, K, H, W)``; a pixel belongs to its most probable cluster.
        valid: ``(N, H, W)`` bool.

    Returns:
        ``(K,)`` float32 that sums to one; zeros if no pixel is valid.
    """
    ids = probabilities.argmax(dim=1).flatten()  # (N H W)
    counts = torch.zeros(probabilities.shape[1], dtype=torch.long, device=ids.device)
    # integer sums do not depend on the order of additions, which varies on a GPU
    counts.scatter_add_(0, ids, valid.flatten().long())
    return counts / counts.sum().clamp(min=1)


def mean_confidence(probabilities: Tensor, valid: Tensor) -> Tensor:
    """Return the mean highest probability over valid pixels, detached.

    Args:
        probabilities: ``(N, K, H, W)``.
        valid: ``(N, H, W)`` bool.
    """
    highest = probabilities.detach().amax(dim=1)
    return (highest * valid).sum() / valid.sum().clamp(min=1)


def shrink_valid(valid: Tensor, features: Tensor) -> Tensor:
    """Return which pixels of ``(N, D, h, w)`` features cover only valid pixels.

    Args:
        valid: ``(N, H, W)`` bool of the image, at least as large as the features.
        features: ``(N, D, h, w)``; only the size is used.

    Returns:
        ``(N, h, w)`` bool.
    """
    size = (features.shape[2], features.shape[3])
    return F.adaptive_avg_pool2d(valid[:, None].float(), size)[:, 0] == 1


def labelled_pixels(batch: PatchBatch) -> Tensor:
    """Return ``(N, H, W)`` bool: which pixels have both data and a label."""
    return batch.valid & (batch.mask != IGNORE)


def no_pixel(what: str) -> TrainingError:
    """Return the error for a training without a pixel that, say, ``is valid``."""
    return TrainingError(
        f"no pixel of the training patches {what}: check the nodata rule (--nodata), the "
        "images and the labels"
    )


def sample_pixels(
    maps: Iterable[tuple[Tensor, Tensor]],
    pixels: int,
    *,
    wanted: str = "is valid",
    seed: int = 0,
) -> Tensor:
    """Draw valid pixels of feature maps uniformly at random.

    Args:
        maps: Pairs of features ``(N, D, H, W)`` and valid ``(N, H, W)``.
        pixels: Largest number to return.
        wanted: Condition on the pixels, for the error.
        seed: Seed of the draw.

    Returns:
        ``(M, D)`` features on the CPU in the order of the maps, M at most ``pixels``.

    Raises:
        TrainingError: If no pixel is valid.
    """
    rows, positions = draw_pixels(_numbered(maps), pixels, seed=seed)
    if not len(rows):
        raise no_pixel(wanted)
    return rows[positions.argsort()]


def _numbered(maps: Iterable[tuple[Tensor, Tensor]]) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield the valid pixels of each map with their indices among all."""
    start = 0
    for features, valid in maps:
        rows = features.permute(0, 2, 3, 1)[valid]  # (m, D)
        yield rows, torch.arange(start, start + len(rows))
        start += len(rows)


def draw_pixels(
    maps: Iterable[tuple[Tensor, Tensor]], pixels: int, *, seed: int
) -> tuple[Tensor, Tensor]:
    """Draw labelled pixels uniformly at random.

    Every pixel gets a random key, and those with the lowest keys are kept. Memory holds at
    most twice the requested number.

    Args:
        maps: Pairs of ``(m, D)`` features and ``(m,)`` labels.
        pixels: Largest number to draw.
        seed: Seed of the draw, which does not depend on the division into pairs.

    Returns:
        ``(M, D)`` features and ``(M,)`` labels on the CPU, M at most ``pixels``; both
        empty without any.
    """
    generator = torch.Generator().manual_seed(seed)
    held: list[_Drawn] = []
    bound = 1.0  # above all keys
    for features, labels in maps:
        keys = torch.rand(len(labels), generator=generator, dtype=torch.float64)
        low = keys < bound
        rows = features.detach()[low.to(features.device)].cpu()
        held.append(_Drawn(keys[low], rows, labels.detach().cpu()[low]))
        if sum(len(part.keys) for part in held) > 2 * pixels:
            held = [_lowest(held, pixels)]
            bound = float(held[0].keys[-1])
    if not held:
        return torch.empty(0), torch.empty(0, dtype=torch.long)
    drawn = _lowest(held, pixels)
    return drawn.rows, drawn.labels


class _Drawn(NamedTuple):
    """Pixels with their random keys."""

    keys: Tensor
    rows: Tensor
    labels: Tensor


def _lowest(parts: Sequence[_Drawn], pixels: int) -> _Drawn:
    """Return the pixels with the lowest keys, in ascending order."""
    keys, rows, labels = (torch.cat(columns) for columns in zip(*parts, strict=True))
    keys, order = keys.sort(stable=True)
    order = order[:pixels]
    return _Drawn(keys[:pixels], rows[order], labels[order])
