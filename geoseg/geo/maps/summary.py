"""Summary of a map's contents, with a check of its plausibility."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from geoseg.core.classes import BUILDINGS
from geoseg.core.patches import IGNORE
from geoseg.core.words import counted
from geoseg.geo.footprints.vectorize import Footprint
from geoseg.geo.rasters.description import RasterDescription
from geoseg.geo.rasters.strips import ClassStrip, byte_histogram

#: Largest plausible share of buildings; dense old towns reach some 60 %.
MOST_BUILDING = 0.8
#: Largest plausible share of an image under a single footprint.
MOST_FOOTPRINT = 0.5


@dataclass(frozen=True)
class ClassSummary:
    """Area and footprints of one class in one or several images.

    Attributes:
        name: Name of the class.
        footprints: Number of polygons that are large enough.
        area_m2: Area of the class's pixels, with or without a footprint, square metres.
        largest_m2: Area of the largest footprint; 0 if there is none.
    """

    name: str
    footprints: int
    area_m2: float
    largest_m2: float


@dataclass(frozen=True)
class ImageSummary:
    """Summary of one mapped image.

    Attributes:
        path: Path as given, or the name of a mosaic.
        valid_m2: Area with data, square metres.
        classes: Classes that become footprints, in the order of their ids.
    """

    path: str
    valid_m2: float
    classes: tuple[ClassSummary, ...]

    @property
    def footprints(self) -> int:
        """Number of polygons of all classes."""
        return sum(summary.footprints for summary in self.classes)

    @property
    def swallowed(self) -> bool:
        """Whether a single footprint implausibly covers most of the image."""
        classes = _limited(self.classes)
        largest = max((summary.largest_m2 for summary in classes), default=0.0)
        return 0 < MOST_FOOTPRINT * self.valid_m2 < largest

    def __str__(self) -> str:
        """Return ``3 footprints: building covers 8.1 % of the valid area; …``."""
        areas = describe_areas(self.classes, self.valid_m2)
        return f"{counted(self.footprints, 'footprint')}: {areas}"


@dataclass(frozen=True)
class MapSummary:
    """Summary of a map.

    Attributes:
        footprints: Number of polygons in the file.
        images: Summary of each image.
    """

    footprints: int
    images: tuple[ImageSummary, ...]

    @property
    def valid_m2(self) -> float:
        """Area where the images have data, square metres; overlaps count twice."""
        return sum(image.valid_m2 for image in self.images)

    @cached_property
    def classes(self) -> tuple[ClassSummary, ...]:
        """Summary of every class over all images."""
        by_class = zip(*(image.classes for image in self.images), strict=True)
        return tuple(_together(parts) for parts in by_class)

    @property
    def areas(self) -> str:
        """Text with each class's share of the area and its largest footprint."""
        return describe_areas(self.classes, self.valid_m2)

    @property
    def blank(self) -> tuple[str, ...]:
        """Paths of the images without a valid pixel."""
        return tuple(image.path for image in self.images if not image.valid_m2)

    @property
    def doubt(self) -> str | None:
        """Reason why the map of buildings is implausible; None if there is none."""
        if not self.valid_m2:
            return None
        names = " or ".join(summary.name for summary in self.classes)
        if not self.footprints and any(summary.area_m2 for summary in self.classes):
            return f"all areas of {names} are smaller than the minimum area"
        if not self.footprints:
            return f"no {names} was found"
        for summary in _limited(self.classes):
            share = summary.area_m2 / self.valid_m2
            if share > MOST_BUILDING:
                return f"{_percent(share)} of the valid area is {summary.name}"
        with_data = len(self.images) - len(self.blank)
        swallowed = [image.path for image in self.images if image.swallowed]
        if 2 * len(swallowed) > with_data:
            of = f" in {len(swallowed)} of {with_data} images" if with_data > 1 else ""
            return f"a single footprint covers most of the valid area{of}"
        return None


def describe_areas(classes: Sequence[ClassSummary], valid_m2: float) -> str:
    """Return text with each class's share of the area and its largest footprint.

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
    parts = []
    for summary in classes:
        detail = counted(summary.footprints, "footprint")
        if summary.footprints:
            detail += f", the largest {summary.largest_m2:.0f} m²"
        parts.append(
            f"{summary.name} {_percent(summary.area_m2 / valid_m2)} ({detail})"
        )
    return f"of the valid area {', '.join(parts)}"


def _together(parts: Sequence[ClassSummary]) -> ClassSummary:
    """Add up the summaries of one class in several images."""
    return ClassSummary(
        parts[0].name,
        sum(part.footprints for part in parts),
        sum(part.area_m2 for part in parts),
        max(part.largest_m2 for part in parts),
    )


def _limited(classes: Sequence[ClassSummary]) -> Sequence[ClassSummary]:
    """Return the classes that cannot cover nearly everything, as water and trees can."""
    if len(classes) == 1:
        return classes
    return [
        summary
        for summary in classes
        if summary.name.casefold().removesuffix("s") in BUILDINGS
    ]


def _percent(share: float) -> str:
    """Return a share as text in percent, ``<0.1 %`` if small but not 0."""
    return "<0.1 %" if 0 < share < 0.0005 else f"{100 * share:.1f} %"


class Tally:
    """Counts pixels and footprints of one image while it is mapped."""

    def __init__(
        self, grid: RasterDescription, classes: dict[int, str], name: str | None = None
    ) -> None:
        """Start at zero.

        Args:
            grid: Grid of an image with a CRS.
            classes: Names of the classes that become footprints, by id.
            name: Name of the image; None: its path.
        """
        self._grid = grid
        self._name = name or grid.path
        self._names = classes
        self._pixels = np.zeros(IGNORE + 1, dtype=np.int64)
        self._count = dict.fromkeys(classes, 0)
        self._largest_m2 = dict.fromkeys(classes, 0.0)

    def feed_strip(self, strip: ClassStrip) -> None:
        """Count the pixels of every class."""
        self._pixels += byte_histogram(strip.classes)

    def feed_footprint(self, footprint: Footprint) -> None:
        """Count a footprint, and record the largest area."""
        class_id = footprint.class_id
        self._count[class_id] += 1
        largest = max(self._largest_m2[class_id], footprint.area_m2)
        self._largest_m2[class_id] = largest

    @property
    def data(self) -> ImageSummary:
        """Summary of all strips and footprints so far."""
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
