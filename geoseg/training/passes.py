"""Passes of a fit over patches, within a time limit."""

import logging
import math
import time
from collections.abc import Callable, Iterable, Iterator

from geoseg.core.patches import PatchBatch
from geoseg.core.progress import track

log = logging.getLogger(__name__)


class TimedPasses:
    """Yields the batches of an epoch to a fit until its time is over.

    The first pass reads at least one batch. Later passes read as many batches as the
    first, so that all passes of a fit see the same patches.

    Args:
        epoch: Returns the batches from the start at each call, in an order in which any
            first part is a fair sample; may have a length.
        name: Name of the fit, for the bar and the log.
        seconds: Time limit of the first pass.
    """

    def __init__(
        self,
        epoch: Callable[[], Iterable[PatchBatch]],
        name: str,
        seconds: float = math.inf,
    ) -> None:
        self.epoch = epoch
        self.name = name
        self.until = time.monotonic() + seconds
        self.read: int | None = None  # batches of the first pass, once it is over

    def __call__(self) -> Iterator[PatchBatch]:
        """Yield the batches, with a bar."""
        count = self.read
        if count is None and hasattr(self.epoch, "__len__"):
            count = len(self.epoch)
        number = 0
        for number, batch in enumerate(
            track(self.epoch(), self.name, count, unit="batch"), 1
        ):
            yield batch
            if number == self.read or self._over(number, count):
                break
        self.read = number

    def _over(self, number: int, count: int | None) -> bool:
        """Return whether the time of the first pass is over, and log it."""
        ends = self.read is None and number != count
        if not ends or time.monotonic() < self.until:
            return False
        log.warning(
            "%s: the time is over after %d%s batches of patches, and the fit uses only "
            "those: raise --max-time or lower --fit-patches",
            self.name,
            number,
            "" if count is None else f" of {count}",
        )
        return True
