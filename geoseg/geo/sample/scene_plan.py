"""ScenePlan of a scene: its items before they are painted."""

from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from geoseg.geo.sample.geometry import Box, Frame, Ring, untied
from geoseg.geo.sample.hashing import Draws
from geoseg.geo.sample.materials import OTHER, VEGETATION

RoofStyle = Literal["flat", "hip", "gable_u", "gable_v"]

#: Gain of 1; brightnesses are in 1/1024.
PLAIN = 1024

CARS = ("car_white", "car_silver", "car_silver", "car_black", "car_red", "car_blue")


class Ground(NamedTuple):
    """A flat surface, painted only inside ``clip``; ``gain`` in 1/1024."""

    ring: Ring
    material: str
    class_id: int
    clip: Box
    gain: int = PLAIN


class Solid(NamedTuple):
    """A small object with a flat top, ``height`` sixteenths of a pixel above its base.

    It has the class of the surface below it: a car on a road is road, an air conditioner
    on a roof is building.
    """

    ring: Ring
    material: str
    height: int
    gain: int = PLAIN


class Wing(NamedTuple):
    """A rectangular part of a building, in its frame, with its own roof."""

    u0: int
    v0: int
    u1: int
    v1: int
    style: RoofStyle


class Building(NamedTuple):
    """A building: rings (the outline, then courtyards) and roofs."""

    rings: tuple[Ring, ...]
    frame: Frame
    wings: tuple[Wing, ...]
    material: str
    eave: int
    gain: int = PLAIN


class Crown(NamedTuple):
    """A tree, a shrub or a heap of earth, seen from above."""

    x: int
    y: int
    radius: int
    height: int
    material: str
    class_id: int = VEGETATION
    gain: int = PLAIN


@dataclass
class ScenePlan:
    """All items of a scene, in painting order."""

    grounds: list[Ground] = field(default_factory=list)
    solids: list[Solid] = field(default_factory=list)
    buildings: list[Building] = field(default_factory=list)
    furniture: list[Solid] = field(default_factory=list)
    crowns: list[Crown] = field(default_factory=list)

    def ground(
        self, ring: Ring, material: str, clip: Box, *, class_id: int = OTHER
    ) -> None:
        """Add a flat surface."""
        self.grounds.append(Ground(ring, material, class_id, clip))

    def building(
        self,
        frame: Frame,
        rings: tuple[Ring, ...],
        wings: tuple[Wing, ...],
        *,
        material: str,
        eave: int,
        gain: int,
    ) -> None:
        """Add a building, shifted by a few sixteenths of a pixel if it is ambiguous."""
        self.buildings.append(
            Building(untied(rings), frame, wings, material, eave, gain)
        )

    def car(self, frame: Frame, u: int, v: int, draws: Draws) -> None:
        """Add a car with its length along v and its near corner at ``(u, v)``."""
        material = draws.pick(CARS)
        long = draws.between(14, 17)
        body = frame.rectangle(u, v, u + 6, v + long)
        self.solids.append(Solid(body, material, 40))
        screen = frame.rectangle(u + 1, v + 4, u + 5, v + 6)
        rear = frame.rectangle(u + 1, v + long - 4, u + 5, v + long - 2)
        self.solids += [Solid(screen, "glass", 34), Solid(rear, "glass", 34)]

    def tree(self, x: int, y: int, draws: Draws) -> None:
        """Add a tree of random kind at a pixel."""
        material = draws.pick(("crown", "crown", "olive"))
        radius = draws.pick((3, 4, 5, 6, 7, 8, 9, 11, 13))
        height = 110 + 22 * radius + draws.below(60)
        gain = draws.between(840, 1240)
        self.crowns.append(Crown(x, y, radius, height, material, VEGETATION, gain))

    def shrub(self, x: int, y: int, draws: Draws) -> None:
        """Add a low bush at a pixel."""
        material = draws.pick(("shrub", "shrub", "olive"))
        radius = draws.between(1, 3)
        gain = draws.between(860, 1180)
        self.crowns.append(Crown(x, y, radius, 22, material, VEGETATION, gain))
