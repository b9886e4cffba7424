"""Small methods and loaders that other processes can import too."""

import os
import signal
from collections.abc import Iterator
from dataclasses import replace

import torch
from torch import nn

from geoseg.methods import build_method
from geoseg.methods.base import Method, StepOutput
from geoseg.methods.iic import IIC
from geoseg.methods.mdc import MDC
from geoseg.methods.picie import PiCIE
from geoseg.methods.semisup import SemiSupervised
from geoseg.methods.supervised import Supervised
from geoseg.patches import IGNORE, PatchBatch


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


def three_and_a_bit(rank: int, size: int) -> NoiseLoader:
    """The same, but the first patch of each batch lacks a third of its pixels."""
    return NoiseLoader(rank, size, patches=4 // size, holes=1)


def small_iic(**changes: object) -> Method:
    parameters = {"width": 2, "over_clusters": 5, "half_width": 2, **changes}
    return build_method("iic", 3, parameters)


class LabelledLoader(NoiseLoader):
    """Every other patch has labels: which pixels are bright."""

    def batches(self, epoch: int, start: int = 0) -> Iterator[PatchBatch]:
        for batch in super().batches(epoch, start):
            mask = (batch.image.mean(dim=1) > 0.6).long()
            mask[batch.index % 2 == 1] = IGNORE
            yield replace(batch, mask=mask)


def four_labelled_patches(rank: int, size: int) -> LabelledLoader:
    """Share out batches of four patches, two of them with labels."""
    return LabelledLoader(rank, size, patches=4 // size)


def without_norms(method: Method) -> None:
    """Take out batch normalisation, so that a batch is the sum of its parts."""
    norms = [n for n, m in method.named_modules() if isinstance(m, nn.BatchNorm2d)]
    assert norms
    for name in norms:
        parent, _, child = name.rpartition(".")
        setattr(method.get_submodule(parent), child, nn.Identity())


class PlainSupervised(Supervised):
    """Without batch normalisation, and with plain steps."""

    def __init__(self) -> None:
        super().__init__(3, width=2, balance="inverse")
        without_norms(self)

    def configure_optimizer(self):
        return torch.optim.SGD(self.parameters(), lr=0.5)


class PlainSemiSupervised(SemiSupervised):
    """Likewise."""

    def __init__(self) -> None:
        super().__init__(
            3, width=2, over_clusters=5, half_width=2, alpha=0.5, balance="inverse"
        )
        without_norms(self)

    def configure_optimizer(self):
        return torch.optim.SGD(self.learner.parameters(), lr=0.2)


class PlainIIC(IIC):
    """IIC without batch normalisation."""

    def __init__(self) -> None:
        super().__init__(3, width=2, over_clusters=5, half_width=2)
        without_norms(self)

    def configure_optimizer(self):
        # not Adam, which makes much of the rounding of small gradients
        return torch.optim.SGD(self.parameters(), lr=0.5)


SMALL = {"trunk": "vgg", "width": 2, "clusters": 4, "start_batches": 2}


class PlainPiCIE(PiCIE):
    """PiCIE without batch normalisation, its clusters balanced."""

    def __init__(self) -> None:
        super().__init__(3, **SMALL, over_clusters=6, balance="inverse")
        without_norms(self)

    def configure_optimizer(self):
        return torch.optim.SGD(self.parameters(), lr=0.05)


class PlainMDC(MDC):
    """MDC without batch normalisation, its clusters balanced."""

    def __init__(self) -> None:
        super().__init__(3, **SMALL, balance="inverse")
        without_norms(self)

    def configure_optimizer(self):
        groups = (self.trunk.parameters(), self.classifier.parameters())
        self.optimizer = torch.optim.SGD([{"params": list(g)} for g in groups], lr=0.5)
        return self.optimizer


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
