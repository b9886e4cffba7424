"""Blocks of shops with car parks, and of apartments."""

from geoseg.geo.sample.geometry import UNIT, Box, Frame, Point
from geoseg.geo.sample.hashing import Draws
from geoseg.geo.sample.materials import OTHER, ROAD, VEGETATION
from geoseg.geo.sample.scene_plan import RoofStyle, ScenePlan, Solid, Wing

_FLAT_ROOFS = ("roof_white", "roof_dark", "roof_metal", "roof_concrete", "roof_tan")
_GABLED_ROOFS = ("roof_tan", "roof_red", "roof_brown", "roof_shingle")
_STALL = 9
_STALL_DEPTH = 18


def add_stores(plan: ScenePlan, box: Box, key: int) -> None:
    """Fill a block with shops, warehouses and car parks."""
    draws = Draws(key, 1)
    frame = Frame(UNIT * box.left + 3, UNIT * box.top + 5)
    width, depth = box.right - box.left, box.bottom - box.top
    plan.ground(frame.rectangle(0, 0, width, depth), "gravel", box)
    plan.ground(
        frame.rectangle(9, 9, width - 9, depth - 9),
        draws.pick(("old_asphalt", "new_asphalt")),
        box,
        class_id=ROAD,
    )
    columns, rows = max(1, width // 112), max(1, depth // 122)
    kinds = (_add_hall, _add_parking, _add_corner, _add_court, _add_parking, _add_hall)
    first = draws.below(len(kinds))
    for number in range(columns * rows):
        row, column = divmod(number, columns)
        u0, v0 = 12 + column * (width - 24) // columns, 12 + row * (depth - 24) // rows
        u1 = 12 + (column + 1) * (width - 24) // columns
        v1 = 12 + (row + 1) * (depth - 24) // rows
        cell = Box(u0, v0, u1, v1)
        if u1 - u0 >= 100 and v1 - v0 >= 90:
            kind = kinds[(first + number) % len(kinds)]
            kind(plan, frame, cell, box, Draws(key, 2, number))
    _plant_edge(plan, box, Draws(key, 3))


def _plant_edge(plan: ScenePlan, box: Box, draws: Draws) -> None:
    for x in range(box.left + 10, box.right - 6, 26):
        for y in (box.top + 5, box.bottom - 5):
            if draws.chance(60):
                plan.tree(x + draws.between(-6, 6), y, draws)


def _cap(
    plan: ScenePlan, frame: Frame, sides: tuple[int, int, int, int], draws: Draws
) -> None:
    """Add air conditioners and skylights to a flat roof."""
    u0, v0, u1, v1 = sides
    for u in range(u0 + 10, u1 - 14, 22):
        for v in range(v0 + 10, v1 - 14, 24):
            if not draws.chance(45):
                continue
            long, wide = draws.between(4, 9), draws.between(3, 7)
            corner = u + draws.between(-4, 4), v + draws.between(-4, 4)
            ring = frame.rectangle(*corner, corner[0] + long, corner[1] + wide)
            if draws.chance(25):
                plan.furniture.append(Solid(ring, "skylight", 6))
            else:
                plan.furniture.append(Solid(ring, "machine", draws.between(40, 100)))


def _flat(
    plan: ScenePlan,
    frame: Frame,
    corners: tuple[Point, ...],
    holes: tuple[tuple[Point, ...], ...],
    draws: Draws,
) -> None:
    us, vs = [u for u, _ in corners], [v for _, v in corners]
    plan.building(
        frame,
        (frame.ring(corners), *(frame.ring(hole) for hole in holes)),
        (Wing(min(us), min(vs), max(us), max(vs), "flat"),),
        material=draws.pick(_FLAT_ROOFS),
        eave=draws.between(260, 430),
        gain=draws.between(840, 1130),
    )


def _add_hall(
    plan: ScenePlan, frame: Frame, cell: Box, clip: Box, draws: Draws
) -> None:
    u0, v0, u1, v1 = cell.left + 8, cell.top + 6, cell.right - 8, cell.bottom - 40
    apron = frame.rectangle(u0 - 4, v0 - 4, u1 + 4, v1 + 6)
    plan.ground(apron, "concrete", clip)
    _flat(plan, frame, ((u0, v0), (u1, v0), (u1, v1), (u0, v1)), (), draws)
    _cap(plan, frame, (u0, v0, u1, v1), draws)
    _add_stalls(plan, frame, (u0, v1 + 10, u1), clip, draws)


def _add_corner(
    plan: ScenePlan, frame: Frame, cell: Box, clip: Box, draws: Draws
) -> None:
    """Add an L-shaped row of shops with parking."""
    u0, v0, u1, v1 = cell.left + 6, cell.top + 6, cell.right - 8, cell.bottom - 8
    u, v = u0 + 44, v0 + 48
    corners = ((u0, v0), (u1, v0), (u1, v), (u, v), (u, v1), (u0, v1))
    _flat(plan, frame, corners, (), draws)
    _cap(plan, frame, (u0, v0, u1, v), draws)
    _cap(plan, frame, (u0, v, u, v1), draws)
    _add_stalls(plan, frame, (u + 6, v + 8, u1), clip, draws)
    _add_stalls(plan, frame, (u + 6, v1 - 22, u1), clip, draws)


def _add_court(
    plan: ScenePlan, frame: Frame, cell: Box, clip: Box, draws: Draws
) -> None:
    """Add an office building around a planted courtyard."""
    u0, v0, v1 = cell.left + 14, cell.top + 8, cell.bottom - 16
    u1 = min(cell.right - 14, u0 + 150)
    for v in (v0, v0 + 48):
        _add_stalls(plan, frame, (u1 + 14, v, cell.right - 6), clip, draws)
    du, dv = (u1 - u0) * 5 // 16, (v1 - v0) * 5 // 16
    hole = Box(u0 + du, v0 + dv, u1 - du, v1 - dv)
    yard = frame.rectangle(*hole)
    plan.ground(frame.rectangle(u0 - 6, v0 - 6, u1 + 6, v1 + 6), "concrete", clip)
    plan.ground(yard, "lawn", clip, class_id=VEGETATION)
    inner = (
        (hole.left, hole.top),
        (hole.right, hole.top),
        (hole.right, hole.bottom),
        (hole.left, hole.bottom),
    )
    _flat(plan, frame, ((u0, v0), (u1, v0), (u1, v1), (u0, v1)), (inner,), draws)
    _cap(plan, frame, (u0, v0, u1, v0 + dv), draws)
    for _ in range(3):
        u, v = draws.between(*hole[::2]), draws.between(*hole[1::2])
        x, y = frame.point(u, v)
        plan.tree(x // UNIT, y // UNIT, draws)


def _add_parking(
    plan: ScenePlan, frame: Frame, cell: Box, clip: Box, draws: Draws
) -> None:
    for v in range(cell.top + 6, cell.bottom - 44, 66):
        ends = (cell.left + 10, cell.right - 10)
        _add_stalls(plan, frame, (ends[0], v, ends[1]), clip, draws)
        _add_stalls(plan, frame, (ends[0], v + 21, ends[1]), clip, draws)
        for u in (ends[0] - 5, ends[1] + 2):
            island = frame.rectangle(u - 3, v, u + 5, v + 38)
            plan.ground(island, "red_gravel", clip)
            x, y = frame.point(u, v + draws.between(8, 30))
            plan.tree(x // UNIT, y // UNIT, draws)


def _add_stalls(
    plan: ScenePlan, frame: Frame, row: tuple[int, int, int], clip: Box, draws: Draws
) -> None:
    """Add a row of painted stalls from u0 to u1 at v, about half of them with cars."""
    u0, v, u1 = row
    for u in range(u0, u1 - _STALL, _STALL):
        line = frame.rectangle(u, v, u + 1, v + _STALL_DEPTH)
        plan.ground(line, "paint", clip, class_id=ROAD)
        if draws.chance(42):
            plan.car(frame, u + 2, v + draws.between(1, 3), draws)


def add_apartments(plan: ScenePlan, box: Box, key: int) -> None:
    """Fill a block with long gabled houses, carports, lawns, a pool and a court."""
    frame = Frame(UNIT * box.left + 5, UNIT * box.top + 3)
    width, depth = box.right - box.left, box.bottom - box.top
    plan.ground(frame.rectangle(0, 0, width, depth), "gravel", box)
    draws = Draws(key, 1)
    material = draws.pick(_GABLED_ROOFS)
    columns = max(1, (width - 16) // 170)
    pitch = (width - 16) // columns
    for row, v in enumerate(range(12, depth - 112, 118)):
        lane = frame.rectangle(6, v + 74, width - 6, v + 112)
        plan.ground(lane, "old_asphalt", box, class_id=ROAD)
        for column in range(columns):
            u = 10 + column * pitch
            end = min(u + pitch - 14, width - 12)
            lot = Draws(key, 2, row, column)
            if end - u < 70:
                continue
            if (row + 2 * column) % 5 == 3:
                _add_club(plan, frame, (u, v, end), box, lot)
            else:
                _add_row_house(plan, frame, (u, v, end), box, material, lot)


def _add_row_house(
    plan: ScenePlan,
    frame: Frame,
    place: tuple[int, int, int],
    clip: Box,
    material: str,
    draws: Draws,
) -> None:
    u0, v, u1 = place
    grass = draws.pick(("lawn", "dry_lawn", "red_gravel"))
    planted = VEGETATION if "lawn" in grass else OTHER
    yard = frame.rectangle(u0 - 6, v, u1 + 6, v + 70)
    plan.ground(yard, grass, clip, class_id=planted)
    middle, step = (u0 + u1) // 2, draws.pick((0, 6, 9))
    top, low = v + 10, v + 54
    style: RoofStyle = draws.pick(("gable_u", "hip"))
    corners: tuple[Point, ...] = (
        (u0, top),
        (middle, top),
        (middle, top + step),
        (u1, top + step),
        (u1, low + step),
        (middle, low + step),
        (middle, low),
        (u0, low),
    )
    if step == 0:
        corners = (corners[0], corners[3], corners[4], corners[7])
    plan.building(
        frame,
        (frame.ring(corners),),
        (
            Wing(u0, top, middle, low, style),
            Wing(middle, top + step, u1, low + step, style),
        ),
        material=material,
        eave=draws.between(230, 300),
        gain=draws.between(920, 1100),
    )
    for u in range(u0 + 8, u1 - 10, 24):
        vent = frame.rectangle(u, top + 8, u + 3, top + 11)
        plan.furniture.append(Solid(vent, "machine", 14))
    _add_carport(plan, frame, (u0 + 10, v + 92, u1 - 14), draws)
    _add_stalls(plan, frame, (u0 + 10, v + 74, u1 - 14), clip, draws)
    for _ in range(draws.between(3, 6)):
        spot = draws.between(u0 - 4, u1 + 4), v + draws.pick((3, 5, 66, 68, 70))
        x, y = frame.point(*spot)
        plan.tree(x // UNIT, y // UNIT, draws)


def _add_carport(
    plan: ScenePlan, frame: Frame, place: tuple[int, int, int], draws: Draws
) -> None:
    u0, v, u1 = place
    end = u0 + (u1 - u0) * draws.pick((2, 3, 4)) // 4
    plan.building(
        frame,
        (frame.rectangle(u0, v, end, v + 19),),
        (Wing(u0, v, end, v + 19, "flat"),),
        material=draws.pick(("roof_metal", "roof_white")),
        eave=130,
        gain=draws.between(760, 1000),
    )


def _add_club(
    plan: ScenePlan, frame: Frame, place: tuple[int, int, int], clip: Box, draws: Draws
) -> None:
    """Add a pool and a tennis court, a rectangle that could be mistaken for a roof."""
    u0, v, u1 = place
    plan.ground(frame.rectangle(u0, v, u1, v + 70), "lawn", clip, class_id=VEGETATION)
    plan.ground(frame.rectangle(u0 + 4, v + 6, u0 + 56, v + 62), "court", clip)
    for u, w in ((u0 + 8, u0 + 9), (u0 + 51, u0 + 52), (u0 + 29, u0 + 30)):
        plan.ground(frame.rectangle(u, v + 10, w, v + 58), "paint", clip)
    plan.ground(frame.rectangle(u1 - 60, v + 14, u1 - 6, v + 58), "concrete", clip)
    plan.ground(frame.rectangle(u1 - 52, v + 20, u1 - 16, v + 48), "pool", clip)
    for _ in range(6):
        x, y = frame.point(draws.between(u0, u1), v + draws.pick((2, 66)))
        plan.tree(x // UNIT, y // UNIT, draws)
