"""Metaparameters to named layers with integer shapes and exact costs; no JAX."""

from dse.architecture.architecture import Architecture, Value
from dse.architecture.candidate import (
    FAMILIES,
    PRESETS,
    Candidate,
    Family,
    Preset,
    build,
    make_candidate,
)
from dse.architecture.cost import Cost, LayerCost, cost
from dse.architecture.metaparameters import Metaparameter
from dse.architecture.objectives import ALL_OBJECTIVES, LATENCY, OBJECTIVES, Objective
from dse.architecture.primitives import Shape

__all__ = [
    "ALL_OBJECTIVES",
    "FAMILIES",
    "LATENCY",
    "OBJECTIVES",
    "PRESETS",
    "Architecture",
    "Candidate",
    "Cost",
    "Family",
    "LayerCost",
    "Metaparameter",
    "Objective",
    "Preset",
    "Shape",
    "Value",
    "build",
    "cost",
    "make_candidate",
]
