"""`tpe`: good candidates against the others, by Parzen estimates, within a band of sizes.

Sources: Bergstra, Bardenet, Bengio and Kégl 2011 (tree-structured Parzen estimator); Ozaki,
Tanigaki, Watanabe and Onishi 2020 (good by nondomination); Watanabe 2023 (what its settings
do). Ours: sizes are exact, so the densities are joint with log size, and each ask first
settles on a band of sizes to look at.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dse.search.samplers.features import features
from dse.search.samplers.ranking import best
from dse.search.samplers.sampler import Floats, History, Ints, PoolLike, unseen
from dse.search.samplers.sizes import START_UP_COUNT, log_sizes, one_size, size_band, start_up

MOST_GOOD, MOST_OTHERS = 64, 512
"""Kernels of each density: what an ask costs is bounded by them."""

BAND_SHARE, LEAST_BAND, MOST_BAND = 0.1, 16, 256
"""Width of a band of sizes: a share of the unseen candidates, within these counts."""


@dataclass(frozen=True)
class TpeSampler:
    """The candidate of a size band that is most probably among the best of its size.

    Every kind of domain fits: values with an order have Gaussian kernels, values without one
    a kernel that knows the same from another.

    Attributes:
        good_share: of the measured candidates, those called good (gamma).
        bandwidth: of the kernels, in units of a domain, at one good candidate; it shrinks
            with their number by Scott's rule.
        prior: weight of "nothing is known here", in kernels.
    """

    name: str = "tpe"
    good_share: float = 0.15
    bandwidth: float = 0.5
    prior: float = 0.5

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
        width = int(np.clip(BAND_SHARE * len(open_), LEAST_BAND, MOST_BAND))
        band = size_band(size, open_, len(history.indices), width)
        good, others, share = self._split(history, measured, size, rng)
        spread = self.bandwidth * (len(good) + 1) ** (-1 / (len(pool.varying) + 5))

        def place(rows: Ints) -> Floats:
            return np.column_stack([features(pool, rows), size[rows]]) / spread

        points = place(band)
        good_density = _kernel_sums(points, place(good))
        # `others` may be a sample: each stands for as many as there are.
        weight = len(good) * (1 / share - 1) / max(1, len(others))
        all_density = good_density + weight * _kernel_sums(points, place(others))
        # l / (share · l + (1 - share) · g), which rises with Bergstra's l / g.
        chance = (good_density + self.prior * share) / (all_density + self.prior)
        ties = np.flatnonzero(chance >= chance.max() - 1e-9)
        return int(band[rng.choice(ties)])

    def _split(
        self, history: History, measured: Ints, size: Floats, rng: np.random.Generator
    ) -> tuple[Ints, Ints, float]:
        """Good candidates, (a sample of) the others, and the share of the good among all.

        Failed candidates are others, and so are those still in training: asks made
        meanwhile then look elsewhere.
        """
        asked = history.indices
        points = np.column_stack([size[asked[measured]], -history.accuracies[measured]])
        count = min(MOST_GOOD, int(np.ceil(self.good_share * len(measured))))
        good = measured[best(points, history.rungs[measured], count)]
        is_other = np.ones(len(asked), dtype=np.bool_)
        is_other[good] = False
        others = np.flatnonzero(is_other)
        if len(others) > MOST_OTHERS:
            others = rng.choice(others, MOST_OTHERS, replace=False)
        return asked[good], asked[others], len(good) / len(asked)


def _kernel_sums(points: Floats, centres: Floats) -> Floats:
    """Sum of the Gaussian kernels at `centres`, each 1 at its centre, at each of `points`."""
    squares = (points**2).sum(axis=1)[:, None] + (centres**2).sum(axis=1)
    sums: Floats = np.exp(np.minimum(0.0, points @ centres.T - 0.5 * squares)).sum(axis=1)
    return sums
