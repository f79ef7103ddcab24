"""Metaparameters to blocks, laid out as a graph with integer shapes and exact costs; no JAX."""

from dse.architecture.architecture import Architecture, Layer, Node, assemble
from dse.architecture.candidate import Candidate, Family, Preset
from dse.architecture.cost import Cost, LayerCost, cost
from dse.architecture.families import FAMILIES, PRESETS, build, make_candidate
from dse.architecture.metaparameters import Metaparameter, Value
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
    "Layer",
    "LayerCost",
    "Metaparameter",
    "Node",
    "Objective",
    "Preset",
    "Shape",
    "Value",
    "assemble",
    "build",
    "cost",
    "make_candidate",
]
