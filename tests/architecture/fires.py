"""The convolutions of a fire module by name, for tests that know what a fire module is."""

from __future__ import annotations

from dataclasses import dataclass

from dse.architecture import Architecture, Layer, Node


@dataclass(frozen=True)
class FireView:
    """A fire module's nodes; `bypass` is `none`, `simple` or `complex`."""

    name: str
    squeeze_conv: Node
    expand1x1_conv: Node
    expand3x3_conv: Node
    bypass_conv: Node | None
    bypass: str

    @property
    def squeeze(self) -> int:
        return self.squeeze_conv.kernel_shape[3]

    @property
    def expand1x1(self) -> int:
        return self.expand1x1_conv.kernel_shape[3]

    @property
    def expand3x3(self) -> int:
        return self.expand3x3_conv.kernel_shape[3]

    @property
    def expand(self) -> int:
        return self.expand1x1 + self.expand3x3


def view(layer: Layer) -> FireView:
    nodes = {node.name.removeprefix(f"{layer.name}/"): node for node in layer.nodes}
    bypass = "complex" if "bypass" in nodes else "simple" if "sum" in nodes else "none"
    parts = (nodes[part] for part in ("squeeze", "expand1x1", "expand3x3"))
    return FireView(layer.name, *parts, nodes.get("bypass"), bypass)


def fires(architecture: Architecture) -> list[FireView]:
    return [view(layer) for layer in architecture.layers if layer.kind == "Fire"]
