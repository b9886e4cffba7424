"""Sum and join tensors over the processes of a distributed run.

With one process, all functions return their input.
"""

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.autograd.function import once_differentiable


def world_size() -> int:
    """Return the number of processes in this training."""
    if dist.is_available() and dist.is_initialized():
        return dist.get_world_size()
    return 1


def rank() -> int:
    """Return the number of this process in this training, from 0."""
    return dist.get_rank() if world_size() > 1 else 0


def sum_over_ranks(values: Tensor) -> Tensor:
    """Return the sum of a tensor over all processes, with its gradient.

    Args:
        values: Of any shape, the same on every process.

    Returns:
        The sum, the same bits on every process.
    """
    if world_size() == 1:
        return values
    total: Tensor = _SumOverRanks.apply(values)
    return total


def gather_rows(rows: Tensor) -> Tensor:
    """Return the rows of all processes, in the order of the ranks.

    Args:
        rows: ``(M, …)``; only M may differ between processes.

    Returns:
        All rows, the same on every process; without a gradient.
    """
    if world_size() == 1:
        return rows
    rows = rows.detach().contiguous()
    lengths = rows.new_zeros(world_size(), dtype=torch.long)
    lengths[dist.get_rank()] = len(rows)
    dist.all_reduce(lengths)
    padded = rows.new_zeros(int(lengths.max()), *rows.shape[1:])
    padded[: len(rows)] = rows
    parts = [torch.empty_like(padded) for _ in range(world_size())]
    dist.all_gather(parts, padded)
    return torch.cat([part[:n] for part, n in zip(parts, lengths, strict=True)])


class _SumOverRanks(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        total = values.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        # Each rank's loss depends on every rank's values; DDP divides by the ranks.
        total = grad.clone()
        dist.all_reduce(total)
        return total
