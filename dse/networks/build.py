"""From an Architecture to a network: a pure function of a nested dict of arrays.

Inside stand Flax NNX modules; they are split from their arrays once, and merged with given
ones while a call is traced, so that no module and no state is seen outside.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array

from dse.architecture.architecture import Architecture
from dse.architecture.primitives import (
    Conv,
    Dense,
    Dropout,
    Fire,
    GlobalAveragePool,
    Layer,
    LocalResponseNorm,
    MaxPool,
)
from dse.networks.fire import ConvModule, FireModule, Initializer, activate, add_variables
from dse.networks.initial import initial_value, kernel_stds
from dse.networks.ops import xla as ops
from dse.networks.ops.fused_norm import Deferred, Pool, Term, is_worthwhile, value_of

BATCH_NORM_MOMENTUM = 0.9
"""Share of the running statistics that stays at every training step."""

Arrays = dict[str, Any]
"""Nested dict keyed by the parts of a parameter's path: arrays["fire2"]["squeeze"]["kernel"]."""


class DenseModule(nnx.Module):
    """A fully connected layer, then its activation."""

    def __init__(self, layer: Dense, initializer: Initializer) -> None:
        self.layer = layer
        add_variables(self, layer, initializer)

    def __call__(self, x: Array, *, train: bool) -> Array:
        """(batch, height, width, channels) to (batch, 1, 1, features)."""
        x = ops.dense(x, self.kernel[...], self.bias[...])
        return activate(x, self.layer.activation)


class Chain(nnx.Module):
    """The layers of an architecture, one behind the other; those with arrays are modules."""

    def __init__(self, architecture: Architecture, initializer: Initializer) -> None:
        self.architecture = architecture
        modules: dict[type[Layer], Callable[..., nnx.Module]] = {
            Conv: ConvModule,
            Fire: FireModule,
            Dense: DenseModule,
        }
        for layer in architecture.layers:
            if type(layer) in modules:
                setattr(self, layer.name, modules[type(layer)](layer, initializer))

    def __call__(self, x: Array, *, train: bool, dropout_key: Array | None) -> Array:
        """(batch, height, width, channels) to (batch, classes)."""
        maps: Array | Deferred = x
        if train and is_worthwhile(self.architecture, x.shape[0]):
            maps = Deferred((Term(x),))
        for layer in self.architecture.layers:
            if isinstance(layer, Conv | Fire):
                maps = getattr(self, layer.name)(maps, train=train)
            elif isinstance(layer, MaxPool) and isinstance(maps, Deferred):
                maps = maps.pooled(Pool(layer.window, layer.stride, layer.rounding))
            else:
                maps = self._plain(layer, value_of(maps), train, dropout_key)
        return value_of(maps).reshape(x.shape[0], -1)

    def _plain(self, layer: Layer, x: Array, train: bool, dropout_key: Array | None) -> Array:
        match layer:
            case MaxPool(window=window, stride=stride, rounding=rounding):
                return ops.max_pool(x, window=window, stride=stride, rounding=rounding)
            case GlobalAveragePool():
                return ops.global_average_pool(x)
            case LocalResponseNorm(size=size, alpha=alpha, beta=beta, k=k):
                return ops.local_response_norm(x, size=size, alpha=alpha, beta=beta, k=k)
            case Dropout():
                return _dropout(x, layer, dropout_key) if train else x
            case _:
                return getattr(self, layer.name)(x, train=train)


def _dropout(x: Array, layer: Dropout, key: Array | None) -> Array:
    if layer.rate == 0:
        return x
    if key is None:
        raise ValueError(f"{layer.name}: training with dropout needs dropout_key, but got None")
    key = jax.random.fold_in(key, zlib.crc32(layer.name.encode()))
    kept = jax.random.bernoulli(key, 1 - layer.rate, x.shape)
    return jnp.where(kept, x / (1 - layer.rate), 0)


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
        """First parameters and running statistics.

        Not for use inside a traced function: the draws are numpy's.

        Args:
            key: a JAX random key. A layer's draws depend on it, the layer's name and its
                shape, not on the other layers.

        Returns:
            (params, statistics), nested dicts of float32 arrays; statistics hold the mean
            and variance of batch norms and are {} where there are none.
        """
        stds = kernel_stds(self.architecture)
        chain = Chain(
            self.architecture,
            lambda p: initial_value(p, std=stds.get(p.path, 0.0), key=key),
        )
        # All at once: for each shape by itself, JAX would compile a program.
        return jax.device_put(_split(chain)[1:])

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
            images: (batch, height, width, channels) float32, preprocessed.
            train: batch norm by the batch's own statistics, and dropout.
            dropout_key: JAX random key; needed to train with dropout.

        Returns:
            Logits (batch, classes); and with `train` the statistics of this batch, for
            `update_ema`, otherwise the given ones.

        Raises:
            ValueError: images of another shape, or no key where one is needed.
        """
        if images.ndim != 4 or images.shape[1:] != self.architecture.input_shape:
            raise ValueError(
                f"images must be (batch, {', '.join(map(str, self.architecture.input_shape))}), "
                f"but got {images.shape}"
            )
        chain = nnx.merge(self._graph, params, statistics)
        logits = chain(images, train=train, dropout_key=dropout_key)
        return logits, _split(chain)[2]


def update_ema(running: Any, batch: Any) -> Any:
    """Running statistics after a batch: nine tenths of them, and a tenth of the batch's.

    Args:
        running: arrays in any structure, packed ones too.
        batch: the same of what `Network.apply` gives in training.
    """
    kept = BATCH_NORM_MOMENTUM
    return jax.tree.map(lambda old, new: kept * old + (1 - kept) * new, running, batch)


def build_network(architecture: Architecture) -> Network:
    """The network of an architecture; allocates nothing."""
    chain = nnx.eval_shape(lambda: Chain(architecture, lambda p: jnp.zeros(p.shape)))
    graph, params, statistics = _split(chain)
    return Network(architecture, graph, (params, statistics))


def _split(chain: Chain) -> tuple[Any, Arrays, Arrays]:
    graph, params, statistics = nnx.split(chain, nnx.Param, nnx.BatchStat)
    return graph, nnx.to_pure_dict(params), nnx.to_pure_dict(statistics)
