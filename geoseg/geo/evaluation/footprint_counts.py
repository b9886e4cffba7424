"""Counts of footprints that are found, invented and missed.

Computed in pixel coordinates (x = column, y = row), as SpaceNet's smallest area is 20
pixels. IoU does not depend on the unit.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import rasterio.features
import shapely
from affine import Affine
from shapely import Polygon
from shapely.geometry import shape

from geoseg.core.errors import ParameterError
from geoseg.scores.metrics import PolygonCounts

#: SpaceNet's limit: smaller footprints are not scored.
MIN_AREA_PX = 20.0


def polygon_counts(
    predicted: Sequence[Polygon],
    reference: Sequence[Polygon],
    *,
    scores: Sequence[float] | None = None,
    iou: float = 0.5,
    min_area: float = MIN_AREA_PX,
) -> PolygonCounts:
    """Count footprints found, invented and missed, as in the SpaceNet challenges.

    Proposals are matched one after another. Each takes the unmatched reference footprint
    with the largest IoU, if that is at least ``iou``. Proposals without a match are
    invented, references without one are missed. Small ones are left out first: references
    below ``min_area``, proposals up to and including ``min_area``.

    Args:
        predicted: Proposals, in the order of matching.
        reference: Reference footprints of the same tile.
        scores: Confidence of each proposal; if given, the most confident are matched first
            (equal ones keep their order).
        iou: Smallest IoU of a match, in (0, 1].
        min_area: In squared units of the coordinates; pixels on a tile.

    Returns:
        The counts. Sum them over all tiles of an AOI before scoring.

    Raises:
        ParameterError: If ``iou`` is out of range or scores and proposals differ in
            number.

    References:
        SpaceNet building footprint metric, https://spacenet.ai/the-spacenet-metric/; the
        order of steps follows CosmiQ/solaris ``eval/base.py``. Differs from that code:
        an IoU of exactly 0.5 is a match, as the metric's definition says, and invalid
        polygons are repaired rather than given an IoU of 0.
    """
    if not 0.0 < iou <= 1.0:
        raise ParameterError(f"iou is {iou}, expected a share above 0 and up to 1")
    order = np.arange(len(predicted))
    if scores is not None:
        if len(scores) != len(predicted):
            raise ParameterError(
                f"{len(scores)} scores for {len(predicted)} proposals, expected as many"
            )
        order = np.argsort(-np.asarray(scores, dtype=float), kind="stable")
    proposals = shapely.make_valid(np.array(predicted, dtype=object)[order])
    references = shapely.make_valid(np.array(reference, dtype=object))
    proposals = proposals[shapely.area(proposals) > min_area]
    references = references[shapely.area(references) >= min_area]
    hits = _greedy_matches(proposals, references, iou)
    return PolygonCounts(hits, len(proposals) - hits, len(references) - hits)


def _greedy_matches(
    proposals: npt.NDArray[Any], references: npt.NDArray[Any], least: float
) -> int:
    """Count one-to-one matches; proposals are matched in order."""
    tree = shapely.STRtree(references)
    left, right = tree.query(proposals, predicate="intersects")
    shared = shapely.area(shapely.intersection(proposals[left], references[right]))
    union = shapely.area(proposals)[left] + shapely.area(references)[right] - shared
    overlap = shared / union
    good = overlap >= least
    left, right, overlap = left[good], right[good], overlap[good]
    taken: set[int] = set()
    matched: set[int] = set()
    # By proposal, then best IoU first, then the reference's order.
    for pair in np.lexsort((right, -overlap, left)):
        proposal, choice = int(left[pair]), int(right[pair])
        if proposal not in matched and choice not in taken:
            matched.add(proposal)
            taken.add(choice)
    return len(matched)


def mostly_inside(
    polygons: Sequence[Polygon],
    inside: npt.NDArray[np.bool_],
    *,
    row: int = 0,
    col: int = 0,
) -> list[Polygon]:
    """Return the polygons with more than half of their area inside a mask.

    Area is the number of pixels whose centres are in the polygon, or, if there are none,
    of those that it touches.

    Args:
        polygons: In pixel coordinates of an image.
        inside: ``(H, W)``, the mask.
        row: Row of the mask's first pixel in the image.
        col: Column of that pixel.
    """
    if inside.all():
        return list(polygons)
    sums = np.pad(inside.cumsum(0).cumsum(1), ((1, 0), (1, 0)))
    kept = []
    for polygon in polygons:
        left, top, right, bottom = polygon.bounds
        x0, x1 = _pixel_range(left - col, right - col, inside.shape[1])
        y0, y1 = _pixel_range(top - row, bottom - row, inside.shape[0])
        count = sums[y1, x1] - sums[y0, x1] - sums[y1, x0] + sums[y0, x0]
        if count == 0:
            continue
        corner = Affine.translation(col + x0, row + y0)
        if (
            count == (y1 - y0) * (x1 - x0)
            or _share(polygon, inside[y0:y1, x0:x1], corner) > 0.5
        ):
            kept.append(polygon)
    return kept


def _pixel_range(low: float, high: float, size: int) -> tuple[int, int]:
    """Return the range of pixels that overlap a range of coordinates, at least one."""
    first = min(max(math.floor(low), 0), size - 1)
    return first, min(max(math.ceil(high), first + 1), size)


def _share(polygon: Polygon, inside: npt.NDArray[np.bool_], transform: Affine) -> float:
    """Return the share of a polygon's pixels where a mask is true."""
    for all_touched in (False, True):
        covered = rasterio.features.geometry_mask(
            [polygon], inside.shape, transform, all_touched=all_touched, invert=True
        )
        if covered.any():
            return float(inside[covered].mean())
    return 0.0


def mask_polygons(
    mask: npt.NDArray[np.bool_], *, row: int = 0, col: int = 0
) -> list[Polygon]:
    """Return the outlines of the 4-connected objects of a ``(H, W)`` bool mask.

    Args:
        mask: The objects.
        row: Row of the mask's first pixel in the image, whose coordinates are returned.
        col: Column of that pixel.
    """
    outlines = rasterio.features.shapes(
        mask.astype(np.uint8),
        mask=mask,
        connectivity=4,
        transform=Affine.translation(col, row),
    )
    return [shape(geometry) for geometry, _ in outlines]
