from __future__ import annotations

import heapq
import itertools
import random

from dse.search.schedule import handing_out


def makespan(lengths: list[float], order: list[int], workers_count: int) -> float:
    """Seconds until all is done, each worker taking the next job when it is free."""
    free = [0.0] * workers_count
    for place in order:
        heapq.heappush(free, heapq.heappop(free) + lengths[place])
    return max(free)


def test_five_jobs_by_hand() -> None:
    lengths = [54.0, 62.0, 83.0, 106.0, 133.0]
    order = handing_out(lengths, 2)
    assert [lengths[place] for place in order] == [133, 106, 62, 83, 54]
    assert makespan(lengths, order, 2) == 222


def test_it_is_near_the_best_order_and_never_worse_than_longest_first() -> None:
    rng = random.Random(0)
    worse = 0
    for _ in range(60):
        workers_count = rng.choice([1, 2, 3])
        lengths = [rng.uniform(1, 10) for _ in range(rng.randint(1, 6))]
        order = handing_out(lengths, workers_count)
        assert sorted(order) == list(range(len(lengths)))
        found = makespan(lengths, order, workers_count)
        every = itertools.permutations(range(len(lengths)))
        best = min(makespan(lengths, list(each), workers_count) for each in every)
        longest_first = sorted(range(len(lengths)), key=lambda place: -lengths[place])
        assert found <= makespan(lengths, longest_first, workers_count) + 1e-9
        assert found <= best * 13 / 11 + 1e-9  # the proven bound
        worse += found > best * 1.02
    assert worse <= 6


def test_nothing_and_equal_jobs_keep_their_order() -> None:
    assert handing_out([], 2) == []
    assert handing_out([1.0] * 6, 2) == list(range(6))
    assert len(handing_out([float(1 + place % 7) for place in range(3000)], 16)) == 3000
