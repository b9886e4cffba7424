"""Regular outlines give way to neighbours, whoever comes first."""

import numpy as np
import pytest
from shapely import Polygon, box

from geoseg.geo.footprints.buildings import join, whole
from geoseg.geo.footprints.right_angles.clearing import Clearing, Drawn

LEFT, RIGHT = box(0, 0, 10, 10), box(14, 0, 24, 10)


def drawn(simple: Polygon, regular: Polygon | None = None) -> Drawn:
    buildings = whole(
        np.array([simple.bounds[1::-1]]), np.ones(1, int), np.ones(1), array(simple)
    )
    return Drawn(buildings, array(simple if regular is None else regular))


def array(*polygons: Polygon) -> np.ndarray:
    return np.array(polygons, dtype=object)


def decide(
    left: Drawn, right: Drawn, *, right_first: bool = False
) -> dict[Polygon, Polygon]:
    clearing = Clearing()
    pair = [(left, {1}, {2}), (right, {2}, {1})]
    for arguments in reversed(pair) if right_first else pair:
        clearing.add(*arguments)
    found = join(list(clearing.decide(set()))).outline
    return dict(
        zip((LEFT, RIGHT), sorted(found, key=lambda it: it.bounds), strict=True)
    )


@pytest.mark.parametrize("right_first", [False, True])
def test_two_regular_outlines_that_meet_both_stay_simple(right_first: bool) -> None:
    left, right = drawn(LEFT, box(0, 0, 13, 10)), drawn(RIGHT, box(12, 0, 24, 10))
    assert decide(left, right, right_first=right_first) == {LEFT: LEFT, RIGHT: RIGHT}


@pytest.mark.parametrize("right_first", [False, True])
def test_outlines_that_only_touch_are_kept(right_first: bool) -> None:
    left, right = drawn(LEFT, box(0, 0, 12, 10)), drawn(RIGHT, box(12, 0, 24, 10))
    found = decide(left, right, right_first=right_first)
    assert found == {LEFT: left.regular, RIGHT: right.regular}


def test_nothing_is_decided_while_something_around_may_go_on() -> None:
    clearing = Clearing()
    clearing.add(drawn(LEFT, box(0, 0, 13, 10)), {1}, {2})
    assert list(clearing.decide({2})) == [] and clearing.open_top == 0
    clearing.add(drawn(RIGHT), {2}, {1})
    assert join(list(clearing.decide(set()))).outline.tolist() == [
        box(0, 0, 13, 10),
        RIGHT,
    ]
    assert clearing.open_top == np.inf
    assert list(clearing.decide(set())) == []


def test_what_was_too_small_is_in_nobody_s_way() -> None:
    clearing = Clearing()
    clearing.add(drawn(LEFT, box(0, 0, 13, 10)), {1}, {7})
    (found,) = clearing.decide(set())
    assert found.outline == [box(0, 0, 13, 10)]


def test_buildings_that_are_drawn_together_give_way_together() -> None:
    second = box(0, 10, 10, 20)
    pair = join([drawn(LEFT).buildings, drawn(second).buildings])
    clearing = Clearing()
    clearing.add(Drawn(pair, array(box(0, 0, 13, 10), box(0, 10, 13, 20))), {1, 2}, {3})
    clearing.add(drawn(RIGHT, box(12, 0, 24, 10)), {3}, {1, 2})
    found = join(list(clearing.decide(set()))).outline.tolist()
    assert found == [LEFT, second, RIGHT]
