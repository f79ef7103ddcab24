"""How long one image takes: runs that are timed, and their median."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

WARM_UP_RUNS = 3
"""Runs that do not count: the first compiles, the next fill caches."""

LEAST_RUNS, MOST_RUNS, ENOUGH_S = 20, 200, 3.0


@dataclass(frozen=True)
class Latency:
    """Seconds for one image through one network, float32, one CPU thread.

    Attributes:
        median_s: half of the warm runs were faster.
        p95_s: 95% of them took at most this (nearest rank).
        runs_count: warm runs that were timed.
    """

    median_s: float
    p95_s: float
    runs_count: int


def time_runs(
    run: Callable[[], object], *, clock: Callable[[], float] = time.perf_counter
) -> Latency:
    """Time a call until `ENOUGH_S` seconds and `LEAST_RUNS` runs, at most `MOST_RUNS`.

    The first `WARM_UP_RUNS` runs do not count, in time or number.
    """
    for _ in range(WARM_UP_RUNS):
        run()
    times: list[float] = []
    while len(times) < LEAST_RUNS or (len(times) < MOST_RUNS and sum(times) < ENOUGH_S):
        start = clock()
        run()
        times.append(clock() - start)
    return Latency(quantile(times, 0.5), quantile(times, 0.95), len(times))


def quantile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least this share of the values does not exceed (nearest rank).

    >>> quantile([4, 1, 3, 2], 0.5), quantile([4, 1, 3, 2], 0.95)
    (2, 4)
    """
    return sorted(values)[max(math.ceil(share * len(values)), 1) - 1]
