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

from dse.architecture import Architecture, Layer, Node
from dse.architecture.primitives import Conv
from tests.architecture.fires import view

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
    steps: dict[str, Callable[..., np.ndarray]] = {
        "Conv": _conv_layer,
        "Fire": _fire,
        "MaxPool": _max_pool,
        "GlobalAveragePool": _average,
        "LocalResponseNorm": _local_norm,
        "Dense": _dense,
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
            if layer.kind != "Dropout":  # nothing at inference, in place
                held.append(steps[layer.kind](layer, arrays, held, memory, scratch))
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
    for node in architecture.graph:
        conv = node.primitive
        if isinstance(conv, Conv):
            width, filters = node.output_shape[1:]
            taken = conv.kernel_size**2 * node.input_shape[2] // conv.groups
            found[f"{conv.name}/patches"] = np.empty((width, taken), np.float32)
            found[f"{conv.name}/row"] = np.empty((width, filters // conv.groups), np.float32)
        if type(conv).__name__ == "LocalResponseNorm":
            for part in ("squares", "total"):
                found[f"{conv.name}/{part}"] = np.empty(node.input_shape[1:], np.float32)
    return found


def _conv_layer(
    layer: Layer, arrays: Arrays, held: list[np.ndarray], memory: Memory, scratch: Scratch
) -> np.ndarray:
    given = held.pop()
    result = memory.empty(layer.output_shape)
    _convolve(layer.nodes[0], arrays, given, result, scratch)
    return result


def _convolve(
    node: Node, arrays: Arrays, given: np.ndarray, result: np.ndarray, scratch: Scratch
) -> None:
    """Convolution, then bias or norm and activation in place, into `result` (a view, maybe)."""
    conv = node.primitive
    assert isinstance(conv, Conv)
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
    layer: Layer, arrays: Arrays, held: list[np.ndarray], memory: Memory, scratch: Scratch
) -> np.ndarray:
    fire = view(layer)
    height, width, _ = layer.output_shape
    squeezed = memory.empty((height, width, fire.squeeze))
    _convolve(fire.squeeze_conv, arrays, held[-1], squeezed, scratch)
    if fire.bypass == "none":
        held.pop()  # the squeeze was the last to read it
    joined = memory.empty(layer.output_shape)
    left, right = joined[..., : fire.expand1x1], joined[..., fire.expand1x1 :]
    _convolve(fire.expand1x1_conv, arrays, squeezed, left, scratch)
    _convolve(fire.expand3x3_conv, arrays, squeezed, right, scratch)
    del squeezed
    if fire.bypass == "simple":
        joined += held.pop()
    elif fire.bypass_conv:
        side = memory.empty(layer.output_shape)
        _convolve(fire.bypass_conv, arrays, held.pop(), side, scratch)
        joined += side
    return joined


def _max_pool(
    layer: Layer, _: Arrays, held: list[np.ndarray], memory: Memory, __: Scratch
) -> np.ndarray:
    pool: Any = layer.block
    given, result = held.pop(), memory.empty(layer.output_shape)
    for y, x in np.ndindex(result.shape[:2]):
        top, left = y * pool.stride, x * pool.stride
        window = given[top : top + pool.window, left : left + pool.window]
        window.max(axis=(0, 1), out=result[y, x])
    return result


def _average(
    layer: Layer, _: Arrays, held: list[np.ndarray], memory: Memory, __: Scratch
) -> np.ndarray:
    result = memory.empty(layer.output_shape)
    held.pop().mean(axis=(0, 1), out=result[0, 0])
    return result


def _local_norm(
    layer: Layer, _: Arrays, held: list[np.ndarray], memory: Memory, scratch: Scratch
) -> np.ndarray:
    norm: Any = layer.block
    given, result = held.pop(), memory.empty(layer.output_shape)
    squares, total = (scratch[f"{layer.name}/{part}"] for part in ("squares", "total"))
    channels, side = given.shape[2], norm.size // 2
    for y in range(given.shape[0]):
        np.square(given[y], out=squares)
        total[...] = 0
        for shift in range(-side, side + 1):
            first, last = max(0, -shift), min(channels, channels - shift)
            total[:, first:last] += squares[:, first + shift : last + shift]
        total *= norm.alpha / norm.size
        total += norm.k
        np.power(total, -norm.beta, out=total)
        np.multiply(given[y], total, out=result[y])
    return result


def _dense(
    layer: Layer, arrays: Arrays, held: list[np.ndarray], memory: Memory, _: Scratch
) -> np.ndarray:
    result = memory.empty(layer.output_shape)
    np.matmul(held.pop().reshape(-1), arrays[f"{layer.name}/kernel"], out=result[0, 0])
    result += arrays[f"{layer.name}/bias"]
    if layer.block.activation == "relu":
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
