"""What a network takes on a microcontroller in int8, as the C program of `dse export` has it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from dse.architecture.architecture import Architecture, Node
from dse.architecture.primitives import (
    Add,
    Conv,
    Dense,
    Dropout,
    GlobalAveragePool,
    LocalResponseNorm,
    MaxPool,
)
from dse.deployment.arena import plan_arena

PREPROCESSING = "preprocessing"
"""Name of the node that makes the network's input of pixels."""

FILTER_BYTES = 4 + 4 + 1
"""Bias, multiplier and shift of a filter."""
_CONVOLUTION_BYTES, _MAP_BYTES, _ADDITION_BYTES = 40, 20, 15
"""What describes them, with pointers of 32 bits (kernels.c in dse/export)."""

LARGE_BYTES = 2**16
"""Size from which an int8 array is written as text: gcc took 30 s and 640 MB for four million
numbers in a list, 0.8 s and 80 MB as text."""

_BASE_CODE_BYTES = 960
"""Of `dse_predict`, rescaling and convolutions: arm-none-eabi-gcc 12.2 -O2 for a Cortex-M4."""
_CODE_BYTES: dict[type, tuple[int, int]] = {
    Conv: (0, 25),
    Dense: (0, 25),
    MaxPool: (215, 6),
    GlobalAveragePool: (219, 0),
    Add: (167, 28),
}
"""By operator, as measured on fifteen networks: of its function, and of each call."""
_CODED_BYTES = (430, 4)
"""Of the function that decodes kernels, and of each call of it more than of a plain one."""


@dataclass(frozen=True)
class ChipMemory:
    """Bytes of the C program.

    Attributes:
        constant_bytes: of flash: kernels, biases, multipliers and what describes them.
        code_bytes: of flash, on a Cortex-M4; another compiler has a tenth more or less.
        ram_bytes: of the static arena; image and scores are the caller's.
    """

    constant_bytes: int
    code_bytes: int
    ram_bytes: int

    @property
    def flash_bytes(self) -> int:
        """Constants and code."""
        return self.constant_bytes + self.code_bytes


def inference_nodes(
    architecture: Architecture, *, with_preprocessing: bool = True
) -> tuple[Node, ...]:
    """The graph as it runs on a device: no dropout, pixels scaled by a 1x1 convolution in front.

    Args:
        architecture: the network.
        with_preprocessing: whether that convolution is there.
    """
    nodes: list[Node] = []
    maps = {0: 0}  # of the architecture's maps, where each is here
    if with_preprocessing:
        shape = architecture.input_shape
        conv = Conv(PREPROCESSING, filters=shape[2], kernel_size=1, activation="none")
        nodes.append(Node(conv, (0,), shape, shape))
        maps[0] = 1
    for at, node in enumerate(architecture.graph, start=1):
        inputs = tuple(maps[i] for i in node.inputs)
        if isinstance(node.primitive, Dropout):
            maps[at] = inputs[0]
            continue
        nodes.append(Node(node.primitive, inputs, node.input_shape, node.output_shape))
        maps[at] = len(nodes)
    return tuple(nodes)


def chip_memory(architecture: Architecture) -> ChipMemory | None:
    """Flash and RAM in int8, exact but for the code; None where there is no int8 form."""
    nodes = inference_nodes(architecture)
    if any(isinstance(node.primitive, LocalResponseNorm) for node in nodes):
        return None
    kernels = [node.parameters[0] for node in nodes if isinstance(node.primitive, Conv | Dense)]
    sizes = ((kernel.size, kernel.shape[-1]) for kernel in kernels)
    return ChipMemory(
        constant_bytes([node.primitive for node in nodes], sizes),
        code_bytes([node.primitive for node in nodes]),
        plan_arena(nodes).arena_bytes,
    )


def constant_bytes(primitives: Iterable[object], kernels: Iterable[tuple[int, int]]) -> int:
    """Bytes of flash beside the code.

    Args:
        primitives: of every node.
        kernels: of every convolution and dense layer the bytes of its kernel and its filters.
    """
    total = -_CONVOLUTION_BYTES  # pixels are scaled by one call, which compilers inline
    for primitive in primitives:
        total += _MAP_BYTES + _ADDITION_BYTES * isinstance(primitive, Add)
    for kernel_bytes, filters_count in kernels:
        total += kernel_bytes + (kernel_bytes >= LARGE_BYTES)
        total += FILTER_BYTES * filters_count + _CONVOLUTION_BYTES
    return total


def code_bytes(primitives: Iterable[object], *, coded_count: int = 0) -> int:
    """Bytes of code on a Cortex-M4.

    Args:
        primitives: of every node.
        coded_count: convolutions and dense layers whose kernels are held in codes.
    """
    kinds = [type(primitive) for primitive in primitives]
    known = [_CODE_BYTES[kind] for kind in kinds if kind in _CODE_BYTES]
    functions = {kind: _CODE_BYTES[kind][0] for kind in kinds if kind in _CODE_BYTES}
    plain = _BASE_CODE_BYTES + sum(functions.values()) + sum(call for _, call in known)
    function, call = _CODED_BYTES
    return plain + (coded_count > 0) * function + coded_count * call
