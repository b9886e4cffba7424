"""Regular outlines give way to neighbours, whoever comes first."""

import numpy as np
import pytest
from shapely import Polygon, box

from geoseg.geo.clearing import Clearing, Drawn
from geoseg.geo.seams import PixelObject

LEFT, RIGHT = box(0, 0, 10, 10), box(14, 0, 24, 10)


def drawn(simple: Polygon, regular: Polygon | None = None) -> Drawn:
    item = PixelObject(1, 100, 0, simple)
    return Drawn(item, simple, simple if regular is None else regular)


def decide(
    left: Drawn, right: Drawn, *, right_first: bool = False
) -> dict[Polygon, Polygon]:
    clearing = Clearing(lambda number: False)
    pair = [(left, {1}, {2}), (right, {2}, {1})]
    for arguments in reversed(pair) if right_first else pair:
        clearing.add(*arguments)
    return {item.outline: outline for item, outline in clearing.decide()}


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
    open_pieces = {2}
    clearing = Clearing(open_pieces.__contains__)
    clearing.add(drawn(LEFT, box(0, 0, 13, 10)), {1}, {2})
    assert list(clearing.decide()) == [] and clearing.open_top == 0
    open_pieces.clear()
    clearing.add(drawn(RIGHT), {2}, {1})
    assert [outline for _, outline in clearing.decide()] == [
        box(0, 0, 13, 10),
        RIGHT,
    ]
    assert clearing.open_top == np.inf
    assert list(clearing.decide()) == []


def test_what_was_too_small_is_in_nobody_s_way() -> None:
    clearing = Clearing(lambda number: False)
    clearing.add(drawn(LEFT, box(0, 0, 13, 10)), {1}, {7})
    assert [outline for _, outline in clearing.decide()] == [box(0, 0, 13, 10)]
