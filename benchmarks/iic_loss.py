"""Time the mutual information loss against the authors' direct correlation.

Run ``python benchmarks/iic_loss.py``; it prints a Markdown table. The direct version
is that of IIC's ``IID_segmentation_loss_uncollapsed``: one convolution of the padded
first view by the whole second view as kernel, over the batch as channels. Both work on
the same float32 input with the same number of threads, forward and backward.
"""

# flake8: noqa: E402

import argparse
import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # before torch starts its threads

import statistics
import time
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from geoseg.methods.losses.information import mutual_information


def direct_loss(x: Tensor, y: Tensor, valid: Tensor, half_width: int) -> Tensor:
    """Compute the loss as published, at λ = 1."""
    weight = valid.to(x.dtype).unsqueeze(1)
    x = (x * weight).permute(1, 0, 2, 3).contiguous()  # (K, N, H, W)
    y = (y * weight).permute(1, 0, 2, 3).contiguous()
    joint = F.conv2d(x, y, padding=half_width).permute(2, 3, 0, 1)
    p = joint / joint.sum((2, 3), keepdim=True)
    p = (p + p.transpose(2, 3)) / 2
    row, column = p.sum(3, keepdim=True), p.sum(2, keepdim=True)
    eps = torch.finfo(p.dtype).eps
    logs = p.clamp(min=eps).log() - (row * column).clamp(min=eps).log()
    return -(p * logs).sum((2, 3)).mean()


def run(
    loss: Callable[[Tensor, Tensor], Tensor], views: list[Tensor]
) -> tuple[float, Tensor, list[Tensor]]:
    """Return seconds, loss and gradients of one forward and backward pass."""
    leaves = [view.clone().requires_grad_() for view in views]
    start = time.perf_counter()
    value = loss(*leaves)
    gradients = torch.autograd.grad(value, leaves)
    return time.perf_counter() - start, value.detach(), list(gradients)


def related_views(n: int, k: int, size: int) -> list[Tensor]:
    """Return two softmax maps that agree for the most part, smooth as networks' are."""
    torch.manual_seed(0)
    coarse = torch.randn(n, k, size // 8, size // 8)
    shared = F.interpolate(coarse, size=(size, size), mode="bilinear")
    return [(3 * shared + torch.randn(n, k, size, size)).softmax(1) for _ in range(2)]


def main() -> None:
    """Print the ratio of the medians, and the largest differences."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clusters", type=int, default=24)
    parser.add_argument("--half-width", type=int, default=10)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    views = related_views(options.batch, options.clusters, options.size)
    valid = torch.ones(options.batch, options.size, options.size, dtype=torch.bool)
    t = options.half_width
    fast = lambda x, y: mutual_information(x, y, valid, half_width=t).loss  # noqa: E731
    slow = lambda x, y: direct_loss(x, y, valid, t)  # noqa: E731
    run(fast, views)  # plans of the FFT and pages of memory
    ours = [run(fast, views) for _ in range(options.repeats)]
    theirs = [run(slow, views) for _ in range(options.repeats)]
    seconds = [statistics.median(r[0] for r in runs) for runs in (ours, theirs)]
    (_, loss, gradients), (_, expected, exact) = ours[-1], theirs[-1]
    off = max(
        float((a - b).abs().max() / b.abs().max())
        for a, b in zip(gradients, exact, strict=True)
    )
    print(
        "| K | T | batch | size | threads | direct (s) | geoseg (s) | ratio "
        "| loss, relative difference | gradient, difference / largest |"
    )
    print("|---" * 10 + "|")
    print(
        f"| {options.clusters} | {t} | {options.batch} | {options.size}² "
        f"| {torch.get_num_threads()} | {seconds[1]:.2f} | {seconds[0]:.3f} "
        f"| {seconds[1] / seconds[0]:.1f} "
        f"| {float((loss - expected).abs() / expected.abs()):.1e} | {off:.1e} |"
    )


if __name__ == "__main__":
    main()
