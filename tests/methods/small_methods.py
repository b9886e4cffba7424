"""Every method at a size that trains in a moment, declared by its own test."""

import ast
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import torch

from geoseg.core.patches import IGNORE, PatchBatch
from geoseg.methods import build_method
from geoseg.methods.bases.method import Method, StepContext

START = StepContext(0, 0, 0)


def declared_sizes(folder: Path) -> dict[str, dict[str, Any]]:
    """Return what the tests below a folder declare as ``SIZES``: method → parameters."""
    sizes: dict[str, dict[str, Any]] = {}
    for path in sorted(folder.rglob("test_*.py")):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "SIZES":
                own = ast.literal_eval(node.value)
                assert not sizes.keys() & own.keys(), f"{path}: SIZES of another test"
                sizes |= own
    return sizes


SMALL = declared_sizes(Path(__file__).parent)


def small_method(name: str, channels: int = 4, seed: int = 0, **changes) -> Method:
    """Build a method at its small size."""
    return build_method(name, channels, {**SMALL[name], **changes}, seed=seed)


def labelled_batches(
    channels: int = 4, *, side: int = 16, count: int = 3, scramble: bool = False
) -> Iterator[PatchBatch]:
    """Yield batches of two patches of noise in which bright pixels are class 1.

    Args:
        channels: Of the images.
        side: Of the patches.
        count: Of the batches.
        scramble: Give bright pixels the label of dark ones.
    """
    generator = torch.Generator().manual_seed(0)
    for number in range(count):
        image = torch.rand((2, channels, side, side), generator=generator)
        mask = (image.mean(dim=1) > 0.6).long()
        if scramble:
            mask = 1 - mask
        yield PatchBatch(
            image,
            torch.ones((2, side, side), dtype=torch.bool),
            mask,
            torch.arange(2) + 2 * number,
        )


def unlabelled_batch(number: int = 0, n: int = 2, side: int = 32) -> PatchBatch:
    """Return ``n`` patches of noise, whose first has no data in a corner."""
    generator = torch.Generator().manual_seed(number)
    valid = torch.ones((n, side, side), dtype=torch.bool)
    valid[0, :4, :8] = False
    return PatchBatch(
        torch.rand((n, 3, side, side), generator=generator),
        valid,
        torch.full((n, side, side), IGNORE),
        torch.arange(n) + n * number,
    )


def unlabelled_batches() -> Iterator[PatchBatch]:
    """Yield three batches of patches without labels."""
    return (unlabelled_batch(number) for number in range(3))


class Batches:
    """A loader of :func:`labelled_batches`, the same ones in every epoch."""

    def __init__(self, channels: int = 3, *, scramble: bool = False) -> None:
        self.channels, self.scramble = channels, scramble

    def __len__(self) -> int:
        return 3

    def thinned(self) -> "Batches":
        """Return itself: an epoch is short."""
        return self

    def batches(self, epoch: int, start: int = 0) -> Iterator[PatchBatch]:
        """Yield the batches of an epoch from number ``start`` on."""
        found = labelled_batches(self.channels, scramble=self.scramble)
        return islice(found, start, None)


def after_steps(name: str, steps: int = 3, scramble: bool = False, **changes) -> Method:
    """Train a small method on labels for some steps."""
    method = small_method(name, **changes)
    optimizer = method.configure_optimizer()
    batches = list(labelled_batches(scramble=scramble))
    method.begin_epoch(START, lambda: batches)
    for step in range(steps):
        optimizer.zero_grad()
        method.training_step(batches[step % 3], StepContext(0, step, 0)).loss.backward()
        optimizer.step()
    method.finish(lambda: batches)
    return method
