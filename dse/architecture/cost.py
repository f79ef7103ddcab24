"""What a network costs, in exact integers, without building it."""

from __future__ import annotations

from dataclasses import dataclass

from dse.architecture.architecture import Architecture
from dse.architecture.objectives import OBJECTIVES
from dse.architecture.primitives import Layer, Shape

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
        peak_activation_bytes: most bytes of activations held at once while the layers
            run one after the other, weights aside; see `Layer.working_elements`.
        peak_layer: the layer where that is.
        layers: one row a layer.
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
    rows = tuple(map(layer_cost, architecture.layers))
    peak = max(rows, key=lambda row: row.activation_bytes)
    return Cost(
        params_count=sum(row.params_count for row in rows),
        macs=sum(row.macs for row in rows),
        weight_bytes=sum(row.weight_bytes for row in rows),
        peak_activation_bytes=peak.activation_bytes,
        peak_layer=peak.name,
        layers=rows,
    )


def layer_cost(layer: Layer) -> LayerCost:
    """One row of the layer table."""
    sizes = [(p.size, p.trainable) for p in layer.parameters]
    return LayerCost(
        name=layer.name,
        kind=type(layer).__name__,
        output_shape=layer.output_shape,
        params_count=sum(size for size, trainable in sizes if trainable),
        macs=layer.macs,
        weight_bytes=VALUE_BYTES * sum(size for size, _ in sizes),
        activation_bytes=VALUE_BYTES * layer.working_elements,
    )
