"""Initial weights: the same for a key, a name and a shape, whatever else is there.

The draws are numpy's: the program that draws seventeen kernels of different shapes takes
JAX six seconds to compile, and every candidate would need its own.
"""

from __future__ import annotations

import math
import zlib

import jax
import numpy as np
from jax import Array

from dse.architecture import Architecture
from dse.architecture.primitives import Conv, Dense, Parameter

LAST_LAYER_STD = 0.01
"""Standard deviation of the last layer's kernel: all classes start about equally likely.

Source: SqueezeNet's and AlexNet's Caffe models (conv10, fc8).
"""


BATCH_NORM_GAIN = 1 / 3
"""Variance of a kernel's initial values before a batch norm, times its fan-in.

A norm undoes the scale of what it is given, so the scale says how much of a kernel a step of
given length changes. With He's 2 short trainings get less far (`benchmarks/first_weights.py`).

Source: what PyTorch's convolutions draw with.
"""


def initial_value(parameter: Parameter, *, std: float, key: Array) -> np.ndarray:
    """Zeros for bias and mean, ones for scale and variance, normal draws for a kernel.

    Args:
        parameter: path, shape and kind.
        std: standard deviation of a kernel's values.
        key: a JAX random key.

    Returns:
        float32 array that depends on the key, the path and the shape alone.
    """
    if parameter.kind != "kernel":
        value = 1 if parameter.kind in ("scale", "variance") else 0
        return np.full(parameter.shape, value, np.float32)
    words = np.asarray(jax.random.key_data(key)).ravel().tolist()
    seed = np.random.SeedSequence([*words, zlib.crc32(parameter.path.encode())])
    draws = np.random.Generator(np.random.PCG64(seed)).standard_normal(
        parameter.shape, dtype=np.float32
    )
    return draws * np.float32(std)


def kernel_stds(architecture: Architecture) -> dict[str, float]:
    """Standard deviation of each kernel's initial values, by its path.

    sqrt(2 / fan-in) before a ReLU (He et al. 2015, arXiv 1502.01852, equation 10),
    sqrt(1 / fan-in) without one, sqrt(`BATCH_NORM_GAIN` / fan-in) before a batch norm, and
    `LAST_LAYER_STD` for the layer that gives the scores.
    """
    stds = {}
    for node in architecture.kernel_nodes:
        kernel, primitive = node.parameters[0], node.primitive
        assert isinstance(primitive, Conv | Dense)
        gain: float = 2 if primitive.activation == "relu" else 1
        if isinstance(primitive, Conv) and primitive.norm == "batch":
            gain = BATCH_NORM_GAIN
        stds[kernel.path] = math.sqrt(gain / math.prod(kernel.shape[:-1]))
    return stds | {kernel.path: LAST_LAYER_STD}
