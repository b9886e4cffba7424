"""Tests of geoseg.geo.evaluation.footprint_counts."""

import numpy as np
import pytest
from shapely import Polygon, box

from geoseg.core.errors import ParameterError
from geoseg.geo.evaluation.footprint_counts import mask_polygons, polygon_counts


def test_equal_footprints_are_found():
    houses = [box(0, 0, 10, 10), box(20, 0, 30, 10)]
    assert polygon_counts(houses, houses) == (2, 0, 0)


def test_footprints_elsewhere_are_invented_and_missed():
    assert polygon_counts([box(0, 0, 10, 10)], [box(20, 0, 30, 10)]) == (0, 1, 1)


def test_touching_is_not_finding():
    assert polygon_counts([box(0, 0, 10, 10)], [box(10, 0, 20, 10)]) == (0, 1, 1)


def test_an_iou_of_exactly_one_half_is_a_match():
    # 10 x 10 inside 10 x 20: 100 / 200
    assert polygon_counts([box(0, 0, 10, 10)], [box(0, 0, 10, 20)]) == (1, 0, 0)
    assert polygon_counts([box(0, 0, 10, 9)], [box(0, 0, 10, 20)]) == (0, 1, 1)


def test_references_from_and_proposals_above_twenty_pixels_count():
    twenty = box(0, 0, 5, 4)
    assert polygon_counts([], [twenty]) == (0, 0, 1)
    assert polygon_counts([twenty], []) == (0, 0, 0)
    assert polygon_counts([box(0, 0, 5, 4.01)], [box(0, 0, 5, 3.99)]) == (0, 1, 0)


def test_a_reference_is_found_once():
    house = box(0, 0, 10, 10)
    assert polygon_counts([house, house], [house]) == (1, 1, 0)


def test_a_proposal_takes_the_reference_it_fits_best():
    # both overlap the first by more than one half; the second fits the other exactly
    proposals = [box(0, 0, 10, 10), box(0, 0, 10, 12)]
    references = [box(0, 0, 10, 12), box(0, 0, 10, 10)]
    assert polygon_counts(proposals, references) == (2, 0, 0)


def test_what_is_taken_is_gone_for_those_who_come_later():
    # The first proposal's best is the only reference the second could have had.
    shared = box(0, 0, 10, 10)
    other = box(0, 0, 10, 6)  # IoU with the first .6·…: 60/100; with the second 60/160
    first, second = box(0, 0, 10, 10), box(0, 0, 10, 16)
    assert polygon_counts([first, second], [shared, other]) == (1, 1, 1)
    assert polygon_counts([second, first], [shared, other]) == (2, 0, 0)


def test_with_scores_the_surest_choose_first():
    shared, other = box(0, 0, 10, 10), box(0, 0, 10, 6)
    proposals = [box(0, 0, 10, 10), box(0, 0, 10, 16)]
    assert polygon_counts(proposals, [shared, other], scores=[0.9, 0.1]) == (1, 1, 1)
    assert polygon_counts(proposals, [shared, other], scores=[0.1, 0.9]) == (2, 0, 0)


def explicit_counts(proposals, references, least=0.5):
    """Greedy matching as a loop over everything left."""
    left = [r for r in references if r.area >= 20]
    proposals = [p for p in proposals if p.area > 20]
    hits = 0
    for proposal in proposals:
        ious = [proposal.intersection(r).area / proposal.union(r).area for r in left]
        if ious and max(ious) >= least:
            left.pop(int(np.argmax(ious)))
            hits += 1
    return hits, len(proposals) - hits, len(left)


@pytest.mark.parametrize("seed", range(5))
def test_counts_are_those_of_an_explicit_loop(seed):
    rng = np.random.default_rng(seed)

    def houses(number):
        corners, sides = rng.uniform(0, 40, (number, 2)), rng.uniform(
            3, 14, (number, 2)
        )
        return [
            box(x, y, x + w, y + h)
            for (x, y), (w, h) in zip(corners, sides, strict=True)
        ]

    references = houses(40)
    proposals = houses(40) + [
        Polygon(
            [(x + rng.normal(), y + rng.normal()) for x, y in r.exterior.coords[:-1]]
        )
        for r in references[:25]
    ]
    proposals = [p.buffer(0) for p in proposals]
    proposals = [p for p in proposals if isinstance(p, Polygon)]
    found = polygon_counts(proposals, references)
    assert found == explicit_counts(proposals, references)
    assert found.tp > 5  # the case is not an empty one


def test_a_bow_tie_is_repaired():
    tie = Polygon([(0, 0), (10, 10), (10, 0), (0, 10)])
    assert polygon_counts([tie], [tie]) == (1, 0, 0)


def test_options_without_meaning_are_refused():
    with pytest.raises(ParameterError, match="iou is 0"):
        polygon_counts([], [], iou=0)
    with pytest.raises(ParameterError, match="1 scores for 0 proposals"):
        polygon_counts([], [], scores=[0.5])


def test_outlines_of_a_mask_are_four_connected_and_lie_on_pixel_edges():
    mask = np.array([[1, 1, 0], [1, 1, 0], [0, 0, 1]], dtype=bool)
    outlines = sorted(mask_polygons(mask, row=10, col=20), key=lambda p: -p.area)
    assert [p.bounds for p in outlines] == [(20, 10, 22, 12), (22, 12, 23, 13)]


def test_outlines_keep_holes():
    mask = np.ones((5, 5), dtype=bool)
    mask[2, 2] = False
    (ring,) = mask_polygons(mask)
    assert ring.area == 24 and len(ring.interiors) == 1
