"""The real network run layer by layer in numpy, with every byte of its activations watched.

Every activation buffer comes from a `Memory`, which knows when the last reference to it is
gone, so that nothing here decides what lives: a buffer that a variable still names is still
held. The conventions are those of docs/decisions/0004: activation, norm, dropout and the
addition of a bypass write where they read; the expands of a fire module write into one
buffer. Arithmetic goes image row by image row through scratch arrays made beforehand,
so that what numpy allocates besides can be bounded too (`tracemalloc`).
"""

from __future__ import annotations

import gc
import tracemalloc
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from dse.architecture import Architecture
from dse.architecture.primitives import (
    Conv,
    Dense,
    Dropout,
    Fire,
    GlobalAveragePool,
    Layer,
    LocalResponseNorm,
    MaxPool,
)

Arrays = dict[str, np.ndarray]
EPSILON = 1e-5


class Memory:
    """Gives out buffers and knows how many bytes of them are alive, now and at the most."""

    def __init__(self) -> None:
        self.live_bytes = self.peak_bytes = 0
        self.layer = self.peak_layer = ""

    def empty(self, shape: tuple[int, ...]) -> np.ndarray:
        buffer = np.empty(shape, np.float32)
        self.live_bytes += buffer.nbytes
        weakref.finalize(buffer, self._release, buffer.nbytes)
        if self.live_bytes > self.peak_bytes:
            self.peak_bytes, self.peak_layer = self.live_bytes, self.layer
        return buffer

    def _release(self, count: int) -> None:
        self.live_bytes -= count


@dataclass
class Run:
    """What an instrumented execution found."""

    scores: np.ndarray
    peak_bytes: int
    peak_layer: str
    allocated_bytes: int
    """The most that numpy had allocated at once since the start, views and scratch included."""


def run(architecture: Architecture, arrays: Arrays, image: np.ndarray) -> Run:
    memory, scratch = Memory(), _scratch(architecture)
    steps: dict[type[Layer], Callable[..., np.ndarray]] = {
        Conv: _conv_layer,
        Fire: _fire,
        MaxPool: _max_pool,
        GlobalAveragePool: _average,
        LocalResponseNorm: _local_norm,
        Dense: _dense,
    }
    gc.collect()
    tracemalloc.start()
    try:
        # The only reference to a layer's input is in this list: the step takes it out, so
        # that it can be gone before the layer ends.
        held = [memory.empty(architecture.input_shape)]
        held[0][...] = image
        for layer in architecture.layers:
            memory.layer = layer.name
            if not isinstance(layer, Dropout):  # nothing at inference, in place
                held.append(steps[type(layer)](layer, arrays, held, memory, scratch))
        allocated_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    (scores,) = held
    assert memory.live_bytes == scores.nbytes  # nothing else has survived
    return Run(scores.reshape(-1), memory.peak_bytes, memory.peak_layer, allocated_bytes)


Scratch = dict[str, np.ndarray]


def _scratch(architecture: Architecture) -> Scratch:
    """For every convolution a row of patches and a row of results; made before measuring."""
    found: Scratch = {}
    for layer in architecture.layers:
        for conv in _convs(layer):
            width, filters = conv.output_shape[1:]
            taken = conv.kernel_size**2 * conv.input_shape[2] // conv.groups
            found[f"{conv.name}/patches"] = np.empty((width, taken), np.float32)
            found[f"{conv.name}/row"] = np.empty((width, filters // conv.groups), np.float32)
        if isinstance(layer, LocalResponseNorm):
            for part in ("squares", "total"):
                found[f"{layer.name}/{part}"] = np.empty(layer.input_shape[1:], np.float32)
    return found


def _convs(layer: Layer) -> tuple[Conv, ...]:
    return (layer,) if isinstance(layer, Conv) else layer.convs if isinstance(layer, Fire) else ()


def _conv_layer(
    layer: Conv, arrays: Arrays, held: list[np.ndarray], memory: Memory, scratch: Scratch
) -> np.ndarray:
    given = held.pop()
    result = memory.empty(layer.output_shape)
    _convolve(layer, arrays, given, result, scratch)
    return result


def _convolve(
    conv: Conv, arrays: Arrays, given: np.ndarray, result: np.ndarray, scratch: Scratch
) -> None:
    """Convolution, then bias or norm and activation in place, into `result` (a view, maybe)."""
    kernel = arrays[f"{conv.name}/kernel"]
    size, pad, stride = conv.kernel_size, conv.padding, conv.stride
    height, width, channels = given.shape
    taken, made = channels // conv.groups, conv.filters // conv.groups
    patches, row = scratch[f"{conv.name}/patches"], scratch[f"{conv.name}/row"]
    tiles = patches.reshape(len(patches), size, size, taken)
    for group in range(conv.groups):
        source = given[:, :, group * taken : (group + 1) * taken]
        matrix = kernel[..., group * made : (group + 1) * made].reshape(-1, made)
        for y in range(result.shape[0]):
            tiles[...] = 0
            for i in range(size):
                if not 0 <= (line := y * stride + i - pad) < height:
                    continue
                for j in range(size):
                    first = max(0, -(-(pad - j) // stride))
                    last = min(len(tiles), (width - 1 + pad - j) // stride + 1)
                    start = first * stride + j - pad
                    tiles[first:last, i, j] = source[line, start::stride][: last - first]
            np.matmul(patches, matrix, out=row)
            result[y, :, group * made : (group + 1) * made] = row
    if conv.norm == "batch":
        scale, bias, mean, variance = (
            arrays[f"{conv.name}/{kind}"] for kind in ("scale", "bias", "mean", "variance")
        )
        result -= mean
        result *= scale / np.sqrt(variance + np.float32(EPSILON))
        result += bias
    else:
        result += arrays[f"{conv.name}/bias"]
    if conv.activation == "relu":
        np.maximum(result, 0, out=result)


def _fire(
    layer: Fire, arrays: Arrays, held: list[np.ndarray], memory: Memory, scratch: Scratch
) -> np.ndarray:
    height, width, _ = layer.output_shape
    squeezed = memory.empty((height, width, layer.squeeze))
    _convolve(layer.squeeze_conv, arrays, held[-1], squeezed, scratch)
    if layer.bypass == "none":
        held.pop()  # the squeeze was the last to read it
    joined = memory.empty(layer.output_shape)
    left, right = joined[..., : layer.expand1x1], joined[..., layer.expand1x1 :]
    _convolve(layer.expand1x1_conv, arrays, squeezed, left, scratch)
    _convolve(layer.expand3x3_conv, arrays, squeezed, right, scratch)
    del squeezed
    if layer.bypass == "simple":
        joined += held.pop()
    elif layer.bypass_conv:
        side = memory.empty(layer.output_shape)
        _convolve(layer.bypass_conv, arrays, held.pop(), side, scratch)
        joined += side
    return joined


def _max_pool(
    layer: MaxPool, _: Arrays, held: list[np.ndarray], memory: Memory, __: Scratch
) -> np.ndarray:
    given, result = held.pop(), memory.empty(layer.output_shape)
    for y, x in np.ndindex(result.shape[:2]):
        top, left = y * layer.stride, x * layer.stride
        window = given[top : top + layer.window, left : left + layer.window]
        window.max(axis=(0, 1), out=result[y, x])
    return result


def _average(
    layer: GlobalAveragePool, _: Arrays, held: list[np.ndarray], memory: Memory, __: Scratch
) -> np.ndarray:
    result = memory.empty(layer.output_shape)
    held.pop().mean(axis=(0, 1), out=result[0, 0])
    return result


def _local_norm(
    layer: LocalResponseNorm, _: Arrays, held: list[np.ndarray], memory: Memory, scratch: Scratch
) -> np.ndarray:
    given, result = held.pop(), memory.empty(layer.output_shape)
    squares, total = (scratch[f"{layer.name}/{part}"] for part in ("squares", "total"))
    channels, side = given.shape[2], layer.size // 2
    for y in range(given.shape[0]):
        np.square(given[y], out=squares)
        total[...] = 0
        for shift in range(-side, side + 1):
            first, last = max(0, -shift), min(channels, channels - shift)
            total[:, first:last] += squares[:, first + shift : last + shift]
        total *= layer.alpha / layer.size
        total += layer.k
        np.power(total, -layer.beta, out=total)
        np.multiply(given[y], total, out=result[y])
    return result


def _dense(
    layer: Dense, arrays: Arrays, held: list[np.ndarray], memory: Memory, _: Scratch
) -> np.ndarray:
    result = memory.empty(layer.output_shape)
    np.matmul(held.pop().reshape(-1), arrays[f"{layer.name}/kernel"], out=result[0, 0])
    result += arrays[f"{layer.name}/bias"]
    if layer.activation == "relu":
        np.maximum(result, 0, out=result)
    return result


def flat(tree: dict[str, Any], prefix: str = "") -> Arrays:
    """Arrays by path, from nested dicts."""
    found: Arrays = {}
    for name, value in tree.items():
        if isinstance(value, dict):
            found |= flat(value, f"{prefix}{name}/")
        else:
            found[prefix + name] = np.asarray(value)
    return found
