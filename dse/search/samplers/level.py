"""`level`: the smallest candidate that is accurate enough, and a front around it.

Every second ask is that of `gp`. The others ask for the candidate with the largest product of the
chance to be accurate enough and the size that it would then save (in logarithms) over the smallest
candidate that is. How accurate is enough goes from the accuracy that is aimed at to one that
a claim can be shown with, by turns: finalists are wanted at both.

Sources: Bryan et al. 2005 ("Active learning for identifying function threshold boundaries");
Gelbart, Snoek and Adams 2014 (arXiv 1403.5607), section 3: expected improvement times the chance
of feasibility.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dse.search.samplers.gp import Beliefs, GpSampler
from dse.search.samplers.sampler import Floats, History
from dse.search.samplers.sizes import GOLDEN
from dse.stats.pareto import LARGEST_SIZE


@dataclass(frozen=True)
class LevelSampler(GpSampler):
    """`gp` with its eyes on one accuracy; the same where none is aimed at."""

    name: str = "level"
    rises: bool = True

    def _gain(self, beliefs: Beliefs, history: History) -> Floats:
        count = len(history.indices)
        if history.aim is None or count % 2:
            return beliefs.volume_gain
        lowest, highest = history.aim
        level = lowest + (highest - lowest) * ((count // 2 * GOLDEN) % 1.0)
        size, asked_size = beliefs.size[beliefs.open_], beliefs.size[beliefs.asked]
        known = chance_above(level, beliefs.asked_mean, beliefs.asked_deviation)
        saved = expected_saving(size, known_sizes=asked_size, known_chances=known)
        gain: Floats = chance_above(level, beliefs.mean, beliefs.deviation) * saved
        return gain if gain.any() else beliefs.volume_gain


def chance_above(level: float, mean: Floats, deviation: Floats) -> Floats:
    """The chance of normal variables to be at least `level`."""
    from scipy.stats import norm

    chance: Floats = norm.cdf((mean - level) / np.maximum(deviation, 1e-9))
    return chance


def expected_saving(size: Floats, *, known_sizes: Floats, known_chances: Floats) -> Floats:
    """By how much each size is expected to be below the smallest known one that is enough.

    Args:
        size: float array (candidate,), in [0, 1].
        known_sizes: float array (point,), of what is known, in any order.
        known_chances: float array (point,), that each is enough, independently; without any
            that is, the smallest is `LARGEST_SIZE`.

    Returns:
        Float array (candidate,).
    """
    order = np.argsort(known_sizes, kind="stable")
    chances = known_chances[order]
    none_before = np.cumprod(np.concatenate([[1.0], 1 - chances]))
    is_smallest = np.append(chances * none_before[:-1], none_before[-1])
    smallest = np.append(known_sizes[order], LARGEST_SIZE)
    saving: Floats = np.maximum(0.0, smallest - size[:, None]) @ is_smallest
    return saving
