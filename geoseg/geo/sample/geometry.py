"""Exact plane geometry in sixteenths of a pixel: frames, polygons, rasterisation.

x points right and y down, as columns and rows do; pixel ``(0, 0)`` spans 0 to 16 and
its centre is at 8.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

#: Units in a pixel.
UNIT = 16
_HALF = UNIT // 2

Point = tuple[int, int]
Ring = tuple[Point, ...]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]


class Box(NamedTuple):
    """A rectangle along the axes in whole pixels; right and bottom are exclusive."""

    left: int
    top: int
    right: int
    bottom: int

    def intersect(self, other: "Box") -> "Box":
        """Return the common part; empty where right <= left or bottom <= top."""
        return Box(
            max(self.left, other.left),
            max(self.top, other.top),
            min(self.right, other.right),
            min(self.bottom, other.bottom),
        )

    @property
    def empty(self) -> bool:
        """Whether the box contains no pixel."""
        return self.right <= self.left or self.bottom <= self.top

    def holds(self, ring: Ring, margin: int) -> bool:
        """Tell whether every corner lies inside, ``margin`` pixels or more from a side."""
        return all(
            UNIT * (self.left + margin) <= x <= UNIT * (self.right - margin)
            and UNIT * (self.top + margin) <= y <= UNIT * (self.bottom - margin)
            for x, y in ring
        )


class Frame(NamedTuple):
    """A rotated coordinate frame.

    Attributes:
        x, y: The origin, in sixteenths of a pixel.
        a, b, c: A Pythagorean triple: the frame is rotated clockwise (as seen, y down)
            by the angle with cosine a/c and sine b/c. Either of a, b may be negative.
    """

    x: int
    y: int
    a: int = 1
    b: int = 0
    c: int = 1

    def point(self, u: int, v: int) -> Point:
        """Return the point at ``(u, v)``, given in pixels of this frame."""
        u, v = UNIT * u, UNIT * v
        x = (2 * (self.a * u - self.b * v) + self.c) // (2 * self.c)
        y = (2 * (self.b * u + self.a * v) + self.c) // (2 * self.c)
        return self.x + x, self.y + y

    def rectangle(self, u0: int, v0: int, u1: int, v1: int) -> Ring:
        """Return the ring of a rectangle given in pixels of this frame."""
        return (
            self.point(u0, v0),
            self.point(u1, v0),
            self.point(u1, v1),
            self.point(u0, v1),
        )

    def ring(self, corners: tuple[Point, ...]) -> Ring:
        """Return the ring of any corners given in pixels of this frame."""
        return tuple(self.point(u, v) for u, v in corners)

    def local(self, box: Box) -> tuple[Ints, Ints]:
        """Return ``(h, w)`` u and v, in sixteenths, of the centres of a box's pixels."""
        dx = UNIT * np.arange(box.left, box.right)[None, :] + _HALF - self.x
        dy = UNIT * np.arange(box.top, box.bottom)[:, None] + _HALF - self.y
        return (
            (self.a * dx + self.b * dy) // self.c,
            (self.a * dy - self.b * dx) // self.c,
        )


def bounds(ring: Ring) -> Box:
    """Return the pixels that a ring can touch."""
    xs, ys = [x for x, _ in ring], [y for _, y in ring]
    return Box(
        min(xs) // UNIT,
        min(ys) // UNIT,
        -(-max(xs) // UNIT),
        -(-max(ys) // UNIT),
    )


def inside(rings: tuple[Ring, ...], box: Box) -> Bools:
    """Rasterise rings by pixel centres with the even-odd rule, so inner rings are holes.

    Args:
        rings: Closed rings without a repeated first point.
        box: The pixels to fill.

    Returns:
        ``(h, w)`` True where the centre lies inside.
    """
    cx = UNIT * np.arange(box.left, box.right)[None, :] + _HALF
    cy = UNIT * np.arange(box.top, box.bottom)[:, None] + _HALF
    filled = np.zeros((box.bottom - box.top, box.right - box.left), dtype=bool)
    for ring in rings:
        for (x0, y0), (x1, y1) in zip(ring, ring[1:] + ring[:1], strict=True):
            if y0 == y1:
                continue
            if y0 > y1:
                x0, y0, x1, y1 = x1, y1, x0, y0
            crossed = (y0 <= cy) & (cy < y1)
            filled ^= crossed & ((cx - x0) * (y1 - y0) < (cy - y0) * (x1 - x0))
    return filled


def is_ambiguous(rings: tuple[Ring, ...]) -> bool:
    """Tell whether an edge or corner passes exactly through a pixel's centre line.

    Floating-point software decides such ties by rounding. Footprints avoid them, so that
    every correct rasteriser gives the same pixels.
    """
    for ring in rings:
        for (x0, y0), (x1, y1) in zip(ring, ring[1:] + ring[:1], strict=True):
            if x0 % UNIT == _HALF or y0 % UNIT == _HALF:
                return True
            if x0 == x1 or y0 == y1:
                continue
            box = bounds(((x0, y0), (x1, y1)))
            cx = UNIT * np.arange(box.left, box.right)[None, :] + _HALF
            cy = UNIT * np.arange(box.top, box.bottom)[:, None] + _HALF
            if ((cx - x0) * (y1 - y0) == (cy - y0) * (x1 - x0)).any():
                return True
    return False


def untied(rings: tuple[Ring, ...]) -> tuple[Ring, ...]:
    """Return rings shifted by sixteenths of a pixel until none is ambiguous."""
    steps = 0
    while is_ambiguous(rings):
        steps += 1
        dx, dy = (1, 0) if steps % 3 else (0, 1)
        rings = tuple(tuple((x + dx, y + dy) for x, y in ring) for ring in rings)
    return rings
