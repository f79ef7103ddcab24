"""What a network costs, in exact integers, without building it."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from dse.architecture.architecture import Architecture
from dse.architecture.objectives import OBJECTIVES
from dse.architecture.primitives import Join, Primitive, Shape

VALUE_BYTES = 4  # float32


@dataclass(frozen=True, slots=True)
class LayerCost:
    """One row of the layer table; the fields are those of `Cost`."""

    name: str
    kind: str
    output_shape: Shape
    params_count: int
    macs: int
    weight_bytes: int
    activation_bytes: int


@dataclass(frozen=True, slots=True)
class Cost:
    """Exact cost of a network at batch size 1 in float32.

    Attributes:
        params_count: trained values (kernels, biases, norm scales).
        macs: multiply-accumulates of convolutions and dense layers for one image.
        weight_bytes: 4 bytes for each stored value: the parameters and the running
            statistics of batch norms.
        peak_activation_bytes: most bytes of activations held at once while the nodes
            run one after the other, weights aside; see `held_elements`.
        peak_layer: the layer where that is.
        layers: one row per layer.
    """

    params_count: int
    macs: int
    weight_bytes: int
    peak_activation_bytes: int
    peak_layer: str
    layers: tuple[LayerCost, ...]

    @property
    def by_name(self) -> dict[str, int]:
        """The exact costs, by their names in `OBJECTIVES`."""
        return {name: getattr(self, name) for name in OBJECTIVES}


def cost(architecture: Architecture) -> Cost:
    """Count everything that can be known before training."""
    rows = layer_costs(architecture)
    peak = max(rows, key=lambda row: row.activation_bytes)
    return Cost(**totals(rows), peak_layer=peak.name, layers=rows)


def layer_costs(
    architecture: Architecture, most: Callable[[list[int]], int] = max
) -> tuple[LayerCost, ...]:
    """The rows of the layer table.

    Args:
        architecture: whose layers they are.
        most: gives the largest of several numbers; `max`, but for batches of numbers.
    """
    held = iter(held_elements(architecture))
    rows = []
    for layer in architecture.layers:
        parameters = [p for node in layer.nodes for p in node.parameters]
        params_count = sum(p.size for p in parameters if p.trainable)
        others_count = sum(p.size for p in parameters if not p.trainable)
        row = LayerCost(
            name=layer.name,
            kind=layer.kind,
            output_shape=layer.output_shape,
            params_count=params_count,
            macs=sum(node.macs for node in layer.nodes),
            weight_bytes=VALUE_BYTES * (params_count + others_count),
            activation_bytes=VALUE_BYTES * most([next(held) for _ in layer.nodes]),
        )
        rows.append(row)
    return tuple(rows)


def totals(rows: Sequence[LayerCost], most: Callable[[list[int]], int] = max) -> dict[str, int]:
    """Each of `OBJECTIVES` of a whole network, from the rows of its layer table."""
    return {
        "params_count": sum(row.params_count for row in rows),
        "macs": sum(row.macs for row in rows),
        "weight_bytes": sum(row.weight_bytes for row in rows),
        "peak_activation_bytes": most([row.activation_bytes for row in rows]),
    }


def held_elements(architecture: Architecture) -> list[int]:
    """Activation values held at once while each node runs on one image.

    A map is held from the first node that writes it until the last one that reads it. Dropout
    and additions write over their input where nobody reads it afterwards; the parts of a join
    write their slices of the joined map; activation and norm stand within a convolution.

    Returns:
        For each node of `architecture.graph` the values of all maps that are held.
    """
    graph = architecture.graph
    buffers = buffers_of(graph)
    shapes = [architecture.input_shape, *(node.output_shape for node in graph)]
    last_use = dict.fromkeys(buffers, 0)
    for at, node in enumerate(graph, start=1):
        for touched in (at, *node.inputs):
            last_use[buffers[touched]] = at
    alive, held = {buffers[0]: math.prod(shapes[buffers[0]])}, []
    for at, node in enumerate(graph, start=1):
        if buffers[at] not in alive:
            alive[buffers[at]] = math.prod(shapes[buffers[at]])
        held.append(sum(alive.values()))
        for buffer in {buffers[touched] for touched in (at, *node.inputs)}:
            if last_use[buffer] == at:
                del alive[buffer]
    return held


class Step(Protocol):
    """What `buffers_of` has to know of a node."""

    @property
    def primitive(self) -> Primitive:
        """What it does."""

    @property
    def inputs(self) -> tuple[int, ...]:
        """The maps that it reads; see `Node`."""


def buffers_of(graph: Sequence[Step]) -> list[int]:
    """For each map, the image first, the map in whose memory it lies: as usual its own."""
    readers_count = Counter(given for node in graph for given in node.inputs)
    last_reader = {given: at for at, node in enumerate(graph, start=1) for given in node.inputs}
    buffers = list(range(len(graph) + 1))
    for at in range(len(graph), 0, -1):
        node = graph[at - 1]
        if isinstance(node.primitive, Join):
            for part in node.inputs:
                if part and readers_count[part] == 1:
                    buffers[part] = buffers[at]
        elif node.primitive.in_place and last_reader[node.inputs[0]] == at:
            buffers[node.inputs[0]] = buffers[at]
    return buffers
