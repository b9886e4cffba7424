"""What a map holds in one line, and whether it can be right."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from geoseg.core.classes import BUILDINGS
from geoseg.core.patches import IGNORE
from geoseg.core.words import counted
from geoseg.geo.footprints.vectorize import Footprint
from geoseg.geo.rasters.description import RasterDescription
from geoseg.geo.rasters.strips import ClassStrip, byte_histogram

#: Dense old towns are built over to some 60 %: a larger share is hardly a map.
MOST_BUILDING = 0.8
#: One footprint over more of its image than this is ground, not a building.
MOST_FOOTPRINT = 0.5


@dataclass(frozen=True)
class ClassSummary:
    """How much of an image, or of several, is of one class.

    Attributes:
        name: Of the class.
        footprints: Polygons, at least as large as was asked for.
        area_m2: Pixels of the class, those of no footprint included, square metres.
        largest_m2: Area of the largest footprint; 0 if there is none.
    """

    name: str
    footprints: int
    area_m2: float
    largest_m2: float


@dataclass(frozen=True)
class ImageSummary:
    """What was mapped of one image.

    Attributes:
        path: As given, or what a mosaic is called.
        valid_m2: Where it has data, square metres.
        classes: Those that become footprints, in the order of their ids.
    """

    path: str
    valid_m2: float
    classes: tuple[ClassSummary, ...]

    @property
    def footprints(self) -> int:
        """Polygons of all classes."""
        return sum(it.footprints for it in self.classes)

    @property
    def swallowed(self) -> bool:
        """Whether a single footprint covers most of it, where none can."""
        largest = max((it.largest_m2 for it in _judged(self.classes)), default=0.0)
        return 0 < MOST_FOOTPRINT * self.valid_m2 < largest

    def __str__(self) -> str:
        """``3 footprints: building covers 8.1 % of the valid area; the largest …``."""
        areas = describe_areas(self.classes, self.valid_m2)
        return f"{counted(self.footprints, 'footprint')}: {areas}"


@dataclass(frozen=True)
class MapSummary:
    """What a map holds.

    Attributes:
        footprints: Polygons in the file.
        images: What was mapped of each image.
    """

    footprints: int
    images: tuple[ImageSummary, ...]

    @property
    def valid_m2(self) -> float:
        """Where the images have data, square metres; overlaps count twice."""
        return sum(image.valid_m2 for image in self.images)

    @cached_property
    def classes(self) -> tuple[ClassSummary, ...]:
        """Every class over all images."""
        by_class = zip(*(image.classes for image in self.images), strict=True)
        return tuple(_together(parts) for parts in by_class)

    @property
    def areas(self) -> str:
        """Which share of the area every class covers, and its largest footprint."""
        return describe_areas(self.classes, self.valid_m2)

    @property
    def blank(self) -> tuple[str, ...]:
        """Paths of the images without a valid pixel."""
        return tuple(image.path for image in self.images if not image.valid_m2)

    @property
    def doubt(self) -> str | None:
        """What makes it absurd as a map of buildings; None if nothing does."""
        if not self.valid_m2:
            return None
        names = " or ".join(it.name for it in self.classes)
        if not self.footprints and any(it.area_m2 for it in self.classes):
            return f"all places of {names} are smaller than the least area"
        if not self.footprints:
            return f"no {names} was found"
        for it in _judged(self.classes):
            share = it.area_m2 / self.valid_m2
            if share > MOST_BUILDING:
                return f"{_percent(share)} of the valid area is {it.name}"
        with_data = len(self.images) - len(self.blank)
        swallowed = [image.path for image in self.images if image.swallowed]
        if 2 * len(swallowed) > with_data:
            of = f" in {len(swallowed)} of {with_data} images" if with_data > 1 else ""
            return f"a single footprint covers most of the valid area{of}"
        return None


def describe_areas(classes: Sequence[ClassSummary], valid_m2: float) -> str:
    """Say which share of an area every class covers, and its largest footprint.

    Example:
        >>> describe_areas([ClassSummary("building", 3, 250.0, 120.4)], 1000.0)
        'building covers 25.0 % of the valid area; the largest footprint has 120 m²'
    """
    if not valid_m2:
        return "no pixel is valid"
    if len(classes) == 1:
        (only,) = classes
        share = f"{only.name} covers {_percent(only.area_m2 / valid_m2)}"
        largest = f"; the largest footprint has {only.largest_m2:.0f} m²"
        return f"{share} of the valid area{largest if only.footprints else ''}"
    said = []
    for it in classes:
        detail = counted(it.footprints, "footprint")
        if it.footprints:
            detail += f", the largest {it.largest_m2:.0f} m²"
        said.append(f"{it.name} {_percent(it.area_m2 / valid_m2)} ({detail})")
    return f"of the valid area {', '.join(said)}"


def _together(parts: Sequence[ClassSummary]) -> ClassSummary:
    """Add up what several images have of one class."""
    return ClassSummary(
        parts[0].name,
        sum(it.footprints for it in parts),
        sum(it.area_m2 for it in parts),
        max(it.largest_m2 for it in parts),
    )


def _judged(classes: Sequence[ClassSummary]) -> Sequence[ClassSummary]:
    """Choose the classes that cannot cover nearly everything: water and trees can."""
    if len(classes) == 1:
        return classes
    return [it for it in classes if it.name.casefold().removesuffix("s") in BUILDINGS]


def _percent(share: float) -> str:
    """Write a share; a little is not nothing."""
    return "<0.1 %" if 0 < share < 0.0005 else f"{100 * share:.1f} %"


class Tally:
    """Measure one image on its way to the map."""

    def __init__(
        self, grid: RasterDescription, classes: dict[int, str], name: str | None = None
    ) -> None:
        """Begin at nothing.

        Args:
            grid: Of an image with a CRS.
            classes: Names of the classes that become footprints, by id.
            name: What the image is called; None: its path.
        """
        self._grid = grid
        self._name = name or grid.path
        self._names = classes
        self._pixels = np.zeros(IGNORE + 1, dtype=np.int64)
        self._count = dict.fromkeys(classes, 0)
        self._largest_m2 = dict.fromkeys(classes, 0.0)

    def strips(self, strips: Iterable[ClassStrip]) -> Iterator[ClassStrip]:
        """Pass strips on and count the pixels of every class."""
        for strip in strips:
            self._pixels += byte_histogram(strip.classes)
            yield strip

    def footprints(self, found: Iterable[Footprint]) -> Iterator[Footprint]:
        """Pass footprints on and note how many and how large they are."""
        for footprint in found:
            class_id = footprint.class_id
            self._count[class_id] += 1
            self._largest_m2[class_id] = max(
                self._largest_m2[class_id], footprint.area_m2
            )
            yield footprint

    def summary(self) -> ImageSummary:
        """Return what has been passed on so far."""
        pixel_m2 = (self._grid.gsd_m or 0.0) ** 2
        return ImageSummary(
            self._name,
            float(self._pixels[:IGNORE].sum() * pixel_m2),
            tuple(
                ClassSummary(
                    name,
                    self._count[class_id],
                    float(self._pixels[class_id] * pixel_m2),
                    self._largest_m2[class_id],
                )
                for class_id, name in self._names.items()
            ),
        )
