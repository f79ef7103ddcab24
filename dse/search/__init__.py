"""Sweeps and searches: what is trained next, and what follows from the measurements.

Plan one with `plan_sweep` or `plan_search`, find the reference of a search with
`find_reference`, and `run` it on an executor.
"""

from dse.search.engine import RunEvent, RunResult, run
from dse.search.plan import (
    Search,
    SearchOptions,
    SearchPlan,
    Sweep,
    plan_search,
    plan_sweep,
)
from dse.search.reference import BestReference, Reference, ReferencePlan
from dse.search.train_reference import find_reference

__all__ = [
    "BestReference",
    "Reference",
    "ReferencePlan",
    "RunEvent",
    "RunResult",
    "Search",
    "SearchOptions",
    "SearchPlan",
    "Sweep",
    "find_reference",
    "plan_search",
    "plan_sweep",
    "run",
]
