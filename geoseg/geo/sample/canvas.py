"""Rasterisation of a scene plan: material, class, brightness and height of each pixel."""

import numpy as np
import numpy.typing as npt

from geoseg.geo.sample.geometry import UNIT, Box, Frame, bounds, inside
from geoseg.geo.sample.hashing import mix_grid
from geoseg.geo.sample.materials import BUILDING, CODES, ROAD
from geoseg.geo.sample.scene_plan import (
    PLAIN,
    Building,
    Crown,
    Ground,
    ScenePlan,
    Solid,
    Wing,
)

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

#: Direction towards the sun: (x, y, length). South-south-east, before noon.
SUN = (5, 12, 13)
_PITCH = 5
_EDGE = 14


class Canvas:
    """The pixels of a view of the plane.

    Attributes:
        view: Extent of the pixels.
        material: ``(H, W)`` codes of :data:`geoseg.geo.sample.materials.CODES`.
        class_id: ``(H, W)`` 0 other, 1 building, 2 road, 3 vegetation.
        gain: ``(H, W)`` brightness in 1/1024.
        height: ``(H, W)`` above ground, in sixteenths of a pixel.
    """

    def __init__(self, view: Box, key: int) -> None:
        shape = (view.bottom - view.top, view.right - view.left)
        self.view = view
        self.material = np.full(shape, CODES["soil"], dtype=np.uint8)
        self.class_id = np.zeros(shape, dtype=np.uint8)
        self.gain = np.full(shape, PLAIN, dtype=np.int64)
        self.height = np.zeros(shape, dtype=np.int64)
        self._key = key

    def paint(self, plan: ScenePlan) -> None:
        """Paint everything within the view, later items over earlier ones."""
        for ground in plan.grounds:
            self._paint_ground(ground)
        for solid in plan.solids:
            self._paint_solid(solid)
        for building in plan.buildings:
            self._paint_building(building)
        for solid in plan.furniture:
            self._paint_solid(solid)
        for crown in plan.crowns:
            self._paint_crown(crown)

    def _at(self, box: Box) -> tuple[slice, slice]:
        return (
            slice(box.top - self.view.top, box.bottom - self.view.top),
            slice(box.left - self.view.left, box.right - self.view.left),
        )

    def _paint_ground(self, ground: Ground) -> None:
        box = bounds(ground.ring).intersect(ground.clip).intersect(self.view)
        if box.empty:
            return
        at, mask = self._at(box), inside((ground.ring,), box)
        self.material[at][mask] = CODES[ground.material]
        self.class_id[at][mask] = ground.class_id
        self.gain[at][mask] = ground.gain

    def _paint_solid(self, solid: Solid) -> None:
        box = bounds(solid.ring).intersect(self.view)
        if box.empty:
            return
        at, mask = self._at(box), inside((solid.ring,), box)
        if not mask.any():
            return
        self.material[at][mask] = CODES[solid.material]
        self.gain[at][mask] = solid.gain
        # an object on a slope stands level, on the lowest pixel of its base
        base = self.height[at][mask].min()
        self.height[at][mask] = base + solid.height

    def _paint_building(self, building: Building) -> None:
        box = bounds(building.rings[0]).intersect(self.view)
        if box.empty:
            return
        at, mask = self._at(box), inside(building.rings, box)
        gain = np.full(mask.shape, PLAIN, dtype=np.int64)
        height = np.zeros(mask.shape, dtype=np.int64)
        u, v = building.frame.local(box)
        for wing in building.wings:
            rise, light = roof(wing, building.frame, u, v)
            higher = rise > height
            height[higher] = rise[higher]
            gain[higher] = light[higher]
        if all(wing.style == "flat" for wing in building.wings):
            rim = mask & ~_eroded(mask)
            gain[rim] += 130
            height[rim] += 12
        self.material[at][mask] = CODES[building.material]
        self.class_id[at][mask] = BUILDING
        self.gain[at][mask] = gain[mask] * building.gain >> 10
        self.height[at][mask] = height[mask] + building.eave

    def _paint_crown(self, crown: Crown) -> None:
        reach = crown.radius + 2
        box = Box(
            crown.x - reach, crown.y - reach, crown.x + reach + 1, crown.y + reach + 1
        ).intersect(self.view)
        if box.empty:
            return
        rows, cols = np.arange(box.top, box.bottom), np.arange(box.left, box.right)
        dy, dx = (rows - crown.y)[:, None], (cols - crown.x)[None, :]
        squared = dx * dx + dy * dy
        clumps = mix_grid(self._key, rows // 3, cols // 3) >> np.uint64(55)
        ragged = clumps.astype(np.int64)
        limit = crown.radius * crown.radius * (660 + ragged) // 880 + 1
        top = crown.height * (2 * limit - squared) // (2 * limit)
        at = self._at(box)
        mask = (squared < limit) & (top > self.height[at])
        if crown.radius <= 3:
            # bushes do not grow through asphalt; bigger crowns overhang it
            mask &= self.class_id[at] != ROAD
        sunward = (SUN[0] * dx + SUN[1] * dy) * 320 // (SUN[2] * crown.radius)
        light = crown.gain * (900 + sunward + ragged // 3) >> 10
        self.material[at][mask] = CODES[crown.material]
        roofed = self.class_id[at] == BUILDING
        # a building stays a building under a tree, as annotators draw it
        self.class_id[at][mask & ~roofed] = crown.class_id
        self.gain[at][mask] = light[mask]
        self.height[at][mask] = top[mask]


def roof(wing: Wing, frame: Frame, u: Ints, v: Ints) -> tuple[Ints, Ints]:
    """Return height above the eaves and brightness of a wing's roof.

    Args:
        wing: The wing.
        frame: Its building's frame.
        u, v: ``(h, w)`` coordinates in the frame, in sixteenths of a pixel.

    Returns:
        ``(h, w)`` heights in sixteenths of a pixel, at least 1 inside the wing and
        negative outside it, and brightnesses in 1/1024.
    """
    to_left, to_right = u - UNIT * wing.u0, UNIT * wing.u1 - u
    to_front, to_back = v - UNIT * wing.v0, UNIT * wing.v1 - v
    sides = np.stack([to_left, to_right, to_front, to_back])
    # footprints are shifted by sixteenths to avoid ties; their edges still have a roof
    outside = sides.min(axis=0) < -UNIT // 2
    if wing.style == "flat":
        flat = np.ones_like(u)
        return np.where(outside, -1, flat), PLAIN * flat
    if wing.style == "gable_u":
        sides[:2] = 1 << 20
    elif wing.style == "gable_v":
        sides[2:] = 1 << 20
    face = sides.argmin(axis=0)
    ordered = np.sort(sides, axis=0)
    outward = ((-1, 0), (1, 0), (0, -1), (0, 1))
    lights = np.array([_sunlight(frame, *way) for way in outward], dtype=np.int64)
    ridge = ordered[1] - ordered[0] < _EDGE
    light = lights[face] + np.where(ridge, 110, 0)
    rise = 1 + np.maximum(ordered[0], 0) * _PITCH // 16
    return np.where(outside, -1, rise), light


def _sunlight(frame: Frame, du: int, dv: int) -> int:
    """Return the brightness of a roof face that looks along ``(du, dv)`` of its frame."""
    x, y = frame.a * du - frame.b * dv, frame.b * du + frame.a * dv
    return 985 + (SUN[0] * x + SUN[1] * y) * 270 // (SUN[2] * frame.c)


def _eroded(mask: Bools) -> Bools:
    padded = np.pad(mask, 1)
    return (
        mask
        & padded[:-2, 1:-1]
        & padded[2:, 1:-1]
        & padded[1:-1, :-2]
        & padded[1:-1, 2:]
    )
