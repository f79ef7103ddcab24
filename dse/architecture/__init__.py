"""Metaparameters to named layers with integer shapes and exact costs; no JAX."""

from dse.architecture.architecture import Architecture, Value
from dse.architecture.cost import OBJECTIVES, Cost, LayerCost, cost
from dse.architecture.deployment import (
    PEAK_ASSUMPTION,
    PRECISIONS,
    Deployment,
    Link,
    all_reduce_bytes,
    deployment,
    parse_link,
)
from dse.architecture.devices import Device, devices, find_devices
from dse.architecture.families import (
    FAMILIES,
    PRESETS,
    Candidate,
    Family,
    Preset,
    build,
    make_candidate,
    nearest,
)
from dse.architecture.layers import Shape
from dse.architecture.metaparameters import Metaparameter
from dse.architecture.weights_header import WeightsHeader, read_weights_header

__all__ = [
    "FAMILIES",
    "OBJECTIVES",
    "PEAK_ASSUMPTION",
    "PRECISIONS",
    "PRESETS",
    "Architecture",
    "Candidate",
    "Cost",
    "Deployment",
    "Device",
    "Family",
    "LayerCost",
    "Link",
    "Metaparameter",
    "Preset",
    "Shape",
    "Value",
    "WeightsHeader",
    "all_reduce_bytes",
    "build",
    "cost",
    "deployment",
    "devices",
    "find_devices",
    "make_candidate",
    "nearest",
    "parse_link",
    "read_weights_header",
]
