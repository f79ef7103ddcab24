"""StableHLO by `jax.export`, symbolic batch; the one format that takes JAX.

`jax.export.deserialize(content).call(images)` runs it, and `.mlir_module()` shows it. Images are
float32 (batch, height, width, channels), scaled, or uint8 pixels with preprocessing.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import Array

from dse.architecture.primitives import (
    Add,
    Conv,
    Dense,
    GlobalAveragePool,
    Join,
    LocalResponseNorm,
    MaxPool,
)
from dse.errors import ExportError
from dse.inference.graph import Graph, Operator
from dse.networks.ops import xla


def stablehlo_module(graph: Graph) -> bytes:
    """The file of a network, the weights in it.

    Raises:
        ExportError: an operator that this module does not know.
    """
    count = len(graph.metadata.classes)

    def scores(images: Array) -> Array:
        maps = [images.astype(jnp.float32)]
        for op in graph.operators:
            maps.append(_apply(op, [maps[i] for i in op.inputs]))
        return maps[-1].reshape(-1, count)

    sides = ", ".join(map(str, graph.metadata.input_shape))
    kind = jnp.uint8 if graph.with_preprocessing else jnp.float32
    given = jax.ShapeDtypeStruct(jax.export.symbolic_shape(f"batch, {sides}"), kind)
    exported = jax.export.export(jax.jit(scores), platforms=("cpu", "cuda", "tpu"))(given)
    return bytes(exported.serialize())


def _apply(op: Operator, given: list[Array]) -> Array:
    x = given[0]
    match op.primitive:
        case Conv() | Dense():
            kernel, bias = jnp.asarray(op.kernel), jnp.asarray(op.bias)
            y = xla.conv2d(x, kernel, op.stride, op.padding, op.groups) + bias
            return xla.relu(y) if op.is_relu else y
        case MaxPool(window=window, stride=stride, rounding=rounding):
            return xla.max_pool(x, window, stride, rounding)
        case GlobalAveragePool():
            return xla.global_average_pool(x)
        case LocalResponseNorm(size=size, alpha=alpha, beta=beta, k=k):
            return xla.local_response_norm(x, size=size, alpha=alpha, beta=beta, k=k)
        case Add():
            return x + given[1]
        case Join():
            return jnp.concatenate(given, 3)
    raise ExportError(f"{op.name}: {op.primitive.summary} has no form in StableHLO here")
