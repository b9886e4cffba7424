"""When objects of a raster that comes in strips may be drawn, and which of them together.

Objects near each other make up a neighbourhood, which is simplified together where that is
needed, so it has to be complete. In a noisy map a neighbourhood has no end: of one that
is longer than :data:`LONG` rows, each object is drawn by itself, and with it those alone
that it shares a wall with. It waits for those near it, whose outlines decide whether its
own stays. How long a neighbourhood is, and what is near, the strips do not change.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

_Ints = npt.NDArray[np.int64]
_Bools = npt.NDArray[np.bool_]

#: Neighbourhoods of more rows are drawn object by object.
LONG = 512


class Known(NamedTuple):
    """What is known of objects; all arrays ``(K,)``.

    Attributes:
        large: True where one has as many pixels as counts.
        unfinished: True where it may go on below.
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
    """Objects that are near each other; all arrays ``(Q,)``.

    Attributes:
        first: numbers of objects.
        second: likewise.
        wall: True where the two share a wall.
    """

    first: _Ints
    second: _Ints
    wall: _Bools

    def take(self, which: _Bools) -> "Links":
        """Return some of them."""
        return Links(self.first[which], self.second[which], self.wall[which])

    def beside(self, these: _Bools) -> _Bools:
        """Tell which of ``(K,)`` objects are near one of these."""
        found = np.zeros(len(these), dtype=np.bool_)
        found[self.second[these[self.first]]] = True
        found[self.first[these[self.second]]] = True
        return found


class Settled(NamedTuple):
    """What becomes of objects; all arrays ``(K,)``.

    Attributes:
        group: number of what is simplified together.
        ready: True where one may be drawn now.
        beside: True where one was, or will be, but its outline decides on a ready one.
        long: True where its neighbourhood is known to be long.
        keep: True where one is still needed.
    """

    group: _Ints
    ready: _Bools
    beside: _Bools
    long: _Bools
    keep: _Bools


def settle(known: Known, links: Links) -> Settled:
    """Find which objects may be drawn, now that a strip has come, or none will.

    Args:
        known: of all objects.
        links: between those; of what is small for good they count nothing.
    """
    counts = known.large | known.unfinished
    links = links.take(counts[links.first] & counts[links.second])
    long = _long(known, links)
    near = components(len(counts), links.first, links.second)
    wall = links.take(links.wall)
    unit = components(len(counts), wall.first, wall.second)

    short = known.large & ~long & ~_spread(known.unfinished, near)
    goes_on = _spread(known.unfinished, unit)
    waits = _spread(goes_on | links.beside(goes_on), unit)
    alone = known.large & long & ~waits & ~known.given
    given = known.given | alone
    left = counts & ~given & ~short
    beside = known.large & long & ~alone & _spread(links.beside(alone), unit)
    needed = given & _spread(links.beside(left), unit)
    group = np.where(long, unit, len(counts) + near)
    return Settled(group, short | alone, beside, long, left | needed)


def _long(known: Known, links: Links) -> _Bools:
    """Tell which objects are in a neighbourhood that is long already."""
    # What is small so far may have no part in it.
    links = links.take(known.large[links.first] & known.large[links.second])
    near = components(len(known.long), links.first, links.second)
    count = int(near.max(initial=-1)) + 1
    top, bottom = np.full(count, 2**62), np.zeros(count, dtype=np.int64)
    np.minimum.at(top, near, known.top)
    np.maximum.at(bottom, near, known.bottom)
    return np.asarray(_spread(known.long, near) | (bottom - top > LONG)[near])


def _spread(these: _Bools, label: _Ints) -> _Bools:
    """Tell which things have the label of one of these."""
    found = np.zeros(len(these), dtype=np.bool_)
    found[label[these]] = True
    return np.asarray(found[label])


def components(count: int, first: _Ints, second: _Ints) -> _Ints:
    """Number the connected components of ``count`` things, linked in pairs."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    if not count:
        return np.zeros(0, dtype=np.int64)
    links = np.ones(len(first), dtype=np.bool_)
    graph = coo_array((links, (first, second)), shape=(count, count))
    numbers: _Ints = connected_components(graph, directed=False)[1].astype(np.int64)
    return numbers
