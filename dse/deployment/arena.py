"""Where each map of a network lies in one static piece of memory, in int8."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from dse.architecture.cost import Step, buffers_of
from dse.architecture.primitives import Join, Shape

_ALIGNMENT = 4

MOST_TRIES = 50
"""Orders in which buffers are placed at most; of 1,500 random candidates none took over 15."""


class PlacedStep(Step, Protocol):
    """What `plan_arena` has to know of a node."""

    @property
    def input_shape(self) -> Shape:
        """(height, width, channels) of the first map that it reads."""

    @property
    def output_shape(self) -> Shape:
        """(height, width, channels) of its result."""


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
        scratch: offset of each step's scratch memory, by the number of its result.
    """

    places: tuple[Place | None, ...]
    arena_bytes: int
    scratch: dict[int, int] = field(default_factory=dict)


def plan_arena(steps: Sequence[PlacedStep], scratch: Mapping[int, int] | None = None) -> Arena:
    """Lay maps over each other that are not held at the same time.

    Args:
        steps: in the order in which they run; the first one reads the input, which is not in the
            arena, and the last one gives the scores, which are not either.
        scratch: bytes that steps need while they run, by the number of their result.

    Which maps share memory is the rule by which peak activations are counted
    (`dse.architecture.cost`). Buffers are placed from the largest down, each at the lowest place
    that is free while it is held. Where that takes more than is ever held at once, the buffer
    that ends highest is placed first, and so on; the smallest plan is taken.
    """
    buffers, shapes = buffers_of(steps), [steps[0].input_shape, *(s.output_shape for s in steps)]
    last = len(steps)
    spans: dict[int, tuple[int, int]] = {}
    for at, op in enumerate(steps, start=1):
        for touched in (at, *op.inputs):
            if buffers[touched] not in (0, last):
                first = spans.get(buffers[touched], (at, at))[0]
                spans[buffers[touched]] = (first, at)
    needed = {buffer: math.prod(shapes[buffer]) for buffer in spans}
    for at, scratch_bytes in (scratch or {}).items():  # their numbers follow those of maps
        spans[last + at], needed[last + at] = (at, at), scratch_bytes
    sizes = {buffer: -(-count // _ALIGNMENT) * _ALIGNMENT for buffer, count in needed.items()}
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
        Place(offsets[buffer], shapes[buffer][2]) if buffer in offsets else None
        for buffer in buffers
    ]
    # The parts of a join lie side by side in it; outer joins first.
    for at in range(last, 0, -1):
        op = steps[at - 1]
        within = places[at]
        if isinstance(op.primitive, Join) and within is not None:
            channel = 0
            for part in op.inputs:
                if buffers[part] == buffers[at]:
                    places[part] = Place(within.offset + channel, within.pitch)
                channel += shapes[part][2]
        elif within is not None:  # what is written over in place has the place of the result
            for given in op.inputs[:1]:
                if buffers[given] == buffers[at]:
                    places[given] = within
    return Arena(tuple(places), arena_bytes, {at: offsets[last + at] for at in scratch or {}})


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
