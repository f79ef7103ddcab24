"""The architecture: blocks laid out as one graph with integer shapes, which everything reads."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property

from dse.architecture.blocks import Block, Concat, Module, Residual
from dse.architecture.metaparameters import Value
from dse.architecture.primitives import Add, Conv, Dense, Join, Parameter, Primitive, Shape


@dataclass(frozen=True)
class Node:
    """A primitive in its place.

    Attributes:
        primitive: what it does.
        inputs: the maps that it reads: 0 is the image, i + 1 the result of node i.
        input_shape: (height, width, channels) of the first of them.
        output_shape: (height, width, channels) of its result.
    """

    primitive: Primitive
    inputs: tuple[int, ...]
    input_shape: Shape
    output_shape: Shape

    @property
    def name(self) -> str:
        """That of its primitive."""
        return self.primitive.name

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        """Every array that a weights file holds for it."""
        return self.primitive.parameters(self.input_shape)

    @property
    def kernel_shape(self) -> tuple[int, ...]:
        """That of its kernel, which is the first of its parameters."""
        return self.parameters[0].shape

    @property
    def macs(self) -> int:
        """Multiply-accumulates for one image."""
        return self.primitive.macs(self.input_shape, self.output_shape)


@dataclass(frozen=True)
class Layer:
    """One row of the layer table: a primitive, or the primitives of a module.

    Attributes:
        name: `conv1`, `fire2`, ….
        nodes: in the order in which they run.
        block: what they were laid out from.
    """

    name: str
    nodes: tuple[Node, ...]
    block: Primitive | Module = field(compare=False, repr=False)

    @property
    def kind(self) -> str:
        """`Conv`, `MaxPool`, `Fire`, …."""
        return self.block.kind if isinstance(self.block, Module) else type(self.block).__name__

    @property
    def summary(self) -> str:
        """In a few words: `conv 7x7/2`, `fire 16→64+64 simple`."""
        return self.block.summary

    @property
    def input_shape(self) -> Shape:
        """(height, width, channels) of what it takes."""
        return self.nodes[0].input_shape

    @property
    def output_shape(self) -> Shape:
        """(height, width, channels) of what it gives."""
        return self.nodes[-1].output_shape


@dataclass(frozen=True)
class Architecture:
    """One network; cost, network and export all read its graph. Made by `assemble`.

    Attributes:
        family: name of the family that built it.
        metaparameters: (name, value) pairs it was built from.
        input_shape: (height, width, channels) of one image.
        classes_count: number of scores it gives.
        layers: in the order in which they run; equal for equal networks.
    """

    family: str
    metaparameters: tuple[tuple[str, Value], ...]
    input_shape: Shape
    classes_count: int
    layers: tuple[Layer, ...]

    @cached_property
    def graph(self) -> tuple[Node, ...]:
        """Every primitive, in the order in which they run; the last one gives the scores."""
        return tuple(node for layer in self.layers for node in layer.nodes)

    @property
    def output_shape(self) -> Shape:
        """(height, width, channels) of what it gives."""
        return self.layers[-1].output_shape if self.layers else self.input_shape

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        """Every stored array, node by node."""
        return tuple(p for node in self.graph for p in node.parameters)

    @property
    def kernel_nodes(self) -> tuple[Node, ...]:
        """Every convolution and dense layer."""
        return tuple(node for node in self.graph if isinstance(node.primitive, Conv | Dense))


def assemble(
    family: str,
    metaparameters: tuple[tuple[str, Value], ...],
    input_shape: Shape,
    classes_count: int,
    blocks: Iterable[Primitive | Module],
) -> Architecture:
    """Lay blocks out one behind the other.

    Args:
        family: what the architecture will say of itself.
        metaparameters: the same.
        input_shape: (height, width, channels) of one image.
        classes_count: number of scores.
        blocks: each one row of the layer table.

    Raises:
        ArchitectureError: a primitive does not fit what reaches it.
    """
    nodes: list[Node] = []
    shapes = [input_shape]

    def place(block: Block, given: int) -> int:
        """Append what `block` does to the map `given`; gives the map that results."""
        if isinstance(block, Primitive):
            return append(block, given)
        if isinstance(block, Module):
            return place(block.body, given)
        if isinstance(block, Concat):
            return append(Join(block.name), *[place(part, given) for part in block.blocks])
        if isinstance(block, Residual):
            return append(Add(block.name), place(block.body, given), place(block.shortcut, given))
        for part in block.blocks:
            given = place(part, given)
        return given

    def append(primitive: Primitive, *inputs: int) -> int:
        given = [shapes[i] for i in inputs]
        shapes.append(primitive.output_shape(*given))
        nodes.append(Node(primitive, inputs, given[0], shapes[-1]))
        return len(nodes)

    layers, result = [], 0
    for block in blocks:
        first = len(nodes)
        result = place(block, result)
        layers.append(Layer(block.name, tuple(nodes[first:]), block))
    return Architecture(family, metaparameters, input_shape, classes_count, tuple(layers))
