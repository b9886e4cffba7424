"""The town: arterial roads, the blocks between them, and the image of it."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from geoseg.core.errors import ParameterError
from geoseg.geo.sample.canvas import Canvas
from geoseg.geo.sample.commercial import add_apartments, add_stores
from geoseg.geo.sample.desert import add_desert
from geoseg.geo.sample.geometry import UNIT, Box, Frame, Ring
from geoseg.geo.sample.hashing import Draws, mix
from geoseg.geo.sample.materials import ROAD
from geoseg.geo.sample.residential import NEWER, OLDER, Style, add_neighbourhood
from geoseg.geo.sample.scene_plan import ScenePlan
from geoseg.geo.sample.sensor import expose

#: Class id of pixels outside the sensor's swath.
UNSEEN = 255

#: Kinds of blocks, repeated over the plane; the first row and column lie mostly outside
#: a view that starts at the origin.
_ZONES = (
    ("older", "stores", "newer", "desert"),
    ("apartments", "newer", "turned", "desert"),
    ("steep", "mixed", "steep", "older"),
)
_TURNS = {
    "newer": (1, 0, 1),
    "older": (0, 1, 1),
    "turned": (24, 7, 25),
    "steep": (12, -5, 13),
}
_STYLES: dict[str, Style] = {
    "newer": NEWER,
    "older": OLDER,
    "turned": OLDER,
    "steep": NEWER,
}
_ACROSS, _DOWN = 512, 474
_HALF_ARTERIAL = 22
#: Pixels painted around the view, so that shadows and blur enter from outside.
_MARGIN = 48


@dataclass(frozen=True, eq=False)
class Scene:
    """An image of the town with its classes and footprints.

    Attributes:
        image: ``(8, H, W)`` uint16 of 11-bit values, zeros outside the sensor's swath.
        classes: ``(H, W)`` uint8: 0 other, 1 building, 2 road, 3 vegetation, 255 unseen.
        footprints: Rings of each building that may touch the scene, in sixteenths of a
            pixel, x right and y down from the scene's corner; the first ring is the
            outline, the others are courtyards. They are not cut at the scene's sides.
        seen: Corners of the sensor's swath, in the same units.
    """

    image: npt.NDArray[np.uint16]
    classes: npt.NDArray[np.uint8]
    footprints: tuple[tuple[Ring, ...], ...]
    seen: Ring


def build_scene(height: int, width: int, *, seed: int = 0) -> Scene:
    """Return a scene; the same arguments give the same arrays on any machine.

    Args:
        height: Rows.
        width: Columns.
        seed: Seed of the town.

    Raises:
        ParameterError: If a side is not positive.
    """
    if height < 1 or width < 1:
        raise ParameterError(
            f"a scene of {height}x{width} pixels has no pixel, expected positive sides"
        )
    view = Box(-_MARGIN, -_MARGIN, width + _MARGIN, height + _MARGIN)
    plan = _plan_town(view, seed)
    canvas = Canvas(view, mix(seed, 1))
    canvas.paint(plan)
    inner = (slice(_MARGIN, _MARGIN + height), slice(_MARGIN, _MARGIN + width))
    numbers = expose(canvas, mix(seed, 2))[(slice(None), *inner)]
    classes = canvas.class_id[inner].copy()
    seen = _swath(height, width)
    rows, cols = np.arange(height)[:, None], np.arange(width)[None, :]
    unseen = _beyond(seen, rows, cols)
    image = np.where(unseen, 0, numbers).astype(np.uint16)
    classes[unseen] = UNSEEN
    footprints = tuple(
        building.rings
        for building in plan.buildings
        if _near(building.rings[0], height, width)
    )
    return Scene(image, classes, footprints, seen)


def _plan_town(view: Box, seed: int) -> ScenePlan:
    plan = ScenePlan()
    xs = _lines(view.right, _ACROSS, (120, seed, 1))
    ys = _lines(view.bottom, _DOWN, (70, seed, 2))
    _pave_arterials(plan, view, xs, ys, seed)
    for j, (top, bottom) in enumerate(zip(ys, ys[1:], strict=False)):
        for i, (left, right) in enumerate(zip(xs, xs[1:], strict=False)):
            box = Box(
                left + _HALF_ARTERIAL + 7,
                top + _HALF_ARTERIAL + 7,
                right - _HALF_ARTERIAL - 7,
                bottom - _HALF_ARTERIAL - 7,
            )
            zone = _ZONES[j % len(_ZONES)][i % len(_ZONES[0])]
            _fill_block(plan, box, zone, mix(seed, 3, i, j))
    return plan


def _lines(end: int, pitch: int, keys: tuple[int, int, int]) -> list[int]:
    """Return where arterial roads cross an axis, from before the view to beyond it."""
    first, seed, axis = keys
    lines: list[int] = []
    number = -1
    while not lines or lines[-1] < end + pitch:
        jitter = Draws(seed, 4, axis, number).between(-6, 6)
        lines.append(first + number * pitch + jitter)
        number += 1
    return lines


def _fill_block(plan: ScenePlan, box: Box, zone: str, key: int) -> None:
    if zone == "stores":
        add_stores(plan, box, key)
    elif zone == "apartments":
        add_apartments(plan, box, key)
    elif zone == "desert":
        add_desert(plan, box, key)
    elif zone == "mixed":
        middle = (box.left + box.right) // 2
        add_apartments(plan, box._replace(right=middle), key)
        add_stores(plan, box._replace(left=middle), key)
    else:
        add_neighbourhood(plan, box, _TURNS[zone], _STYLES[zone], key)


def _pave_arterials(
    plan: ScenePlan, view: Box, xs: list[int], ys: list[int], seed: int
) -> None:
    """Add sidewalks, then asphalt, then paint, then traffic, each for all roads."""
    long_y, long_x = view.bottom - view.top, view.right - view.left
    # frames with v along the road and u = 0 at its centre line
    roads = [(Frame(UNIT * x + 3, UNIT * view.top), long_y) for x in xs]
    roads += [(Frame(UNIT * view.left, UNIT * y + 5, 0, -1, 1), long_x) for y in ys]
    half = _HALF_ARTERIAL
    for frame, long in roads:
        plan.ground(frame.rectangle(-half - 7, 0, half + 7, long), "concrete", view)
    for number, (frame, long) in enumerate(roads):
        material = "old_asphalt" if number % 2 else "new_asphalt"
        road = frame.rectangle(-half, 0, half, long)
        plan.ground(road, material, view, class_id=ROAD)
    for frame, long in roads:
        _mark_road(plan, frame, long, view)
    for x in xs:
        for y in ys:
            crossing = Frame(UNIT * x, UNIT * y)
            sides = (-half - 4, -half - 4, half + 4, half + 4)
            plan.ground(crossing.rectangle(*sides), "old_asphalt", view, class_id=ROAD)
    for number, (frame, long) in enumerate(roads):
        crossings = [y - view.top for y in ys]
        if number >= len(xs):
            crossings = [x - view.left for x in xs]
        _fill_road(plan, frame, long, crossings, Draws(seed, 5, number))


def _mark_road(plan: ScenePlan, frame: Frame, long: int, clip: Box) -> None:
    dashes = [(u, v, v + 15) for u in (-1, 1) for v in range(0, long, 16)]
    dashes += [(u, v, v + 10) for u in (-12, 11) for v in range(0, long, 40)]
    for u, v, end in dashes:
        dash = frame.rectangle(u, v, u + 1, end)
        plan.ground(dash, "paint", clip, class_id=ROAD)


def _fill_road(
    plan: ScenePlan, frame: Frame, long: int, crossings: list[int], draws: Draws
) -> None:
    """Add traffic, and trees along the sidewalks."""
    for v in range(0, long, 60):
        for u in (-20, -9, 3, 14):
            if draws.chance(11):
                plan.car(frame, u, v + draws.below(30), draws)
    for v in range(0, long, 22):
        for u in (-_HALF_ARTERIAL - 9, _HALF_ARTERIAL + 9):
            along = v + draws.below(16)
            clear = min(abs(along - middle) for middle in crossings) > 36
            if draws.chance(32) and clear:
                x, y = frame.point(u, along)
                plan.tree(x // UNIT, y // UNIT, draws)


def _swath(height: int, width: int) -> Ring:
    """Return the sensor's swath, whose two slanted sides cut the scene."""
    right, bottom = UNIT * width, UNIT * height
    return (
        (right * 7 // 128 + 5, -UNIT),
        (right * 251 // 256 + 7, -UNIT),
        (right * 249 // 256 + 5, bottom + UNIT),
        (-(right * 5 // 128) + 3, bottom + UNIT),
    )


def _beyond(
    seen: Ring, rows: npt.NDArray[np.int64], cols: npt.NDArray[np.int64]
) -> npt.NDArray[np.bool_]:
    cx, cy = UNIT * cols + UNIT // 2, UNIT * rows + UNIT // 2
    (x0, y0), (x1, y1), (x2, y2), (x3, y3) = seen
    left = (cx - x0) * (y3 - y0) < (cy - y0) * (x3 - x0)
    right = (cx - x1) * (y2 - y1) > (cy - y1) * (x2 - x1)
    beyond: npt.NDArray[np.bool_] = left | right
    return beyond


def _near(ring: Ring, height: int, width: int) -> bool:
    xs, ys = [x for x, _ in ring], [y for _, y in ring]
    return (
        max(xs) > 0
        and max(ys) > 0
        and min(xs) < UNIT * width
        and min(ys) < UNIT * height
    )
