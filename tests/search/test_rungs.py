from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dse.errors import LadderError, ObjectiveError
from dse.search.rungs import (
    Ladder,
    Standings,
    make_ladder,
    next_promotion,
    shortfalls,
    stop_reason,
    top_up,
)
from dse.stats.pareto import LARGEST_SIZE, added_volume, dominates, hypervolume

NAN = float("nan")
LADDER = Ladder.of_epochs(1, 3, 9)


def standings(sizes, accuracies, is_open=None) -> Standings:
    sizes = np.array(sizes, dtype=np.float64)
    return Standings(
        sizes.reshape(len(accuracies), -1),
        np.array(accuracies, dtype=np.float64).reshape(len(accuracies), -1),
        np.ones(len(accuracies), dtype=bool) if is_open is None else np.array(is_open),
    )


@pytest.mark.parametrize(
    ("epochs", "options", "rungs"),
    [
        (27, {}, (1, 3, 9, 27)),
        (20, {}, (1, 2, 7, 20)),
        (1, {}, (1,)),
        (2, {}, (1, 2)),
        (5, {}, (1, 2, 5)),
        (27, {"first": 2}, (3, 9, 27)),
        (27, {"first": 27}, (27,)),
        (16, {"factor": 2}, (1, 2, 4, 8, 16)),
        (100, {"factor": 4}, (2, 6, 25, 100)),
    ],
)
def test_ladders_by_hand(epochs, options, rungs):
    assert make_ladder(epochs, **options) == Ladder.of_epochs(*rungs)


@given(st.integers(1, 2000), st.integers(2, 6), st.integers(1, 2000))
def test_a_ladder_rises_to_the_full_epochs(epochs, factor, first):
    first = min(first, epochs)
    rungs = make_ladder(epochs, factor=factor, first=first).epochs
    assert rungs[-1] == epochs
    assert rungs[0] >= first
    assert list(rungs) == sorted(set(rungs))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: make_ladder(0), "first=1, epochs=0, factor=3"),
        (lambda: make_ladder(9, factor=1), "factor=1"),
        (lambda: make_ladder(9, first=10), "first=10, epochs=9"),
        (lambda: Ladder.of_epochs(), r"but are \[\]"),
        (lambda: Ladder.of_epochs(3, 3), r"but are \[3, 3\]"),
        (lambda: Ladder.of_epochs(0, 3), r"`epochs >= 1`.*\(epochs=0, "),
    ],
)
def test_what_makes_no_ladder_is_refused(call, message):
    with pytest.raises(LadderError, match=message):
        call()


def test_standings_of_another_shape_are_refused():
    with pytest.raises(ObjectiveError, match="one candidate a row"):
        Standings(np.ones((2, 1)), np.ones((3, 1)), np.ones(2, dtype=bool))
    with pytest.raises(ObjectiveError, match="the ladder has 3 rungs, but the standings 2"):
        next_promotion(LADDER, standings([1], [[0.5, 0.6]]))
    with pytest.raises(ObjectiveError, match="1 sizes a candidate, but 2 names: macs, params"):
        stop_reason(LADDER, standings([1], [[0.5, 0.6, NAN]]), 0, objectives=("macs", "params"))


def test_promotions_by_hand():
    # Accuracy by size at 1 epoch: 0.3 at 10, 0.5 at 20, 0.4 at 30. The front is rows 0 and 1.
    sizes = [10, 20, 30]
    first = [[0.3, NAN, NAN], [0.5, NAN, NAN], [0.4, NAN, NAN]]
    # The share is a third to the power of 0.6, 0.517: of 1 none, of 2 and 3 one, of 6 three.
    assert next_promotion(LADDER, standings(sizes[:1], first[:1])) is None
    # Row 0 adds 0.3 · 1.1 and row 1, at 0.63 of the range, 0.5 · 0.47.
    assert next_promotion(LADDER, standings(sizes, first)) == 0
    running = [False, True, True]
    assert next_promotion(LADDER, standings(sizes, first, running)) is None  # the place is taken
    six, sizes = first + [[0.1, NAN, NAN]] * 3, [*sizes, 25, 25, 25]
    assert next_promotion(LADDER, standings(sizes, six, [False] + [True] * 5)) == 1
    # The third place: row 2 lies 0.1 below the best of its size or smaller, the others 0.4.
    assert next_promotion(LADDER, standings(sizes, six, [False] * 2 + [True] * 4)) == 2
    # All three are taken.
    assert next_promotion(LADDER, standings(sizes, six, [False] * 3 + [True] * 3)) is None


def test_of_a_front_the_one_that_adds_most_hypervolume_goes_first():
    # 0.3 at 10 went on. The rest of the front, at 0.13, 0.43 and 0.87 of the range of log
    # sizes, adds 0.97 · 0.05, 0.67 · 0.2 and 0.23 · 0.3.
    sizes = [10, 20, 100, 1000, *[2000] * 5]
    accuracies = [[0.3, 0.4, NAN], *[[a, NAN, NAN] for a in (0.35, 0.5, 0.6, *[0.1] * 5)]]
    assert next_promotion(LADDER, standings(sizes, accuracies)) == 2
    # Of several sizes, the one farthest from those that went on.
    assert next_promotion(LADDER, standings([(s, s) for s in sizes], accuracies)) == 3


floats = st.floats(0, 1, width=16)


@given(st.lists(st.tuples(floats, floats), max_size=8), floats, floats)
def test_added_volume_is_the_difference_of_two_hypervolumes(known, size, accuracy):
    points = np.array([(s, -a) for s, a in known]).reshape(-1, 2)
    reference = (LARGEST_SIZE, 0.0)
    table = np.array(known).reshape(-1, 2)
    added = added_volume(np.array([size]), np.array([accuracy]), table[:, 0], table[:, 1])
    before = hypervolume(points, reference) if len(points) else 0.0
    after = hypervolume([*points, (size, -accuracy)], reference)
    assert added[0] == pytest.approx(after - before, abs=1e-12)


def test_the_highest_rung_goes_first():
    accuracies = [[0.5, 0.6, NAN]] * 3 + [[0.6, NAN, NAN]] * 9
    sizes = [3, 2, 1, *[5] * 9]
    assert next_promotion(LADDER, standings(sizes, accuracies)) == 2


def test_top_up_promotes_every_front_and_then_ends():
    sizes = np.array([1.0, 2.0, 3.0, 4.0])
    accuracies = np.array([[0.1, NAN], [0.3, NAN], [0.2, NAN], [0.4, NAN]])
    promoted = []
    while (row := top_up(Ladder.of_epochs(1, 3), standings(sizes, accuracies))) is not None:
        promoted.append(row)
        accuracies[row, 1] = accuracies[row, 0]
    assert sorted(promoted) == [0, 1, 3]


def slow_shortfall(sizes, accuracies, row):
    return max(
        accuracies[other] - accuracies[row]
        for other in range(len(sizes))
        if all(a <= b for a, b in zip(sizes[other], sizes[row], strict=True))
    )


@st.composite
def drawn_standings(draw):
    count = draw(st.integers(1, 14))
    objectives = draw(st.integers(1, 2))
    sizes = draw(
        st.lists(st.tuples(*[st.integers(1, 6)] * objectives), min_size=count, max_size=count)
    )
    rows = []
    for _ in range(count):
        reached = draw(st.integers(0, 3))
        values = [draw(st.integers(0, 8)) / 8 for _ in range(reached)]
        rows.append(values + [NAN] * (3 - reached))
    is_open = draw(st.lists(st.booleans(), min_size=count, max_size=count))
    return standings(sizes, rows, is_open)


@given(drawn_standings())
def test_shortfalls_equal_comparing_every_pair(drawn):
    accuracies = np.nan_to_num(drawn.accuracies[:, 0])
    found = shortfalls(drawn.sizes, accuracies)
    sizes = drawn.sizes.tolist()
    assert found.tolist() == [slow_shortfall(sizes, accuracies, r) for r in range(len(sizes))]


@given(drawn_standings())
def test_only_open_ones_below_the_top_go_on_and_the_front_before_the_dominated(drawn):
    for decide in (next_promotion, top_up):
        row = decide(LADDER, drawn)
        if row is None:
            continue
        reached = np.isfinite(drawn.accuracies)
        assert drawn.is_open[row]
        assert reached[row].any()
        assert not reached[row, -1]
        rung = int(reached[row].sum()) - 1
        peers = np.flatnonzero(reached[:, rung])
        points = np.column_stack([drawn.sizes, -drawn.accuracies[:, rung]])
        on_front = [not any(dominates(points[o], points[p]) for o in peers) for p in peers]
        waits = [
            peer
            for peer, is_front in zip(peers, on_front, strict=True)
            if is_front and drawn.is_open[peer] and not reached[peer, rung + 1]
        ]
        assert row in waits or (decide is next_promotion and not waits)


@given(st.randoms(use_true_random=False), st.integers(1, 4))
def test_no_worker_ever_waits_whatever_the_order_of_results(random, workers):
    """Every call answers at once with a promotion or None; all ends with tops."""
    ladder = Ladder.of_epochs(1, 3)
    sizes, accuracies, running = [], [], []
    for _ in range(60):
        if len(running) == workers:
            row, rung = running.pop(random.randrange(workers))
            accuracies[row][rung] = random.random()
        is_open = [row not in [r for r, _ in running] for row in range(len(sizes))]
        row = next_promotion(ladder, standings(sizes, accuracies, is_open)) if sizes else None
        if row is None:
            sizes.append(random.randint(1, 100))
            accuracies.append([NAN, NAN])
            running.append((len(sizes) - 1, 0))
        else:
            running.append((row, 1))
    started_above = sum(np.isfinite(a[1]) for a in accuracies) + sum(r == 1 for _, r in running)
    assert 3 <= started_above <= len(sizes)


def test_the_reason_says_the_numbers():
    sizes = [41_234, 52_000, 40_000, 60_000]
    accuracies = [[0.4, 0.612], [0.5, 0.551], [0.5, 0.56], [0.5, 0.7]]
    four = standings(sizes, [[*a, NAN] for a in accuracies])
    assert stop_reason(LADDER, four, 1) == (
        "at 3 epochs 2 of its size or smaller were better: the best 61.20% with 41,234 "
        "parameters against 55.10% with 52,000 parameters"
    )
    assert "none of its size or smaller was better" in stop_reason(LADDER, four, 3)
    assert "70.00% with 60,000 parameters, one of 4 candidates there" in stop_reason(
        LADDER, four, 3
    )
    assert stop_reason(LADDER, standings([1], [[NAN] * 3]), 0) == "no accuracy was measured"
    assert (
        stop_reason(LADDER, standings([1], [[0.1, 0.2, 0.3]]), 0)
        == "trained to full fidelity: 9 epochs"
    )
