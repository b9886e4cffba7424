"""Small methods and loaders that other processes can import too."""

import os
import signal
from collections.abc import Iterator
from dataclasses import replace
from functools import partial

import torch
from small_methods import small_method
from torch import nn

from geoseg.core.patches import IGNORE, PatchBatch
from geoseg.methods import build_method, method_defaults
from geoseg.methods.bases.method import Method, StepOutput

#: What makes the shares of a batch weigh unequally, in the methods that have it.
UNEVEN = {"balance": "inverse", "over_clusters": 5, "half_width": 2, "alpha": 0.5}


class NoiseLoader:
    """Five batches an epoch that depend on the epoch and their number alone.

    A group of several ranks shares out the patches that one rank would see in a larger
    batch.
    """

    def __init__(
        self, rank: int = 0, size: int = 1, *, patches: int = 2, holes: int = 0
    ) -> None:
        self.rank, self.size, self.patches = rank, size, patches
        self.holes = holes  # patches of a batch that lack data

    def __len__(self) -> int:
        return 5

    def thinned(self) -> "NoiseLoader":
        return self

    def batches(self, epoch: int, start: int = 0) -> Iterator[PatchBatch]:
        whole = self.patches * self.size
        own = slice(self.rank * self.patches, (self.rank + 1) * self.patches)
        for number in range(start, len(self)):
            generator = torch.Generator().manual_seed(1000 * epoch + number)
            image = torch.rand((whole, 3, 24, 24), generator=generator)[own]
            valid = torch.ones((whole, 24, 24), dtype=torch.bool)
            valid[: self.holes, :8] = False
            yield PatchBatch(
                image,
                valid[own],
                torch.full((self.patches, 24, 24), IGNORE),
                (torch.arange(whole) + whole * number)[own],
            )


def four_patches(rank: int, size: int) -> NoiseLoader:
    """Share out batches of four patches."""
    return NoiseLoader(rank, size, patches=4 // size)


def small_iic(**changes: object) -> Method:
    parameters = {"width": 2, "over_clusters": 5, "half_width": 2, **changes}
    return build_method("iic", 3, parameters)


class LabelledLoader(NoiseLoader):
    """Every other patch has labels: which pixels are bright."""

    def batches(self, epoch: int, start: int = 0) -> Iterator[PatchBatch]:
        for batch in super().batches(epoch, start):
            mask = (batch.image.mean(dim=1) > 0.6).long()
            mask[batch.index % 2 == 1] = IGNORE
            yield replace(batch, mask=mask.masked_fill(~batch.valid, IGNORE))


def three_and_a_bit(rank: int, size: int) -> LabelledLoader:
    """Four patches, two with labels; the first of a batch lacks a third of its pixels."""
    return LabelledLoader(rank, size, patches=4 // size, holes=1)


def without_norms(method: Method) -> None:
    """Take out batch normalisation, so that a batch is the sum of its parts."""
    norms = [n for n, m in method.named_modules() if isinstance(m, nn.BatchNorm2d)]
    assert norms
    for name in norms:
        parent, _, child = name.rpartition(".")
        setattr(method.get_submodule(parent), child, nn.Identity())


def plain(name: str) -> Method:
    """Build a small method whose steps add up over the parts of a batch.

    It has no batch normalisation, and its classes or clusters are balanced where it
    can balance them, so that the shares of a batch weigh unequally.
    """
    defaults = method_defaults(name)
    method = small_method(name, 3, **{k: v for k, v in UNEVEN.items() if k in defaults})
    without_norms(method)
    method.configure_optimizer = partial(_gentle_optimizer, method)
    return method


def _gentle_optimizer(method: Method) -> torch.optim.Optimizer:
    """Return the optimizer of the method, which makes nothing of rounding.

    Adam divides each gradient by its size, so that those which are none but for rounding
    move weights too; beside a large ε they do not.
    """
    optimizer = type(method).configure_optimizer(method)
    for group in optimizer.param_groups:
        group.update(lr=0.5, eps=1.0)
    return optimizer


class PixelMean(Method):
    """Its loss is a mean over pixels: minus the confidence of a linear classifier."""

    def __init__(self) -> None:
        super().__init__(3)
        self.heads, self.default_head = {"main": 4}, "main"
        self.convolution = nn.Conv2d(3, 4, 3)

    def configure_optimizer(self):
        return torch.optim.SGD(self.parameters(), lr=0.5, momentum=0.9)

    def training_step(self, batch, context):
        probabilities = self.convolution(batch.image).softmax(dim=1)
        best = probabilities.amax(dim=1).mean()
        return StepOutput(-best, {"confidence": best.detach()})


class Dying(PixelMean):
    """Kills its own process in the third step, where it is the second of a group."""

    def training_step(self, batch, context):
        if context.step == 2 and torch.distributed.get_rank() == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().training_step(batch, context)


class Failing(PixelMean):
    """Fails in a way that nobody foresaw, on the first process."""

    def training_step(self, batch, context):
        if torch.distributed.get_rank() == 0:
            raise ZeroDivisionError("of all things")
        return super().training_step(batch, context)


class Diverging(PixelMean):
    """Has no finite loss on the second process."""

    def training_step(self, batch, context):
        loss, logs, _ = super().training_step(batch, context)
        bad = torch.distributed.get_rank() == 1
        return StepOutput(loss * float("nan") if bad else loss, logs)


def seeded(make, seed: int = 0) -> Method:
    """Build a method with weights of a seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return make()
