"""Options of a training that matter for a description."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from geoseg.runs.settings import POINT_RADIUS_M

if TYPE_CHECKING:
    from geoseg.runs.settings import RunSettings


@dataclass(frozen=True)
class Choices:
    """Options of ``geoseg train`` that matter for a description.

    Attributes:
        labels: Folder or file of labels, or None for those of the layout.
        classes: Of the labels, in the form of ``--classes``; None: building or not.
        class_field: Attribute of label polygons that holds the class.
        label_layer: Layer of label files that have several.
        labelled_area: Vector file of the area that is labelled, ``all`` or ``touched``.
        sparse: Only pixels that a feature touches are labelled.
        point_radius: Of sparse points, in metres.
        bands: Preset, names or numbers, or None for the usual ones.
        nodata: The nodata rule.
    """

    labels: str | None = None
    classes: str | None = None
    class_field: str | None = None
    label_layer: str | None = None
    labelled_area: str | None = None
    sparse: bool = False
    point_radius: float = POINT_RADIUS_M
    bands: str | None = None
    nodata: str = "auto"

    def settings(self, images: str) -> "RunSettings":
        """Return the settings of a training on some images, else with defaults."""
        from geoseg.runs.settings import RunSettings  # heavy: not for vector files

        return RunSettings(images=images, **vars(self))
