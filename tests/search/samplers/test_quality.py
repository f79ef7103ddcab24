"""Do the samplers learn? Simulated studies on a formula, with exact sizes of real networks."""

from __future__ import annotations

import time

import numpy as np
import pytest

from dse.search.samplers import SAMPLERS, History
from tests.search.samplers.surface import (
    TablePool,
    accuracy,
    feasible,
    grid,
    regret,
    simulate,
    squeezenet_domains,
    squeezenet_pool,
)


def mean_regrets(name: str, *, asks: tuple[int, ...], seeds: int) -> np.ndarray:
    pool = squeezenet_pool()
    return np.mean(
        [
            [regret(pool, rows[:count]) for count in asks]
            for seed in range(seeds)
            for rows in [
                simulate(SAMPLERS[name], pool, asks=asks[-1], seed=seed, costs=("params_count",))
            ]
        ],
        axis=0,
    )


def test_tpe_and_nsga2_miss_far_less_of_the_front_than_random_asks():
    by_random = mean_regrets("random", asks=(30, 60), seeds=20)
    assert (mean_regrets("tpe", asks=(30, 60), seeds=20) <= 0.6 * by_random).all()
    assert (mean_regrets("nsga2", asks=(30, 60), seeds=20) <= 0.7 * by_random).all()


def test_gp_misses_far_less_of_the_front_than_random_asks():
    by_random = mean_regrets("random", asks=(40,), seeds=3)
    assert mean_regrets("gp", asks=(40,), seeds=3)[0] <= 0.5 * by_random[0]


def large_pool() -> TablePool:
    return feasible(grid(squeezenet_domains(fine=True)), 2_000_000)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["tpe", "nsga2", "random"])
@pytest.mark.parametrize("costs", [("params_count",), ("params_count", "macs")])
def test_an_ask_takes_less_than_20_ms_up_to_ten_thousand_trials(name, costs):
    pool = large_pool()
    assert 10_000 < len(pool) < 30_000
    sizes, truth = pool.sizes(*costs), accuracy(pool)
    asked, spent_s = np.empty(0, dtype=np.intp), []
    for ask in range(10_000):
        history = History(asked, truth[asked], np.zeros(ask, dtype=np.intp))
        began = time.perf_counter()
        index = SAMPLERS[name].ask(pool, history, sizes, np.random.default_rng(ask))
        spent_s.append(time.perf_counter() - began)
        assert index is not None
        asked = np.append(asked, index)
    assert len(set(asked.tolist())) == 10_000
    median, high, most = np.quantile(spent_s, [0.5, 0.95, 1.0]) * 1000
    print(f"{name} {costs}: median {median:.1f}, p95 {high:.1f}, max {most:.1f} ms")
    assert high < 20
