"""From an Architecture to a network: a pure function of a nested dict of arrays.

The interpreter knows primitives and their order in the graph, and no family.

Inside stand Flax NNX modules; they are split from their arrays once, and merged with given
ones while a call is traced, so that no module and no state is seen outside.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array

from dse.architecture import Architecture, Node
from dse.architecture.primitives import (
    Add,
    Conv,
    Dense,
    Dropout,
    GlobalAveragePool,
    Join,
    LocalResponseNorm,
    MaxPool,
    Primitive,
)
from dse.networks import ops
from dse.networks.fake import fake_int8_map
from dse.networks.initial import initial_value, kernel_stds
from dse.networks.modules import ConvModule, DenseModule, Initializer, convolve_deferred
from dse.networks.ops.fused_norm import Deferred, Pool, Term, is_worthwhile, value_of

BATCH_NORM_MOMENTUM = 0.9
"""Share of the running statistics that stays at every training step."""

Arrays = dict[str, Any]
"""Nested dict keyed by the parts of a parameter's path: arrays["fire2"]["squeeze"]["kernel"]."""


MapScales = tuple[tuple[int, float, int], ...]
"""(number, scale, zero point) of maps of the graph that are rounded as in int8; 0 is the image."""


class Scope(nnx.Module):
    """Holds what stands under one part of the parameters' paths."""


class Interpreter(nnx.Module):
    """Runs the graph of an architecture; nodes with arrays are modules under their names."""

    def __init__(
        self, architecture: Architecture, initializer: Initializer, scales: MapScales = ()
    ) -> None:
        self.architecture, self.scales = architecture, scales
        for node in architecture.kernel_nodes:
            *scopes, name = node.name.split("/")
            holder: nnx.Module = self
            for scope in scopes:
                if not hasattr(holder, scope):
                    setattr(holder, scope, Scope())
                holder = getattr(holder, scope)
            module = ConvModule if isinstance(node.primitive, Conv) else DenseModule
            setattr(holder, name, module(node, initializer))

    def __call__(self, x: Array, *, train: bool, dropout_key: Array | None) -> Array:
        """(batch, height, width, channels) to (batch, classes)."""
        scales = {at: (scale, zero_point) for at, scale, zero_point in self.scales}
        if 0 in scales:
            x = fake_int8_map(x, *scales[0])
        deferred = train and not scales and is_worthwhile(self.architecture, x.shape[0])
        maps: dict[int, Array | Deferred] = {0: Deferred((Term(x),)) if deferred else x}
        graph = self.architecture.graph
        for at, node in enumerate(graph, start=1):
            if at in maps:
                continue  # with an earlier convolution of the same map
            primitive, given = node.primitive, [maps[i] for i in node.inputs]
            first, last = given[0], given[-1]
            if isinstance(first, Deferred) and isinstance(last, Deferred):
                if isinstance(primitive, Conv) and primitive.norm == "batch":
                    maps |= self._convolve_together(node.inputs[0], first)
                    continue
                if isinstance(primitive, MaxPool):
                    pool = Pool(primitive.window, primitive.stride, primitive.rounding)
                    maps[at] = first.pooled(pool)
                    continue
                if isinstance(primitive, Add):
                    maps[at] = first + last
                    continue
            result = self._run(primitive, list(map(value_of, given)), train, dropout_key)
            maps[at] = fake_int8_map(result, *scales[at]) if at in scales else result
        return value_of(maps[len(graph)]).reshape(x.shape[0], -1)

    def maps(self, x: Array) -> list[Array]:
        """Every map of the graph, as it is without training: the image, then what nodes give."""
        found = [x]
        for node in self.architecture.graph:
            found.append(self._run(node.primitive, [found[i] for i in node.inputs], False, None))
        return found

    def _convolve_together(self, given: int, x: Deferred) -> dict[int, Deferred]:
        """The maps of all normed convolutions that read `x`, the map `given`."""
        groups = side_by_side(self.architecture.graph, given)
        modules = [[self._module(conv) for conv in group.values()] for group in groups.values()]
        found: dict[int, Deferred] = {}
        for (result, group), maps in zip(
            groups.items(), convolve_deferred(x, modules), strict=True
        ):
            found |= dict.fromkeys((result, *group), maps)  # nobody else reads the parts of a join
        return found

    def _run(
        self, primitive: Primitive, given: list[Array], train: bool, key: Array | None
    ) -> Array:
        x = given[0]
        match primitive:
            case Conv() | Dense():
                result: Array = self._module(primitive)(x, train=train)
                return result
            case MaxPool(window=window, stride=stride, rounding=rounding):
                return ops.max_pool(x, window=window, stride=stride, rounding=rounding)
            case GlobalAveragePool():
                return ops.global_average_pool(x)
            case LocalResponseNorm(size=size, alpha=alpha, beta=beta, k=k):
                return ops.local_response_norm(x, size=size, alpha=alpha, beta=beta, k=k)
            case Add():
                return x + given[1]
            case Join():
                return jnp.concatenate(given, 3)
            case Dropout(name=name, rate=rate) if train and rate:
                if key is None:
                    raise ValueError(
                        f"{name}: training with dropout needs dropout_key, but got None"
                    )
                key = jax.random.fold_in(key, zlib.crc32(name.encode()))
                return jnp.where(jax.random.bernoulli(key, 1 - rate, x.shape), x / (1 - rate), 0)
            case Dropout():
                return x
        raise TypeError(f"{primitive} has no form in Flax")

    def _module(self, primitive: Primitive) -> Any:
        return reduce(getattr, primitive.name.split("/"), self)


def side_by_side(graph: Sequence[Node], given: int) -> dict[int, dict[int, Conv]]:
    """The convolutions with a batch norm that read the map `given`.

    Returns:
        By the number of the map that results, the convolutions and their own numbers: several
        where a join makes one map of theirs and nothing else, otherwise one.
    """
    readers: dict[int, Conv] = {}
    results: dict[int, int] = {}
    for at, node in enumerate(graph, start=1):
        primitive = node.primitive
        if isinstance(primitive, Conv) and primitive.norm == "batch" and node.inputs == (given,):
            readers[at], results[at] = primitive, at
        elif isinstance(primitive, Join) and readers.keys() >= set(node.inputs):
            activations = {readers[part].activation for part in node.inputs}
            results |= dict.fromkeys(node.inputs, at) if len(activations) == 1 else {}
    groups: dict[int, dict[int, Conv]] = {}
    for at, conv in readers.items():
        groups.setdefault(results[at], {})[at] = conv
    return groups


@dataclass(frozen=True, eq=False)
class Network:
    """A network as functions of its arrays; made by `build_network`.

    Attributes:
        architecture: what it was built from.
    """

    architecture: Architecture
    _graph: Any
    _abstract: tuple[Arrays, Arrays]

    def init(self, key: Array) -> tuple[Arrays, Arrays]:
        """Initial parameters and running statistics.

        Not for use inside a traced function: the draws are numpy's.

        Args:
            key: a JAX random key. A layer's draws depend on it, the layer's name and its
                shape, not on the other layers.

        Returns:
            (params, statistics), nested dicts of float32 arrays; statistics hold the mean
            and variance of batch norms and are {} where there are none.
        """
        stds = kernel_stds(self.architecture)
        interpreter = Interpreter(
            self.architecture,
            lambda p: initial_value(p, std=stds.get(p.path, 0.0), key=key),
        )
        # All at once: for each shape by itself, JAX would compile a program.
        return jax.device_put(_split(interpreter)[1:])

    def abstract_params(self) -> Arrays:
        """Shapes and types of the parameters (jax.ShapeDtypeStruct); allocates nothing."""
        return self._abstract[0]

    def abstract_statistics(self) -> Arrays:
        """Shapes and types of the running statistics; allocates nothing."""
        return self._abstract[1]

    def apply(
        self,
        params: Arrays,
        statistics: Arrays,
        images: Array,
        *,
        train: bool,
        dropout_key: Array | None = None,
    ) -> tuple[Array, Arrays]:
        """Scores of images; pure, and meant to be traced (jit, grad, scan).

        Args:
            params: nested dict as `init` gives it.
            statistics: running statistics as `init` gives them.
            images: (batch, height, width, channels), preprocessed; their type is that of the
                computation, float32 or `ops.compute_dtype`.
            train: batch norm by the batch's own statistics, and dropout.
            dropout_key: JAX random key; needed to train with dropout.

        Returns:
            Logits (batch, classes) in float32 at least; and with `train` the statistics of
            this batch, for `update_ema`, otherwise the given ones.

        Raises:
            ValueError: images of another shape, or no key where one is needed.
        """
        if images.ndim != 4 or images.shape[1:] != self.architecture.input_shape:
            raise ValueError(
                f"images must be (batch, {', '.join(map(str, self.architecture.input_shape))}), "
                f"but got {images.shape}"
            )
        interpreter = nnx.merge(self._graph, params, statistics)
        logits = interpreter(images, train=train, dropout_key=dropout_key)
        return ops.widened(logits), _split(interpreter)[2]


def maps_of(network: Network, params: Arrays, statistics: Arrays, images: Array) -> list[Array]:
    """Every map inside a network, by its number in the graph (0 is the image); to be traced."""
    interpreter: Interpreter = nnx.merge(network._graph, params, statistics)
    return interpreter.maps(images)


def update_ema(running: Any, batch: Any, kept: float = BATCH_NORM_MOMENTUM) -> Any:
    """A moving average one step on: `kept` of what it was, the rest of what is new.

    Args:
        running: arrays in any structure, packed ones too.
        batch: the same of what is new, such as the statistics that `Network.apply` gives.
        kept: share that stays.
    """
    return jax.tree.map(lambda old, new: kept * old + (1 - kept) * new, running, batch)


def build_network(architecture: Architecture, scales: MapScales = ()) -> Network:
    """The network of an architecture; allocates nothing.

    Args:
        architecture: any.
        scales: of maps that are rounded as in int8, for quantization-aware training.
    """
    interpreter = nnx.eval_shape(
        lambda: Interpreter(architecture, lambda p: jnp.zeros(p.shape), scales)
    )
    graph, params, statistics = _split(interpreter)
    return Network(architecture, graph, (params, statistics))


def _split(interpreter: Interpreter) -> tuple[Any, Arrays, Arrays]:
    graph, params, statistics = nnx.split(interpreter, nnx.Param, nnx.BatchStat)
    return graph, nnx.to_pure_dict(params), nnx.to_pure_dict(statistics)
