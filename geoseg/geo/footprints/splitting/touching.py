"""Objects as buildings: those that touch one by one."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import shapely
from shapely import LineString, Polygon

from geoseg.geo.footprints.buildings import Buildings
from geoseg.geo.footprints.pixel_runs import SCORE_UNITS, ScoredRuns
from geoseg.geo.footprints.shared_corners import share_corners
from geoseg.geo.footprints.sound_outlines import all_or_before
from geoseg.geo.footprints.splitting.cuts import ON, cut_along
from geoseg.geo.footprints.splitting.necks import split_touching
from geoseg.geo.footprints.splitting.valleys import find_valleys, relief_of, tells


class _Part(NamedTuple):
    first: tuple[float, float]
    score: float
    outline: Polygon


def split_objects(
    objects: Buildings,
    runs: list[ScoredRuns],
    metres: npt.NDArray[np.float64],
    *,
    min_area_m2: float,
    tolerance_m: float,
) -> Buildings:
    """Cut objects apart where buildings touch.

    Args:
        objects: as if each was one building.
        runs: the pixels of each; where their scores differ, they take part.
        metres: ``(2, 2)``, metres east and north per column and row.
        min_area_m2: no part is smaller, by the metres of the raster's centre.
        tolerance_m: cuts end at corners that are so near.

    Returns:
        Objects that are one building as they were; for the others their parts, each with
        its own first pixel and score. A run of pixels that a cut crosses says nothing of
        the scores on its sides, unless there is no other.
    """
    rules = {"min_area_m2": min_area_m2, "tolerance_m": tolerance_m}
    parts = [
        _scored(_sound_parts(outline, pixels, metres, **rules), pixels)
        for outline, pixels in zip(objects.outline, runs, strict=True)
    ]
    count = np.array([len(group) for group in parts])
    kept = count == 0
    if kept.all():
        return objects
    found = [part for group in parts for part in group]
    return Buildings(
        np.concatenate((objects.first[kept], [it.first for it in found])),
        np.concatenate((objects.class_id[kept], np.repeat(objects.class_id, count))),
        np.concatenate((objects.score[kept], [it.score for it in found])),
        np.concatenate((objects.outline[kept], [it.outline for it in found])),
        np.arange(kept.sum() + len(found)) >= kept.sum(),
    )


def _sound_parts(
    outline: Polygon,
    pixels: ScoredRuns,
    metres: npt.NDArray[np.float64],
    **rules: float,
) -> list[Polygon]:
    """Return the parts of an object; the object where one could not be drawn."""
    before = np.array([outline], dtype=object)

    def draw() -> npt.NDArray[np.object_]:
        return np.array(_parts(outline, pixels, metres, **rules), dtype=object)

    return list(all_or_before(draw, before))


def _parts(
    outline: Polygon,
    pixels: ScoredRuns,
    metres: npt.NDArray[np.float64],
    *,
    min_area_m2: float,
    tolerance_m: float,
) -> list[Polygon]:
    """Cut an object along valleys of its scores, then at its necks."""
    rules = {"min_area_m2": min_area_m2, "tolerance_m": tolerance_m}
    pixel_m2 = abs(np.linalg.det(metres))
    if shapely.area(outline) * pixel_m2 < 2 * min_area_m2:
        return [outline]
    sides, relief = [outline], None
    if tells(pixels):
        relief = relief_of(pixels, float(np.sqrt(pixel_m2)))
        valleys = find_valleys(relief, min_area_m2 / pixel_m2)
        sides = cut_along(sides, valleys, metres, **rules)
    parts = [
        part
        for side in sides
        for part in split_touching(side, metres, relief=relief, **rules)
    ]
    if len(sides) == 1:
        return parts
    return list(share_corners(np.array(parts, dtype=object), ON))


def _scored(parts: list[Polygon], pixels: ScoredRuns) -> list[_Part]:
    """Return the parts of an object; none if it is whole.

    It stays whole, too, where pixels are so coarse that a part has none of them.
    """
    if len(parts) == 1:
        return []
    runs = pixels.runs
    length = (runs.stop - runs.start).astype(np.float64)
    middle = runs.row + 0.5
    ends = np.stack((runs.start, middle, runs.stop, middle), axis=1)
    lines = shapely.linestrings(ends.reshape(-1, 2, 2))
    inside = _inside(lines, np.array(parts, dtype=object))
    shares = shapely.length(inside) / length
    if not shares.any(axis=1).all():
        return []
    whole_runs = shares * (np.count_nonzero(shares, axis=0) == 1)
    found = []
    for i, part in enumerate(parts):
        share = whole_runs[i] if whole_runs[i].any() else shares[i]
        score = (pixels.score_sum * share).sum() / (length * share).sum() / SCORE_UNITS
        # Parts begin at different places: what they have of a run overlaps nowhere.
        top = int(np.flatnonzero(shares[i])[0])
        first = float(runs.row[top]), float(shapely.bounds(inside[i, top])[0])
        found.append(_Part(first, float(score), part))
    return found


def _inside(
    lines: npt.NDArray[np.object_], parts: npt.NDArray[np.object_]
) -> npt.NDArray[np.object_]:
    """Return ``(parts, lines)``, what each part has of each line."""
    shapely.prepare(parts)
    inside = np.where(shapely.covers(parts[:, None], lines), lines, LineString())
    part, line = shapely.STRtree(lines).query(parts, predicate="intersects")
    crossing = shapely.is_empty(inside[part, line])
    part, line = part[crossing], line[crossing]
    inside[part, line] = shapely.intersection(lines[line], parts[part])
    return np.asarray(inside)
