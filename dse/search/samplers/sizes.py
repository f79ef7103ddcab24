"""Sizes are known before training: one number a candidate, and asks that cover its range."""

from __future__ import annotations

import numpy as np

from dse.search.samplers.sampler import Floats, History, Ints

START_UP_COUNT = 10
"""Measured candidates before a model is asked."""

START_UP_WIDTH = 20
GOLDEN = (5**0.5 - 1) / 2
"""Its multiples, modulo 1, fill [0, 1) evenly however many are taken."""


def log_sizes(sizes: Floats) -> Floats:
    """Logarithm of each size, moved and scaled to [0, 1] over the pool; 0 where all are alike."""
    logs = np.log(sizes)
    low = logs.min(axis=0)
    span = logs.max(axis=0) - low
    scaled: Floats = (logs - low) / np.where(span > 0, span, 1.0)
    return scaled


def one_size(scaled: Floats, rng: np.random.Generator) -> Floats:
    """One size a candidate, in [0, 1]: the objective itself, or a random mean of several.

    Args:
        scaled: float array (candidate, objective), what `log_sizes` says.
        rng: draws the weights of several objectives, uniform on the simplex; asks with ever
            new weights look along every direction of the front, as ParEGO does.

    Returns:
        Float array (candidate,).
    """
    count = scaled.shape[1]
    if count == 1:
        return scaled[:, 0]
    mixed: Floats = scaled @ rng.dirichlet(np.ones(count))
    return mixed


def size_band(size: Floats, open_: Ints, asked_count: int, width: int) -> Ints:
    """The `width` open candidates whose size is nearest to the target of this ask.

    The targets of successive asks are spread evenly over the range of log size (multiples of
    the golden ratio), so that every part of the front has its share of the asks.

    Args:
        size: float array (candidate,) in [0, 1].
        open_: int array, candidates that may be asked; at least one.
        asked_count: number of asks before this one.
        width: number of candidates.
    """
    low, high = size[open_].min(), size[open_].max()
    target = low + (high - low) * ((asked_count * GOLDEN) % 1.0)
    if len(open_) <= width:
        return open_
    nearest = np.argpartition(np.abs(size[open_] - target), width - 1)[:width]
    return np.sort(open_[nearest])


def start_up(size: Floats, open_: Ints, history: History, rng: np.random.Generator) -> int:
    """A random candidate from the band of sizes of this ask."""
    width = max(1, len(open_) // START_UP_WIDTH)
    if not len(history.indices):
        return int(open_[np.argmin(size[open_])])
    return int(rng.choice(size_band(size, open_, len(history.indices), width)))
