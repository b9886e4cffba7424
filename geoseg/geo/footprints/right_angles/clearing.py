"""Which buildings may be drawn with right angles beside their neighbours.

A regular outline reaches out a little further than the simplified one. It is kept where
it meets neither outline of any building around; that is a question of two buildings, so
the answer does not depend on the order in which they come. Buildings that share walls are
drawn together, and give way together.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import shapely

from geoseg.geo.footprints.buildings import Buildings


class Drawn(NamedTuple):
    """Buildings that are drawn together, in pixel coordinates.

    Attributes:
        buildings: with simplified outlines, which meet no others.
        regular: ``(N,)`` outlines with right angles; equal where there are none.
    """

    buildings: Buildings
    regular: npt.NDArray[np.object_]


@dataclass
class _Waiting:
    """Buildings whose surroundings may not be complete."""

    drawn: Drawn
    around: set[int]
    top: float
    decided: bool = False


class Clearing:
    """Hold buildings back until those around them are complete, then choose."""

    def __init__(self, is_open: Callable[[int], bool]) -> None:
        """Start with none; ``is_open`` tells which pieces may still go on."""
        self._is_open = is_open
        self._waiting: dict[int, _Waiting] = {}  # by the number of any piece

    @property
    def open_top(self) -> float:
        """First row of what is not decided; infinite where all is."""
        rows = (it.top for it in self._waiting.values() if not it.decided)
        return min(rows, default=np.inf)

    def add(self, drawn: Drawn, pieces: set[int], around: set[int]) -> None:
        """Take what is complete, the numbers of its pieces and of those around."""
        waiting = _Waiting(drawn, around, float(drawn.buildings.first[:, 0].min()))
        for number in pieces:
            self._waiting[number] = waiting

    def decide(self) -> Iterator[Buildings]:
        """Yield buildings whose surroundings are complete, as they are to be drawn."""
        for waiting in {id(it): it for it in self._waiting.values()}.values():
            if waiting.decided or any(map(self._is_open, waiting.around)):
                continue
            waiting.decided = True
            buildings, regular = waiting.drawn
            clear = self._clear(waiting)
            yield buildings._replace(outline=regular) if clear else buildings
        self._forget()

    def _clear(self, waiting: _Waiting) -> bool:
        """Tell whether the regular outlines meet nothing around."""
        simple, regular = waiting.drawn.buildings.outline, waiting.drawn.regular
        changed = regular[regular != simple]
        others = {id(it): it.drawn for it in self._around(waiting)}.values()
        if not len(changed) or not others:
            return True
        around = [
            outlines for it in others for outlines in (it.buildings.outline, it.regular)
        ]
        meet = shapely.relate_pattern(
            changed[:, None], np.concatenate(around), "T********"
        )
        return not bool(meet.any())

    def _around(self, waiting: _Waiting) -> Iterator[_Waiting]:
        """Yield what is around; what is too small is not there."""
        for number in waiting.around:
            if number in self._waiting:
                yield self._waiting[number]

    def _forget(self) -> None:
        """Drop what is decided and around nothing that is not."""
        kept = {}
        for number, it in self._waiting.items():
            if not it.decided or not all(other.decided for other in self._around(it)):
                kept[number] = it
            elif any(map(self._is_open, it.around)):
                kept[number] = it
        self._waiting = kept
