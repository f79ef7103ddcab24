"""Front and hypervolume against hand-computed answers and slow obvious versions."""

from __future__ import annotations

import itertools
import math
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dse.errors import ObjectiveError
from dse.stats.pareto import dominates, front, hypervolume

GRID = 4
# Small whole numbers, so that ties and duplicates are common and volumes are counted exactly.
grid_points = st.integers(1, 4).flatmap(
    lambda objectives: st.lists(
        st.tuples(*[st.integers(0, GRID)] * objectives), min_size=1, max_size=9
    )
)


def slow_front(points: list[tuple[int, ...]]) -> list[int]:
    return [i for i, p in enumerate(points) if not any(dominates(q, p) for q in points)]


def slow_hypervolume(points: list[tuple[int, ...]], reference: int) -> int:
    """Counts the unit cells whose lower corner is dominated by a point."""
    cells = itertools.product(range(reference), repeat=len(points[0]))
    return sum(any(all(np.less_equal(p, cell)) for p in points) for cell in cells)


@pytest.mark.parametrize(
    ("a", "b", "answer"),
    [
        ((1, 2), (1, 3), True),
        ((1, 3), (1, 2), False),
        ((1, 2), (1, 2), False),
        ((1, 2), (2, 1), False),
        ((-math.inf, 0), (0, 0), True),
        ((0,), (1,), True),
    ],
)
def test_dominates(a, b, answer):
    assert dominates(a, b) is answer


def test_front_of_a_hand_drawn_example_keeps_every_copy():
    points = [(3, 1), (1, 3), (2, 2), (3, 3), (2, 2), (1, 4), (0, 9), (3, 1)]
    assert front(points).tolist() == [0, 1, 2, 4, 6, 7]


def test_front_of_no_points_of_one_and_of_one_objective():
    assert front([]).tolist() == []
    assert front(np.empty((0, 3))).tolist() == []
    assert front([(5, 5)]).tolist() == [0]
    assert front([[2], [1], [3], [1]]).tolist() == [1, 3]


def test_front_with_infinite_values():
    assert front([(math.inf, 0), (1, math.inf), (1, 5), (math.inf, -1)]).tolist() == [2, 3]


@given(grid_points)
def test_front_equals_comparing_every_pair(points):
    assert front(points).tolist() == slow_front(points)


@given(grid_points, st.randoms(use_true_random=False))
def test_front_does_not_depend_on_the_order(points, random):
    shuffled = random.sample(points, len(points))
    assert sorted(shuffled[i] for i in front(shuffled)) == sorted(points[i] for i in front(points))


@pytest.mark.parametrize("shape", ["random", "all on the front"])
def test_front_of_100_000_points_is_fast(shape):
    points = np.random.default_rng(0).random((100_000, 2))
    if shape == "all on the front":
        points[:, 1] = -points[:, 0]
    times_s = []
    for _ in range(3):  # the best of three: caches may be cold
        start = time.process_time()
        found = front(points)
        times_s.append(time.process_time() - start)
    assert min(times_s) < 0.2
    assert len(found) == (100_000 if shape == "all on the front" else 12)


@pytest.mark.parametrize(
    ("points", "reference", "answer"),
    [
        ([], (1, 1), 0.0),
        ([(1, 1)], (1, 1), 0.0),  # on the border: nothing between them
        ([(0, 2)], (1, 1), 0.0),  # better in one objective, beyond the reference in the other
        ([(1,), (2,)], (5,), 4.0),
        ([(1, 3), (2, 2), (3, 1)], (4, 4), 6.0),
        ([(1, 3), (2, 2), (3, 1), (3, 3), (2, 2)], (4, 4), 6.0),
        # two boxes, 2*1*2 and 1*2*2, that share 1*1*2
        ([(0, 1, 0), (1, 0, 0)], (2, 2, 2), 2 * 1 * 2 + 1 * 2 * 2 - 1 * 1 * 2),
        # three slabs of a cube: 1 - (1 - 1/2)^3, by inclusion and exclusion of half spaces
        ([(0.5, 0, 0), (0, 0.5, 0), (0, 0, 0.5)], (1, 1, 1), 0.875),
        ([(0.5, 0, 0, 0), (0, 0.5, 0, 0), (0, 0, 0.5, 0), (0, 0, 0, 0.5)], (1,) * 4, 0.9375),
    ],
)
def test_hypervolume_by_hand(points, reference, answer):
    assert hypervolume(points, reference) == answer


@settings(max_examples=60)
@given(grid_points)
def test_hypervolume_equals_counting_cells(points):
    assert hypervolume(points, [GRID] * len(points[0])) == slow_hypervolume(points, GRID)


@given(grid_points)
def test_only_the_front_has_volume(points):
    reference = [GRID] * len(points[0])
    on_front = [points[i] for i in front(points)]
    assert hypervolume(on_front, reference) == hypervolume(points, reference)


def test_hypervolume_of_many_points_on_a_plane():
    """Lattice x + y + z = n: the unit cells it leaves free have a lower corner with sum < n."""
    n = 12
    lattice = [(x, y, n - x - y) for x in range(n + 1) for y in range(n + 1 - x)]
    assert hypervolume(lattice, (n, n, n)) == n**3 - n * (n + 1) * (n + 2) // 6


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: front([(1, 2), (3, math.nan)]), "objective 1 of point 1 is nan"),
        (lambda: front([1, 2, 3]), r"the shape \(point, objective\), not \(3,\)"),
        (lambda: front([[], []]), r"the shape \(point, objective\), not \(2, 0\)"),
        (lambda: front([[1, 2], [3]]), "numbers in rows of one length"),
        (lambda: front([["small", "big"]]), "numbers in rows of one length"),
        (lambda: dominates((1, 2), (1, 2, 3)), "the first has 2 and the second 3"),
        (lambda: dominates((1, 2), (1, math.nan)), "second point must not be NaN, but objective 1"),
        (lambda: hypervolume([(1, 2)], (1, 2, 3)), "points have 2 and the reference point 3"),
        (lambda: hypervolume([(1, 2)], (1, math.nan)), "reference point must not be NaN"),
        (lambda: hypervolume([(1, 2)], (1, math.inf)), "reference point must be finite, but obj"),
        (lambda: hypervolume([(1, -math.inf)], (1, 2)), "minus infinity, but objective 1 of poi"),
        (lambda: hypervolume([], 3), r"reference point must have the shape \(objective,\)"),
    ],
)
def test_what_cannot_be_compared_is_refused_with_its_place(call, message):
    with pytest.raises(ObjectiveError, match=message):
        call()
