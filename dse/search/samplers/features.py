"""Candidates as points between which distances make sense."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from dse.search.samplers.sampler import Floats, Ints, PoolLike
from dse.space import Categorical, Domain


def is_ordered(pool: PoolLike) -> NDArray[np.bool_]:
    """Whether the values of each varying metaparameter have an order.

    Ranges have one, and so do lists of numbers (`values: [4, 8, 16]`); lists of words or of
    layers have none.

    Returns:
        Bool array (varying,).
    """
    ordered = [_has_order(pool.space.domains[name]) for name in pool.varying]
    return np.array(ordered, dtype=np.bool_)


def features(pool: PoolLike, rows: Ints) -> Floats:
    """Coordinates of the candidates `rows`.

    A metaparameter whose values have an order is one coordinate in [0, 1]; of numbers in a
    list their rank counts. One without an order has a coordinate for each value, such that
    any two values are 1 apart.

    Returns:
        Float array (row, feature).
    """
    columns: list[Floats] = []
    for index, name in enumerate(pool.varying):
        domain = pool.space.domains[name]
        if isinstance(domain, Categorical):
            columns.append(_places(domain)[pool.levels[rows, index]])
        else:
            columns.append(pool.units[rows, index][:, None])
    return np.concatenate(columns, axis=1) if columns else np.zeros((len(rows), 0))


def feature_owners(pool: PoolLike) -> Ints:
    """Int array (feature,): which varying metaparameter each coordinate belongs to."""
    domains = [pool.space.domains[name] for name in pool.varying]
    counts = [_places(d).shape[1] if isinstance(d, Categorical) else 1 for d in domains]
    return np.repeat(np.arange(len(counts)), counts)


def _places(domain: Categorical) -> Floats:
    """Float array (level, feature): the coordinates of each value of a list."""
    values = domain.values()
    if not _has_order(domain):
        return np.eye(len(values)) * np.sqrt(0.5)
    ranks = np.argsort(np.argsort(np.array(values, dtype=np.float64)))
    return ranks[:, None] / max(1, len(values) - 1)


def _has_order(domain: Domain) -> bool:
    return not isinstance(domain, Categorical) or all(
        isinstance(value, int | float) for value in domain.values()
    )
