"""Classes of reference labels, and the label values that mean each class."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoseg.core.errors import ParameterError
from geoseg.core.patches import IGNORE
from geoseg.core.words import has_control_characters

#: Class ids with a fixed meaning.
BACKGROUND = 0
BUILDING = 1

#: Stands for all values that are not listed.
REST = "*"
#: Class names that mean buildings and so cannot be the background.
BUILDINGS = {"building", "house", "roof", "rooftop", "footprint", "built"}


@dataclass(frozen=True)
class LabelClasses:
    """The classes of labels, and the mask and attribute values that name them.

    Attributes:
        names: Name of each class id. The first is the background: it makes no
            footprints, and clusters without labelled pixels become it.
        values: Pairs of a label value, as :func:`value_key` writes it, and a class id.
        rest: Class id of all other values; None: pixels of other values are unlabelled.
        field: Attribute of polygons that holds the value; None: every polygon is of
            class 1.
        layer: Layer of vector files that have several; None: the only one.
        area: Where labels are complete: a vector file of the labelled area, ``all``
            (everywhere), ``touched`` (in the tiles that they touch), or None: in the
            layer ``labelled`` of their own file if it has one, else everywhere. Pixels
            outside are unlabelled.
        radius_m: For sparse labels, the radius of points and half the width of lines in
            metres; only pixels that a feature touches are labelled. None: the labels
            are not sparse.
    """

    names: tuple[str, ...] = ("background", "building")
    values: tuple[tuple[str, int], ...] = (("0", BACKGROUND),)
    rest: int | None = BUILDING
    field: str | None = None
    layer: str | None = None
    area: str | None = None
    radius_m: float | None = None

    @classmethod
    def parse(cls, text: str) -> "LabelClasses":
        """Parse the text of ``--classes``.

        ``background,building,road`` names the ids 0, 1, 2 in this order. A bare name
        means the mask value of its number and the polygon value of its name.
        ``name=value`` gives a class another value, and may be repeated for more values:
        whole numbers, text, ``#rrggbb``, or ``*`` for all values that are not listed.

        Raises:
            ParameterError: If there are fewer than 2 or more than 255 classes, a name
                is empty, a value means two classes, ``background`` is not the first
                class, or a name of buildings is the first.

        Example:
            >>> LabelClasses.parse("background=*,building=2,building=4").id_of(4)
            1
        """
        names: list[str] = []
        class_of: dict[str, int] = {}
        for item in text.split(","):
            name, equals, value = (part.strip() for part in item.partition("="))
            if not name or (equals and not value):
                raise ParameterError(
                    f"classes {text!r} have an empty name or value, expected names such "
                    "as background,building,road or pairs such as building=2"
                )
            if name not in names:
                names.append(name)
            elif not equals:
                raise ParameterError(
                    f"class {name!r} is named twice in {text!r}, expected each once "
                    f"(several values: {name}=1,{name}=2)"
                )
            class_id = names.index(name)
            keys = [value] if equals else [str(class_id), name]
            for key in map(value_key, keys):
                if class_of.setdefault(key, class_id) != class_id:
                    raise ParameterError(
                        f"value {key!r} means both {names[class_of[key]]!r} and "
                        f"{name!r} in {text!r}, expected one class for each value"
                    )
        _check_names(names, text)
        rest = class_of.pop(REST, None)
        return cls(tuple(names), tuple(class_of.items()), rest)

    @cached_property
    def _ids(self) -> dict[str, int]:
        return dict(self.values)

    def id_of(self, value: Any) -> int | None:
        """Return the class id of a label value; None if the value has no class."""
        return self._ids.get(value_key(value), self.rest)

    @property
    def any_building(self) -> bool:
        """Whether no classes are given, so that every value but 0 is building."""
        return (self.names, self.values, self.rest) == _UNNAMED

    @property
    def sparse(self) -> bool:
        """Whether only pixels that a feature touches are labelled."""
        return self.radius_m is not None

    @property
    def colours(self) -> bool:
        """Whether values are colours, ``#rrggbb``, so that masks have three bands."""
        return any(key.startswith("#") for key, _ in self.values)

    @property
    def numbers(self) -> tuple[tuple[float, int], ...]:
        """Pairs of a numeric value, or of a colour as a number, and its class id."""
        pairs = ((_number(key), class_id) for key, class_id in self.values)
        return tuple((number, c) for number, c in pairs if number is not None)

    def binary(self, class_id: int) -> "LabelClasses":
        """Return two classes: the given one, and background in place of all others."""
        return replace(
            self,
            names=(self.names[BACKGROUND], self.names[class_id]),
            values=tuple((key, int(c == class_id)) for key, c in self.values),
            rest=None if self.rest is None else int(self.rest == class_id),
        )


#: Default classes: every value but 0 is building.
TWO_CLASSES = LabelClasses()
_UNNAMED = (TWO_CLASSES.names, TWO_CLASSES.values, TWO_CLASSES.rest)
#: Default classes of sparse labels, and the attribute that names them.
SPARSE_CLASSES, SPARSE_FIELD = "background,building", "class"


def convert_ids(
    ids: NDArray[np.uint8], own: Sequence[str], names: Sequence[str]
) -> NDArray[np.uint8]:
    """Convert class ids from one list of names to another; other names are background.

    Args:
        ids: Any shape; IGNORE stays.
        own: Class names of ``ids``.
        names: Class names of the ids that are returned.

    Example:
        >>> convert_ids(np.array([1, 2, 255], np.uint8), "abc", "ac").tolist()
        [0, 1, 255]
    """
    table = np.full(256, IGNORE, dtype=np.uint8)
    table[: len(own)] = [names.index(n) if n in names else BACKGROUND for n in own]
    return table[ids]


def footprint_ids(
    class_names: tuple[str, ...], wanted: Iterable[str] = ()
) -> tuple[int, ...]:
    """Return the ids of the classes that become footprints, in ascending order.

    Args:
        class_names: Of all ids, background first.
        wanted: Names; if empty, ``building`` if it exists, else all but background.

    Raises:
        ParameterError: If a name is unknown or is the background.
    """
    chosen = set(wanted)
    if not chosen:
        chosen = {"building"} & set(class_names[1:]) or set(class_names[1:])
    for name in sorted(chosen):
        if name not in class_names[1:]:
            raise ParameterError(
                f"no footprints can be made of class {name!r}, expected one of "
                f"{', '.join(class_names[1:])}"
            )
    return tuple(i for i, name in enumerate(class_names) if i and name in chosen)


def value_key(value: Any) -> str:
    """Write a label value as text: whole numbers without a point, text without case.

    Example:
        >>> [value_key(value) for value in (2.0, "2", " Road ", None)]
        ['2', '2', 'road', 'null']
    """
    if value is None or value != value:  # nan
        return "null"
    text = str(value).strip()
    try:
        number = float(text)
    except ValueError:
        return text.casefold()
    if math.isfinite(number) and number == int(number):
        return str(int(number))
    return text.casefold()


def _number(key: str) -> float | None:
    try:
        return float(int(key[1:], 16)) if key.startswith("#") else float(key)
    except ValueError:
        return None


def check_printable(names: Iterable[str]) -> None:
    """Raise if a class name is empty or cannot be printed.

    Raises:
        ParameterError: If a name is empty, or has control characters or line breaks.
    """
    for name in names:
        if not name.strip() or has_control_characters(name):
            raise ParameterError(
                f"class name {name!r} cannot be printed, expected letters without "
                "control characters and line breaks: rename the class"
            )


def _check_names(names: list[str], text: str) -> None:
    check_printable(names)
    if not 2 <= len(names) <= IGNORE:
        raise ParameterError(
            f"{len(names)} classes in {text!r}, expected 2 to {IGNORE}, background first"
        )
    if "background" in names[1:]:
        raise ParameterError(
            f"background is class {names.index('background')} in {text!r}, expected it "
            "first: class 0 makes no footprints"
        )
    if names[BACKGROUND].casefold().removesuffix("s") in BUILDINGS:
        rest = "background=0" if REST in text else "background=*"
        raise ParameterError(
            f"{names[BACKGROUND]} comes first in {text!r}, expected the background, which "
            f"makes no footprints: write {rest if '=' in text else 'background'},{text}"
        )
