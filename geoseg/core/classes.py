"""Which classes the reference labels have, and which label values mean which class."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoseg.core.errors import ParameterError
from geoseg.core.patches import IGNORE
from geoseg.core.words import acts

#: Class ids that the project gives a meaning.
BACKGROUND = 0
BUILDING = 1

#: Stands for every value that is not named.
REST = "*"
#: Names of what is to be found, which nobody wants as the background.
BUILDINGS = {"building", "house", "roof", "rooftop", "footprint", "built"}


@dataclass(frozen=True)
class LabelClasses:
    """The classes of labels, and how values of masks and attributes name them.

    Attributes:
        names: Name of each class id. The first is the background: it makes no
            footprints, and clusters never seen on a label get it.
        values: Pairs of a label value, as :func:`value_key` writes it, and a class id.
        rest: Class id of all other values; None: pixels of other values are unlabelled.
        field: Attribute of polygons that holds the value; None: every polygon is of
            class 1.
        layer: Layer of vector files that have several; None: the only one.
        area: What else is known of where labels hold: a vector file of the labelled
            area, ``all`` (everywhere), ``touched`` (in the tiles that they touch), or
            None: in the layer ``labelled`` of their own file, if it has one, else
            everywhere. What lies outside is unlabelled.
        radius_m: Of points in metres, and half the width of lines, where the labels are
            sparse: only what their features touch is labelled. None: polygons say what
            is on all the ground.
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
        """Read classes as ``--classes`` has them.

        ``background,building,road`` names the ids 0, 1, 2 in this order: a bare name
        stands for masks' values of its number, and for polygons' values of its name.
        ``name=value`` gives a class another value, repeated as often as it has values:
        whole numbers, text, ``#rrggbb``, or ``*`` for all values that are not named.

        Raises:
            ParameterError: If there are fewer than two classes or more than 255, a name
                is empty, a value means two classes, or background is not the first, or
            a name of buildings is.

        Example:
            >>> LabelClasses.parse("background=*,building=2,building=4").id_of(4)
            1
        """
        names: list[str] = []
        found: dict[str, int] = {}
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
                if found.setdefault(key, class_id) != class_id:
                    raise ParameterError(
                        f"value {key!r} means both {names[found[key]]!r} and {name!r} in "
                        f"{text!r}, expected one class for each value"
                    )
        _check_names(names, text)
        rest = found.pop(REST, None)
        return cls(tuple(names), tuple(found.items()), rest)

    @cached_property
    def _ids(self) -> dict[str, int]:
        return dict(self.values)

    def id_of(self, value: Any) -> int | None:
        """Return the class id of a label value; None if it belongs to no class."""
        return self._ids.get(value_key(value), self.rest)

    @property
    def any_building(self) -> bool:
        """Whether all values but 0 are building, because nobody named classes."""
        return (self.names, self.values, self.rest) == _UNNAMED

    @property
    def sparse(self) -> bool:
        """Whether only what the features touch is labelled."""
        return self.radius_m is not None

    @property
    def colours(self) -> bool:
        """Whether values are colours, ``#rrggbb``, so that masks have three bands."""
        return any(key.startswith("#") for key, _ in self.values)

    @property
    def numbers(self) -> tuple[tuple[float, int], ...]:
        """The values that are numbers, or colours as numbers, with their class ids."""
        pairs = ((_number(key), class_id) for key, class_id in self.values)
        return tuple((number, c) for number, c in pairs if number is not None)

    def alone(self, class_id: int) -> "LabelClasses":
        """Return two classes: background, which all others become, and the one."""
        return replace(
            self,
            names=(self.names[BACKGROUND], self.names[class_id]),
            values=tuple((key, int(c == class_id)) for key, c in self.values),
            rest=None if self.rest is None else int(self.rest == class_id),
        )


#: What labels are unless ``--classes`` says otherwise: all but 0 is building.
TWO_CLASSES = LabelClasses()
_UNNAMED = (TWO_CLASSES.names, TWO_CLASSES.values, TWO_CLASSES.rest)
#: What sparse labels are unless ``--classes`` says otherwise, and their attribute.
SPARSE_CLASSES, SPARSE_FIELD = "background,building", "class"


def renamed(
    ids: NDArray[np.uint8], own: Sequence[str], names: Sequence[str]
) -> NDArray[np.uint8]:
    """Return class ids as others number them; classes they do not know are background.

    Args:
        ids: Any shape; IGNORE stays.
        own: Names of these ids.
        names: Names of the ids that are returned.

    Example:
        >>> renamed(np.array([1, 2, 255], np.uint8), "abc", "ac").tolist()
        [0, 1, 255]
    """
    table = np.full(256, IGNORE, dtype=np.uint8)
    table[: len(own)] = [names.index(n) if n in names else BACKGROUND for n in own]
    return table[ids]


def footprint_ids(
    class_names: tuple[str, ...], wanted: Iterable[str] = ()
) -> tuple[int, ...]:
    """Return the ids of the classes that become footprints, in their order.

    Args:
        class_names: Of all ids, background first.
        wanted: Names; none: ``building`` if there is one, else all but background.

    Raises:
        ParameterError: If a name is unknown, or the background's.
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
    """Refuse names that no style can hold, and that would act on a terminal.

    Raises:
        ParameterError: If one is empty, or holds control characters or line breaks.
    """
    for name in names:
        if not name.strip() or acts(name):
            raise ParameterError(
                f"class {name!r} has no name that can be printed, expected letters "
                "without control characters and line breaks: rename it"
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
            "first: class 0 is what makes no footprints"
        )
    if names[BACKGROUND].casefold().removesuffix("s") in BUILDINGS:
        rest = "background=0" if REST in text else "background=*"
        raise ParameterError(
            f"{names[BACKGROUND]} comes first in {text!r}, expected the background, which "
            f"makes no footprints: write {rest if '=' in text else 'background'},{text}"
        )
