"""The architecture: named layers with integer shapes, and the chain that builds them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from dse.architecture.primitives import Conv, Dense, Fire, Layer, Parameter, Shape

Value = int | float | str | tuple[str, ...]
"""A value of a metaparameter; a tuple of names for `pools`."""


@dataclass(frozen=True)
class Architecture:
    """One network as a chain of layers; cost, network and export all read this.

    Attributes:
        family: name of the family that built it.
        metaparameters: (name, value) pairs it was built from.
        input_shape: (height, width, channels) of one image.
        classes_count: number of scores it gives.
        layers: in the order in which they run.
    """

    family: str
    metaparameters: tuple[tuple[str, Value], ...]
    input_shape: Shape
    classes_count: int
    layers: tuple[Layer, ...]

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        """Every stored array, layer by layer."""
        return tuple(p for layer in self.layers for p in layer.parameters)

    @property
    def kernel_layers(self) -> tuple[Conv | Dense, ...]:
        """Every layer with a kernel, those inside fire modules too, in the order they run."""
        found: list[Conv | Dense] = []
        for layer in self.layers:
            if isinstance(layer, Fire):
                found += layer.convs
            elif isinstance(layer, Conv | Dense):
                found.append(layer)
        return tuple(found)


class Chain:
    """Appends layers one behind the other; each takes the shape that the last one gives."""

    def __init__(self, input_shape: Shape) -> None:
        self.shape = input_shape
        self.layers: list[Layer] = []

    def add(self, layer_type: type[Layer], name: str, **settings: Any) -> None:
        """Append `layer_type(name=…, input_shape=…, **settings)`.

        Raises:
            ArchitectureError: the layer does not fit what reaches it.
        """
        layer = layer_type(name=name, input_shape=self.shape, **settings)
        self.layers.append(layer)
        self.shape = layer.output_shape
