"""The cheapest walls, against all walls there are; and many arcs against one by one."""

from itertools import combinations, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from geoseg.geo.footprints.right_angles.wall_search import cut_into_walls
from geoseg.geo.footprints.right_angles.walls import ACROSS, ALONG, FREE, Arc, Walls


def ragged(seed: int, corners: int, *, closed: bool, between: int = 2) -> Arc:
    """An arc around a circle, with points that no wall may start at."""
    rng = np.random.default_rng(seed)
    count = corners * between
    angle = np.sort(rng.uniform(0, 2 * np.pi, count))
    radius = rng.uniform(8, 11, count)
    points = np.stack((radius * np.cos(angle), radius * np.sin(angle)), axis=1)
    points = np.concatenate((points, points[:1])) if closed else points
    marks = np.append(np.arange(0, len(points) - 1, between), len(points) - 1)
    return Arc(points, marks, closed)


def wall_cost(arc: Arc, start: int, end: int, kind: int, tolerance: float) -> float:
    """What one wall costs, by its definition."""
    points = arc.points[arc.marks[start] : arc.marks[end] + 1]
    if kind == FREE:
        return 2.0 if end == start + 1 else np.inf
    run = np.abs(points[-1] - points[0])
    if kind != (ALONG if run[0] >= run[1] else ACROSS):
        return np.inf
    at, along = points[:, 1 - kind], points[:, kind]
    span = np.abs(np.diff(along))
    if span.sum() == 0:
        return np.inf
    line = ((at[1:] + at[:-1]) / 2 * span).sum() / span.sum()
    if not arc.closed and start == 0:
        line = at[0]
    if not arc.closed and end == len(arc.marks) - 1:
        if start == 0 and at[0] != at[-1]:
            return np.inf
        line = at[-1]
    if np.abs(at - line).max() > tolerance:
        return np.inf
    length = np.hypot(*np.diff(points, axis=0).T)
    a, b = at[:-1] - line, at[1:] - line
    misfit = (length * (a * a + a * b + b * b) / 3).sum()
    return float(1.0 + misfit / tolerance**3)


def cheapest(arc: Arc, tolerance: float) -> float:
    """Cost of the best of all ways to cut an arc."""
    last = len(arc.marks) - 1
    best = np.inf
    for count in range(last):
        for between in combinations(range(1, last), count):
            cuts = [0, *between, last]
            for kinds in product((ALONG, ACROSS, FREE), repeat=len(cuts) - 1):
                pairs = list(zip(kinds, kinds[1:], strict=False))
                pairs += [(kinds[-1], kinds[0])] if arc.closed else []
                if any(a == b != FREE for a, b in pairs):
                    continue
                walls = zip(cuts, cuts[1:], kinds, strict=False)
                best = min(best, sum(wall_cost(arc, *it, tolerance) for it in walls))
    return best


@pytest.mark.parametrize("closed", [True, False])
@pytest.mark.parametrize("tolerance", [2.0, 6.0])
@pytest.mark.parametrize("seed", range(4))
def test_no_way_to_cut_is_cheaper(seed: int, tolerance: float, closed: bool) -> None:
    arc = ragged(seed, 5, closed=closed)
    (walls,) = cut_into_walls([arc], tolerance)
    assert walls is not None
    found = sum(
        wall_cost(arc, start, end, kind, tolerance)
        for kind, start, end in zip(walls.kind, walls.start, walls.end, strict=True)
    )
    assert walls.cost == pytest.approx(found)
    assert walls.cost == pytest.approx(cheapest(arc, tolerance))


def same(first: Walls | None, second: Walls | None) -> bool:
    if first is None or second is None:
        return first is second
    return first.cost == second.cost and all(
        (a == b).all() for a, b in zip(first[:3], second[:3], strict=True)
    )


@settings(deadline=None, max_examples=25)
@given(
    st.lists(st.tuples(st.integers(2, 40), st.booleans()), min_size=1, max_size=12),
    st.integers(0, 2**20),
    st.sampled_from([1.0, 3.0]),
)
def test_arcs_that_go_together_change_no_bit(
    sizes: list[tuple[int, bool]], seed: int, tolerance: float
) -> None:
    arcs = [
        ragged(seed + n, size, closed=closed) for n, (size, closed) in enumerate(sizes)
    ]
    together = cut_into_walls(arcs, tolerance)
    alone = [cut_into_walls([arc], tolerance)[0] for arc in arcs]
    assert all(map(same, together, alone))
