"""Networks with random weights, for the tests of every format; no JAX."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from dse.architecture import PRESETS, Candidate, Shape, build, make_candidate
from dse.inference.graph import Graph, make_graph
from dse.weights.metadata import WeightsMetadata
from dse.weights.preprocessing import PREPROCESSINGS, trained_preprocessing
from dse.weights.safetensors import nested, save_weights

BYPASS = make_candidate(
    "squeezenet",
    {
        "base_e": 8,
        "incr_e": 4,
        "squeeze_ratio": 0.5,
        "norm": "batch",
        "bypass": "complex",
        "final_activation": "relu",
        "dropout": 0.5,
    },
)
"""Batch norm, simple and complex bypasses, pools whose last window hangs over the edge."""


def random_arrays(candidate: Candidate, shape: Shape, classes_count: int) -> dict[str, np.ndarray]:
    """Every array of a network by path, drawn so that maps keep their scale."""
    draw = np.random.default_rng(17)
    arrays = {}
    for p in build(candidate, shape, classes_count).parameters:
        if p.kind == "kernel":
            values = draw.normal(0, np.sqrt(2 / np.prod(p.shape[:-1])), p.shape)
        elif p.kind in ("scale", "variance"):
            values = draw.uniform(0.5, 2, p.shape)
        else:
            values = draw.normal(0, 0.2, p.shape)
        arrays[p.path] = values.astype(np.float32)
    return arrays


def random_metadata(
    candidate: Candidate, shape: Shape, classes_count: int, rule: str = "trained"
) -> WeightsMetadata:
    """What the weights file of such a network says."""
    channels = shape[2]
    trained = trained_preprocessing(shape, (0.4, 0.5, 0.3)[:channels], (0.2, 0.25, 0.3)[:channels])
    return WeightsMetadata(
        family=candidate.family,
        metaparameters=candidate.metaparameters,
        input_shape=shape,
        classes=tuple(f"class {number}" for number in range(classes_count)),
        preprocessing=trained if rule == "trained" else PREPROCESSINGS[rule],
    )


def random_graph(
    candidate: Candidate,
    shape: Shape,
    classes_count: int = 10,
    *,
    rule: str = "trained",
    with_preprocessing: bool = False,
) -> Graph:
    """A network with random weights, ready for export."""
    return make_graph(
        build(candidate, shape, classes_count),
        random_arrays(candidate, shape, classes_count),
        random_metadata(candidate, shape, classes_count, rule),
        with_preprocessing=with_preprocessing,
    )


def preset_graph(name: str, *, with_preprocessing: bool = False) -> Graph:
    """A preset with random weights."""
    preset = PRESETS[name]
    return random_graph(
        preset.candidate,
        preset.input_shape,
        preset.classes_count,
        with_preprocessing=with_preprocessing,
    )


def write_weights(path: Path, candidate: Candidate = BYPASS, shape: Shape = (16, 16, 3)) -> Path:
    """A weights file of random weights with ten classes."""
    params, statistics = nested(random_arrays(candidate, shape, 10))
    save_weights(path, params, statistics, random_metadata(candidate, shape, 10))
    return path


def random_images(shape: Shape, count: int = 2) -> np.ndarray:
    """Pixels, uint8 (image, height, width, channel)."""
    return np.random.default_rng(5).integers(0, 256, (count, *shape), np.uint8)
