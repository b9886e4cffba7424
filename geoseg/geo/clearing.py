"""Which buildings may be drawn with right angles beside their neighbours.

A regular outline reaches out a little further than the simplified one. It is kept where
it meets neither outline of any building around; that is a question of two buildings, so
the answer does not depend on the order in which they come.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import shapely
from shapely import Polygon

from geoseg.geo.seams import PixelObject


class Drawn(NamedTuple):
    """An object and its outlines, in pixel coordinates.

    Attributes:
        item: the object.
        simple: meets no other simple outline.
        regular: with right angles; ``simple`` itself where there is none.
    """

    item: PixelObject
    simple: Polygon
    regular: Polygon


@dataclass
class _Waiting:
    """An object whose surroundings may not be complete."""

    drawn: Drawn
    around: set[int]
    top: float
    decided: bool = False


class Clearing:
    """Hold objects back until those around them are complete, then choose."""

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
        """Take a complete object, the numbers of its pieces and of those around."""
        waiting = _Waiting(drawn, around, drawn.item.first_pixel[0])
        for number in pieces:
            self._waiting[number] = waiting

    def decide(self) -> Iterator[tuple[PixelObject, Polygon]]:
        """Yield the objects whose surroundings are complete, with their outlines."""
        for waiting in {id(it): it for it in self._waiting.values()}.values():
            if waiting.decided or any(map(self._is_open, waiting.around)):
                continue
            waiting.decided = True
            drawn = waiting.drawn
            yield drawn.item, (drawn.regular if self._clear(waiting) else drawn.simple)
        self._forget()

    def _clear(self, waiting: _Waiting) -> bool:
        """Tell whether a regular outline meets nothing around."""
        regular = waiting.drawn.regular
        if regular is waiting.drawn.simple:
            return False
        others = [it.drawn for it in self._around(waiting)]
        outlines = np.array([(it.simple, it.regular) for it in others], dtype=object)
        return not bool((shapely.relate_pattern(regular, outlines, "T********")).any())

    def _around(self, waiting: _Waiting) -> Iterator[_Waiting]:
        """Yield what is around an object; what is too small is not there."""
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
