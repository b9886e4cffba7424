"""Splitting of objects into single buildings."""

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
from geoseg.geo.footprints.splitting.valleys import (
    find_valleys,
    may_have_valley,
    relief_of,
)


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
    """Split objects where buildings touch.

    Args:
        objects: each as one building.
        runs: pixel runs of each; their scores are used where they differ enough.
        metres: ``(2, 2)``, metres east and north per column and row.
        min_area_m2: smallest part, measured with the pixel size at the raster's centre.
        tolerance_m: largest distance at which cuts snap to corners.

    Returns:
        Single buildings unchanged, and the parts of the others, each with its own first
        pixel and score. Runs crossed by a cut are left out of the scores unless a part has
        no others.
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
    new = [part for group in parts for part in group]
    return Buildings(
        np.concatenate((objects.first[kept], [part.first for part in new])),
        np.concatenate((objects.class_id[kept], np.repeat(objects.class_id, count))),
        np.concatenate((objects.score[kept], [part.score for part in new])),
        np.concatenate((objects.outline[kept], [part.outline for part in new])),
        np.arange(kept.sum() + len(new)) >= kept.sum(),
    )


def _sound_parts(
    outline: Polygon,
    pixels: ScoredRuns,
    metres: npt.NDArray[np.float64],
    **rules: float,
) -> list[Polygon]:
    """Return the parts of an object; the object itself if a part is unsound."""
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
    """Split an object along valleys of its scores, then at its necks."""
    rules = {"min_area_m2": min_area_m2, "tolerance_m": tolerance_m}
    pixel_m2 = abs(np.linalg.det(metres))
    if shapely.area(outline) * pixel_m2 < 2 * min_area_m2:
        return [outline]
    sides, relief = [outline], None
    if may_have_valley(pixels):
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
    """Return the parts of an object with their scores; none if it stays whole.

    It also stays whole where pixels are so coarse that a part contains none.
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
    scored = []
    for i, part in enumerate(parts):
        share = whole_runs[i] if whole_runs[i].any() else shares[i]
        score = (pixels.score_sum * share).sum() / (length * share).sum() / SCORE_UNITS
        # Parts of a run do not overlap, so the parts have different first pixels.
        top = int(np.flatnonzero(shares[i])[0])
        first = float(runs.row[top]), float(shapely.bounds(inside[i, top])[0])
        scored.append(_Part(first, float(score), part))
    return scored


def _inside(
    lines: npt.NDArray[np.object_], parts: npt.NDArray[np.object_]
) -> npt.NDArray[np.object_]:
    """Return the ``(parts, lines)`` intersections of parts and lines."""
    shapely.prepare(parts)
    inside = np.where(shapely.covers(parts[:, None], lines), lines, LineString())
    part, line = shapely.STRtree(lines).query(parts, predicate="intersects")
    crossing = shapely.is_empty(inside[part, line])
    part, line = part[crossing], line[crossing]
    inside[part, line] = shapely.intersection(lines[line], parts[part])
    return np.asarray(inside)
