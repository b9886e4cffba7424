"""Blocks without a building: shrubs, tracks, a dry stream, heaps of earth, a slab."""

from geoseg.geo.sample.geometry import UNIT, Box, Frame, Ring
from geoseg.geo.sample.hashing import Draws
from geoseg.geo.sample.materials import OTHER
from geoseg.geo.sample.scene_plan import Crown, ScenePlan


def add_desert(plan: ScenePlan, box: Box, key: int) -> None:
    """Fill a block with desert, tracks and earthworks."""
    draws = Draws(key, 1)
    frame = Frame(UNIT * box.left, UNIT * box.top)
    width, depth = box.right - box.left, box.bottom - box.top
    plan.ground(frame.rectangle(0, 0, width, depth), "soil", box)
    _add_wash(plan, box, draws)
    for _ in range(5):
        _add_track(plan, box, draws)
    u, v = draws.between(0, max(0, width - 90)), draws.between(0, max(0, depth - 80))
    turned = Frame(UNIT * (box.left + u) + 3, UNIT * (box.top + v) + 5, 24, 7, 25)
    plan.ground(turned.rectangle(20, 0, 80, 52), "track", box)
    plan.ground(turned.rectangle(34, 12, 66, 40), "concrete", box)
    for _ in range(width * depth // 420):
        x, y = draws.between(box.left, box.right), draws.between(box.top, box.bottom)
        plan.shrub(x, y, draws)
    for _ in range(width * depth // 16000):
        x, y = draws.between(box.left, box.right), draws.between(box.top, box.bottom)
        radius = draws.between(4, 10)
        heap = Crown(
            x, y, radius, 12 * radius, "track", OTHER, draws.between(950, 1100)
        )
        plan.crowns.append(heap)
    for _ in range(width * depth // 12000):
        x, y = draws.between(box.left, box.right), draws.between(box.top, box.bottom)
        plan.tree(x, y, draws)


def _bend(box: Box, draws: Draws) -> list[tuple[int, int]]:
    """Return the corners, in sixteenths of a pixel, of a crooked line across a box."""
    y = draws.between(box.top, box.bottom)
    corners = []
    for x in range(box.left - 20, box.right + 60, 40):
        corners.append((UNIT * x + 3, UNIT * y + 5))
        y += draws.between(-22, 22)
    return corners


def _band(start: tuple[int, int], end: tuple[int, int], low: int, high: int) -> Ring:
    (x0, y0), (x1, y1) = start, end
    return ((x0, y0 + low), (x1, y1 + low), (x1, y1 + high), (x0, y0 + high))


def _add_track(plan: ScenePlan, box: Box, draws: Draws) -> None:
    corners = _bend(box, draws)
    for start, end in zip(corners, corners[1:], strict=False):
        for low, high in ((-70, -30), (30, 70)):
            plan.ground(_band(start, end, low, high), "track", box)


def _add_wash(plan: ScenePlan, box: Box, draws: Draws) -> None:
    """Add the bed of a dry stream."""
    corners = _bend(box, draws)
    for start, end in zip(corners, corners[1:], strict=False):
        plan.ground(_band(start, end, -300, 300), "gravel", box)
        plan.ground(_band(start, end, -140, 110), "track", box)
