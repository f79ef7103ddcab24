"""Do the samplers learn? Simulated studies on a formula, with exact sizes of real networks."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.methods import asked_in_full
from benchmarks.surface import EASY, FULL_EPOCHS, make_surface
from dse.search.samplers import SAMPLERS
from tests.search.samplers.surface import regret, simulate, squeezenet_pool

pytestmark = pytest.mark.long


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
    by_random = mean_regrets("random", asks=(30,), seeds=20)
    assert mean_regrets("gp", asks=(30,), seeds=2)[0] <= 0.5 * by_random[0]


def test_level_finds_smaller_answers_than_gp():
    """The smallest of 16 that truly is accurate enough, over the smallest of all, in doublings."""
    surface = make_surface(EASY)
    sizes = surface.params_counts
    true = surface.expected([FULL_EPOCHS])[:, 0]
    level = 0.744
    doublings = {}
    for name in ("gp", "level"):
        found = []
        for seed in range(3):
            asked = asked_in_full(surface, SAMPLERS[name], seed, 16, (level, level + 0.01))
            smallest = sizes[asked][true[asked] >= level].min()
            found.append(np.log2(smallest / sizes[true >= level].min()))
        doublings[name] = np.mean(found)
    assert doublings["level"] <= 0.7 * doublings["gp"]
