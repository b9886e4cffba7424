"""Drawing of objects with right angles, alone or with those that share their walls."""

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
import shapely

from geoseg.geo.footprints.buildings import Buildings, join
from geoseg.geo.footprints.complete_objects import Complete
from geoseg.geo.footprints.right_angles.clearing import Drawn
from geoseg.geo.footprints.right_angles.groups import draw_group
from geoseg.geo.footprints.right_angles.shared_walls import share_walls
from geoseg.geo.footprints.right_angles.single import draw_regular
from geoseg.geo.footprints.simplify import Extent, soften

_Index = npt.NDArray[np.int64]
_Outlines = npt.NDArray[np.object_]

#: Metres per pixel, tolerance in metres, size of the image.
How = tuple[npt.NDArray[np.float64], float, Extent]


def draw_objects(
    objects: Complete,
    simple: _Outlines,
    parts: Sequence[Buildings],
    how: How,
) -> Iterator[tuple[Drawn, set[int], set[int]]]:
    """Draw objects with right angles where the pixels support them.

    Args:
        objects: complete objects.
        simple: their simplified outlines.
        parts: the buildings of each object: one, or several where it was split.
        how: as in :func:`geoseg.geo.footprints.right_angles.single.draw_regular`.

    Yields:
        Buildings drawn together, the numbers of their pieces, and of those around.
    """
    outlines = objects.outline
    groups = list(_groups(objects, simple))
    single = [len(group) == 1 and len(parts[group[0]].outline) == 1 for group in groups]
    alone = [
        int(group[0])
        for group, is_single in zip(groups, single, strict=True)
        if is_single
    ]
    regular = iter(draw_regular(outlines[alone], simple[alone], *how))
    for group, is_single in zip(groups, single, strict=True):
        members = [parts[i] for i in group]
        buildings = join(members)
        if is_single:
            drawn = np.array([next(regular)], dtype=object)
        else:
            count = [len(member.outline) for member in members]
            pixels = np.repeat(outlines[group], count)
            area = np.where(buildings.is_part, np.nan, shapely.area(pixels))
            soft = soften(pixels, how[-1])
            drawn = draw_group(buildings.outline, soft, area, *how)
        pieces = set().union(*(objects.pieces[i] for i in group))
        around = set().union(*(objects.around[i] for i in group))
        yield Drawn(buildings, drawn), pieces, around - pieces


def _groups(objects: Complete, simple: _Outlines) -> Iterator[_Index]:
    """Yield the indices of each group of objects linked by shared walls."""
    begins = np.flatnonzero(np.diff(objects.neighbourhood, prepend=-1, append=-2))
    for begin, end in zip(begins[:-1], begins[1:], strict=True):
        near = np.arange(begin, end)
        group = near
        if objects.shared[begin]:
            group = share_walls(simple[near])
        for number in np.unique(group):
            yield near[group == number]
