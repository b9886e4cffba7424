"""Blocks of detached houses along streets, parallel to the axes or rotated."""

from typing import NamedTuple

from geoseg.geo.sample.geometry import UNIT, Box, Frame, Point, Ring
from geoseg.geo.sample.hashing import Draws
from geoseg.geo.sample.materials import ROAD, VEGETATION
from geoseg.geo.sample.scene_plan import RoofStyle, ScenePlan, Solid, Wing

_HALF_ROAD = 14
_FRONT = 18
_BACK = 100
_PERIOD = 2 * _BACK
_SIDEWALK = 7


class Style(NamedTuple):
    """Materials of a neighbourhood.

    Attributes:
        roofs: Roof materials; repeated ones are more frequent.
        yards: Materials of the yards.
        road: Material of the streets.
        vacant: Percentage of lots without a house.
    """

    roofs: tuple[str, ...]
    yards: tuple[str, ...]
    road: str
    vacant: int


NEWER = Style(
    ("roof_tan", "roof_tan", "roof_red", "roof_red", "roof_concrete", "roof_brown"),
    ("gravel", "red_gravel", "soil", "lawn"),
    "new_asphalt",
    5,
)
OLDER = Style(
    (
        "roof_shingle",
        "roof_shingle",
        "roof_white",
        "roof_brown",
        "roof_dark",
        "roof_red",
        "roof_tan",
    ),
    ("soil", "soil", "gravel", "dry_lawn", "lawn"),
    "old_asphalt",
    7,
)


class _Lot(NamedTuple):
    frame: Frame
    width: int
    clip: Box


def add_neighbourhood(
    plan: ScenePlan, box: Box, turn: tuple[int, int, int], style: Style, key: int
) -> None:
    """Fill a block with parallel streets, and lots whose houses fit inside it.

    Args:
        plan: Receives the items.
        box: The block between its arterial roads.
        turn: Direction of the streets, a Pythagorean triple.
        style: Materials.
        key: Key of all random choices.
    """
    draws = Draws(key, 1)
    centre_x, centre_y = (box.left + box.right) // 2, (box.top + box.bottom) // 2
    middle = Frame(UNIT * centre_x + 3, UNIT * centre_y + 5, *turn)
    # two streets lie symmetrically about the middle, where lots meet back to back
    frame = Frame(*middle.point(draws.between(-60, 60), _BACK), *turn)
    plan.ground(_outline(box), draws.pick(("gravel", "soil", "red_gravel")), box)
    reach = box.right - box.left + box.bottom - box.top
    rows = reach // _PERIOD + 1
    for row in range(-rows, rows + 1):
        _add_street(plan, frame, row, reach, style, box)
    # one street across, at u = 0, joins the others
    _pave(plan, frame, (-_HALF_ROAD, -reach, _HALF_ROAD, reach), style.road, box)
    for row in range(-rows, rows + 1):
        for side in (0, 1):
            _add_lots(plan, frame, row, side, reach, style, box, key)
    _plant_rest(plan, box, key)


def _outline(box: Box) -> Ring:
    frame = Frame(UNIT * box.left, UNIT * box.top)
    return frame.rectangle(0, 0, box.right - box.left, box.bottom - box.top)


def _pave(
    plan: ScenePlan,
    frame: Frame,
    sides: tuple[int, int, int, int],
    road: str,
    clip: Box,
) -> None:
    # over the sidewalk, up to the arterial road
    wider = Box(
        clip.left - _SIDEWALK,
        clip.top - _SIDEWALK,
        clip.right + _SIDEWALK,
        clip.bottom + _SIDEWALK,
    )
    plan.ground(frame.rectangle(*sides), road, wider, class_id=ROAD)


def _add_street(
    plan: ScenePlan, frame: Frame, row: int, reach: int, style: Style, clip: Box
) -> None:
    middle = row * _PERIOD
    kerb = frame.rectangle(-reach, middle - _FRONT, reach, middle + _FRONT)
    plan.ground(kerb, "concrete", clip)
    _pave(
        plan,
        frame,
        (-reach, middle - _HALF_ROAD, reach, middle + _HALF_ROAD),
        style.road,
        clip,
    )


def _add_lots(
    plan: ScenePlan,
    frame: Frame,
    row: int,
    side: int,
    reach: int,
    style: Style,
    box: Box,
    key: int,
) -> None:
    """Add lots along one side of a street, on both sides of the cross street."""
    middle = row * _PERIOD
    draws = Draws(key, 2, row, side)
    for direction in (0, 1):
        start = _FRONT + 2
        while start < reach:
            width = draws.between(50, 63)
            left = start if direction else -start - width
            start += width
            corner = left if side else left + width
            x, y = frame.point(corner, middle)
            sign = 1 if side else -1
            lot = _Lot(Frame(x, y, sign * frame.a, sign * frame.b, frame.c), width, box)
            # the block's edge may cut a yard, but not a house
            if box.holds(lot.frame.rectangle(2, 30, width - 2, _BACK - 4), 1):
                _add_lot(plan, lot, style, Draws(key, 3, row, side, left))


def _add_lot(plan: ScenePlan, lot: _Lot, style: Style, draws: Draws) -> None:
    frame, width, clip = lot
    front, rear = draws.pick(style.yards), draws.pick(style.yards)
    for material, near, far in ((front, _FRONT, 56), (rear, 56, _BACK)):
        plan.ground(
            frame.rectangle(0, near, width, far),
            material,
            clip,
            class_id=VEGETATION if "lawn" in material else 0,
        )
    if draws.chance(style.vacant):
        _leave_vacant(plan, lot, draws)
        return
    back = _add_house(plan, lot, style, draws)
    _add_walls(plan, lot, back)
    _furnish_yard(plan, lot, back, draws)


def _leave_vacant(plan: ScenePlan, lot: _Lot, draws: Draws) -> None:
    """Add bare ground, sometimes with the slab of an unbuilt house."""
    frame, width, clip = lot
    plan.ground(frame.rectangle(0, _FRONT, width, _BACK), "soil", clip)
    if draws.chance(50):
        slab = frame.rectangle(7, 46, width - 7, 92)
        plan.ground(slab, draws.pick(("concrete", "track")), clip)
    for _ in range(draws.between(0, 5)):
        x, y = frame.point(draws.below(width), draws.between(_FRONT, _BACK))
        plan.shrub(x // UNIT, y // UNIT, draws)


def _add_house(plan: ScenePlan, lot: _Lot, style: Style, draws: Draws) -> int:
    """Add a house with its drive and roof; return the v of its rear wall."""
    frame, width, clip = lot
    corners: tuple[Point, ...]
    left, right = draws.between(4, 6), width - draws.between(4, 6)
    porch = _FRONT + draws.between(13, 19)
    main = porch + draws.pick((0, 7, 10, 13))
    back = min(main + draws.between(36, 46), _BACK - 11)
    garage = draws.between(20, 25)
    flip = draws.chance(50)
    g0, g1 = (right - garage, right) if flip else (left, left + garage)
    wide_style: RoofStyle = draws.pick(("hip", "hip", "gable_u"))
    wings = [Wing(left, main, right, back, wide_style)]
    corners = ((left, main), (right, main), (right, back), (left, back))
    if main > porch:
        wings.append(Wing(g0, porch, g1, main + garage // 2, "gable_v"))
        if flip:
            front = ((left, main), (g0, main), (g0, porch), (right, porch))
        else:
            front = ((left, porch), (g1, porch), (g1, main), (right, main))
        corners = (*front, (right, back), (left, back))
    material = draws.pick(style.roofs)
    plan.building(
        frame,
        (frame.ring(corners),),
        tuple(wings),
        material=material,
        eave=draws.between(140, 185) + (75 if draws.chance(30) else 0),
        gain=draws.between(860, 1150),
    )
    drive = draws.pick(("concrete", "concrete", "concrete", "gravel"))
    plan.ground(frame.rectangle(g0 + 1, _HALF_ROAD, g1 - 1, porch), drive, clip)
    in_front = clip.holds(frame.rectangle(g0, _FRONT, g1, porch), 0)
    if in_front and draws.chance(45):
        plan.car(frame, g0 + draws.between(2, 4), _FRONT + draws.below(3), draws)
    if in_front and draws.chance(22):
        plan.car(frame, g1 - draws.between(9, 10), _FRONT + draws.below(3), draws)
    _furnish_roof(plan, frame, (left, main, right, back), draws)
    return back


def _furnish_roof(
    plan: ScenePlan, frame: Frame, roof: tuple[int, int, int, int], draws: Draws
) -> None:
    u0, v0, u1, v1 = roof
    for _ in range(draws.between(0, 3)):
        u, v = draws.between(u0 + 6, u1 - 8), draws.between(v0 + 8, v1 - 8)
        vent = frame.rectangle(u, v, u + 2, v + 2)
        plan.furniture.append(Solid(vent, draws.pick(("machine", "glass")), 10))
    if draws.chance(30):
        u, v = draws.between(u0 + 6, u1 - 12), draws.between(v0 + 8, v1 - 12)
        plan.furniture.append(Solid(frame.rectangle(u, v, u + 5, v + 5), "machine", 18))
    if draws.chance(14):
        u, v = draws.between(u0 + 6, u1 - 24), draws.between(v0 + 4, v1 - 14)
        panel = frame.rectangle(u, v, u + 18, v + 9)
        plan.furniture.append(Solid(panel, "solar", 3))


def _add_walls(plan: ScenePlan, lot: _Lot, back: int) -> None:
    frame, width, clip = lot
    for sides in ((0, back - 22, 1, _BACK), (0, _BACK - 1, width, _BACK)):
        wall = frame.rectangle(*sides)
        if clip.holds(wall, 0):
            plan.solids.append(Solid(wall, "wall", 96))


def _furnish_yard(plan: ScenePlan, lot: _Lot, back: int, draws: Draws) -> None:
    frame, width, clip = lot
    if draws.chance(60):
        left = draws.between(6, width - 30)
        patio = frame.rectangle(left, back, left + 22, back + draws.between(6, 14))
        plan.ground(patio, "concrete", clip)
    room = _BACK - back
    if room > 24 and draws.chance(50):
        left, near = draws.between(8, width - 32), back + draws.between(4, room - 20)
        deck = frame.rectangle(left - 3, near - 2, left + 25, near + 14)
        plan.ground(deck, "concrete", clip)
        plan.ground(frame.rectangle(left, near, left + 22, near + 11), "pool", clip)
    for _ in range(draws.between(1, 4)):
        u, v = draws.below(width), draws.between(back - 4, _BACK - 2)
        x, y = frame.point(u, v)
        plan.tree(x // UNIT, y // UNIT, draws)
    for _ in range(draws.between(0, 2)):
        x, y = frame.point(draws.below(width), draws.between(_FRONT + 2, 44))
        plan.tree(x // UNIT, y // UNIT, draws)
    for _ in range(draws.between(1, 6)):
        x, y = frame.point(draws.below(width), draws.between(_FRONT + 1, 42))
        plan.shrub(x // UNIT, y // UNIT, draws)
    kerb = frame.rectangle(0, 0, width + 10, _FRONT)
    if clip.holds(kerb, 0) and draws.chance(20):
        plan.car(_along_street(frame, draws.below(width - 8)), 0, 0, draws)


def _along_street(frame: Frame, u: int) -> Frame:
    """Return a frame with v along the street, for a car parked at the kerb."""
    x, y = frame.point(u, _HALF_ROAD - 1)
    return Frame(x, y, frame.b, -frame.a, frame.c)


def _plant_rest(plan: ScenePlan, box: Box, key: int) -> None:
    """Add bushes over the block; lots, streets and roofs hide most of them."""
    draws = Draws(key, 4)
    for _ in range((box.right - box.left) * (box.bottom - box.top) // 3000):
        x, y = draws.between(box.left, box.right), draws.between(box.top, box.bottom)
        plan.shrub(x, y, draws)
