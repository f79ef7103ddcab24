"""`nsga2`: children of the best, moved to the nearest candidate that was not asked yet.

Source: Deb, Pratap, Agarwal and Meyarivan 2002 (NSGA-II): nondominated sorting, crowding
distance, binary tournaments. Ours: the population is the best of all that was measured, not
of one generation, so nothing waits for a generation to end; several sizes become one by
random weights, other ones at each ask; a child is projected on the pool.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dse.search.samplers.features import feature_owners, features
from dse.search.samplers.ranking import best
from dse.search.samplers.sampler import Floats, History, Ints, PoolLike, unseen
from dse.search.samplers.sizes import START_UP_COUNT, log_sizes, one_size, start_up


@dataclass(frozen=True)
class Nsga2Sampler:
    """Uniform crossover and mutation, metaparameter by metaparameter; every domain fits.

    Attributes:
        population_count: number of candidates that may become parents.
        mutations: metaparameters of a child, on average, that take the value of a random
            candidate of the pool.
    """

    name: str = "nsga2"
    population_count: int = 15
    mutations: float = 1.0

    def ask(
        self, pool: PoolLike, history: History, sizes: Floats, rng: np.random.Generator
    ) -> int | None:
        """See `Sampler.ask`."""
        open_ = unseen(pool, history)
        if not len(open_):
            return None
        size = one_size(log_sizes(sizes), rng)
        measured = np.flatnonzero(history.is_measured)
        if len(measured) < START_UP_COUNT:
            return start_up(size, open_, history, rng)
        asked = history.indices[measured]
        points = np.column_stack([size[asked], -history.accuracies[measured]])
        ranked = asked[best(points, history.rungs[measured], self.population_count)]
        child = self._child(pool, ranked, rng)
        distances = ((features(pool, open_) - child) ** 2).sum(axis=1)
        ties = np.flatnonzero(distances <= distances.min() + 1e-9)
        return int(open_[rng.choice(ties)])

    def _child(self, pool: PoolLike, ranked: Ints, rng: np.random.Generator) -> Floats:
        """Float array (feature,): of two tournament winners and, where mutated, of anyone."""
        # `ranked` is in the order of the crowded comparison: the lower place wins.
        first, second = ranked[rng.integers(len(ranked), size=(2, 2)).min(axis=1)]
        owners = feature_owners(pool)
        count = len(pool.varying)
        source = np.where(rng.random(count) < 0.5, first, second)
        is_mutated = rng.random(count) < self.mutations / max(1, count)
        source = np.where(is_mutated, rng.integers(len(pool), size=count), source)
        return features(pool, source)[owners, np.arange(len(owners))]
