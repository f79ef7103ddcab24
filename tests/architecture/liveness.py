"""A slow, obvious count of activations: the network as single steps over named buffers.

Every step reads some buffers and writes one. A buffer lives from the first step that
writes it to the last step that uses it; the peak is the fullest step. Activation, norm,
dropout and additions overwrite what they read. Nothing here asks a layer what it costs.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from dse.architecture import Architecture, Layer, Shape
from tests.architecture.fires import view


@dataclass(frozen=True)
class Step:
    layer: str
    reads: tuple[str, ...]
    writes: str


class Program:
    def __init__(self, architecture: Architecture) -> None:
        self.steps: list[Step] = []
        self.sizes = {"image": math.prod(architecture.input_shape)}
        current = "image"
        for layer in architecture.layers:
            current = self._add(layer, current)
        self.result = current

    def _step(self, layer: Layer, reads: tuple[str, ...], writes: str, shape: Shape) -> str:
        self.sizes.setdefault(writes, math.prod(shape))
        self.steps.append(Step(layer.name, reads, writes))
        return writes

    def _add(self, layer: Layer, given: str) -> str:
        name, (height, width, _) = layer.name, layer.input_shape
        if layer.kind == "Fire":
            fire = view(layer)
            # Concatenation costs nothing: both parts write into one buffer.
            squeezed, joined = f"{name}/squeezed", f"{name}/joined"
            whole = (height, width, fire.expand1x1 + fire.expand3x3)
            self._step(layer, (given,), squeezed, (height, width, fire.squeeze))
            self._step(layer, (squeezed,), squeezed, whole)  # ReLU
            self._step(layer, (squeezed,), joined, whole)  # expand1x1
            self._step(layer, (squeezed,), joined, whole)  # expand3x3
            self._step(layer, (joined,), joined, whole)  # ReLU
            if fire.bypass == "simple":
                self._step(layer, (joined, given), joined, whole)
            elif fire.bypass == "complex":
                side = self._step(layer, (given,), f"{name}/bypass", whole)
                self._step(layer, (joined, side), joined, whole)
            return joined
        if layer.kind == "Dropout":
            return self._step(layer, (given,), given, layer.input_shape)
        result = self._step(layer, (given,), name, layer.output_shape)
        if getattr(layer.block, "activation", "none") == "relu":
            self._step(layer, (result,), result, layer.output_shape)
        return result

    def peak(self) -> tuple[int, str]:
        """Most values held at once, and the layer of the first step that holds them."""
        born, dies = {"image": 0}, {self.result: len(self.steps)}
        for time, step in enumerate(self.steps):
            born.setdefault(step.writes, time)
            for name in (*step.reads, step.writes):
                dies[name] = max(time, dies.get(name, 0))
        held = [
            sum(size for name, size in self.sizes.items() if born[name] <= time <= dies[name])
            for time in range(len(self.steps))
        ]
        most = max(held)
        return most, self.steps[held.index(most)].layer
