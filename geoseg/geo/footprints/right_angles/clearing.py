"""Choice between regular and simplified outlines, so that neighbours do not overlap.

A regular outline reaches out a little further than the simplified one. It is kept where it
overlaps neither outline of any building around. The test compares two buildings at a time,
so the result does not depend on their order. Buildings that share walls are kept or
rejected together.
"""

from collections.abc import Iterator, Set
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import shapely

from geoseg.geo.footprints.buildings import Buildings


class Drawn(NamedTuple):
    """Buildings drawn together, in pixel coordinates.

    Attributes:
        buildings: with simplified outlines, which overlap no others.
        regular: ``(N,)`` outlines with right angles; the simplified ones where there are
            none.
    """

    buildings: Buildings
    regular: npt.NDArray[np.object_]


@dataclass
class _Waiting:
    """Buildings whose surroundings may be incomplete."""

    drawn: Drawn
    around: set[int]
    top: float
    decided: bool = False


class Clearing:
    """Choose each building's outline once all buildings around it are complete."""

    def __init__(self) -> None:
        """Start empty."""
        self._waiting: dict[int, _Waiting] = {}  # by the number of any piece

    @property
    def open_top(self) -> float:
        """First row of all undecided buildings; infinite if there are none."""
        waiting = self._waiting.values()
        return min((each.top for each in waiting if not each.decided), default=np.inf)

    def add(self, drawn: Drawn, pieces: set[int], around: set[int]) -> None:
        """Add complete buildings, with the numbers of their pieces and of those around."""
        waiting = _Waiting(drawn, around, float(drawn.buildings.first[:, 0].min()))
        for number in pieces:
            self._waiting[number] = waiting

    def decide(self, open_pieces: Set[int]) -> Iterator[Buildings]:
        """Yield the buildings whose surroundings are complete, with the chosen outlines.

        Args:
            open_pieces: numbers of the pieces of incomplete objects.
        """
        for waiting in {id(each): each for each in self._waiting.values()}.values():
            if waiting.decided or not open_pieces.isdisjoint(waiting.around):
                continue
            waiting.decided = True
            buildings, regular = waiting.drawn
            clear = self._clear(waiting)
            yield buildings._replace(outline=regular) if clear else buildings
        self._forget(open_pieces)

    def _clear(self, waiting: _Waiting) -> bool:
        """Tell whether the regular outlines overlap nothing around."""
        simple, regular = waiting.drawn.buildings.outline, waiting.drawn.regular
        changed = regular[regular != simple]
        others = {id(other): other.drawn for other in self._around(waiting)}.values()
        if not len(changed) or not others:
            return True
        around = [
            outlines
            for other in others
            for outlines in (other.buildings.outline, other.regular)
        ]
        meet = shapely.relate_pattern(
            changed[:, None], np.concatenate(around), "T********"
        )
        return not bool(meet.any())

    def _around(self, waiting: _Waiting) -> Iterator[_Waiting]:
        """Yield the buildings around; objects that were too small are missing."""
        for number in waiting.around:
            if number in self._waiting:
                yield self._waiting[number]

    def _forget(self, open_pieces: Set[int]) -> None:
        """Drop decided buildings that no undecided one has around it."""
        kept = {}
        for number, waiting in self._waiting.items():
            around = self._around(waiting)
            if not waiting.decided or not all(other.decided for other in around):
                kept[number] = waiting
            elif not open_pieces.isdisjoint(waiting.around):
                kept[number] = waiting
        self._waiting = kept
