"""Neighbourhoods of objects: which are drawn together, and when they are complete.

Objects near each other form a neighbourhood, which is simplified together where needed, so
it has to be complete. In a noisy map a neighbourhood may never end. In one longer than
:data:`LONG` rows, an object is therefore drawn together only with those that it shares a
wall with. It waits for the objects near it, whose outlines decide whether its own is kept.
The result does not depend on the height of the strips.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

_Ints = npt.NDArray[np.int64]
_Bools = npt.NDArray[np.bool_]

#: Neighbourhoods with more rows are drawn object by object.
LONG = 512


class Known(NamedTuple):
    """State of the objects seen so far; all arrays ``(K,)``.

    Attributes:
        large: True where the object has at least the minimum number of pixels.
        unfinished: True where it may continue in the next strip.
        top: its first row.
        bottom: one past its last row so far.
        long: True where its neighbourhood is known to be long.
        given: True where it was returned before.
    """

    large: _Bools
    unfinished: _Bools
    top: _Ints
    bottom: _Ints
    long: _Bools
    given: _Bools


class Links(NamedTuple):
    """Pairs of near objects; all arrays ``(Q,)``.

    Attributes:
        first: indices of objects.
        second: likewise.
        wall: True where the two share a wall.
    """

    first: _Ints
    second: _Ints
    wall: _Bools

    def take(self, which: _Bools) -> "Links":
        """Return the links where ``which`` is True."""
        return Links(self.first[which], self.second[which], self.wall[which])

    def beside(self, these: _Bools) -> _Bools:
        """Tell which of ``(K,)`` objects are near one of these."""
        near = np.zeros(len(these), dtype=np.bool_)
        near[self.second[these[self.first]]] = True
        near[self.first[these[self.second]]] = True
        return near


class Settled(NamedTuple):
    """Decisions on objects; all arrays ``(K,)``.

    Attributes:
        group: number shared by objects that are simplified together.
        ready: True where the object is drawn now.
        beside: True where it is drawn at another time, but constrains a ready one.
        long: True where its neighbourhood is known to be long.
        keep: True where it is still needed.
    """

    group: _Ints
    ready: _Bools
    beside: _Bools
    long: _Bools
    keep: _Bools


def settle(known: Known, links: Links) -> Settled:
    """Decide which objects to draw after a strip, or after the last one.

    Args:
        known: state of all objects.
        links: between them; links of finished objects that are too small are ignored.
    """
    counts = known.large | known.unfinished
    links = links.take(counts[links.first] & counts[links.second])
    long = _long(known, links)
    near = components(len(counts), links.first, links.second)
    wall = links.take(links.wall)
    unit = components(len(counts), wall.first, wall.second)

    short = known.large & ~long & ~_same_label(known.unfinished, near)
    goes_on = _same_label(known.unfinished, unit)
    waits = _same_label(goes_on | links.beside(goes_on), unit)
    alone = known.large & long & ~waits & ~known.given
    given = known.given | alone
    left = counts & ~given & ~short
    beside = known.large & long & ~alone & _same_label(links.beside(alone), unit)
    needed = given & _same_label(links.beside(left), unit)
    group = np.where(long, unit, len(counts) + near)
    return Settled(group, short | alone, beside, long, left | needed)


def _long(known: Known, links: Links) -> _Bools:
    """Tell which objects are in a neighbourhood that is already long."""
    # Objects below the minimum so far may turn out not to count.
    links = links.take(known.large[links.first] & known.large[links.second])
    near = components(len(known.long), links.first, links.second)
    count = int(near.max(initial=-1)) + 1
    top, bottom = np.full(count, 2**62), np.zeros(count, dtype=np.int64)
    np.minimum.at(top, near, known.top)
    np.maximum.at(bottom, near, known.bottom)
    return np.asarray(_same_label(known.long, near) | (bottom - top > LONG)[near])


def _same_label(these: _Bools, label: _Ints) -> _Bools:
    """Tell which objects have the same label as one of these."""
    marked = np.zeros(len(these), dtype=np.bool_)
    marked[label[these]] = True
    return np.asarray(marked[label])


def components(count: int, first: _Ints, second: _Ints) -> _Ints:
    """Return the connected component of each of ``count`` nodes, linked in pairs."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    if not count:
        return np.zeros(0, dtype=np.int64)
    links = np.ones(len(first), dtype=np.bool_)
    graph = coo_array((links, (first, second)), shape=(count, count))
    numbers: _Ints = connected_components(graph, directed=False)[1].astype(np.int64)
    return numbers
