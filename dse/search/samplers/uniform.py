"""`random`: any candidate that was not asked yet, each with the same chance."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dse.search.samplers.sampler import Floats, History, PoolLike, unseen


@dataclass(frozen=True)
class UniformSampler:
    """Uniform over the unseen candidates; every kind of domain fits."""

    name: str = "random"

    def ask(
        self, pool: PoolLike, history: History, sizes: Floats, rng: np.random.Generator
    ) -> int | None:
        """See `Sampler.ask`."""
        open_ = unseen(pool, history)
        return int(rng.choice(open_)) if len(open_) else None
