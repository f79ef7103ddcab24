"""Pools of real spaces with exact sizes, and an accuracy that is a formula: no training."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from functools import cache
from itertools import product

import numpy as np
from numpy.typing import NDArray

from dse.architecture import OBJECTIVES, build, cost, make_candidate
from dse.search.samplers import History, Sampler
from dse.search.samplers.sampler import Floats, Ints
from dse.space import Categorical, Domain, FloatRange, IntRange, SearchSpace
from dse.stats.pareto import hypervolume

SHAPE, CLASSES_COUNT = (32, 32, 3), 10
NOISE = 0.005


@dataclass(frozen=True)
class TablePool:
    """A stand-in for a pool: what samplers read of one."""

    space: SearchSpace
    varying: tuple[str, ...]
    levels: NDArray[np.int64]
    units: Floats
    is_categorical: NDArray[np.bool_]
    costs: dict[str, NDArray[np.int64]] = field(default_factory=dict)
    is_whole: bool = True

    def __len__(self) -> int:
        return len(self.levels)

    def values(self, name: str) -> NDArray[np.object_]:
        domain = self.space.domains[name]
        listed = np.empty(len(domain.values()), dtype=object)
        listed[:] = domain.values()
        return listed[self.levels[:, self.varying.index(name)]]

    def sizes(self, *names: str) -> Floats:
        return np.stack([self.costs[name] for name in names], axis=1).astype(np.float64)


def grid(domains: dict[str, Domain]) -> TablePool:
    """Every combination of values; all costs are 1."""
    space = SearchSpace("simulated", "squeezenet", domains)
    counts = [len(domains[name].values()) for name in space.varying]
    levels = np.array(list(product(*map(range, counts))), dtype=np.int64).reshape(
        math.prod(counts), len(counts)
    )
    units = levels / np.maximum(1, np.array(counts, dtype=np.int64) - 1)
    listed = [isinstance(domains[name], Categorical) for name in space.varying]
    costs = {name: np.ones(len(levels), dtype=np.int64) for name in OBJECTIVES}
    return TablePool(space, space.varying, levels, units, np.array(listed, dtype=np.bool_), costs)


def feasible(pool: TablePool, most_params: int) -> TablePool:
    """The distinct candidates with at most so many parameters, with their exact costs."""
    rows, table, seen = [], [], set()
    columns = [pool.values(name) for name in pool.varying]
    for row, values in enumerate(zip(*columns, strict=True)):
        candidate = make_candidate("squeezenet", dict(zip(pool.varying, values, strict=True)))
        architecture = build(candidate, SHAPE, CLASSES_COUNT)
        costs = cost(architecture)
        if costs.params_count <= most_params and architecture.layers not in seen:
            seen.add(architecture.layers)
            rows.append(row)
            table.append([getattr(costs, name) for name in OBJECTIVES])
    columns_of_costs = np.array(table, dtype=np.int64).T
    costs_by_name = dict(zip(OBJECTIVES, columns_of_costs, strict=True))
    return replace(pool, levels=pool.levels[rows], units=pool.units[rows], costs=costs_by_name)


def squeezenet_domains(*, fine: bool = False) -> dict[str, Domain]:
    """Those of the shipped `squeezenet.yaml` (2,880 candidates), or seven times as many."""
    ratios = (0.125, 0.25, 0.375, 0.5, 0.75, 1.0) if fine else (0.125, 0.25, 0.5, 0.75, 1.0)
    return {
        "base_e": IntRange(8, 64 if fine else 32, 8),
        "incr_e": Categorical((4, 8, 16, 24, 32, 48) if fine else (4, 8, 16, 32)),
        "freq": Categorical((2, 4)),
        "pct_3x3": FloatRange(0.2, 0.8, 0.1) if fine else FloatRange(0.25, 0.75, 0.25),
        "squeeze_ratio": Categorical(ratios),
        "pools": Categorical(("late", "early")),
        "bypass": Categorical(("none", "simple", "complex")),
    }


@cache
def squeezenet_pool() -> TablePool:
    return feasible(grid(squeezenet_domains()), 500_000)


def accuracy(pool: TablePool) -> Floats:
    """The true accuracy of each candidate, 0.34 to 0.81 over `squeezenet_pool`.

    Rises with log size and saturates; a squeeze ratio of 0.3 is best, of less where more
    filters are 3x3 (an interaction), as are half of them 3x3 and widths that grow by three
    quarters of the first; a bypass helps, simple more than complex; early pools cost some.
    """
    ratio, share, growth, base = (
        pool.values(name).astype(np.float64)
        for name in ("squeeze_ratio", "pct_3x3", "incr_e", "base_e")
    )
    helps = {"none": 0.0, "simple": 0.02, "complex": 0.012}
    bypass = np.array([helps[value] for value in pool.values("bypass")])
    rise = 0.85 * (1 - np.exp(-(np.log(pool.costs["params_count"]) - 5.0) / 2.5))
    loss = (
        0.025 * (np.log(ratio / 0.3) + 0.8 * (share - 0.5)) ** 2
        + 0.35 * (share - 0.5) ** 2
        + 0.015 * np.log(growth / base / 0.75) ** 2
        + 0.04 * (pool.values("pools") == "early")
    )
    return rise - loss + bypass


def simulate(
    sampler: Sampler, pool: TablePool, *, asks: int, seed: int, costs: tuple[str, ...]
) -> Ints:
    """Candidates asked, in order, by a study without rungs; noise is one draw a candidate."""
    sizes = pool.sizes(*costs)
    measured = accuracy(pool) + np.random.default_rng([seed, 1]).normal(0, NOISE, len(pool))
    asked = np.empty(0, dtype=np.intp)
    for ask in range(asks):
        history = History(asked, measured[asked], np.zeros(ask, dtype=np.intp))
        index = sampler.ask(pool, history, sizes, np.random.default_rng([seed, 0, ask]))
        assert index is not None
        asked = np.append(asked, index)
    return asked


def regret(pool: TablePool, rows: Ints) -> float:
    """Share of the whole pool's true hypervolume over (log parameters, accuracy) missed."""
    logs = np.log(pool.costs["params_count"])
    points = np.stack([logs, -accuracy(pool)], axis=1)
    reference = (logs.max(), 0.0)
    return 1 - hypervolume(points[rows], reference) / hypervolume(points, reference)
