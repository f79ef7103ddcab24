"""Integer arithmetic, once: scales, and a numpy version that every int8 format is held to.

A real value is scale · (q - zero point). Maps have one scale and zero point each (asymmetric
int8), kernels one scale for each filter (symmetric, -127 to 127), biases are int32 in units of
input scale times filter scale. Sums are rescaled by a 31-bit multiplier and a shift.

Source: Jacob et al. 2018 (arXiv 1712.05877); rounding and order of operations as in LiteRT's
reference kernels (`tensorflow/lite/kernels/internal/reference/integer_ops`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from dse.architecture.primitives import Add, GlobalAveragePool, Join, MaxPool
from dse.errors import ExportError
from dse.inference.calibrate import Range
from dse.inference.forward import convolve, max_pool
from dse.inference.graph import Graph, Operator, scaled

LOW, HIGH = -128, 127
ADD_SHIFT = 20
"""Bits by which the inputs of an addition are shifted before they are rescaled."""

_EXACT_IN_FLOAT32 = 2**24


@dataclass(frozen=True)
class Scale:
    """How a map is written in int8: value = scale · (q - zero_point); scale is a float32."""

    scale: float
    zero_point: int

    def quantize(self, values: np.ndarray) -> np.ndarray:
        """The nearest int8 values."""
        return np.clip(np.round(values / self.scale) + self.zero_point, LOW, HIGH).astype(np.int8)

    def value(self, quantized: np.ndarray) -> np.ndarray:
        """The float32 values of int8."""
        return (np.float32(self.scale) * (quantized.astype(np.float32) - self.zero_point)).astype(
            np.float32
        )


PIXELS = Scale(1.0, -128)
"""Of the input of a network that scales pixels itself: q = pixel - 128."""


@dataclass(frozen=True, eq=False)
class Quantized:
    """A convolution in int8.

    Attributes:
        kernel: int8 (height, width, input channels / groups, filters).
        bias: int32 (filters,).
        kernel_scales: float32 (filters,).
        multipliers, shifts: int32 (filters,); see `rescaled`.
    """

    kernel: np.ndarray
    bias: np.ndarray
    kernel_scales: np.ndarray
    multipliers: np.ndarray
    shifts: np.ndarray


@dataclass(frozen=True, eq=False)
class Int8Graph:
    """A network in int8; made by `quantize`.

    Attributes:
        graph: the network.
        scales: of every map, the input first.
        convolutions: by the number of the operator's result.
    """

    graph: Graph
    scales: tuple[Scale, ...]
    convolutions: dict[int, Quantized]


def quantize(graph: Graph, ranges: Sequence[Range]) -> Int8Graph:
    """A network in int8.

    Args:
        graph: the network.
        ranges: of every map, as `calibrate` gives them.

    Raises:
        ExportError: an operator without an int8 form.
    """
    scales = [_scale(*one) for one in ranges]
    if graph.with_preprocessing:
        scales[0] = PIXELS
    convolutions = {}
    for at, op in enumerate(graph.operators, start=1):
        if op.kernel is not None:
            given = scales[op.inputs[0]].scale
            convolutions[at] = _quantized(op, given, scales[at].scale)
        elif not isinstance(op.primitive, MaxPool | GlobalAveragePool | Add | Join):
            raise ExportError(
                f"{op.name}: {op.primitive.summary} has no int8 form; export it in float32"
            )
    return Int8Graph(graph, tuple(scales), convolutions)


def scores(network: Int8Graph, images: np.ndarray) -> np.ndarray:
    """Scores of images in integer arithmetic, int8 (image, class).

    Args:
        network: in int8.
        images: uint8 (image, height, width, channel), RGB or gray.
    """
    graph = network.graph
    if graph.with_preprocessing:
        first = (images.astype(np.int16) - 128).astype(np.int8)
    else:
        first = network.scales[0].quantize(scaled(images, graph.metadata.preprocessing))
    held = {0: first}
    for at, op in enumerate(graph.operators, start=1):
        held[at] = _apply(network, at, op, [held[i] for i in op.inputs])
        for i in list(held):
            if graph.last_use[i] <= at and i != at:
                del held[i]
    return held[at].reshape(len(images), -1)


def multiplier(real: float) -> tuple[int, int]:
    """(q, shift) with real = q / 2^31 · 2^shift and q in [2^30, 2^31), or (0, 0) for nothing."""
    if real == 0:
        return 0, 0
    mantissa, shift = math.frexp(real)
    q = math.floor(mantissa * 2**31 + 0.5)
    if q == 2**31:
        q, shift = 2**30, shift + 1
    return (0, 0) if shift < -31 else (q, shift)


def rescaled(values: np.ndarray, q: np.ndarray | int, shift: np.ndarray | int) -> np.ndarray:
    """Values · q / 2^31 · 2^shift in two roundings, each to the nearest, as LiteRT has it.

    The high half of the doubled product is rounded with halves up, the shift to the right with
    halves away from zero.
    """
    left, right = np.maximum(shift, 0), np.maximum(-np.asarray(shift), 0)
    shifted = np.clip(values.astype(np.int64) << left, -(2**31), 2**31 - 1)
    product = shifted * q
    nudge = np.where(product >= 0, 2**30, 1 - 2**30)
    total = product + nudge
    high = np.where(total >= 0, total >> 31, -((-total) >> 31))  # rounded towards zero
    mask = (np.int64(1) << right) - 1
    threshold = (mask >> 1) + (high < 0)
    return (high >> right) + ((high & mask) > threshold)


def mean_multiplier(given: Scale, result: Scale, pixels_count: int) -> tuple[int, int]:
    """(q, shift) by which a sum of `pixels_count` values becomes their mean in another scale."""
    q, shift = multiplier(given.scale / result.scale)
    bits = min(pixels_count.bit_length() - 1, 32, 31 + shift)
    return (q << bits) // pixels_count, shift - bits


def add_multipliers(first: Scale, second: Scale, result: Scale) -> tuple[tuple[int, int], ...]:
    """(q, shift) of both inputs of an addition and of their sum."""
    twice = 2 * max(first.scale, second.scale)
    return (
        multiplier(first.scale / twice),
        multiplier(second.scale / twice),
        multiplier(twice / (2**ADD_SHIFT * result.scale)),
    )


def _scale(low: float, high: float) -> Scale:
    """The scale that covers a range; 0 is exact in it."""
    low, high = min(low, 0.0), max(high, 0.0)
    scale = float(np.float32((high - low) / (HIGH - LOW)))
    if scale < 1e-30:  # nothing was seen but zeros
        return Scale(1.0, LOW if low == 0 else 0)
    return Scale(scale, int(np.clip(round(LOW - low / scale), LOW, HIGH)))


def _quantized(op: Operator, given: float, result: float) -> Quantized:
    assert op.kernel is not None
    assert op.bias is not None
    largest = np.abs(op.kernel).max((0, 1, 2)).astype(np.float64)
    # A bias has to fit 31 bits in units of given · scale, and filters may hold zeros alone.
    least = np.abs(op.bias.astype(np.float64)) / (given * 2**30)
    scales = np.maximum(largest / HIGH, np.maximum(least, 1e-12 / given)).astype(np.float32)
    units = given * scales.astype(np.float64)
    pairs = [multiplier(unit / result) for unit in units.tolist()]
    return Quantized(
        np.clip(np.round(op.kernel / scales.astype(np.float64)), -HIGH, HIGH).astype(np.int8),
        np.round(op.bias / units).astype(np.int32),
        scales,
        np.array([q for q, _ in pairs], np.int32),
        np.array([shift for _, shift in pairs], np.int32),
    )


def _apply(network: Int8Graph, at: int, op: Operator, given: list[np.ndarray]) -> np.ndarray:
    scales = [network.scales[i] for i in op.inputs]
    result, x = network.scales[at], given[0]
    if at in network.convolutions:
        own = network.convolutions[at]
        exact = np.prod(own.kernel.shape[:3]) * 255 * HIGH < _EXACT_IN_FLOAT32
        kind = np.dtype(np.float32 if exact else np.float64)
        offset = x.astype(kind) - scales[0].zero_point
        sums = convolve(offset, op, own.kernel.astype(kind))
        sums = rescaled(sums.astype(np.int64) + own.bias, own.multipliers, own.shifts)
        low = result.zero_point if op.is_relu else LOW
        return np.clip(sums + result.zero_point, low, HIGH).astype(np.int8)
    match op.primitive:
        case MaxPool():
            return max_pool(x, op)
        case GlobalAveragePool():
            sums = (x.astype(np.int64) - scales[0].zero_point).sum((1, 2), keepdims=True)
            means = rescaled(sums, *mean_multiplier(scales[0], result, x.shape[1] * x.shape[2]))
            return np.clip(means + result.zero_point, LOW, HIGH).astype(np.int8)
        case Add():
            *pairs, total = add_multipliers(scales[0], scales[1], result)
            first, second = (
                rescaled((part.astype(np.int64) - scale.zero_point) << ADD_SHIFT, *pair)
                for part, scale, pair in zip(given, scales, pairs, strict=True)
            )
            sums = first + second
            return np.clip(rescaled(sums, *total) + result.zero_point, LOW, HIGH).astype(np.int8)
        case Join():
            return np.concatenate(given, 3)
    raise AssertionError(op)
