"""The parts of the samplers against answers worked out by hand or by slow versions."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dse.search.samplers.features import feature_owners, features, is_ordered
from dse.search.samplers.gp import expected_gain
from dse.search.samplers.level import chance_above, expected_saving
from dse.search.samplers.ranking import best, crowding
from dse.search.samplers.sizes import log_sizes, one_size, size_band
from dse.space import Categorical, IntRange
from dse.stats.pareto import LARGEST_SIZE, dominates, hypervolume
from tests.search.samplers.surface import grid

points_and_rungs = st.lists(
    st.tuples(st.integers(0, 2), st.integers(0, 9), st.integers(0, 9)),
    min_size=1,
    max_size=20,
    unique=True,
)


def test_best_takes_the_highest_rung_first_then_front_by_front():
    points = np.array([(1, 9), (2, 2), (3, 3), (9, 1), (0, 0), (4, 2.5)])
    rungs = np.array([1, 1, 1, 1, 0, 1])
    # Rung 1: the front is 0, 1, 3 (ends first), then 2 and 5, both ends; then rung 0.
    order = best(points, rungs, 6).tolist()
    assert order == [0, 3, 1, 2, 5, 4]
    assert best(points, rungs, 2).tolist() == [0, 3]
    assert best(points[:0], rungs[:0], 4).tolist() == []


@given(points_and_rungs)
def test_best_never_puts_a_point_behind_one_that_it_dominates_on_the_same_rung(rows):
    rungs, points = np.array(rows)[:, 0], np.array(rows, dtype=float)[:, 1:]
    order = best(points, rungs, len(points)).tolist()
    assert sorted(order) == list(range(len(points)))
    for place, row in enumerate(order):
        for later in order[place + 1 :]:
            assert rungs[later] <= rungs[row]
            assert rungs[later] < rungs[row] or not dominates(points[later], points[row])


def test_copies_of_a_point_are_all_ranked_once():
    points = np.array([(1.0, 1.0)] * 3 + [(0.0, 2.0)])
    assert sorted(best(points, np.zeros(4, dtype=np.intp), 9).tolist()) == [0, 1, 2, 3]


def test_crowding_of_a_hand_worked_front():
    # Extents 10 and 10: the second point has neighbours 3 and 7 apart, the third 9 and 8.
    front = np.array([(0.0, 10.0), (1.0, 8.0), (3.0, 3.0), (10.0, 0.0)])
    assert crowding(front).tolist() == [np.inf, pytest.approx(1.0), pytest.approx(1.7), np.inf]


def test_ordered_values_are_one_coordinate_and_words_are_one_apart():
    pool = grid(
        {
            "squeeze_ratio": Categorical((0.5, 0.125, 1.0)),
            "bypass": Categorical(("none", "simple", "complex")),
            "base_e": IntRange(10, 14, 2),
        }
    )
    assert is_ordered(pool).tolist() == [True, False, True]
    assert feature_owners(pool).tolist() == [0, 1, 1, 1, 2]
    # The first candidate: 0.5 is the middle of three ratios, however they are written.
    half = np.sqrt(0.5)
    assert features(pool, np.array([0, 26])) == pytest.approx(
        np.array([[0.5, half, 0, 0, 0.0], [1.0, 0, 0, half, 1.0]])
    )


def test_log_sizes_are_scaled_and_several_are_averaged():
    table = np.array([[10.0, 7.0], [100.0, 7.0], [1000.0, 7.0]])
    scaled = log_sizes(table)
    assert scaled == pytest.approx(np.array([[0, 0], [0.5, 0], [1, 0]]))
    rng = np.random.default_rng(0)
    assert one_size(scaled[:, :1], rng).tolist() == scaled[:, 0].tolist()
    mixed = one_size(scaled, rng)
    assert 0 < mixed[2] < 1
    assert mixed[1] == pytest.approx(mixed[2] / 2)


def test_a_band_is_what_is_nearest_to_the_target():
    size = np.linspace(0, 1, 101)
    assert size_band(size, np.arange(101), 0, 3).tolist() == [0, 1, 2]
    # The golden ratio's first multiple is 0.618.
    assert size_band(size, np.arange(101), 1, 4).tolist() == [60, 61, 62, 63]
    assert size_band(size, np.array([5, 90]), 1, 4).tolist() == [5, 90]


def test_expected_gain_without_doubt_is_the_hypervolume_added():
    sizes, accuracies = np.array([0.2, 0.6, 0.4]), np.array([0.5, 0.8, 0.4])
    candidates = [(0.1, 0.6), (0.3, 0.7), (0.7, 0.7), (0.9, 0.9)]
    known = np.column_stack([sizes, -accuracies])
    reference = (LARGEST_SIZE, 0.0)
    added = [
        hypervolume([*known, (s, -a)], reference) - hypervolume(known, reference)
        for s, a in candidates
    ]
    table = np.array(candidates)
    gain = expected_gain(
        table[:, 0],
        table[:, 1],
        np.zeros(4),
        front_sizes=sizes,
        front_accuracies=accuracies,
    )
    assert gain == pytest.approx(added, abs=1e-6)


def test_expected_gain_is_the_mean_over_draws():
    sizes, accuracies = np.array([0.2, 0.6]), np.array([0.5, 0.8])
    known = np.column_stack([sizes, -accuracies])
    reference = (LARGEST_SIZE, 0.0)
    draws = np.random.default_rng(0).normal(0.65, 0.1, 4000)
    added = [
        hypervolume([*known, (0.3, -draw)], reference) - hypervolume(known, reference)
        for draw in draws
    ]
    gain = expected_gain(
        np.array([0.3]),
        np.array([0.65]),
        np.array([0.1]),
        front_sizes=sizes,
        front_accuracies=accuracies,
    )
    standard_error = np.std(added) / np.sqrt(len(added))
    assert gain[0] == pytest.approx(np.mean(added), abs=4 * standard_error)


def test_the_chance_to_be_above_a_level_is_the_normal_one():
    mean, deviation = np.array([0.8, 0.81, 0.7, 0.9]), np.array([0.02, 0.01, 0.05, 0.0])
    chances = chance_above(0.8, mean, deviation)
    assert chances == pytest.approx([0.5, 0.841345, 0.0227501, 1.0], abs=1e-6)


def test_expected_savings_worked_out_by_hand():
    def saving(known: dict[float, float]) -> float:
        sizes, chances = map(np.array, (list(known), list(known.values())))
        return float(expected_saving(np.array([0.1]), known_sizes=sizes, known_chances=chances)[0])

    assert saving({0.5: 1.0}) == pytest.approx(0.4)
    assert saving({0.5: 0.0}) == pytest.approx(LARGEST_SIZE - 0.1), "nothing known is enough"
    # The smaller is enough in one of two cases, the larger always: 0.5 · 0.3 + 0.5 · 0.7.
    assert saving({0.8: 1.0, 0.4: 0.5}) == pytest.approx(0.5)
    assert saving({0.05: 1.0, 0.8: 1.0}) == 0, "there is a smaller one already"


@given(
    st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=1, max_size=6),
    st.floats(0, 1),
)
def test_expected_savings_are_the_mean_over_all_cases(known, size):
    """Slow and obvious: every way in which each known one is enough or is not."""
    expected = 0.0
    for case in range(2 ** len(known)):
        is_enough = [bool(case >> place & 1) for place in range(len(known))]
        chance = np.prod(
            [p if yes else 1 - p for (_, p), yes in zip(known, is_enough, strict=True)]
        )
        smallest = min([s for (s, _), yes in zip(known, is_enough, strict=True) if yes] or [9.0])
        expected += chance * max(0.0, (LARGEST_SIZE if smallest == 9.0 else smallest) - size)
    sizes, chances = np.array(known).T
    found = expected_saving(np.array([size]), known_sizes=sizes, known_chances=chances)
    assert found[0] == pytest.approx(expected, abs=1e-9)
