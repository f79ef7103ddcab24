"""Where each map of a network lies in one static piece of memory, in int8."""

from __future__ import annotations

import math
from dataclasses import dataclass

from dse.architecture.cost import buffers_of
from dse.architecture.primitives import Join
from dse.export.graph import Graph

_ALIGNMENT = 4

MOST_TRIES = 50
"""Orders in which buffers are placed at most; of 1,500 random candidates none took over 15."""


@dataclass(frozen=True)
class Place:
    """Where a map lies.

    Attributes:
        offset: of its first value, in bytes.
        pitch: bytes from one pixel to the next: its channels, or those of the map that it is
            joined into.
    """

    offset: int
    pitch: int


@dataclass(frozen=True)
class Arena:
    """The plan.

    Attributes:
        places: of every map; None of the input and of the scores, which the caller holds.
        arena_bytes: all of it.
    """

    places: tuple[Place | None, ...]
    arena_bytes: int


def plan_arena(graph: Graph) -> Arena:
    """Lay maps over each other that are not held at the same time.

    Which maps share memory is the rule by which peak activations are counted
    (`dse.architecture.cost`). Buffers are placed from the largest down, each at the lowest place
    that is free while it is held. Where that takes more than is ever held at once, the buffer
    that ends highest is placed first, and so on; the smallest plan is taken.
    """
    buffers = buffers_of(graph.operators)
    last = len(graph.operators)
    spans: dict[int, tuple[int, int]] = {}
    for at, op in enumerate(graph.operators, start=1):
        for touched in (at, *op.inputs):
            if buffers[touched] not in (0, last):
                first = spans.get(buffers[touched], (at, at))[0]
                spans[buffers[touched]] = (first, at)
    sizes = {
        buffer: -(-math.prod(graph.shapes[buffer]) // _ALIGNMENT) * _ALIGNMENT for buffer in spans
    }
    held = [sum(sizes[b] for b, (a, z) in spans.items() if a <= at <= z) for at in range(last + 1)]
    order = sorted(spans, key=lambda buffer: (-sizes[buffer], spans[buffer]))
    plan = offsets, arena_bytes = _placed(order, spans, sizes)
    for _ in range(MOST_TRIES):
        if arena_bytes == max(held):  # no plan is smaller
            break
        ends = {buffer: plan[0][buffer] + sizes[buffer] for buffer in order}
        highest = max(ends, key=ends.__getitem__)
        order = [highest, *(buffer for buffer in order if buffer != highest)]
        plan = _placed(order, spans, sizes)
        if plan[1] < arena_bytes:
            offsets, arena_bytes = plan
    places: list[Place | None] = [
        Place(offsets[buffer], graph.shapes[buffer][2]) if buffer in offsets else None
        for buffer in buffers
    ]
    # The parts of a join lie side by side in it; outer joins first.
    for at in range(last, 0, -1):
        op = graph.operators[at - 1]
        within = places[at]
        if isinstance(op.primitive, Join) and within is not None:
            channel = 0
            for part in op.inputs:
                if buffers[part] == buffers[at]:
                    places[part] = Place(within.offset + channel, within.pitch)
                channel += graph.shapes[part][2]
        elif within is not None:  # what is written over in place has the place of the result
            for given in op.inputs[:1]:
                if buffers[given] == buffers[at]:
                    places[given] = within
    return Arena(tuple(places), arena_bytes)


def _placed(
    order: list[int], spans: dict[int, tuple[int, int]], sizes: dict[int, int]
) -> tuple[dict[int, int], int]:
    """Offsets of buffers that are placed one after the other, and the end of the last."""
    offsets: dict[int, int] = {}
    for buffer in order:
        first, last = spans[buffer]
        taken = sorted(
            (offsets[other], offsets[other] + sizes[other])
            for other in offsets
            if spans[other][0] <= last and first <= spans[other][1]
        )
        offset = 0
        for start, end in taken:
            if offset + sizes[buffer] <= start:
                break
            offset = max(offset, end)
        offsets[buffer] = offset
    return offsets, max((offsets[b] + sizes[b] for b in offsets), default=0)
