"""Samplers: which candidate of the pool is measured next.

All choose from the candidates that were not sampled yet, so none is infeasible and none is
sampled twice. They are functions of pool, history and random numbers and keep no state.
"""

from __future__ import annotations

from collections.abc import Mapping

from dse.errors import SamplerError
from dse.search.samplers.gp import GpSampler, domains_problem
from dse.search.samplers.level import LevelSampler
from dse.search.samplers.nsga2 import Nsga2Sampler
from dse.search.samplers.sampler import History, PoolLike, Sampler
from dse.search.samplers.tpe import TpeSampler
from dse.search.samplers.uniform import UniformSampler
from dse.text import nearest

__all__ = [
    "DEFAULT_SAMPLER",
    "SAMPLERS",
    "History",
    "PoolLike",
    "Sampler",
    "default_sampler",
    "make_sampler",
]

DEFAULT_SAMPLER = "tpe"
"""Where no metaparameter has an order; see `default_sampler`."""

SAMPLERS: Mapping[str, Sampler] = {
    "tpe": TpeSampler(),
    "nsga2": Nsga2Sampler(),
    "random": UniformSampler(),
    "gp": GpSampler(),
    "level": LevelSampler(),
}


def make_sampler(name: str, pool: PoolLike) -> Sampler:
    """The sampler of that name.

    Args:
        name: a key of `SAMPLERS`.
        pool: what it is going to choose from.

    Raises:
        SamplerError: there is none of that name, or the domains of the pool's space do not
            fit it; says which samplers they fit.
    """
    if name not in SAMPLERS:
        raise SamplerError(f"there is no sampler {name!r}{nearest(name, list(SAMPLERS))}")
    problem = domains_problem(pool, name) if name in ("gp", "level") else None
    if problem:
        raise SamplerError(problem)
    return SAMPLERS[name]


def default_sampler(pool: PoolLike) -> str:
    """The name of the sampler for a search that names none.

    `level` where the domains fit it: it finds the smallest answers with the same number of
    trainings, with a rung of a third of the epochs as without one (docs/decisions/0047).

    Args:
        pool: what it is going to choose from.
    """
    return "level" if domains_problem(pool) is None else DEFAULT_SAMPLER
