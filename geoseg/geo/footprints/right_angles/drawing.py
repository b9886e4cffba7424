"""Objects drawn with right angles: each alone, or with those that share its walls."""

from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt
import shapely

from geoseg.geo.footprints.buildings import Buildings, _take, join, whole
from geoseg.geo.footprints.complete_objects import Complete
from geoseg.geo.footprints.pixel_runs import ScoredRuns
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
    found: Complete,
    simple: _Outlines,
    split: Callable[[Buildings, list[ScoredRuns]], Buildings],
    how: How,
) -> Iterator[tuple[Drawn, set[int], set[int]]]:
    """Draw objects with right angles where the evidence supports them.

    Args:
        found: complete objects.
        simple: their outlines, simplified.
        split: cuts an object apart where buildings touch.
        how: as :func:`geoseg.geo.footprints.right_angles.single.draw_regular` takes it.

    Yields:
        What is drawn together; the numbers of its pieces, and of those around.
    """
    outlines = found.outline
    parts = [split(*it) for it in _one_by_one(found, simple)]
    groups = list(_groups(found, simple))
    single = [len(group) == 1 and len(parts[group[0]].outline) == 1 for group in groups]
    alone = [int(group[0]) for group, it in zip(groups, single, strict=True) if it]
    regular = iter(draw_regular(outlines[alone], simple[alone], *how))
    for group, is_single in zip(groups, single, strict=True):
        members = [parts[i] for i in group]
        buildings = join(members)
        if is_single:
            drawn = np.array([next(regular)], dtype=object)
        else:
            pixels = np.repeat(outlines[group], [len(it.outline) for it in members])
            area = np.where(buildings.is_part, np.nan, shapely.area(pixels))
            soft = soften(pixels, how[-1])
            drawn = draw_group(buildings.outline, soft, area, *how)
        pieces = set().union(*(found.pieces[i] for i in group))
        around = set().union(*(found.around[i] for i in group))
        yield Drawn(buildings, drawn), pieces, around - pieces


def _one_by_one(
    found: Complete, simple: _Outlines
) -> Iterator[tuple[Buildings, list[ScoredRuns]]]:
    """Yield each object as one building, and its pixels if they are kept."""
    first = np.stack((found.row, found.column), axis=1).astype(np.float64)
    every = whole(first, found.class_id, found.score, simple)
    for i in range(len(simple)):
        yield _take(every, i), found.runs[i : i + 1]


def _groups(found: Complete, simple: _Outlines) -> Iterator[_Index]:
    """Yield the places of objects that share walls with each other, or of one alone."""
    begins = np.flatnonzero(np.diff(found.neighbourhood, prepend=-1, append=-2))
    for begin, end in zip(begins[:-1], begins[1:], strict=True):
        near = np.arange(begin, end)
        group = near
        if found.shared[begin]:
            group = share_walls(simple[near])
        for number in np.unique(group):
            yield near[group == number]
