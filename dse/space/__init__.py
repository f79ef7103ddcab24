"""The search space: which values each metaparameter may take, and which networks those are.

A space says what may vary and nothing else; data, recipe, budget and strategy belong to
the study. Exact limits are applied before training, so no trial is spent on a candidate
that breaks one.
"""

from dse.space.domains import Categorical, Domain, Fixed, FloatRange, IntRange, range_problems
from dse.space.space import Limit, SearchSpace, limits_problem
from dse.space.suggest import scalar, suggest

__all__ = [
    "Categorical",
    "Domain",
    "Fixed",
    "FloatRange",
    "IntRange",
    "Limit",
    "SearchSpace",
    "limits_problem",
    "range_problems",
    "scalar",
    "suggest",
]
