"""The attributes of footprints, the same in every format."""

from collections.abc import Callable
from typing import Literal, NamedTuple

from geoseg.geo.footprints.vectorize import Footprint


class Attribute(NamedTuple):
    """An attribute of footprints.

    Attributes:
        name: Name of the field.
        kind: Type of its values.
        meaning: Description with the unit.
        value: Returns the rounded value of a footprint, or None.
    """

    name: str
    kind: Literal["str", "float"]
    meaning: str
    value: Callable[[Footprint], str | float | None]


#: Number of a footprint in its file, from 1.
ID = "id"
ID_MEANING = "number of the footprint, from 1"
#: All attributes except the number, in the order of the fields.
ATTRIBUTES = (
    Attribute(
        "class", "str", "name of the class", lambda footprint: footprint.class_name
    ),
    Attribute(
        "score",
        "float",
        "mean probability of the class over the footprint, 0 to 1; null where the method "
        "has no probabilities",
        lambda footprint: (
            None if footprint.score is None else round(footprint.score, 4)
        ),
    ),
    Attribute(
        "area_m2",
        "float",
        "area on the ground, square metres",
        lambda footprint: round(footprint.area_m2, 2),
    ),
    Attribute(
        "perimeter_m",
        "float",
        "length of the outlines, holes included, metres",
        lambda footprint: round(footprint.perimeter_m, 2),
    ),
    Attribute(
        "orientation",
        "float",
        "direction of the main axis, degrees clockwise from grid north, 0 to 180",
        lambda footprint: round(footprint.orientation, 1) % 180,
    ),
)
