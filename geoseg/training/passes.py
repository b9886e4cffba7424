"""Passes of a fit over patches, which end in time."""

import logging
import math
import time
from collections.abc import Callable, Iterable, Iterator

from geoseg.core.patches import PatchBatch
from geoseg.core.progress import track

log = logging.getLogger(__name__)


class TimedPasses:
    """Gives a fit the batches of an epoch, and no more of them when its time is over.

    The first pass reads one batch at least. Those that follow read as many as it did, so
    that all passes of a fit see the same patches.

    Args:
        epoch: Gives its batches anew at each call, in an order of which any beginning is
            a fair sample; may have a length.
        name: Of what is fitted, for the bar and the log.
        seconds: Time for the first pass.
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
        """Pass the batches on, with a bar."""
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
        """Tell whether the first pass has to end here, and say so."""
        ends = self.read is None and number != count
        if not ends or time.monotonic() < self.until:
            return False
        log.warning(
            "%s: the time is over after %d%s batches of patches, and the fit is one of "
            "those: give more --max-time, or a smaller --fit-patches",
            *(self.name, number, "" if count is None else f" of {count}"),
        )
        return True
